"""Published ways to make two servers disagree on where a request ends, each as bytes and what is to come of them.

A case is a head and a body behind a request line; the smuggled request stands where a confused server would see one.
Its answer would carry the id ``smuggled``. The classes are those of Linhart and others (2005), Kettle's "HTTP Desync
Attacks" (2019), "HTTP/1.1 must die" (2025), Jeppesen's "Funky chunks" (2025), and what RFC 9112 forbids.
"""

from typing import Literal, NamedTuple

from fakes.line import CHAT, KEY

SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nX-Request-Id: smuggled\r\n\r\n" % KEY.encode()
NEXT = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nX-Request-Id: next\r\n\r\n" % KEY.encode()

Outcome = Literal["refused", "one"]
"""``refused``: one error and the end of the connection. ``one``: one answer to one request, then the next one's."""


class Attempt(NamedTuple):
    """One way to try it."""

    name: str
    raw: bytes
    outcome: Outcome


def post(*headers: bytes, body: bytes = b"", path: str = CHAT, line: bytes | None = None) -> bytes:
    """Return a request with these header lines, each with its own line end."""
    first = b"POST %b HTTP/1.1\r\n" % path.encode() if line is None else line
    own = b"Host: a\r\nX-Api-Key: %b\r\nX-Request-Id: first\r\n" % KEY.encode()
    return first + own + b"".join(headers) + b"\r\n" + body


def counted(body: bytes, name: bytes = b"Content-Length: ") -> bytes:
    """Return the header that tells a body's length."""
    return name + b"%d\r\n" % len(body)


TE = b"Transfer-Encoding: chunked\r\n"
EMPTY = b"0\r\n\r\n"
WHOLE = b"2\r\n{}\r\n0\r\n\r\n"
HIDDEN = EMPTY + SMUGGLED
"""By its chunks the body is empty and a request follows; by its length all of it is body."""

CHUNK_OF_SMUGGLED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


def _both(name: str, encoding: bytes, outcome: Outcome = "refused") -> Attempt:
    return Attempt(f"length and {name}", post(counted(HIDDEN), encoding, body=HIDDEN), outcome)


BOTH = (
    Attempt("CL.TE", post(counted(HIDDEN), TE, body=HIDDEN), "refused"),
    Attempt("TE.CL", post(TE, counted(HIDDEN), body=HIDDEN), "refused"),
    Attempt(
        "CL.TE in another letter case", post(counted(HIDDEN), b"tRANSFER-eNCODING: CHUNKED\r\n", body=HIDDEN), "refused"
    ),
    Attempt("CL of nothing and chunks", post(b"Content-Length: 0\r\n", TE, body=CHUNK_OF_SMUGGLED), "refused"),
    Attempt("TE.TE, second unknown", post(TE, b"Transfer-Encoding: x\r\n", body=HIDDEN), "refused"),
    Attempt("TE.TE, first unknown", post(b"Transfer-Encoding: x\r\n", TE, body=CHUNK_OF_SMUGGLED), "one"),
    _both("TE xchunked", b"Transfer-Encoding: xchunked\r\n"),
    _both("TE chunkedx", b"Transfer-Encoding: chunkedx\r\n"),
    _both("TE chunked, identity", b"Transfer-Encoding: chunked, identity\r\n"),
    _both("TE identity, chunked", b"Transfer-Encoding: identity, chunked\r\n"),
    _both("TE gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n"),
    _both("TE quoted", b'Transfer-Encoding: "chunked"\r\n'),
    _both("TE with a tab", b"Transfer-Encoding:\tchunked\r\n"),
    _both("TE with a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n"),
    _both("TE with a NUL", b"Transfer-Encoding: \x00chunked\r\n"),
    _both("TE with a blank behind", b"Transfer-Encoding: chunked \r\n"),
    _both("TE with a blank before the colon", b"Transfer-Encoding : chunked\r\n"),
    _both("TE with a tab before the colon", b"Transfer-Encoding\t: chunked\r\n"),
    _both("TE with a line feed before the colon", b"Transfer-Encoding\n: chunked\r\n"),
    _both("TE on a folded line", b"Transfer-Encoding:\r\n chunked\r\n"),
    _both("TE behind a folded line", b"X: y\r\n Transfer-Encoding: chunked\r\n"),
    _both("TE behind a bare line feed", b"X: y\nTransfer-Encoding: chunked\r\n"),
    _both("TE behind a bare carriage return", b"X: y\rTransfer-Encoding: chunked\r\n"),
    _both("TE with a line feed in it", b"Transfer-Encoding: chu\nnked\r\n"),
    _both("TE with a high byte", b"Transfer-Encoding: \xa0chunked\r\n"),
    _both("TE with an empty value", b"Transfer-Encoding:\r\n"),
    _both("TE with commas", b"Transfer-Encoding: ,chunked,\r\n"),
    # Another name is another header: the length counts, for everybody.
    _both("an underline for the hyphen", b"Transfer_Encoding: chunked\r\n", "one"),
    _both("a prefix", b"X-Transfer-Encoding: chunked\r\n", "one"),
)

