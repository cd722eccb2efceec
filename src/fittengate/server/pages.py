"""The pages that a person opens: a way in, and the description of the API. All of it is in the package."""

from importlib import resources

import msgspec

from fittengate import __version__
from fittengate.server.openapi import document
from fittengate.server.request import JSON, Headers, Request

_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_STRICT: Headers = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_HTML = (b"content-type", b"text/html; charset=utf-8")
_SCRIPT = (b"content-type", b"text/javascript; charset=utf-8")


class Pages:
    """Answers the GET routes that are open to everybody."""

    def __init__(self) -> None:
        folder = resources.files("fittengate.server") / "static"
        self._home = (folder / "home.html").read_bytes()
        self._docs = (folder / "docs.html").read_bytes()
        self._script = (folder / "docs.js").read_bytes()
        self._openapi = msgspec.json.encode(document(__version__))

    async def home(self, request: Request) -> None:
        """Show where everything is; also what a client's HEAD probe asks for."""
        await request.respond(200, [_HTML, *_STRICT], self._home)

    async def hello(self, request: Request) -> None:
        """Answer the probe of an agent that wants to know whether anybody is here."""
        await request.respond(200, [JSON], b'{"status":"ok"}')

    async def docs(self, request: Request) -> None:
        """Show the API as a page."""
        await request.respond(200, [_HTML, *_STRICT], self._docs)

    async def script(self, request: Request) -> None:
        """Return the page's script."""
        await request.respond(200, [_SCRIPT, *_STRICT], self._script)

    async def openapi(self, request: Request) -> None:
        """Return the API's description (OpenAPI 3.1)."""
        await request.respond(200, [JSON], self._openapi)
