"""Code completion: what the service is told of a place in a file, and what may be inserted of its answer. Pure.

The insertion law. The service may answer with a text that *replaces* some characters after the cursor, but the clients
of a completion API can only *insert* at it. So an answer is passed on only as a text whose insertion leaves the very
file that the replacement would leave, and is nothing where there is no such text. A text that repeats the rest of the
line is nothing too. Whatever the service sends, the user's file never comes out damaged.

Facts from the protocol: code completion (generate_one_stage, generate_one_stage_auth, responses).
"""

import gzip
import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from fittengate.core.ask import FillAsk
from fittengate.upstream.fitten.outline import name_of, outline
from fittengate.upstream.fitten.wire import Call

MAX_UNITS = 220_000
SIDE_UNITS = 110_000
"""A file is sent whole up to the first number; of a longer one, the second on each side of the cursor. UTF-16 units."""

LONG_CHARS = 100_000
"""Of text that is not ASCII: so much takes 8 ms to pack at worst."""

MAX_NAME_CHARS = 256
"""Longest file name that is passed on; of a longer one the end, which has the extension."""

MAX_STRANGE = 8

_FIELDS = """
generated_text ex_msg delta_char delta_line server_request_id delete_offsets insert_offsets ori_start_line ori_end_line
res_start_line res_end_line error
"""
FIELDS = frozenset(_FIELDS.split())
"""What an answer was seen to have (protocol: code completion, responses)."""

VERSIONS = {"0": "", "1": "2_1", "2": "2_2", "3": "2_3"}
"""What the service calls a version of its completion, and how the path spells it."""

_TAGS = re.compile(r"<fim_(?:prefix|suffix|middle)>|<\|[a-z]+\|>")
_END_OF_TEXT = re.compile(r"<.endoftext.>")
_MARKS = re.compile(r"!FC(PREFIX|SUFFIX|MIDDLE)!")
_LINE_END = re.compile(r"\r\n?")
_HALF = re.compile("[\ud800-\udfff]")
_WORD = re.compile(r"[a-z0-9+#]{1,16}")

_EXTENSIONS = {
    "bash": "sh",
    "c++": "cpp",
    "c#": "cs",
    "csharp": "cs",
    "golang": "go",
    "haskell": "hs",
    "javascript": "js",
    "javascriptreact": "jsx",
    "kotlin": "kt",
    "markdown": "md",
    "perl": "pl",
    "python": "py",
    "ruby": "rb",
    "rust": "rs",
    "shell": "sh",
    "shellscript": "sh",
    "typescript": "ts",
    "typescriptreact": "tsx",
}

_encode = msgspec.json.Encoder().encode


class Place(Struct, frozen=True):
    """A cursor in a file as the service is told of it: cut to size, and without tags that would mean something."""

    before: str
    after: str
    file_name: str


class Suggestion(Struct, frozen=True):
    """What the service proposes: a text in place of some characters after the cursor."""

    text: str
    replaced: int = 0
    """UTF-16 units after the cursor that the text stands for; below zero where it is not about those at all."""
    strange: tuple[str, ...] = ()
    """Fields of the answer that are not known, the first few."""


class NoAnswer(Struct, frozen=True):
    """A body that is no proposal."""

    detail: str
    """For the log; quotes nothing of the file."""
    lost: bool
    """The service says that it lost track of the text: it may know it when it is sent once more, in full."""


def place_of(fill: FillAsk) -> Place:
    """Return what is told of a place. Never raises: half a surrogate pair becomes U+FFFD, of a long file a part is kept."""
    before, after = fill.prefix, fill.suffix
    if len(before) + len(after) > MAX_UNITS or units(before) + units(after) > MAX_UNITS:
        before, after = _last(before), _first(after)
    return Place(_TAGS.sub("", _mended(before)), _TAGS.sub("", _mended(after)), _file_name(fill))


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def version_call(user_id: str) -> Call:
    """Return the question which version of completion the account has; it takes no token."""
    return Call("GET", f"/codeuser/get_completion_version?ft_token={quote(user_id, safe='')}")


