"""The language server: what an editor says to it and what it answers, by way of pygls.

Laws: of the requests for one file and of one kind only the newest is asked; an older one is cancelled and answered with
nothing, and so is one whose editor cancels it, which closes its connection. An answer is inserted at the cursor and
replaces nothing, but for the word before it, which is repeated where an editor's list wants that. What fails is said
once in the editor's log and answered with nothing: a person who types is not to be stopped.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInternalError
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, lsp_method

from fittengate import __version__
from fittengate.cli.completer import Completer
from fittengate.cli.documents import Change, Documents, Place, units_of
from fittengate.cli.failures import CommandError, tell
from fittengate.core.ask import FillAsk
from fittengate.core.faults import Fault

MAX_LABEL = 80
"""Longest line of a list of proposals, in characters."""

MAX_SAID = 64
"""So many different failures are remembered as said."""

_WORD = re.compile(r"\w*\Z")


class _Protocol(LanguageServerProtocol):
    """The library's protocol, without its own copy of texts.

    It cuts lines as Python does, and while it applies a change to its copy it writes the place that it found into the
    change itself. Nor does it send the tracebacks that the library puts into errors.
    """

    @lsp_method(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: lsp.DidChangeTextDocumentParams) -> Iterator[Any]:
        """Hand the changes on as they came."""
        yield self.fm.features[lsp.TEXT_DOCUMENT_DID_CHANGE], (params,), None

    def _send_response(
        self, msg_id: str | int, result: Any | None = None, error: lsp.ResponseError | None = None
    ) -> None:
        told = None if error is None else lsp.ResponseError(error.code, error.message)
        super()._send_response(msg_id, result, told)


class _Server(LanguageServer):
    """The library's server, without its pop-up for every failure: a person who types is not to be stopped."""

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Write one line for the editor's log of the server's errors, if the error is not the editor's own."""
        del source
        if isinstance(error, JsonRpcInternalError) or not isinstance(error, JsonRpcException):
            tell(error, debug=False)


class Newest:
    """Runs requests, of each name the newest alone, after a pause in which a newer one may come."""

    def __init__(self, completer: Completer, pause: float) -> None:
        """``pause`` is in seconds."""
        self._completer = completer
        self._pause = pause
        self._running: dict[str, asyncio.Task[str]] = {}

    async def text(self, name: str, fill: FillAsk) -> str:
        """Return the text to insert; none where a newer request of that name came. Raises Fault, CommandError."""
        older = self._running.get(name)
        if older is not None:
            older.cancel()
        task = self._running[name] = asyncio.create_task(self._ask(fill))
        try:
            await asyncio.wait([task])
        finally:
            # Where the wait itself was cancelled, the work is too.
            task.cancel()
            if self._running.get(name) is task:
                del self._running[name]
        return "" if task.cancelled() else task.result()

    async def _ask(self, fill: FillAsk) -> str:
        await asyncio.sleep(self._pause)
        return await self._completer.complete(fill)


