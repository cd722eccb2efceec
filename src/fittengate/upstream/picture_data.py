"""Pictures as bytes and as data URLs (RFC 2397). Pure.

What a picture is, its first bytes say: clients often name the wrong type, and servers serve anything as anything. So
the type that was declared is neither trusted nor needed. What comes out is always in one spelling,
``data:image/png;base64,...``, and holds nothing but the letters of base64 (protocol: images).
"""

from base64 import b64encode
from binascii import a2b_base64

from fittengate.core.faults import Fault, FaultKind

MAX_PICTURE_BYTES = 5 * 1024 * 1024
"""What the vendors' own APIs take, too; the service's limit is unknown."""

_MAX_PACKED = (MAX_PICTURE_BYTES + 2) // 3 * 4

_ADVICE = "Send it as `data:image/png;base64,...` or as an https URL."


def picture_type(content: bytes) -> str | None:
    """Return the media type that the first bytes tell; None for anything but PNG, JPEG, GIF and WebP."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def to_data_url(content: bytes, where: str) -> str:
    """Return a picture's bytes as a data URL. Raises Fault (caller_bad_request) when they are none."""
    return _data_url(_checked_type(content, where), b64encode(content).decode("ascii"))


def read_data_url(url: str, where: str) -> str:
    """Return a client's data URL in the one spelling. Raises Fault (caller_bad_request) when it holds no picture.

    White space in the base64 and missing ``=`` at its end are forgiven, as browsers do
    (https://infra.spec.whatwg.org/#forgiving-base64-decode).
    """
    if url[:5].lower() != "data:":
        raise _refusal(f"A picture must be a data URL or a web address. {_ADVICE}", where)
    head, comma, packed = url.partition(",")
    if not comma or not head[-7:].lower() == ";base64":
        raise _refusal(f"The data URL of a picture must be in base64. {_ADVICE}", where)
    for space in " \t\n\f\r":
        packed = packed.replace(space, "")
    packed += "=" * (-len(packed) % 4)
    # Before decoding, so that no memory goes to what is refused anyway.
    if len(packed) > _MAX_PACKED:
        raise too_large(where)
    try:
        content = a2b_base64(packed, strict_mode=True)
    except ValueError as error:
        raise _refusal("The data URL of the picture holds no valid base64.", where) from error
    canonical = _data_url(_checked_type(content, where), packed)
    return url if url == canonical else canonical


def too_large(where: str) -> Fault:
    """Return the fault of a picture over :data:`MAX_PICTURE_BYTES`."""
    most = MAX_PICTURE_BYTES // (1024 * 1024)
    return _refusal(f"The picture is larger than {most} MiB. Send a smaller one.", where)


def _checked_type(content: bytes, where: str) -> str:
    if not content:
        raise _refusal("The picture is empty.", where)
    if len(content) > MAX_PICTURE_BYTES:
        raise too_large(where)
    kind = picture_type(content)
    if kind is None:
        raise _refusal("This is no picture that can be read. Send a PNG, JPEG, GIF or WebP file.", where)
    return kind


def _data_url(kind: str, packed: str) -> str:
    return f"data:{kind};base64,{packed}"


def _refusal(message: str, where: str) -> Fault:
    return Fault(FaultKind.CALLER_BAD_REQUEST, message, param=where)
