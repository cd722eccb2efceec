"""What the simulator says when no plan gives the words: it reports what it understood and reacts to a few keywords.

It is no model and says so. Keywords count only in short texts, because long ones come from programs and hold any word.
Where the prompt declares tools and one of them does what is asked, it is called, and its result is told; where the
prompt asks for JSON, the answer is JSON.
"""

import re

from fittengate.simulator.choosing import calls_for
from fittengate.simulator.json_answer import json_answer, wanted
from fittengate.simulator.plan import Plan
from fittengate.simulator.toolbox import Result, Task, Toolbox, task, toolbox
from fittengate.simulator.turns import Picture, Prompt, pictures, without_pictures

KEYWORD_TEXT = 200
"""Longest user text, in characters, in which keywords are looked for; ``repeat:`` works in any."""
MAX_WORDS = 100_000
RESULT_TEXT = 600
"""Of each result so many characters are told."""

_REPEAT = re.compile(r"\s*repeat:[ ]?(.*)", re.IGNORECASE | re.DOTALL)
_LONG = re.compile(r"\blong\s+(\d{1,6})\s+words?\b", re.IGNORECASE)
_ASKED = re.compile(r"\s*help\s*[.!?]*\s*", re.IGNORECASE)
_PIECE = re.compile(r" ?[^\W\d_]{1,6}|[^\W\d_]{1,6}| ?\d{1,3}|\n+| +|.", re.DOTALL)
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")

_MARKDOWN = """# A heading

Some *emphasis*, some **strong text** and `code`.

- first point
- second point
  1. nested

> A quotation.

| left | right |
|------|------:|
| a    |     1 |
"""

_CODE = """Here is a function:

```python
def greet(name: str) -> str:
    if name < "n" and name > "a":
        return f"Hello, {name}!"
    return "Hello <b>you</b>!"
```
"""

_HELP = """This is the Fitten simulator, not a language model. It plays:

- `repeat: TEXT`: the reply is exactly TEXT
- `markdown`, `code`: Markdown, a block of code
- `think`: reasoning ahead of the answer
- `long 500 words`: so many words
- `echo turns`: the turns as the service read them
- `slow`: a piece each 0.3 s
- `fail`, `stall`: the connection is reset, or nothing more comes, after five pieces

Given tools, it calls the one that does what you ask.
"""

_THOUGHT = "The user asked me to think. I am a simulator, so I only write that I do."


def answer(prompt: Prompt, model: str) -> Plan:
    """Return the reply to a prompt; ``model`` is the name of the model that was chosen."""
    now = task(prompt)
    images = pictures(now.words)
    words = without_pictures(now.words) if images else now.words
    box = toolbox(prompt)
    if repeat := _REPEAT.match(words):
        return Plan(text=repeat[1])
    short = words if len(words) <= KEYWORD_TEXT else ""
    return Plan(
        text=_acted(prompt, now, box, words) or _text(prompt, words, short, images, model),
        reasoning=_THOUGHT if _says(short, "think") else "",
        interval_ms=300 if _says(short, "slow") else None,
        cut="reset" if _says(short, "fail") else "stall" if _says(short, "stall") else None,
        cut_after=5 if _says(short, "fail") or _says(short, "stall") else None,
    )


def pieces(text: str) -> list[str]:
    """Return ``text`` cut as a model would emit it: about a token each."""
    out: list[str] = []
    for piece in _PIECE.findall(text):
        if len(piece) > 1 and _IDEOGRAPHS.search(piece):
            out.extend(piece)
        else:
            out.append(piece)
    return out


def tokens(text: str) -> int:
    """Return roughly how many tokens a text is."""
    wide = len(_IDEOGRAPHS.findall(text))
    return wide + (len(text) - wide + 3) // 4


def _says(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text, re.IGNORECASE) is not None


def _acted(prompt: Prompt, now: Task, box: Toolbox, words: str) -> str | None:
    """Return calls, what they gave, or JSON; None where only words are asked for."""
    failed = any(result.error for result in now.results)
    calls = [] if failed and not box.demand else calls_for(words, now.rounds, box)
    if calls:
        names = ", ".join(dict.fromkeys(call.name for call in calls))
        return f"I call {names}.\n{box.write(calls)}"
    schema = wanted("\n".join(turn.text for turn in prompt.turns if turn.role == "system"))
    if schema is not None:
        return json_answer(schema, "\n".join([words, *(result.text[:RESULT_TEXT] for result in now.results)]))
    if now.results:
        return "\n".join(["This is the Fitten simulator, not a language model.", *map(_told, now.results)])
    return None


def _told(result: Result) -> str:
    text = result.text if len(result.text) <= RESULT_TEXT else result.text[:RESULT_TEXT] + "…"
    return f"{result.tool} {'failed' if result.error else 'gave'}: {text}"


def _text(prompt: Prompt, words: str, short: str, images: list[Picture], model: str) -> str:
    if _ASKED.fullmatch(short):
        return _HELP
    if long := _LONG.search(short):
        return " ".join(f"word{n}" for n in range(1, min(int(long[1]), MAX_WORDS) + 1))
    if _says(short, "markdown"):
        return _MARKDOWN
    if _says(short, "code"):
        return _CODE
    if re.search(r"\becho\s+turns\b", short, re.IGNORECASE):
        return "\n".join(f"{n}. {turn.role or 'outside'}: {turn.text}" for n, turn in enumerate(prompt.turns, 1))
    return _understood(prompt, words, images, model)


def _understood(prompt: Prompt, words: str, images: list[Picture], model: str) -> str:
    count = len(prompt.turns)
    said = words if len(words) <= KEYWORD_TEXT else words[:KEYWORD_TEXT] + "…"
    lines = [
        "This is the Fitten simulator, not a language model.",
        f"I read {count} turn{'' if count == 1 else 's'} for the model {model}.",
    ]
    for image in images:
        size = "unreadable data" if image.size is None else f"{image.size} bytes"
        lines.append(f"There is a picture: {image.media_type}, {size}.")
    lines.append(f"The last thing you said: {said}" if said.strip() else "You said nothing.")
    return "\n".join(lines)
