"""An exchange as files for a bug report: redacted, and with a page that says what they hold.

Law: no key, token, cookie, password, address or number of a person is in them, and, unless the gateway's settings ask for
it, no word of a prompt, a reply, a file or a tool's call. What is hidden and how stands in ``services/mask.py``; secrets go
by ``services/redact.py`` in any case.
"""

import contextlib
import zlib
from typing import Any, NamedTuple

import msgspec

from fittengate import __version__
from fittengate.core.caller import Receipt
from fittengate.services.mask import Mask
from fittengate.services.redact import Redactor
from fittengate.services.tape import Body, Pieces, Stream, Tape

MAX_UNPACKED_BYTES = 2 * 1024 * 1024
"""Of a compressed body: it was packed by us, from a file of bounded size."""

README = """What this is
============
One request to fittengate {version}, kept by its flight recorder, for a bug report.

  exchange.json   when, what path, which status, how it ended; sizes, and when each piece came or went
  client-in       what the client sent
  upstream-N-out  what the service was sent, by each call
  upstream-N-raw  what the service answered to it, as it came
  client-out      what the client was sent

What is not in it
=================
Keys, tokens, cookies and passwords. Of the client's headers there are the names, and the value of one, the user agent;
headers of calls to the service are left out. What looks like a key, a token, an e-mail address or a phone number is [redacted] everywhere.
{words}
"""

HASHED = """No words: of every text only its length is here, and a hash to tell whether two are the same. The hashes are made with a
key that was thrown away, so a text cannot be found by trying. Names of fields and the APIs' own words are as they were.
Before you share it, have a look all the same: it is your data."""

CLEAR = """Words are here: this gateway runs with recorder.content = true. Prompts, replies and files are as they were, apart from
what was taken for a secret. Read it before you share it."""


class Frozen(NamedTuple):
    """A tape as it was at one moment: to be read in a thread while the exchange goes on."""

    tape: Tape
    received: Body | None
    answer: Body | None
    calls: tuple[tuple[str, float, float | None, int, Body, Stream], ...]
    """Path, when it was sent, when a head came, status, what was sent, what came."""
    sent: Stream | None
    ended: float | None
    receipt: Receipt | None


def frozen(tape: Tape) -> Frozen:
    """Return a tape as it is now. In the event loop."""
    return Frozen(
        tape,
        tape.received,
        tape.answer,
        tuple([(c.path, c.began, c.replied_at, c.status, c.body, c.raw.kept()) for c in tape.calls]),
        tape.sent.kept() if isinstance(tape.sent, Pieces) else None,
        tape.ended,
        tape.receipt,
    )


class Bundler:
    """Makes files of exchanges."""

    def __init__(self, redact: Redactor, key: bytes, *, content: bool) -> None:
        """``key`` is for this bundle alone. ``content`` leaves the words in."""
        self._redact = redact
        self._mask = Mask(key)
        self._content = content

    def files(self, one: Frozen) -> dict[str, str]:
        """Return the files by name."""
        words = CLEAR if self._content else HASHED
        files = {"README.txt": README.format(version=__version__, words=words)}
        files["exchange.json"] = (
            self._redact(msgspec.json.format(msgspec.json.encode(self._facts(one))).decode()) + "\n"
        )
        if one.received is not None:
            files["client-in.txt"] = self._body(one.received)
        for number, (_, _, _, status, body, raw) in enumerate(one.calls, 1):
            files[f"upstream-{number}-out.txt"] = self._body(body)
            if status:
                files[f"upstream-{number}-raw.txt"] = self._text(raw.size, raw.head, raw.tail)
        if one.answer is not None:
            files["client-out.txt"] = self._body(one.answer)
        elif one.sent is not None:
            files["client-out.txt"] = self._text(one.sent.size, one.sent.head, one.sent.tail)
        return files

    def _facts(self, one: Frozen) -> dict[str, Any]:
        tape, receipt = one.tape, one.receipt

        def ms(moment: float | None) -> float | None:
            return None if moment is None else round((moment - tape.began) * 1000, 1)

        def timed(stream: Stream) -> dict[str, Any]:
            times = [[ms(when), size] for when, size in stream.times]
            return {"bytes": stream.size, "pieces": stream.pieces, "times": times}

        calls = [
            {"path": path, "sent_ms": ms(began), "head_ms": ms(replied), "status": status, "sent_bytes": body.size}
            | {"reply": timed(raw)}
            for path, began, replied, status, body, raw in one.calls
        ]
        return {
            "request_id": tape.id,
            "version": __version__,
            "at": tape.at,
            "dialect": tape.dialect,
            "method": tape.method,
            "path": tape.path,
            "headers": [_text(name) for name in tape.headers],
            "user_agent": None if tape.agent is None else _text(tape.agent),
            "received_bytes": None if one.received is None else one.received.size,
            "status": tape.status,
            "ended_ms": ms(one.ended),
            "outcome": None if receipt is None else receipt.outcome,
            "model": None if receipt is None else receipt.model,
            "fault": None if receipt is None else receipt.fault,
            "detail": None if receipt is None else self._detail(receipt),
            "first_seconds": None if receipt is None else receipt.first_seconds,
            "usage": None if receipt is None else receipt.usage,
            "calls": calls,
            "sent": None if one.sent is None else timed(one.sent),
            "answer_bytes": None if one.answer is None else one.answer.size,
        }

    def _detail(self, receipt: Receipt) -> str | None:
        """Return why it failed. What is said of the service quotes nothing; other words may quote the client."""
        fault, detail = receipt.fault or "", receipt.detail
        plain = self._content or detail is None or fault.startswith(("upstream_", "policy_"))
        return detail if plain or detail is None else self._mask.words(detail)

    def _body(self, body: Body) -> str:
        if body.head[:2] == b"\x1f\x8b" and not body.tail:
            # Whoever sends what only looks compressed gets it back as it is.
            with contextlib.suppress(zlib.error):
                unpacked = zlib.decompressobj(31).decompress(body.head, MAX_UNPACKED_BYTES)
                return self._text(len(unpacked), unpacked, b"")
        return self._text(body.size, body.head, body.tail)

    def _text(self, size: int, head: bytes, tail: bytes) -> str:
        kept = len(head) + len(tail)
        text = _text(head)
        shown = text if self._content else self._shown(text)
        if kept < size:
            end = _text(tail)
            # The end of something cut is no JSON: where a text begins in it cannot be told.
            end = end if self._content else self._mask.words(end)
            shown += f"\n[{size - kept} bytes are not kept]\n{end if tail else ''}"
        return self._redact(shown)

    def _shown(self, text: str) -> str:
        # A document may stand on several lines, and lines may each be a document.
        first = text.lstrip().partition("\n")[0].rstrip()
        whole = first[:1] in {"{", "["} and first[-1:] not in {"}", "]"}
        return self._mask.json(text) if whole else self._mask.lines(text)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