def read_version(body: bytes) -> str | None:
    """Return how a path spells the version in an answer; None for one that is not known."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return VERSIONS.get(value) if isinstance(value, str) else None


def signed_path(version: str, user_id: str) -> str:
    """Return the path of completion with a token; ``version`` as :func:`read_version` spells it."""
    return f"/codeapi/completion{version}/generate_one_stage_auth/{quote(user_id, safe='')}"


def signed_body(place: Place) -> bytes:
    """Return the body of a request with a token, gzip. It always has the text in full, never a difference."""
    text = place.before + place.after
    data = text.encode()
    meta = {
        "filename": place.file_name,
        "cpos": units(place.before),
        "bcpos": len(place.before.encode()),
        "plen": 0,
        "slen": 0,
        "bplen": 0,
        "bslen": 0,
        "pmd5": "",
        "nmd5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "diff": text,
        "pc_available": False,
        "pc_prompt": "",
        "pc_prompt_type": "0",
    }
    # The fastest level: the text is small, and the event loop waits for it.
    return gzip.compress(_encode({"inputs": "", "meta_datas": meta}), 1, mtime=0)


def takes_long(place: Place) -> bool:
    """Tell whether packing a text may keep an event loop for more than 10 ms.

    The longest text that is sent takes 3 ms where it is code and 4 where it is noise in ASCII, but up to 17 in Chinese.
    """
    long = len(place.before) + len(place.after) > LONG_CHARS
    return long and not (place.before.isascii() and place.after.isascii())


def open_path(user_id: str) -> str:
    """Return the path of completion without a token, which older clients use."""
    return f"/codeapi/completion/generate_one_stage/{quote(user_id, safe='')}"


def open_body(place: Place) -> bytes:
    """Return the body of a request without a token. Markers in the text itself are broken, or they would move the cursor."""
    before, after = (_MARKS.sub(r"!FC \1!", text) for text in (place.before, place.after))
    inputs = f"!FCPREFIX!{before}!FCSUFFIX!{after}!FCMIDDLE!"
    return _encode({"inputs": inputs, "meta_datas": {"filename": place.file_name}})


def read_answer(body: bytes) -> Suggestion | NoAnswer:
    """Return what a reply with status 200 proposes; an empty text where it proposes nothing. Never raises."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return NoAnswer(f"completion: {outline(text)}", lost=False)
    if not isinstance(value, dict) or "detail" in value or ("msg" in value and "status_code" in value):
        return NoAnswer(f"completion: {outline(text)}", lost=False)
    if value.get("error"):
        return NoAnswer(f"completion: {outline(text)}", lost=True)
    if "delete_offsets" in value or "insert_offsets" in value or "ori_start_line" in value:
        # A proposal to edit lines, which nobody asked for and no insertion can express.
        return Suggestion("", -1, _strange(value))
    generated, extra = value.get("generated_text"), value.get("ex_msg")
    if not isinstance(generated, str | None) or not isinstance(extra, str | None):
        return NoAnswer(f"completion: {outline(text)}", lost=False)
    inserted = _TAGS.sub("", _END_OF_TEXT.sub("", generated or "")) + (extra or "")
    inserted = _LINE_END.sub("\n", inserted)
    # Half a character cannot be inserted, and what it was is not known.
    return Suggestion("" if _HALF.search(inserted) else inserted, _replaced(value), _strange(value))


def _strange(value: dict[str, Any]) -> tuple[str, ...]:
    return tuple([name_of(name) for name in value if name not in FIELDS][:MAX_STRANGE]) if value.keys() - FIELDS else ()


def _replaced(value: dict[str, Any]) -> int:
    """Return how many units a proposal replaces; -1 where it does not say so, or on which line."""
    chars, lines = value.get("delta_char"), value.get("delta_line")
    chars, lines = 0 if chars is None else chars, 0 if lines is None else lines
    if type(chars) is not int or type(lines) is not int or lines or chars < 0:
        return -1
    return chars


def insertion(suggestion: Suggestion, place: Place, suffix: str) -> str:
    """Return the text to insert at the cursor, by the law of this module; empty where there is none.

    ``suffix`` is what really stands after the cursor, of which the service may have been told only a part.
    """
    text = suggestion.text
    if suggestion.replaced:
        old = _first_units(place.after, suggestion.replaced)
        if not old or not suffix.startswith(old) or not text.endswith(old):
            return ""
        text = text[: -len(old)]
    rest = re.split(r"[\r\n]", suffix, maxsplit=1)[0] if text else ""
    repeated = text == rest or (rest.strip() and text.strip() == rest.strip())
    return "" if repeated else text


def _first_units(text: str, count: int) -> str:
    """Return the first ``count`` UTF-16 units; empty where there are fewer or a character would be cut."""
    if count < 0 or count > 2 * len(text):
        return ""
    data = text[:count].encode("utf-16-le")[: 2 * count]
    if len(data) < 2 * count or (data[-1:] and 0xD8 <= data[-1] <= 0xDB):
        return ""
    return data.decode("utf-16-le")


def _last(text: str) -> str:
    """Return the end of a text that may be sent, beginning neither inside a character nor inside a CRLF."""
    piece = _mended(text[-SIDE_UNITS - 1 :])
    if units(piece) <= SIDE_UNITS:
        return piece
    data = piece.encode("utf-16-le")[-2 * SIDE_UNITS :]
    kept = (data[2:] if 0xDC <= data[1] <= 0xDF else data).decode("utf-16-le")
    return kept[1:] if kept.startswith("\n") and piece[: -len(kept)].endswith("\r") else kept


def _first(text: str) -> str:
    """Return the beginning of a text that may be sent, ending neither inside a character nor inside a CRLF."""
    piece = _mended(text[: SIDE_UNITS + 1])
    if units(piece) <= SIDE_UNITS:
        return piece
    data = piece.encode("utf-16-le")[: 2 * SIDE_UNITS]
    kept = (data[:-2] if 0xD8 <= data[-1] <= 0xDB else data).decode("utf-16-le")
    return kept[:-1] if kept.endswith("\r") and piece[len(kept) :].startswith("\n") else kept


def _mended(text: str) -> str:
    """Return a text that can be written as UTF-8, as long in UTF-16 units as before."""
    if text.isascii() or _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _file_name(fill: FillAsk) -> str:
    """Return a name by which the service knows the language."""
    if fill.file_name:
        return _mended(fill.file_name[-MAX_NAME_CHARS:])
    language = fill.language.lower()
    if not _WORD.fullmatch(language):
        return "untitled"
    return f"untitled.{_EXTENSIONS.get(language, language)}"
