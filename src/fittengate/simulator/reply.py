"""Requests and replies as values, between the HTTP side and the routes."""

from functools import cached_property
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from fittengate.simulator.plan import Ending, Page

JSON = "application/json"
HTML = "text/html"

_REASONS = {
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}
_DETAILS = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 429: "Too Many Requests"}

_PORTAL = """<!DOCTYPE html>
<html><head><title>Welcome</title></head>
<body><form action="/signin" method="post"><p>Sign in to use this network.</p><input name="room"></form></body></html>
"""


class Request:
    """One request, read whole. ``body`` is decompressed; header names are in lower case."""

    def __init__(self, method: str, path: str, query_string: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.body = body
        self.problems: list[str] = []
        """What is wrong with it although it is served; a handler may add to it."""

    @cached_property
    def query(self) -> dict[str, str]:
        """The query parameters; stray ampersands mean nothing."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    @property
    def key(self) -> str:
        """The user's key in the query, under either of its names."""
        return self.query.get("ft_token") or self.query.get("apikey") or ""


class Piece(NamedTuple):
    """A part of a body that is sent after a pause."""

    delay: float
    """Seconds; 0 joins it with the piece before."""
    data: bytes | None
    """None: wait here until released."""


Pieces: TypeAlias = list[Piece]


class Reply(Struct, frozen=True, kw_only=True):
    """What a route answers, before the plan changes how it is sent."""

    status: int = 200
    body: bytes = b""
    pieces: Pieces | None = None
    """A streamed body, in place of ``body``."""
    content_type: str = JSON
    headers: dict[str, str] = {}
    cut: Ending | None = None
    """How it breaks off, where the plan does not say: who asks for a failure in words gets one."""
    cut_at: int | None = None
    """Bytes of the body up to the text piece after which it is cut."""


class Refused(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """The request is answered with an error at once."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def json_reply(value: Any, status: int = 200) -> Reply:
    """Return a JSON reply."""
    return Reply(status=status, body=msgspec.json.encode(value))


def text_reply(text: str, content_type: str = "text/plain; charset=utf-8", status: int = 200) -> Reply:
    """Return a reply of plain text."""
    return Reply(status=status, body=text.encode(), content_type=content_type)


def refusal(status: int, detail: Any) -> Refused:
    """Return the error that answers ``{"detail": ...}``."""
    return Refused(json_reply({"detail": detail}, status))


def message(code: int, text: str) -> dict[str, Any]:
    """Return the body in which account routes tell of an error, at status 200."""
    return {"data": "", "status_code": code, "msg": text}


def page(name: Page) -> Reply:
    """Return an HTML page of a machine in front of the service."""
    if name == "portal":
        return text_reply(_PORTAL, HTML)
    return front_page(int(name), _REASONS[int(name)])


def front_page(status: int, title: str) -> Reply:
    """Return the error page of the machine in front of the service, as nginx writes it."""
    html = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx/1.24.0</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status=status, body=html.encode(), content_type=HTML)


def usual(status: int, expired: str) -> Reply:
    """Return the usual reply of an error status; ``expired`` is the text of a 401."""
    if status in (500, 502, 503, 504):
        return page("500" if status == 500 else "502" if status == 502 else "503" if status == 503 else "504")
    if status == 422:
        return json_reply({"detail": [invalid("string_type", "inputs", "Input should be a valid string", None)]}, 422)
    return json_reply({"detail": expired if status == 401 else _DETAILS.get(status, "Error")}, status)


def invalid(kind: str, where: str, text: str, value: Any) -> dict[str, Any]:
    """Return one entry of a validation error's list, which echoes the value (protocol: HTTP errors on chat)."""
    return {"type": kind, "loc": ["body", where], "msg": text, "input": value}


def read_json(request: Request) -> Any:
    """Return the body as a JSON value; raises Refused where it is none, or is not said to be one.

    The framework of the service takes a body under another type for a text, which no route wants.
    """
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        text = "Input should be a valid dictionary or object to extract fields from"
        body = request.body.decode("utf-8", "replace")
        told: dict[str, Any] = {"type": "model_attributes_type", "loc": ["body"], "msg": text, "input": body}
        raise Refused(json_reply({"detail": [told]}, 422))
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        entry = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", "input": {}}
        raise Refused(json_reply({"detail": [entry | {"ctx": {"error": str(error)}}]}, 422)) from error
