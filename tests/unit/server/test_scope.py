"""What the application is told of a request is what uvicorn would have told it."""

import asyncio
from types import SimpleNamespace

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from fakes.transport import Transport
from fittengate.server.http import MOST_TARGETS, TARGET_BYTES, protocol_class
from fittengate.server.outlet import Outlet
from fittengate.server.request import OUTLET

ODD_TARGETS = [
    b"/",
    b"/v1/chat/completions",
    b"/v1/chat/completions?",
    b"/v1/chat/completions?a=b&c=%20d",
    b"/v1/models/a%2Fb%20c%C3%A9?x",
    b"/%",
    b"/%zz%",
    b"/%00",
    b"/%ff%fe",
    b"//double//slash/",
    b"/a/../b/./c",
    b"/a;p=1?q;r#fragment",
    b"/a#fragment?no-query",
    b"*",
    b"http://other.example:81/path%41?q=1",
    b"https://user:pass@host/x",
    b"http://host",
    b"other.example:443",
    b"relative",
    b"?only-a-query",
    b"",
    b"/a b",
    b"/caf\xc3\xa9",
    b"/\xff",
    b"/a\\b",
    b"/a|b{c}",
    b"/" + b"x" * (TARGET_BYTES + 1),
    b"/" + b"%41" * 100,
    b"[::1]/x",
    b"/a\x01b",
    b"/a\tb",
]


class Told:
    """An application that keeps the scopes and bodies it is told, and answers with nothing."""

    def __init__(self, root_path=""):
        self.scopes, self.bodies = [], []
        self.config = uvicorn.Config(self, log_config=None, access_log=False, lifespan="off", ws="none")
        self.config.root_path = root_path
        self.config.load()

    async def __call__(self, scope, receive, send):
        self.scopes.append({name: value for name, value in scope.items() if name != OUTLET})
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def of_uvicorn(told):
    return HttpToolsProtocol(told.config, ServerState(), {"a": 1}, asyncio.get_running_loop())


def of_ours(told):
    kind = protocol_class(0, 0, SimpleNamespace(grade=0))
    return kind(told.config, ServerState(), {"a": 1}, asyncio.get_running_loop())


async def fed(protocol, *pieces):
    """Return whether the connection was closed, after the pieces came."""
    transport = Transport()
    protocol.connection_made(transport)
    for piece in pieces:
        if not transport.closed:
            protocol.data_received(piece)
        for _ in range(5):
            await asyncio.sleep(0)
    protocol._unset_keepalive_if_required()
    return transport.closed


@pytest.mark.parametrize("root_path", ["", "/below"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"CONNECT", b"OPTIONS"])
@pytest.mark.parametrize("target", ODD_TARGETS)
async def test_a_scope_is_uvicorns_whatever_the_target_is(target, method, version, root_path):
    """What uvicorn takes for no request is none here."""
    request = b"%b %b %b\r\nHost: x\r\nX-Odd: \xff\r\nContent-Length: 0\r\n\r\n" % (method, target, version)
    theirs, ours = Told(root_path), Told(root_path)
    closed = await fed(of_uvicorn(theirs), request)
    # A request for a tunnel ends the connection here, and in uvicorn it does not.
    assert await fed(of_ours(ours), request) == closed or method == b"CONNECT"
    assert ours.scopes == theirs.scopes
    assert [type(value) for scope in ours.scopes for value in scope.values()] == [
        type(value) for scope in theirs.scopes for value in scope.values()
    ]


async def test_a_target_from_memory_is_the_same_scope():
    """A second request on the same server finds its target known, and is told the same."""
    theirs, ours = Told(), Told()
    kind = protocol_class(0, 0, SimpleNamespace(grade=0))
    for target in ODD_TARGETS * 2:
        request = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target
        await fed(of_uvicorn(theirs), request)
        await fed(kind(ours.config, ServerState(), {"a": 1}, asyncio.get_running_loop()), request)
    assert ours.scopes == theirs.scopes
    assert kind.targets
    assert all(len(url) <= TARGET_BYTES for url in kind.targets)


async def test_a_split_or_early_request_is_told_the_same():
    """Byte by byte, several at once, with a body in pieces: the scopes and bodies are uvicorn's."""
    body = b"0123456789"
    one = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + body
    for pieces in ([one[at : at + 1] for at in range(len(one))], [one * 5], [one[:70], one[70:] + one, one]):
        theirs, ours = Told(), Told()
        assert await fed(of_ours(ours), *pieces) == await fed(of_uvicorn(theirs), *pieces)
        assert (ours.scopes, len(ours.bodies)) == (theirs.scopes, len(theirs.bodies))


async def test_only_so_many_targets_are_remembered():
    """Whoever asks for thousands of paths does not fill the memory (P6)."""
    told = Told()
    protocol = of_ours(told)
    for number in range(5 * MOST_TARGETS):
        await fed(protocol, b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        assert len(protocol.targets) <= MOST_TARGETS
    assert [scope["path"] for scope in told.scopes] == [f"/{number}" for number in range(5 * MOST_TARGETS)]


async def test_a_cycle_begins_as_uvicorns_does():
    """Each thing that uvicorn's own cycle sets has the same value here; what stands for the event and the body does as well."""
    theirs, ours = of_uvicorn(Told()), of_ours(Told())
    for protocol in (theirs, ours):
        await fed(protocol, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    known = {name: value for name, value in vars(theirs.cycle).items() if isinstance(value, bool | int | None)}
    assert vars(ours.cycle).keys() == vars(theirs.cycle).keys() | {"_front", "_held", "_outbox"}
    assert {name: vars(ours.cycle)[name] for name in known} == known
    assert (bytes(ours.cycle.body), bytes(theirs.cycle.body)) == (b"", b"")
    assert isinstance(ours.cycle, Outlet)
    assert isinstance(ours.cycle, RequestResponseCycle)


async def test_whoever_waits_for_a_body_is_woken_as_by_an_event():
    """One that is rung already does not wait; one that gives up is forgotten; one ring wakes all."""
    protocol = of_ours(Told())
    await fed(protocol, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
    bell = type(protocol.cycle.message_event)()
    waiting = [asyncio.create_task(bell.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False, False]
    bell.set()
    bell.clear()
    await asyncio.gather(*waiting[1:])
    bell.set()
    await bell.wait()
    bell.clear()
    late = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    assert not late.done()
    late.cancel()