LENGTHS = (
    Attempt("two lengths", post(b"Content-Length: 2\r\n", counted(b"{}" + SMUGGLED), body=b"{}" + SMUGGLED), "refused"),
    Attempt(
        "two lengths, the other way round",
        post(counted(b"{}" + SMUGGLED), b"Content-Length: 2\r\n", body=b"{}" + SMUGGLED),
        "refused",
    ),
    Attempt("the same length twice", post(b"Content-Length: 2\r\nContent-Length: 2\r\n", body=b"{}"), "refused"),
    *(
        Attempt(f"length {value!r}", post(b"Content-Length: " + value + b"\r\n", body=b"{}" + SMUGGLED), "refused")
        for value in (
            b"2, 90",
            b"2,2",
            b"+2",
            b"-2",
            b"0x2",
            b"2 2",
            b"2;",
            b"2.0",
            b"2e0",
            b"",
            b"\x0b2",
            b"2\x00",
            b"18446744073709551618",
            b"36893488147419103234",
            b"99999999999999999999999999",
            b"\xd9\xa2",
        )
    ),
    Attempt("length with a blank before the colon", post(b"Content-Length : 2\r\n", body=b"{}" + SMUGGLED), "refused"),
    Attempt("length on a folded line", post(b"Content-Length:\r\n 2\r\n", body=b"{}" + SMUGGLED), "refused"),
    Attempt("length of leading zeros", post(b"Content-Length: 0002\r\n", body=b"{}"), "one"),
)

