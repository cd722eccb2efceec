"""Prompts that mark a cursor by the tokens of some code model, read back into what stands before and after it.

Editors write them for the model that they believe to talk to. Each form is a template, as the model's makers give it:

* StarCoder and its kin (Granite, StableCode): model card of bigcode/starcoder, "Fill-in-the-middle"; SantaCoder's
  spelling has hyphens.
* Code Llama: its repository, "infilling"; the spaces belong to the form.
* Codestral: Mistral's tokenizer, ``[SUFFIX]`` first, the cursor at the end.
* DeepSeek Coder: its repository, "Code Insertion".
* Qwen Coder, and CodeGemma and Granite 4 with the same tokens: its repository, "Fill in the middle".

Where there are three tokens, tools write suffix first as well: with the prefix under its own token, or after the last.
"""

from typing import NamedTuple

from fittengate.dialects._fields import bad

PREFIX, SUFFIX = "{prefix}", "{suffix}"

_TOKENS = (
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
)

FORMS: tuple[str, ...] = (
    *(form for p, s, m in _TOKENS for form in (
        f"{p}{s}{SUFFIX}{m}{PREFIX}",
        f"{p}{PREFIX}{s}{SUFFIX}{m}",
        f"{s}{SUFFIX}{p}{PREFIX}{m}",
    )),
    f"<PRE> <SUF>{SUFFIX} <MID> {PREFIX}",
    f"<PRE> {PREFIX} <SUF>{SUFFIX} <MID>",
    f"<PRE>{PREFIX}<SUF>{SUFFIX}<MID>",
    f"[SUFFIX]{SUFFIX}[PREFIX]{PREFIX}",
    f"<\uff5cfim\u2581begin\uff5c>{PREFIX}<\uff5cfim\u2581hole\uff5c>{SUFFIX}<\uff5cfim\u2581end\uff5c>",
)  # fmt: skip
"""Every form that is read, as a template. Where two fit, the earlier one counts."""

_BEGINNINGS = ("<s>", "<|begin_of_text|>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<bos>")
"""Tokens that some clients put before any prompt."""

_CONTEXT = ("<|repo_name|>", "<|file_sep|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>")
_FILE = ("<|file_sep|>", "<file_sep>", "<filename>")
"""Tokens before the text of other files, which the service has no place for; the last one names the file at hand."""

MAX_NAME_CHARS = 256

MAX_FILL_STOPS = 32
"""Most stop sequences of a code completion: editors send every marker of their model, more than OpenAI allows."""


class Marked(NamedTuple):
    """A prompt with a cursor."""

    prefix: str
    suffix: str
    file_name: str = ""
    """What the prompt calls the file; empty where it does not."""


class _Form(NamedTuple):
    lead: str
    middle: str
    tail: str
    suffix_first: bool


def _taken_apart(template: str) -> _Form:
    suffix_first = template.index(SUFFIX) < template.index(PREFIX)
    first, second = (SUFFIX, PREFIX) if suffix_first else (PREFIX, SUFFIX)
    lead, rest = template.split(first)
    middle, tail = rest.split(second)
    return _Form(lead, middle, tail, suffix_first)


_FORMS = tuple(_taken_apart(template) for template in FORMS)
_LEADS = tuple({form.lead.split(" ")[0] for form in _FORMS})
# Every form's own tokens, which no part of a prompt in that form may hold: nobody could say where the cursor is.
_OWN = tuple(
    tuple(token for piece in (form.lead, form.middle, form.tail) for token in piece.replace("><", "> <").split())
    for form in _FORMS
)


def read_marked(prompt: str, place: str) -> Marked | None:
    """Return what stands before and after the cursor of a prompt; None for one without markers.

    Raises Fault (caller_bad_request, naming ``place``) for one that begins with a marker and is in no known form, or
    has a marker more often than its form: an answer in the manner of a chat would end up in somebody's file.
    """
    prompt = prompt[len(next((token for token in _BEGINNINGS if prompt.startswith(token)), "")) :]
    file_name = ""
    if prompt.startswith(_CONTEXT):
        file_name, prompt = _without_context(prompt)
    if not prompt.startswith(_LEADS):
        return None
    for form, own in zip(_FORMS, _OWN, strict=True):
        if prompt.startswith(form.lead) and prompt.endswith(form.tail) and len(prompt) >= _least(form):
            inner = prompt[len(form.lead) : len(prompt) - len(form.tail)]
            first, found, second = inner.partition(form.middle)
            if found and not any(token in part for token in own for part in (first, second)):
                prefix, suffix = (second, first) if form.suffix_first else (first, second)
                return Marked(prefix, suffix, file_name)
    raise bad("The prompt begins with a marker for code completion, but its markers are in no known order.", place)


def _least(form: _Form) -> int:
    return len(form.lead) + len(form.middle) + len(form.tail)


def _without_context(prompt: str) -> tuple[str, str]:
    """Return the name of the file at hand and the prompt from its first marker on; as it was, where there is none."""
    starts = [at for lead in _LEADS if (at := prompt.find(lead)) >= 0]
    if not starts:
        return "", prompt
    context, rest = prompt[: min(starts)], prompt[min(starts) :]
    at = max(context.rfind(token) + len(token) if token in context else 0 for token in _FILE)
    name = context[at:].strip()
    return (name if at and len(name) <= MAX_NAME_CHARS and "\n" not in name else ""), rest
