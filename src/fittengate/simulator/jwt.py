"""JSON Web Tokens signed with HMAC-SHA256 (RFC 7519), with the claims in the order the service writes them."""

import base64
import hashlib
import hmac
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

Kind: TypeAlias = Literal["access", "refresh"]


class Subject(Struct, frozen=True):
    """Whom a token speaks for."""

    uid: str


class Claims(Struct, frozen=True, kw_only=True):
    """What a token says (protocol: tokens); times in seconds since the epoch."""

    subject: Subject
    type: Kind
    exp: int | UnsetType = UNSET
    iat: int
    jti: str


class BadTokenError(ValueError):
    """Not a token, or not signed by us."""


_HEAD = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")


def sign(claims: Claims, secret: str) -> str:
    """Return the token."""
    text = _HEAD + b"." + base64.urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
    return (text + b"." + _signature(text, secret)).decode()


def verify(token: str, secret: str) -> Claims:
    """Return the claims of a token that we signed, whatever its times; raises BadTokenError."""
    text, _, signature = token.encode(errors="replace").rpartition(b".")
    if not hmac.compare_digest(_signature(text, secret), signature):
        raise BadTokenError(token)
    payload = text.partition(b".")[2]
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)), type=Claims)


def _signature(text: bytes, secret: str) -> bytes:
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), text, hashlib.sha256)).rstrip(b"=")
