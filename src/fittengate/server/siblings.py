"""Workers ask each other what only one of them has in memory.

Each worker has an inbox: a pair of datagram sockets that the parent makes before it forks, so nobody else can put
anything into it. A letter is a question with a socket, on which the answer comes back. Laws: a question is answered
once or not at all, and an empty answer says that nothing is known; whoever asks waits for a bounded time and reads a
bounded answer; so many questions are worked on at a time, and others get an empty answer at once.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

SECONDS = 10.0
"""For an answer: megabytes of text may have to be gone through."""

MAX_QUESTION_BYTES = 65_536
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MOST_AT_A_TIME = 4

_READ_BYTES = 262_144

Answerer: TypeAlias = Callable[[bytes], Awaitable[bytes]]


class Inboxes:
    """The inboxes of all workers, in their parent."""

    def __init__(self, count: int) -> None:
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]

    def of(self, number: int) -> "Siblings":
        """Return what one worker has of them, in that worker; the rest is closed there."""
        inbox = self._pairs[number][0]
        others = [pair[1] for at, pair in enumerate(self._pairs) if at != number]
        for at, pair in enumerate(self._pairs):
            pair[1 if at == number else 0].close()
        return Siblings(inbox, others)

    def close(self) -> None:
        """Take no more letters."""
        for one, other in self._pairs:
            one.close()
            other.close()


class Siblings:
    """The other workers, as one of them reaches them. Belongs to the event loop."""

    def __init__(self, inbox: socket.socket, others: list[socket.socket]) -> None:
        for one in (inbox, *others):
            one.setblocking(False)
        self._inbox = inbox
        self._others = others
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, answerer: Answerer) -> None:
        """Answer the others' questions from now on; ``answerer`` returns an empty answer where it knows nothing."""
        asyncio.get_running_loop().add_reader(self._inbox, self._read, answerer)

    async def ask(self, question: bytes) -> list[bytes | None]:
        """Return the answers of the other workers; None for one that gave none in time."""
        return await asyncio.gather(*(self._asked(other, question) for other in self._others))

    async def close(self) -> None:
        """Answer nothing any more."""
        asyncio.get_running_loop().remove_reader(self._inbox)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in (self._inbox, *self._others):
            one.close()

    async def _asked(self, other: socket.socket, question: bytes) -> bytes | None:
        loop = asyncio.get_running_loop()
        mine, theirs = socket.socketpair()
        with mine:
            mine.setblocking(False)
            with theirs:
                try:
                    socket.send_fds(other, [question], [theirs.fileno()])
                except OSError:
                    # Its inbox is full, or the question too long for one.
                    return None
            answer = bytearray()
            try:
                async with asyncio.timeout(SECONDS):
                    while data := await loop.sock_recv(mine, _READ_BYTES):
                        answer += data
                        if len(answer) > MAX_ANSWER_BYTES:
                            return None
            except (OSError, TimeoutError):
                return None
        return bytes(answer)

    def _read(self, answerer: Answerer) -> None:
        with contextlib.suppress(BlockingIOError):
            question, fds, _, _ = socket.recv_fds(self._inbox, MAX_QUESTION_BYTES, 1)
            if len(self._tasks) >= MOST_AT_A_TIME:
                for fd in fds:
                    os.close(fd)
                return
            for fd in fds:
                task = asyncio.get_running_loop().create_task(_replied(answerer, question, socket.socket(fileno=fd)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)


async def _replied(answerer: Answerer, question: bytes, line: socket.socket) -> None:
    """Send the answer to a question. Whoever asked may have gone."""
    with line:
        line.setblocking(False)
        answer = await answerer(question)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                await asyncio.get_running_loop().sock_sendall(line, answer)