class Editor:
    """One editor's side of the server."""

    def __init__(self, server: LanguageServer, completer: Completer, pause: float) -> None:
        self._server = server
        self._newest = Newest(completer, pause)
        self._documents = Documents()
        self._said: set[str] = set()

    @property
    def _encoding(self) -> str:
        agreed = self._server.workspace.position_encoding
        return agreed.value if isinstance(agreed, lsp.PositionEncodingKind) else agreed or "utf-16"

    def opened(self, params: lsp.DidOpenTextDocumentParams) -> None:
        """Keep a file."""
        document = params.text_document
        self._documents.put(document.uri, document.text)

    def changed(self, params: lsp.DidChangeTextDocumentParams) -> None:
        """Keep what became of it."""
        changes = [_change(change) for change in params.content_changes]
        self._documents.change(params.text_document.uri, changes, self._encoding)

    def closed(self, params: lsp.DidCloseTextDocumentParams) -> None:
        """Forget it."""
        self._documents.drop(params.text_document.uri)

    async def inline(self, params: lsp.InlineCompletionParams) -> lsp.InlineCompletionList:
        """Propose what to insert at the cursor, as grey text."""
        _, text = await self._proposal("inline", params)
        here = lsp.Range(params.position, params.position)
        return lsp.InlineCompletionList([lsp.InlineCompletionItem(text, range=here)] if text else [])

    async def listed(self, params: lsp.CompletionParams) -> lsp.CompletionList:
        """Propose the same as an entry of a list, behind the word that the list is filtered by."""
        before, text = await self._proposal("list", params)
        if not text:
            return lsp.CompletionList(is_incomplete=True, items=[])
        found = _WORD.search(before)
        word = "" if found is None else found[0]
        at = params.position
        start = lsp.Position(at.line, at.character - units_of(word, self._encoding))
        first = (word + text.strip("\r\n")).splitlines()[0].strip()
        item = lsp.CompletionItem(
            label=first[:MAX_LABEL] or "…",
            kind=lsp.CompletionItemKind.Text,
            detail="Fitten Code",
            filter_text=word + text,
            insert_text_format=lsp.InsertTextFormat.PlainText,
            insert_text_mode=lsp.InsertTextMode.AsIs,
            text_edit=lsp.TextEdit(lsp.Range(start, at), word + text),
        )
        return lsp.CompletionList(is_incomplete=True, items=[item])

    async def _proposal(self, kind: str, params: lsp.InlineCompletionParams | lsp.CompletionParams) -> tuple[str, str]:
        """Return what stands before the cursor, and what to insert there."""
        uri = params.text_document.uri
        around = self._documents.around(uri, Place(params.position.line, params.position.character), self._encoding)
        if around is None:
            return "", ""
        before, after = around
        document = self._server.workspace.get_text_document(uri)
        fill = FillAsk(before, after, _name(uri, self._server.workspace.root_uri), document.language_id or "")
        try:
            return before, await self._newest.text(f"{kind} {uri}", fill)
        except (Fault, CommandError) as error:
            self._say(error.message if isinstance(error, Fault) else str(error))
            return before, ""

    def _say(self, message: str) -> None:
        if message not in self._said and len(self._said) < MAX_SAID:
            self._said.add(message)
            self._server.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, f"fittengate: {message}"))


def make_server(completer: Completer, pause: float) -> LanguageServer:
    """Return a server that proposes what ``completer`` gives; ``pause`` seconds are waited for a newer request."""
    sync = lsp.TextDocumentSyncKind.Incremental
    server = _Server("fittengate", __version__, sync, protocol_cls=_Protocol)
    editor = Editor(server, completer, pause)
    answers: dict[str, Callable[..., Any]] = {
        lsp.TEXT_DOCUMENT_DID_OPEN: editor.opened,
        lsp.TEXT_DOCUMENT_DID_CHANGE: editor.changed,
        lsp.TEXT_DOCUMENT_DID_CLOSE: editor.closed,
        lsp.TEXT_DOCUMENT_INLINE_COMPLETION: editor.inline,
        lsp.TEXT_DOCUMENT_COMPLETION: editor.listed,
    }
    options: dict[str, Any] = {
        lsp.TEXT_DOCUMENT_COMPLETION: lsp.CompletionOptions(trigger_characters=["."]),
        lsp.TEXT_DOCUMENT_INLINE_COMPLETION: lsp.InlineCompletionOptions(),
    }
    for name, answer in answers.items():
        # The library writes attributes on what it is given, which a bound method has no room for.
        server.feature(name, options.get(name))(partial(answer))
    return server


def _change(change: lsp.TextDocumentContentChangeEvent) -> Change:
    if not isinstance(change, lsp.TextDocumentContentChangePartial):
        return Change(None, None, change.text)
    start, end = change.range.start, change.range.end
    return Change(Place(start.line, start.character), Place(end.line, end.character), change.text)


def _name(uri: str, root: str | None) -> str:
    """Return a file's path below the folder that is open, its name alone where it is elsewhere: no more is told."""
    try:
        path = PurePosixPath(unquote(urlsplit(uri).path))
        folder = None if root is None else PurePosixPath(unquote(urlsplit(root).path))
    except ValueError:
        return ""
    if folder is not None and path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return path.name
