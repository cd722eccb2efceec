"""Requests to the service as values, and what its answers say. Pure: nothing is sent here.

Facts from the protocol: account (login, refresh), chat (request body), models. Nothing of the machine that the gateway
runs on goes into a request: no working directory, no user or host name.
"""

import base64
import binascii
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from fittengate.core.caller import ModelCard

NOT_EXPIRED = "Not expired"
"""What a refresh answers in place of a token that is still good. It is not a token."""

CHAT_PATH = "/codeapi/chat_auth"

MODELS_HEADERS = {"X-Api-Version": "v2"}
"""Whether the model list needs it is not known; the client that fetches the list sends it (protocol: models)."""

_encode = msgspec.json.Encoder().encode


class Call(Struct, frozen=True):
    """One request to be sent; ``path`` includes the query. ``repr`` shows neither token nor body."""

    method: str
    path: str
    body: bytes | None = None
    bearer: str | None = None

    def __repr__(self) -> str:
        """Show where it goes without its query."""
        return f"Call({self.method} {self.path.partition('?')[0]})"


class Answer(Struct, frozen=True):
    """What came back: status 0 when nothing did, ``error`` then says why."""

    status: int
    body: bytes
    error: str = ""
    retry_after: float | None = None
    """What the answer asks to wait, in seconds; None where it does not say."""

    @property
    def page(self) -> bool:
        """Return whether a web page came. The service speaks JSON: this is what stands in front of it."""
        return self.body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    def object(self) -> dict[str, Any]:
        """Return the body as a JSON object; empty when it is none."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def login_call(username: str, password: str) -> Call:
    """Return the new login (``/codeuser/auth/login``)."""
    return Call("POST", "/codeuser/auth/login", _encode({"username": username, "password": password}))


def refresh_access_call(refresh_token: str) -> Call:
    """Return the request for a new access token; the refresh token is the bearer."""
    return Call("POST", "/codeuser/auth/refresh_access_token", b"{}", refresh_token)


def refresh_refresh_call(refresh_token: str) -> Call:
    """Return the request for a new refresh token: no bearer, the body is the bare token as a JSON string."""
    return Call("POST", "/codeuser/auth/refresh_refresh_token", _encode(refresh_token))


def user_info_call(access_token: str) -> Call:
    """Return the request for the account's own record."""
    return Call("GET", "/codeuser/user_info", None, access_token)


def chat_path(user_id: str) -> str:
    """Return path and query of a chat request."""
    return f"{CHAT_PATH}?ft_token={quote(user_id, safe='')}"


def chat_body(prompt: str, user_id: str, card: ModelCard) -> bytes:
    """Return the body of a chat request. ``model`` or ``agentModel`` picks a model, never both."""
    meta: dict[str, str] = {"project_id": ""}
    if card.selection is not None:
        meta["agentModel" if card.section == "agent" else "model"] = card.selection
    return _encode({"inputs": prompt, "ft_token": user_id, "meta_datas": meta})


def models_call(access_token: str) -> Call:
    """Return the request for the model list."""
    return Call("GET", "/codeapi/chat/models", None, access_token)


def retry_after(value: str | None, now: float) -> float | None:
    """Return what a ``Retry-After`` header asks for, in seconds; None where there is none (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    value = value.strip()
    try:
        seconds = float(value) if value.isascii() and value[:1].isdigit() and "e" not in value.lower() else None
        if seconds is None:
            seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), 86400.0 * 31)


class Claims(Struct, frozen=True):
    """What a JWT says of itself; all None for a token that is no JWT."""

    user_id: str | None = None
    expires: float | None = None
    issued: float | None = None


def claims(token: str) -> Claims:
    """Return the claims of a token without checking its signature, which only the service can."""
    parts = token.split(".")
    if len(parts) != 3:
        return Claims()
    try:
        payload = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return Claims()
    if not isinstance(payload, dict):
        return Claims()
    subject = payload.get("subject")
    user_id = subject.get("uid") if isinstance(subject, dict) else None
    return Claims(
        user_id if isinstance(user_id, str) else None, _seconds(payload.get("exp")), _seconds(payload.get("iat"))
    )


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return None
    return float(value)
