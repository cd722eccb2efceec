"""The line to the editor: standard input and output, and what no handler ever gets to see.

Laws: whatever comes is answered or passed over, and no traceback goes anywhere. Every request gets one answer: one that
cannot be read, comes too early, too late or for what is not there gets an error of JSON-RPC. Input is read by a thread
that keeps no process alive, so that a signal ends the server at once. Whatever ends it, requests under way are
cancelled and connections closed.
"""

import asyncio
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from types import FrameType
from typing import Any

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from fittengate.cli.completer import Completer
from fittengate.cli.failures import CommandError
from fittengate.cli.frames import Frames, FramingError

READ_BYTES = 64 * 1024

_UNREADABLE = -32700
_INVALID = -32600
_NO_METHOD = -32601
_BAD_PARAMS = -32602
_TOO_EARLY = -32002
"""Codes of JSON-RPC 2.0, and ServerNotInitialized of LSP."""


class Output:
    """Standard output as the library writes to it. Where nobody reads it any more, ``gone`` is set, nothing raised."""

    def __init__(self, descriptor: int) -> None:
        self.gone = False
        self.writing = False
        """Perhaps for ever: an editor need not read."""
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Write all of it at once."""
        left = memoryview(data)
        try:
            self.writing = True
            while left and not self.gone:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            self.gone = True
        finally:
            self.writing = False

    def close(self) -> None:
        """Leave it open: it is not ours."""


class Input:
    """Standard input, a piece at a time and only when one is asked for."""

    def __init__(self, descriptor: int) -> None:
        self.stopped = False
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._piece: asyncio.Future[bytes] | None = None
        self._wanted: queue.SimpleQueue[asyncio.Future[bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True, name="input").start()

    async def read(self) -> bytes:
        """Return what came next; nothing at the end, and after :meth:`stop`."""
        if self.stopped:
            return b""
        piece: asyncio.Future[bytes] = self._loop.create_future()
        self._piece = piece
        self._wanted.put(piece)
        return await piece

    def stop(self) -> None:
        """Wait for no more."""
        self.stopped = True
        if self._piece is not None:
            _give(self._piece, b"")

    def _read(self) -> None:
        while True:
            piece = self._wanted.get()
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except OSError:
                data = b""
            try:
                self._loop.call_soon_threadsafe(_give, piece, data)
            except RuntimeError:
                return  # The loop has ended, and nobody waits.


def _give(piece: asyncio.Future[bytes], data: bytes) -> None:
    if not piece.done():
        piece.set_result(data)


class Conversation:
    """What an editor may say when: ``initialize`` first, nothing but ``exit`` after ``shutdown``."""

    def __init__(self, server: LanguageServer) -> None:
        self.ended = False
        self.stopped = False
        """The editor has sent ``shutdown``."""
        self._protocol = server.protocol
        self._begun = False

    def take(self, body: bytes) -> None:
        """Answer a message, or hand it to the library, which does."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            self._refuse(None, _UNREADABLE, "The message is no JSON.")
            return
        name = message.get("id") if isinstance(message, dict) else None
        known = name if isinstance(name, str | int) else None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._refuse(known, _INVALID, "The message is not of JSON-RPC 2.0.")
        elif "method" not in message and "id" in message:
            return  # An answer: nothing is ever asked of the editor.
        elif not isinstance(message.get("method"), str) or ("id" in message and known is None):
            self._refuse(known, _INVALID, "The message has no method, or an id that is neither text nor number.")
        elif "id" in message:
            self._request(message, known)
        else:
            self._tell(message)

    def _request(self, message: dict[str, Any], name: str | int | None) -> None:
        method = message["method"]
        first = method == lsp.INITIALIZE
        if self.stopped:
            self._refuse(name, _INVALID, "The server is shutting down.")
        elif first and self._begun:
            self._refuse(name, _INVALID, "initialize comes once.")
        elif not first and not self._begun:
            self._refuse(name, _TOO_EARLY, "Send initialize first.")
        elif not self._has(method):
            self._refuse(name, _NO_METHOD, f"There is no method {method[:100]}.")
        else:
            try:
                structured = self._protocol.structure_message(message)
            except (JsonRpcException, RecursionError):
                self._refuse(name, _BAD_PARAMS, f"The parameters of {method} are not of its form.")
                return
            self._begun = True
            self.stopped = method == lsp.SHUTDOWN
            self._protocol.handle_message(structured)

    def _tell(self, message: dict[str, Any]) -> None:
        method = message["method"]
        if method == lsp.EXIT:
            self.ended = True
        elif self._begun and not self.stopped and (self._has(method) or method == lsp.CANCEL_REQUEST):
            try:
                structured = self._protocol.structure_message(message)
            except (JsonRpcException, RecursionError):
                return  # Nobody waits for an answer.
            self._protocol.handle_message(structured)

    def _has(self, method: str) -> bool:
        features = self._protocol.fm
        return method in features.builtin_features or method in features.features

    def _refuse(self, name: str | int | None, code: int, text: str) -> None:
        error: Mapping[str, Any] = {"code": code, "message": text}
        self._protocol._send_data({"jsonrpc": "2.0", "id": name, "error": error})  # noqa: SLF001 - it has no other way to send


def serve(server: LanguageServer, completer: Completer, *, debug: bool) -> None:
    """Serve the editor until it ends, or SIGTERM comes. Raises CommandError for input that is no such protocol."""
    if sys.stdin is None or sys.stdout is None:
        raise CommandError(
            "`fittengate lsp` talks over standard input and output, and one is closed. Let an editor start it."
        )
    if not debug:
        # What the library logs are tracebacks, for whoever works on it.
        logging.getLogger("pygls").addHandler(logging.NullHandler())
        logging.getLogger("pygls").propagate = False
    output = Output(sys.stdout.fileno())
    server.protocol.set_writer(output)
    asyncio.run(_serve(server, completer, output, sys.stdin.fileno()))


async def _messages(given: Input) -> AsyncIterator[bytes]:
    frames = Frames()
    while data := await given.read():
        for body in frames.feed(data):
            yield body
    if not given.stopped:
        frames.close()


async def _serve(server: LanguageServer, completer: Completer, output: Output, descriptor: int) -> None:
    talk, given = Conversation(server), Input(descriptor)
    loop = asyncio.get_running_loop()

    def end(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(given.stop)
        if output.writing:
            raise InterruptedError  # Without it Python takes the writing up again.

    # Not the loop's own way, which Windows lacks and which nothing wakes while something is written.
    signal.signal(signal.SIGTERM, end)
    try:
        async for body in _messages(given):
            talk.take(body)
            if talk.ended or output.gone:
                break
    except FramingError as error:
        text = f"standard input is no language server protocol: {error}. Let an editor start `fittengate lsp`."
        raise CommandError(text) from error
    finally:
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await completer.close()
    if talk.ended and not talk.stopped:
        # As the protocol has it ("exit").
        raise CommandError("the editor ended the language server without asking it to shut down first.")
