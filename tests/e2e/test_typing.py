"""Typing against a gateway: what was predicted comes from memory, and what nobody waits for is not asked for any more."""

import asyncio
import json
import time
from typing import NamedTuple

import pytest

from fakes.line import chunks, events, until, written
from fittengate.simulator import Plan

PREFIX = "import os\n\n\ndef add(left, right):\n    # Adds both, and tells nobody of it.\n    "
SUFFIX = "\n\nprint(add(1, 2))\n"
TEXT = "return left + right"
SECONDS = 0.2
"""What a busy machine may add is allowed for; the promise is 0.05."""


class Form(NamedTuple):
    """How a dialect asks and answers."""

    path: str
    prompt: str
    suffix: str

    def body(self, prefix, *, stream, suffix=SUFFIX, **fields):
        # Bytes, because some of what is sent cannot be written as UTF-8.
        wanted = {self.prompt: prefix, self.suffix: suffix, "stream": stream, **fields}
        return json.dumps(wanted).encode()

    def text(self, reply):
        streamed = "event-stream" in reply.headers["content-type"]
        found = chunks(reply.body) if streamed else [reply.json]
        return "".join(self._one(one) for one in found)

    def _one(self, value):
        if "content" in value:
            return value["content"]
        said = ""
        for choice in value["choices"]:
            said += choice.get("text") or (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        return said

    def error(self, reply):
        value = reply.json
        return value.get("error", value)


OPENAI = Form("/v1/completions", "prompt", "suffix")
MISTRAL = Form("/v1/fim/completions", "prompt", "suffix")
LLAMA = Form("/infill", "input_prefix", "input_suffix")
FORMS = pytest.mark.parametrize("form", [OPENAI, MISTRAL, LLAMA], ids=["openai", "mistral", "llama"])
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def ask(gateway, form, prefix=PREFIX, *, stream=False, **fields):
    return await gateway.request("POST", form.path, form.body(prefix, stream=stream, **fields))


def predict(simulator, text=TEXT):
    simulator.plan("completion", Plan(json={"generated_text": text}), times=None)


def calls(simulator):
    return len(simulator.requests("completion"))


@FORMS
@STREAMS
async def test_what_was_typed_as_predicted_is_answered_from_memory(gateway, simulator, form, stream):
    """Letter by letter and back again: one call, and always the same file."""
    predict(simulator)
    first = await ask(gateway, form, stream=stream)
    assert form.text(first) == TEXT
    assert "x-fittengate-memory" not in first.headers
    for typed in [*range(len(TEXT)), 7, 3, 0]:
        reply = await ask(gateway, form, PREFIX + TEXT[:typed], stream=stream)
        assert form.text(reply) == TEXT[typed:]
        assert (reply.status, reply.headers["x-fittengate-memory"]) == (200, "hit")
    assert calls(simulator) == 1
    for prefix, fields in ((PREFIX + TEXT, {}), (PREFIX + "x", {}), (PREFIX, {"suffix": "\n"})):
        reply = await ask(gateway, form, prefix, stream=stream, **fields)
        assert "x-fittengate-memory" not in reply.headers
    assert calls(simulator) == 4


async def test_a_remembered_answer_costs_its_words_alone(gateway, simulator):
    """Nothing was sent, so no prompt is counted; the counts are said to be estimates."""
    predict(simulator)
    await ask(gateway, OPENAI)
    reply = await ask(gateway, OPENAI)
    usage = reply.json["usage"]
    assert usage["prompt_tokens"] == 0 < usage["completion_tokens"]
    assert reply.headers["x-fittengate-usage"] == "estimated"


async def test_one_dialect_remembers_for_another(gateway, simulator):
    """What an answer is does not depend on how it is written."""
    predict(simulator)
    await ask(gateway, OPENAI)
    for form in (MISTRAL, LLAMA):
        assert form.text(await ask(gateway, form, PREFIX + "return ", stream=True)) == "left + right"
    assert calls(simulator) == 1


async def test_nothing_is_remembered_for_another_key(start, simulator):
    """Nor are its calls shared or ended."""
    predict(simulator)
    async with start(server={"api_key": ("first-key-0123456789", "second-key-0123456789")}) as gateway:
        for key in ("first-key-0123456789", "second-key-0123456789"):
            reply = await gateway.request("POST", OPENAI.path, OPENAI.body(PREFIX, stream=False), key=key)
            assert "x-fittengate-memory" not in reply.headers
    assert calls(simulator) == 2


async def test_other_wishes_are_other_answers(gateway, simulator):
    """A limit or a stop sequence makes another text of it, which is remembered for itself."""
    predict(simulator)
    await ask(gateway, OPENAI)
    for _ in range(2):
        short = await ask(gateway, OPENAI, stop=["+"])
        assert (OPENAI.text(short), short.json["choices"][0]["finish_reason"]) == ("return left ", "stop")
        cut = await ask(gateway, OPENAI, max_tokens=2)
        assert (OPENAI.text(cut), cut.json["choices"][0]["finish_reason"]) == ("return l", "length")
    assert calls(simulator) == 3


async def test_no_suggestion_is_remembered_for_a_moment(gateway, simulator):
    """An editor that asks twice about the same place asks the service once; the next letter asks again."""
    predict(simulator, "")
    for _ in range(2):
        assert OPENAI.text(await ask(gateway, OPENAI)) == ""
    assert calls(simulator) == 1
    await ask(gateway, OPENAI, PREFIX + "x")
    assert calls(simulator) == 2


@FORMS
@STREAMS
async def test_the_newer_request_ends_the_older_one(gateway, simulator, form, stream):
    """499 in the caller's dialect, the call closed at once; the newer one is answered."""
    await ask(gateway, form, "something else", suffix="")
    simulator.plan("completion", Plan(no_reply="stall"))
    async with gateway.line() as older:
        await older.send(written("POST", form.path, form.body(PREFIX, stream=stream)))
        await until(lambda: calls(simulator) == 2)
        predict(simulator)
        asked = time.monotonic()
        newer = await ask(gateway, form, PREFIX + "r", stream=stream)
        left = await simulator.wait_closed_by_client()
        reply = await older.reply()
    assert left - asked < SECONDS
    assert reply.status == 499
    assert form.error(reply)["message"].startswith("A newer request")
    assert "superseded" in json.dumps(reply.json)
    assert form.text(newer) == TEXT
    assert simulator.counters.closed_by_client == 1
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0
    await until(lambda: "caller_superseded" in gateway.terminal.getvalue())


@FORMS
async def test_the_older_call_is_closed_at_the_service_within_50_ms(gateway, simulator, form, record_property):
    """From the newer request's first byte to the service's seeing the older connection close.

    The promise is the gateway's own: what other programs of this machine add is taken out by the best of some rounds.
    """
    await ask(gateway, form, "something else", suffix="")
    took = []
    for number in range(6):
        simulator.plan("completion", Plan(no_reply="stall"))
        sent = calls(simulator)
        async with gateway.line() as older:
            await older.send(written("POST", form.path, form.body(f"{PREFIX}{number}", stream=True)))
            await until(lambda sent=sent: calls(simulator) > sent)
            simulator.plan("completion", Plan(set={"generated_text": f"answer {number}"}))
            begun = time.monotonic()
            await ask(gateway, form, f"{PREFIX}{number}r")
            took.append(simulator.counters.closed_times[-1] - begun)
            await older.reply()
        assert simulator.counters.closed_by_client == number + 1
    record_property("seconds", took)
    assert min(took) < 0.05


@FORMS
async def test_a_stream_that_has_begun_ends_with_the_fault(start, simulator, form):
    """P1: the headers are out already, so the end is an error event and no clean terminator."""
    async with start(server={"hold_seconds": 0.05}) as gateway:
        await ask(gateway, form, "something else", suffix="")
        simulator.plan("completion", Plan(no_reply="stall"))
        async with gateway.line() as older:
            await older.send(written("POST", form.path, form.body(PREFIX, stream=True)))
            status, headers = await older.head()
            await ask(gateway, form, PREFIX + "r")
            body = b"".join([data async for _, data in older.pieces(headers)])
    assert status == 200
    assert "superseded" in events(body)[-1]
    assert b"[DONE]" not in body
    assert b'"stop":true' not in body


async def test_chat_and_other_files_are_not_ended(gateway, simulator):
    """A chat under way, and a completion in another file, go on."""
    await ask(gateway, OPENAI, "something else", suffix="")
    simulator.plan("chat", Plan(text="a chat", first_ms=150))
    simulator.plan("completion", Plan(json={"generated_text": "other"}, delay_ms=150))
    other = "class Account:\n    " + '"""Somebody who can sign in, with a name and a password."""\n' * 3
    chat = asyncio.create_task(gateway.chat())
    elsewhere = asyncio.create_task(ask(gateway, OPENAI, other))
    await until(lambda: calls(simulator) == 2 and len(simulator.requests("chat")) == 1)
    predict(simulator)
    for typed in range(3):
        assert (await ask(gateway, OPENAI, PREFIX + "x" * typed)).status == 200
    assert OPENAI.text(await elsewhere) == "other"
    assert (await chat).text == "a chat"
    assert simulator.counters.closed_by_client == 0


@STREAMS
async def test_equal_requests_share_a_call_that_closes_with_its_last_reader(gateway, simulator, stream):
    """P3 with shared calls: the first to leave closes nothing, the last one closes it at once."""
    await ask(gateway, OPENAI, "something else", suffix="")
    simulator.plan("completion", Plan(no_reply="stall"))
    async with gateway.line() as one, gateway.line() as two:
        for line in (one, two):
            await line.send(written("POST", OPENAI.path, OPENAI.body(PREFIX, stream=stream)))
            await until(lambda: calls(simulator) == 2)
        await until(lambda: gateway.running == 2)
        one.leave()
        await until(lambda: gateway.running == 1)
        assert simulator.counters.closed_by_client == 0
        left = two.leave()
        took = await simulator.wait_closed_by_client() - left
    assert took < SECONDS
    assert calls(simulator) == 2
    await until(lambda: gateway.running == 0)
    assert gateway.turns.running == 0


async def test_equal_requests_get_equal_answers(gateway, simulator):
    """Five at once, in three dialects, whole and streamed: one call, and only one of them pays for the prompt."""
    await ask(gateway, OPENAI, "something else", suffix="")
    simulator.plan("completion", Plan(json={"generated_text": TEXT}, delay_ms=100))
    asked = [(OPENAI, False), (OPENAI, True), (MISTRAL, False), (MISTRAL, True), (LLAMA, False)]
    replies = await asyncio.gather(*(ask(gateway, form, stream=stream) for form, stream in asked))
    assert [form.text(reply) for (form, _), reply in zip(asked, replies, strict=True)] == [TEXT] * 5
    assert calls(simulator) == 2
    sources = [reply.headers.get("x-fittengate-memory") for reply in replies]
    assert sorted(sources, key=str) == [None, "shared", "shared", "shared", "shared"]
    paid = [reply.json["usage"]["prompt_tokens"] for reply in (replies[0], replies[2])]
    assert paid.count(0) >= 1


async def test_a_fault_is_not_remembered(gateway, simulator):
    """P1: an outage is told to each, and the next request asks the service again."""
    simulator.plan("completion", Plan(status=503), times=3)
    assert (await ask(gateway, OPENAI)).status == 502
    predict(simulator)
    assert OPENAI.text(await ask(gateway, OPENAI)) == TEXT


async def test_several_prompts_are_no_typing(gateway, simulator):
    """Prompts of one request do not end one another, and each is asked for."""
    predict(simulator)
    body = json.dumps({"prompt": [PREFIX, PREFIX + "r"], "suffix": SUFFIX}).encode()
    reply = await gateway.request("POST", OPENAI.path, body)
    assert [choice["text"] for choice in reply.json["choices"]] == [TEXT, TEXT]
    assert calls(simulator) == 2


async def test_chat_never_takes_every_turn(start, simulator):
    """With all of chat's turns taken and more waiting a completion is answered at once, and the other way round."""
    simulator.plan("chat", Plan(no_reply="stall"), times=None)
    async with start(upstream={"max_concurrency": 2}) as gateway:
        async with gateway.line() as one, gateway.line() as two:
            for line in (one, two):
                await line.ask()
            await until(lambda: gateway.turns.waiting == 1)
            assert (await ask(gateway, OPENAI)).status == 200
            assert len(simulator.requests("chat")) == 1
        simulator.reset()
        await until(lambda: gateway.running == 0)
        simulator.plan("completion", Plan(no_reply="stall"), times=None)
        async with gateway.line() as one, gateway.line() as two:
            for number, line in enumerate((one, two)):
                await line.send(written("POST", OPENAI.path, OPENAI.body(f"file {number}", stream=False, suffix="")))
            await until(lambda: gateway.turns.waiting == 1)
            assert (await gateway.chat()).status == 200
            assert calls(simulator) == 1


ODD = [
    "\0" * 50,
    "👩‍👩‍👧" * 60,
    "\r\n\r" * 90,
    "a" * 10_000_000,
    "\u2028" * 300_000 + "é" * 800_000,
]


@pytest.mark.parametrize("odd", ODD, ids=["nul", "family", "crlf", "10MB", "wide"])
@STREAMS
async def test_odd_texts_stop_nothing(gateway, simulator, odd, stream):
    """NULs, joined characters, lines of 10 MB: each is answered, again and typed on, and the next request too."""
    predict(simulator, "word")
    for prefix, suffix in ((odd, ""), ("", odd), (odd, odd[:200])):
        for typed in ("", "wo"):
            reply = await ask(gateway, OPENAI, prefix + typed, stream=stream, suffix=suffix)
            assert reply.status == 200
            if not typed or "x-fittengate-memory" in reply.headers:
                assert OPENAI.text(reply) == "word"[len(typed) :]
            if stream:
                assert events(reply.body)[-1] == "[DONE]"
    assert OPENAI.text(await ask(gateway, OPENAI)) == "word"


@pytest.mark.parametrize("half", ["x\ud83d", "\ude00\ud83dx" * 40])
async def test_half_a_character_is_refused_and_stops_nothing(gateway, simulator, half):
    """A clear 400 that names the place, as often as it is sent; it ends nobody else's completion."""
    predict(simulator)
    for prefix, suffix in ((half, ""), (half, ""), ("", half)):
        reply = await ask(gateway, OPENAI, prefix, suffix=suffix)
        assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert OPENAI.text(await ask(gateway, OPENAI)) == TEXT
