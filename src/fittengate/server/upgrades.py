"""An offer to change to another protocol (``Upgrade: h2c``, ``websocket``) is not taken up, and costs the request nothing.

RFC 9110, section 7.8: a server may go on as if the offer had not been made. Java's own HTTP client makes it with the
first request of each connection. The parser stops reading at such a head, so what follows it (the body, and further
requests) is given to a new one that never saw the offer.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING = (b"content-length", b"transfer-encoding")


class _Rest:
    """What a parser tells of the body of a request whose head is known already, and of the requests behind it."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._known = True
        self._protocol = protocol
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if not self._known:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._known:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._known:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._known:
            self._protocol.on_headers_complete()
        self._known = False


class StayingProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, but no request is cut off at its head because of an offer to change."""

    def data_received(self, data: bytes) -> None:
        """Feed the parser; go on with another where it stops at an offer."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._declined(data[offer.args[0] :])
                if data:
                    continue
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
            return

    def _declined(self, rest: bytes) -> bytes:
        """Replace the parser; return what the new one is to be fed."""
        cycle = self.cycle
        if self.parser.get_method() == b"CONNECT":
            # What follows is meant for somebody else.
            cycle.keep_alive = False
            return b""
        framing = [b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING]
        if not framing:
            self.parser = _parser(self)
            return rest
        # The parser took the head for the whole request. Nobody has looked at it yet: its task begins in a later turn.
        cycle.more_body = True
        cycle.message_event.clear()
        self.parser = _parser(_Rest(self))
        return b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + rest


def _parser(target: object) -> httptools.HttpRequestParser:
    made = httptools.HttpRequestParser(target)
    # As uvicorn does: a request behind one that says `Connection: close` is no error, it is not answered.
    made.set_dangerous_leniencies(lenient_data_after_close=True)
    return made
