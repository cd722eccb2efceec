"""The language server against editors that send anything: raw JSON-RPC over standard input and output."""

import asyncio
import json
import signal
from contextlib import asynccontextmanager

import pytest

from fakes.line import KEY, until
from fakes.running import command, environment
from fittengate.simulator import Plan

URI = "file:///project/add.py"
BODY = "\n    return a + b"


class Editor:
    """Talks to one server, byte by byte where it must."""

    def __init__(self, process):
        self.process = process
        self.heard = []

    def send(self, data):
        self.process.stdin.write(data)

    def say(self, **fields):
        self.send(frame({"jsonrpc": "2.0", **fields}))

    async def message(self):
        """Return the next message of the server."""
        async with asyncio.timeout(15):
            head = await self.process.stdout.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
            return json.loads(await self.process.stdout.readexactly(int(length.split(b":")[1])))

    async def answer(self, number, method, params=None):
        """Return the answer to a request; everything else on the way is passed over."""
        self.say(id=number, method=method, params={} if params is None else params)
        while (message := await self.message()).get("id") != number:
            self.heard.append(message)
        return message

    async def begin(self, *encodings):
        capabilities = {"general": {"positionEncodings": encodings}} if encodings else {}
        made = await self.answer(0, "initialize", {"capabilities": capabilities, "processId": None, "rootUri": None})
        self.say(method="initialized", params={})
        return made["result"]["capabilities"]

    def open(self, text, uri=URI):
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.say(method="textDocument/didOpen", params={"textDocument": document})

    def change(self, start, end, text, uri=URI):
        spot = {"start": {"line": start[0], "character": start[1]}, "end": {"line": end[0], "character": end[1]}}
        params = {
            "textDocument": {"uri": uri, "version": 2},
            "contentChanges": [{"range": spot, "text": text}],
        }
        self.say(method="textDocument/didChange", params=params)

    async def inline(self, number, line, character, uri=URI):
        """Return the texts that are proposed."""
        answer = await self.answer(number, "textDocument/inlineCompletion", at(line, character, uri))
        return [item["insertText"] for item in answer["result"]["items"]]

    async def end(self):
        """Return the exit code and what stood on standard error, after the end of input."""
        self.process.stdin.close()
        async with asyncio.timeout(15):
            said = await self.process.stderr.read()
            return await self.process.wait(), said.decode()


def frame(message, head="Content-Length"):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return f"{head}: {len(body)}\r\n\r\n".encode() + body


