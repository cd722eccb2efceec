"""Text with its words taken out and its form left: JSON and lines of JSON, whole or cut off, in linear time.

The rule. What stays: brackets, names of fields, ``true``, ``false``, ``null``, the APIs' own words where one is expected
(``"role":"user"``), the counts and settings of :data:`NUMBERS`, and the model's name. Every other text becomes its length
and a keyed hash, so that equal texts can be seen to be equal and nobody can guess a short one without the key; every
other number becomes ``[number]``. Below a field that holds the caller's own values (:data:`OWN`) nothing but names and
brackets stays. A name that does not look like one is hidden like a text.
"""

import json
import re
from hashlib import blake2b

_WORDS = """
user assistant system developer tool function text image image_url input_text input_image output_text refusal message
reasoning thinking redacted_thinking tool_use tool_result tool_calls function_call function_call_output custom_tool_call
custom_tool_call_output summary_text encrypted_content base64 url ephemeral auto none any required enabled disabled
json_object json_schema object string number integer boolean array null stop length end_turn max_tokens stop_sequence
content_filter completed in_progress incomplete failed cancelled error low medium high minimal default flex list model
chat.completion chat.completion.chunk text_completion response event message_start message_delta message_stop
content_block_start content_block_delta content_block_stop ping text_delta thinking_delta signature_delta
input_json_delta invalid_request_error authentication_error permission_error not_found_error rate_limit_error
overloaded_error api_error server_error timeout_error
"""
_WORDED = "type role object finish_reason stop_reason status event effort tool_choice detail format"
_NUMBERS = """
index output_index content_index sequence_number n n_predict max_tokens max_completion_tokens max_output_tokens
temperature top_p top_k presence_penalty frequency_penalty seed budget_tokens created created_at prompt_tokens
completion_tokens total_tokens input_tokens output_tokens reasoning_tokens cached_tokens cache_creation_input_tokens
cache_read_input_tokens status_code delta_char delta_line cpos bcpos plen slen bplen bslen prompt_eval_count eval_count
total_duration load_duration prompt_eval_duration eval_duration num_predict
"""
_OWN = "input arguments metadata properties parameters input_schema schema default enum const examples options"

WORDS = frozenset(_WORDS.split())
"""Words of the APIs themselves."""

WORDED = frozenset(_WORDED.split())
"""Fields that hold one of them."""

NUMBERS = frozenset(_NUMBERS.split())
"""Fields whose numbers say how, and not what."""

OWN = frozenset(_OWN.split())
"""Fields below which everything is the caller's."""

_TOKEN = re.compile(
    r'(?P<space>\s+)|(?P<text>"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"?))|(?P<mark>[{}\[\],:])|[^\s{}\[\],:"]+', re.DOTALL
)
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_.$-]{0,39}")
_NUMBER = re.compile(r"-?\d[\d.eE+-]{0,30}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_EVENT = re.compile(r"event: ?(?:error|ping|(?:message|content_block|response)[._][a-z_.]{1,60})")
_DATA = re.compile(r"data: ?")


class Mask:
    """Takes words out of texts."""

    def __init__(self, key: bytes) -> None:
        """``key`` is secret and used for one bundle: without it a hash tells nothing."""
        self._key = key

    def words(self, text: str) -> str:
        """Return what stands for a text."""
        mark = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6, key=self._key).hexdigest()
        return f"[{len(text)} chars {mark}]"

    def lines(self, text: str) -> str:
        """Return lines, JSON or server-sent events, without their words."""
        return "\n".join([self._line(line) for line in text.split("\n")])

    def _line(self, line: str) -> str:
        bare = line.strip()
        if not bare or bare == "data: [DONE]" or _EVENT.fullmatch(bare):
            return bare
        data = _DATA.match(bare)
        head, rest = ("", bare) if data is None else (data[0], bare[data.end() :])
        return head + (self.json(rest) if rest[:1] in {"{", "["} else self.words(rest))

    def json(self, text: str) -> str:
        """Return JSON without its words. What is no JSON comes out as lengths and hashes; it may end anywhere."""
        done: list[str] = []
        above: list[tuple[bool, str, bool]] = []
        # Whether a name comes next or belongs to what comes, that name, and whether all below it is the caller's.
        is_object, name, own = False, "", False
        awaits_name = False
        for found in _TOKEN.finditer(text):
            part = found[0]
            if found["space"]:
                done.append(part)
            elif found["mark"]:
                done.append(part)
                if part in "{[":
                    above.append((is_object, name, own))
                    if part == "[" and name == "input":
                        # The input of a tool is an object; a list of that name is a conversation.
                        name = ""
                    own = own or name in OWN
                    is_object = awaits_name = part == "{"
                elif part in "}]" and above:
                    is_object, name, own = above.pop()
                    awaits_name = False
                elif part == ",":
                    awaits_name = is_object
            elif found["text"]:
                inner = _decoded(part, whole=bool(found["end"]))
                if awaits_name:
                    name, awaits_name = inner, False
                    done.append(part if _NAME.fullmatch(inner) and found["end"] else f'"{self.words(inner)}"')
                else:
                    done.append(part if self._stays(inner, name, len(above), own=own) else f'"{self.words(inner)}"')
            elif part in {"true", "false", "null"}:
                done.append("null" if own and part != "null" else part)
            elif _NUMBER.fullmatch(part):
                done.append(part if name in NUMBERS and not own else '"[number]"')
            else:
                done.append(f'"{self.words(part)}"')
        return "".join(done)

    @staticmethod
    def _stays(text: str, name: str, depth: int, *, own: bool) -> bool:
        if own:
            return False
        if name == "model" and depth <= 2:
            return _MODEL.fullmatch(text) is not None
        return name in WORDED and text in WORDS


def _decoded(token: str, *, whole: bool) -> str:
    """Return what a text in quotes says, as it stands where that cannot be told."""
    if not whole:
        return token[1:]
    if "\\" not in token:
        return token[1:-1]
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token[1:-1]
