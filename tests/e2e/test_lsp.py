"""The language server, driven by a real client over standard input and output."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from fakes.line import KEY, until
from fakes.running import command, environment
from fittengate.simulator import Plan

URI = "file:///project/src/add.py"
BODY = "\n    return a + b"


@asynccontextmanager
async def editor(simulator, tmp_path, **settings):
    """Start the server as an editor does; give the client, which has opened a folder."""
    state = tmp_path / "state"
    client = LanguageClient("test", "1.0.0")
    client.said = []
    client.feature(lsp.WINDOW_LOG_MESSAGE)(lambda params: client.said.append(params.message))
    environ = environment(simulator, state, **settings)
    await client.start_io(*command(), "lsp", env=environ, cwd=tmp_path)
    try:
        made = await client.initialize_async(
            lsp.InitializeParams(lsp.ClientCapabilities(), root_uri="file:///work", process_id=None)
        )
        client.made = made.capabilities
        client.initialized(lsp.InitializedParams())
        yield client
        await client.shutdown_async(None)
        client.exit(None)
        async with asyncio.timeout(10):
            assert await client._server.wait() == 0
    finally:
        if client._server.returncode is None:
            client._server.kill()
        await client.stop()


def opened(client, text, uri=URI, language="python"):
    client.text_document_did_open(
        lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, language, version=1, text=text))
    )


def typed(client, line, character, text, uri=URI):
    here = lsp.Position(line, character)
    change = lsp.TextDocumentContentChangePartial(lsp.Range(here, here), text)
    identifier = lsp.VersionedTextDocumentIdentifier(version=2, uri=uri)
    client.text_document_did_change(lsp.DidChangeTextDocumentParams(identifier, [change]))


def inline(client, line, character, uri=URI):
    context = lsp.InlineCompletionContext(lsp.InlineCompletionTriggerKind.Automatic)
    params = lsp.InlineCompletionParams(context, lsp.TextDocumentIdentifier(uri), lsp.Position(line, character))
    return client.text_document_inline_completion_async(params)


@pytest.fixture
async def client(simulator, gateway, tmp_path):
    """Make an editor whose server asks a gateway."""
    async with editor(simulator, tmp_path, lsp_url=f"{gateway.url}/v1", lsp_key=KEY, lsp_pause=0.01) as made:
        yield made


async def test_grey_text_comes_from_a_gateway(client, simulator):
    """What is inserted goes to the cursor and replaces nothing; the file's path below the open folder goes along."""
    assert client.made.inline_completion_provider
    assert client.made.text_document_sync.change is lsp.TextDocumentSyncKind.Incremental
    opened(client, "# 😀\x0c\ndef add(a, b)\n\nprint(1)\n")
    typed(client, 1, 13, ":")
    (item,) = (await inline(client, 1, 14)).items
    assert (item.insert_text, item.range.start, item.range.end) == (BODY, lsp.Position(1, 14), lsp.Position(1, 14))
    (sent,) = simulator.requests("completion")
    assert "add.py" in repr(sent)
    assert "/work" not in repr(sent)


async def test_a_list_repeats_the_word_before_the_cursor(client, simulator):
    """Editors filter a list by that word, and put the whole in its place."""
    simulator.plan("completion", Plan(set={"generated_text": "al = 1\nprint(total)"}))
    opened(client, "'😀'; tot\n")
    params = lsp.CompletionParams(lsp.TextDocumentIdentifier(URI), lsp.Position(0, 9))
    (item,) = (await client.text_document_completion_async(params)).items
    assert item.text_edit.new_text == item.filter_text == "total = 1\nprint(total)"
    assert item.text_edit.range == lsp.Range(lsp.Position(0, 6), lsp.Position(0, 9))
    assert item.label == "total = 1"


async def test_a_file_that_is_not_open_has_no_proposals(client, simulator):
    """Nor one that was closed: nothing is asked."""
    assert not (await inline(client, 0, 0)).items
    opened(client, "def add(a, b):")
    client.text_document_did_close(lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(URI)))
    assert not (await inline(client, 0, 14)).items
    assert not simulator.requests("completion")


async def test_of_many_requests_the_newest_is_asked(client, simulator):
    """While somebody types: the older ones are answered with nothing, and never reach the service."""
    opened(client, "def add(a, b):")
    answers = await asyncio.gather(*[inline(client, 0, 14) for _ in range(10)])
    assert [len(answer.items) for answer in answers] == [0] * 9 + [1]
    assert len(simulator.requests("completion")) == 1


async def test_what_is_cancelled_is_closed(client, simulator, gateway):
    """A request that the editor takes back is given up on all the way."""
    simulator.plan("completion", Plan(no_reply="stall"))
    opened(client, "def add(a, b):")
    asked = asyncio.ensure_future(inline(client, 0, 14))
    await until(lambda: gateway.running == 1)
    message_id = next(iter(client.protocol._request_futures))
    client.cancel_request(lsp.CancelParams(message_id))
    await until(lambda: gateway.running == 0)
    with pytest.raises(Exception, match="cancel"):
        await asked


async def test_the_account_itself_is_asked_where_no_gateway_is_named(simulator, tmp_path):
    """It signs in when it is first asked; all requests of one session use one sign-in."""
    async with editor(simulator, tmp_path, lsp_pause=0) as client:
        opened(client, "def add(a, b):")
        for _ in range(2):
            (item,) = (await inline(client, 0, 14)).items
            assert item.insert_text == BODY
    assert simulator.counters.requests["login"] == 1


async def test_failures_are_said_once_and_stop_nobody(simulator, gateway, tmp_path):
    """A wrong key: no proposal, one line in the editor's log with what to do."""
    async with editor(simulator, tmp_path, lsp_url=gateway.url, lsp_key="wrong", lsp_pause=0) as client:
        opened(client, "def add(a, b):")
        for _ in range(3):
            assert not (await inline(client, 0, 14)).items
        await until(lambda: client.said)
        (said,) = client.said
        assert "API key" in said


async def test_without_a_gateway_or_an_account_it_says_what_to_do(simulator, tmp_path):
    """The server stays up: the gateway may be started later."""
    async with editor(simulator, tmp_path, lsp_url="http://127.0.0.1:9", lsp_pause=0) as client:
        opened(client, "x")
        assert not (await inline(client, 0, 1)).items
        await until(lambda: client.said)
        assert "fittengate serve" in client.said[0]


async def test_odd_texts_stop_nothing(client):
    """Half characters, NULs, positions that are nowhere, long lines."""
    opened(client, "\ud800\0\u2028\x0c" + "x" * 500_000 + "😀")
    for line, character in [(0, 1), (0, 10**6), (10**6, 0), (0, 2**31 - 1)]:
        assert (await inline(client, line, character)) is not None
    opened(client, "def add(a, b):")
    (item,) = (await inline(client, 0, 14)).items
    assert item.insert_text == BODY