CHUNKS = tuple(
    Attempt(f"chunks: {name}", post(TE, body=body), outcome)
    for name, body, outcome in (
        ("in good order", WHOLE, "one"),
        ("with an extension", b"2;a=b\r\n{}\r\n0;c\r\n\r\n", "one"),
        ("with a quoted extension", b'2;a="b c"\r\n{}\r\n0\r\n\r\n', "one"),
        ("with a trailer", b"2\r\n{}\r\n0\r\nX: y\r\n\r\n", "one"),
        ("with a length in the trailer", b"2\r\n{}\r\n0\r\nContent-Length: 90\r\n\r\n", "refused"),
        ("size over 64 bits", b"10000000000000002\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size of many digits", b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size with 0x", b"0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size with a plus", b"+2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size below zero", b"-2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size with an underline", b"0_2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size with a blank before", b" 2\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size with a blank behind", b"2 \r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("no size", b"\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size of letters", b"ZZ\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("data longer than said", b"2\r\n{}XX\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("data without its line end", b"2\r\n{}0\r\n\r\n" + SMUGGLED, "refused"),
        ("data ended by a line feed", b"2\r\n{}\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size ended by a line feed", b"2\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("size ended by a carriage return", b"2\r{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("extension ended by a line feed", b"2;\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("extension with a line feed", b"2;a\nb\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("extension with a carriage return", b"2;a\rb\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("extension with a NUL", b"2;a\x00\r\n{}\r\n0\r\n\r\n" + SMUGGLED, "refused"),
        ("last one ended by line feeds", b"2\r\n{}\r\n0\n\n" + SMUGGLED, "refused"),
        ("trailer without a colon", b"2\r\n{}\r\n0\r\nXY\r\n\r\n" + SMUGGLED, "refused"),
        ("trailer with a bare line feed", b"2\r\n{}\r\n0\r\nX: y\n\r\n" + SMUGGLED, "refused"),
    )
)

HEADS = (
    *(
        Attempt(f"header {line!r}", post(line, b"Content-Length: 2\r\n", body=b"{}" + SMUGGLED), "refused")
        for line in (
            b"X : y\r\n",
            b" X: y\r\n",
            b"X\r\n",
            b": y\r\n",
            b"X Y: z\r\n",
            b"X\x00: y\r\n",
            b"X: y\x00z\r\n",
            b"X: y\rz\r\n",
            b"X\xe9: y\r\n",
            b"X(: y\r\n",
            b"X: y\r\n\tz\r\n",
            b"X: y\n",
        )
    ),
    *(
        Attempt(f"request line {line!r}", post(b"Content-Length: 2\r\n", body=b"{}" + SMUGGLED, line=line), "refused")
        for line in (
            b"POST /livez HTTP/1.1\n",
            b"POST\t/livez\tHTTP/1.1\r\n",
            b"POST /livez HTTP/1.1 \r\n",
            b"POST /livez http/1.1\r\n",
            b"POST /livez HTTP/1.10\r\n",
            b"POST /livez HTTP/2.0\r\n",
            b"POST /livez HTTP/11\r\n",
            b"POST /li vez HTTP/1.1\r\n",
            b"POST /livez\x00 HTTP/1.1\r\n",
            b"POST /livez\r\n",
            b" POST /livez HTTP/1.1\r\n",
            b"P\x00ST /livez HTTP/1.1\r\n",
            b"POST livez HTTP/1.1\r\n",
            b"FOO /livez HTTP/1.1\r\n",
        )
    ),
    Attempt(
        "the preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + SMUGGLED,
        "refused",
    ),
    Attempt("HTTP/0.9", b"GET /livez\r\n" + SMUGGLED, "refused"),
    Attempt("chunks in HTTP/1.0", post(TE, body=HIDDEN, line=b"POST /livez HTTP/1.0\r\n"), "refused"),
    Attempt(
        "absolute form",
        post(b"Content-Length: 2\r\n", body=b"{}", line=b"POST http://evil.example/livez HTTP/1.1\r\n"),
        "one",
    ),
    # RFC 9112, section 3, lets a server take any white space for one blank.
    Attempt(
        "two blanks in the request line",
        post(b"Content-Length: 2\r\n", body=b"{}", line=b"POST  /livez HTTP/1.1\r\n"),
        "one",
    ),
    Attempt("a line end before the request", b"\r\n" + post(b"Content-Length: 2\r\n", body=b"{}"), "one"),
)

UNREAD = tuple(
    Attempt(f"a body that nobody reads: {name}", post(*headers, body=body, line=line), "one")
    for line, name in (
        (b"GET /livez HTTP/1.1\r\n", "GET"),
        (b"POST /livez HTTP/1.1\r\n", "405"),
        (b"POST /nothing HTTP/1.1\r\n", "404"),
        (b"GET /v1/models HTTP/1.1\r\n", "models"),
        (b"DELETE /v1/responses/resp_0 HTTP/1.1\r\n", "DELETE"),
        (b"OPTIONS /v1/models HTTP/1.1\r\n", "OPTIONS"),
        (b"GET /admin/api/keys HTTP/1.1\r\n", "403"),
    )
    for headers, body in (
        ((counted(SMUGGLED),), SMUGGLED),
        ((TE,), CHUNK_OF_SMUGGLED),
        ((counted(SMUGGLED), b"Expect: 100-continue\r\n"), SMUGGLED),
        ((counted(SMUGGLED), b"Connection: content-length\r\n"), SMUGGLED),
        (
            (counted(SMUGGLED), b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"),
            SMUGGLED,
        ),
    )
)
"""CL.0: an answer that comes before the body was read must not make a request of the body."""

ATTEMPTS: tuple[Attempt, ...] = (*BOTH, *LENGTHS, *CHUNKS, *HEADS, *UNREAD)