def at(line, character, uri=URI):
    position = {"line": line, "character": character}
    return {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": 2}}


@asynccontextmanager
async def started(simulator, tmp_path, **settings):
    """Start a server as an editor does."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command(), "lsp", stdin=pipe, stdout=pipe, stderr=pipe, cwd=tmp_path, limit=2**24,
        env=environment(simulator, tmp_path / "state", lsp_pause=0, **settings),
    )  # fmt: skip
    try:
        yield Editor(process)
    finally:
        if process.returncode is None:
            process.kill()
        process.stdin.close()
        await process.communicate()


@pytest.fixture
async def editor(simulator, gateway, tmp_path):
    """Make an editor whose server asks a gateway."""
    async with started(simulator, tmp_path, lsp_url=gateway.url, lsp_key=KEY) as made:
        yield made


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"Content-Length: x\r\n\r\n{}",
        b"Content-Length: -5\r\n\r\n{}",
        b"Content-Length: 99999999999999999999\r\n\r\n{}",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
        b"Content-Length: 100\r\n\r\n{}",
        b"\0" * 100_000,
    ],
)
async def test_garbage_is_one_line_and_code_1(editor, garbage):
    """What is no such protocol cannot be read any further: it says so, without a traceback."""
    editor.send(garbage)
    code, said = await editor.end()
    assert code == 1
    assert said.startswith("fittengate: standard input is no language server protocol: ")
    assert len(said.splitlines()) == 1


async def test_the_end_of_input_is_an_end_like_any_other(editor, simulator, gateway):
    """An editor that dies, with a request under way: that is given up, code 0, and not a word."""
    simulator.plan("completion", Plan(no_reply="stall"))
    await editor.begin()
    editor.open("def add(a, b):")
    editor.say(id=1, method="textDocument/inlineCompletion", params=at(0, 14))
    await until(lambda: gateway.running == 1)
    assert await editor.end() == (0, "")
    await until(lambda: gateway.running == 0)


async def test_an_editor_that_reads_nothing_more_ends_it(editor):
    """Its end of the pipe is closed: no traceback of a broken pipe."""
    await editor.begin()
    editor.process._transport.get_pipe_transport(1).close()
    for number in range(1, 5):
        editor.say(id=number, method="textDocument/inlineCompletion", params=at(0, 0))
    assert await editor.end() == (0, "")


@pytest.mark.parametrize("busy", [False, True])
async def test_sigterm_ends_it_with_code_0(editor, simulator, gateway, busy):
    """Idle or with a request under way, while its input stays open."""
    await editor.begin()
    if busy:
        simulator.plan("completion", Plan(no_reply="stall"))
        editor.open("def add(a, b):")
        editor.say(id=1, method="textDocument/inlineCompletion", params=at(0, 14))
        await until(lambda: gateway.running == 1)
    editor.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        assert await editor.process.wait() == 0
    assert await editor.process.stderr.read() == b""
    await until(lambda: gateway.running == 0)


async def test_exit_without_shutdown_is_code_1(editor):
    """As the protocol has it."""
    await editor.begin()
    editor.say(method="exit")
    code, said = await editor.end()
    assert code == 1
    assert len(said.splitlines()) == 1


async def test_what_cannot_be_answered_gets_an_error_of_json_rpc(editor):
    """No JSON, no JSON-RPC, too early, unknown, of another form, twice, too late; then it is still there."""
    for body in (b"{]", b"\xff\xfe", b"[" * 100_000):
        editor.send(frame(body))
        assert (await editor.message())["error"]["code"] == -32700
    for body in (b"[]", b"5", b"{}", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":null,"method":"shutdown"}'):
        editor.send(frame(body))
        assert (await editor.message())["error"]["code"] == -32600
    assert (await editor.answer(1, "shutdown"))["error"]["code"] == -32002
    editor.say(method="textDocument/didOpen", params={})
    await editor.begin()
    assert (await editor.answer(2, "initialize", {"capabilities": {}}))["error"]["code"] == -32600
    assert (await editor.answer("three", "textDocument/hover"))["error"]["code"] == -32601
    assert (await editor.answer(4, "textDocument/inlineCompletion", {"position": 5}))["error"]["code"] == -32602
    editor.say(id=5, method="no/such/method")
    assert (await editor.message())["error"]["code"] == -32601
    for fields in ({"method": "$/cancelRequest", "params": {"id": 99}}, {"id": [1], "result": {}}, {"method": "$/x"}):
        editor.say(**fields)
    editor.say(method="textDocument/didChange", params={"textDocument": 5})
    assert (await editor.answer(6, "shutdown"))["result"] is None
    assert (await editor.answer(7, "textDocument/inlineCompletion", at(0, 0)))["error"]["code"] == -32600
    editor.say(method="exit")
    assert await editor.end() == (0, "")


async def test_heads_come_in_pieces_and_in_any_case(editor):
    """Split anywhere, several at once, with other lines and without them."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "nothing"}
    for byte in frame(body):
        editor.send(bytes([byte]))
        await editor.process.stdin.drain()
    editor.send(frame(body, "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-length") + frame(body))
    for _ in range(3):
        assert (await editor.message())["id"] == 1


@pytest.mark.parametrize(("encoding", "unit"), [("utf-8", 4), ("utf-16", 2), ("utf-32", 1)])
async def test_positions_are_counted_as_agreed(editor, encoding, unit):
    """In bytes, in UTF-16 or in characters; lines end as the file has them."""
    assert (await editor.begin(encoding))["positionEncoding"] == encoding
    editor.open("x = 1\r\n😀 def add(a, b):\r\n")
    editor.change((1, 0), (1, unit + 1), "")
    assert await editor.inline(1, 1, 14) == [BODY]


async def test_changes_out_of_range_and_odd_addresses_stop_nothing(editor):
    """A place that is nowhere is the end that is nearest; half characters and addresses that are none are taken."""
    await editor.begin()
    editor.open("def add(a, b")
    editor.change((0, 12), (2**31 - 1, 2**31 - 1), ")")
    editor.change((900, 900), (900, 900), ":")
    assert await editor.inline(1, 0, 14) == [BODY]
    for number, uri in enumerate(["\ud800", "", "untitled:1", "file:///%ff%00"], start=2):
        editor.open("def add(a, b):", uri)
        assert (uri, await editor.inline(number, 0, 14, uri)) == (uri, [BODY])
    assert editor.heard == []


async def test_a_defect_shows_no_traceback(simulator, tmp_path):
    """What the library itself falls over is an error without the place where it fell, and one line."""
    async with started(simulator, tmp_path, lsp_url="http://127.0.0.1:9") as editor:
        params = {"capabilities": {}, "processId": None, "rootUri": "http://[x"}
        answer = await editor.answer(1, "initialize", params)
        assert answer["error"]["code"] == -32603
        assert "File" not in json.dumps(answer)
        code, said = await editor.end()
        assert code == 0
        assert len(said.splitlines()) == 1


async def test_what_the_editor_does_wrong_is_no_defect_of_ours(editor):
    """A command that there is none of: an error for the editor, and nothing for the person."""
    await editor.begin()
    answer = await editor.answer(1, "workspace/executeCommand", {"command": "none"})
    assert answer["error"]["code"] == -32602
    assert await editor.end() == (0, "")


async def test_a_thousand_documents_and_a_huge_one(editor):
    """Files of megabytes travel in many pieces; what was opened last is completed."""
    await editor.begin()
    for number in range(1100):
        editor.open("x", f"file:///project/{number}.py")
    editor.open("# 好\n" * 500_000 + "def add(a, b):")
    await editor.process.stdin.drain()
    assert await editor.inline(1, 500_000, 14) == [BODY]
