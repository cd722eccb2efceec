"""How a client of each dialect reads its answers. A dialect without a reader here has no client that was tried."""

import json
from typing import NamedTuple, Protocol

import httpx2
import openai


class Answer(NamedTuple):
    """What a client has in hand when a reply is over."""

    ids: frozenset[str]
    text: str
    thought: str
    calls: tuple[tuple[str, str, str], ...]
    """Id, name and arguments of each call that can be carried out."""
    finish: str
    usage: tuple[int, int, int] | None
    """Tokens of prompt, answer and both; None where they were not sent."""


class Reader(Protocol):
    """A client of one dialect."""

    terminator: bytes
    """The bytes that only a clean end has."""

    def whole(self, body: bytes) -> Answer:
        """Read an unstreamed answer."""

    def stream(self, body: bytes) -> Answer:
        """Read a streamed answer. Raises ConnectionError with the message of an error event."""

    def error(self, status: int, body: bytes) -> str:
        """Check an error body; return its message."""


class OpenAIChatReader:
    """Reads JSON by hand, and holds the official SDK to the same result."""

    terminator = b"data: [DONE]\n\n"

    def whole(self, body):
        """Read one ``chat.completion``."""
        value = json.loads(body)
        assert value["object"] == "chat.completion"
        (choice,) = value["choices"]
        message = choice["message"]
        assert choice["index"] == 0
        assert choice["logprobs"] is None
        assert message["role"] == "assistant"
        assert message["refusal"] is None
        calls = [
            (call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls", [])
        ]
        answer = Answer(
            frozenset({value["id"]}),
            message["content"] or "",
            message.get("reasoning_content", ""),
            tuple(calls),
            choice["finish_reason"],
            _usage(value["usage"]),
        )
        told = _client(body, "application/json").chat.completions.create(model="m", messages=[])
        assert told.choices[0].message.content == message["content"]
        return answer

    def stream(self, body):
        """Read ``chat.completion.chunk`` events."""
        *chunks, last = _payloads(body)
        if "error" in (final := json.loads(last) if last != b"[DONE]" else {}):
            _openai_error(final)
            raise ConnectionError(final["error"]["message"])
        assert last == b"[DONE]"
        values = [json.loads(chunk) for chunk in chunks]
        assert {value["object"] for value in values} == {"chat.completion.chunk"}
        text, thought, finish, usage = [], [], [], None
        calls: list[list[str]] = []
        for number, value in enumerate(values):
            if not value["choices"]:
                assert number == len(values) - 1, "usage comes last"
                usage = _usage(value["usage"])
                continue
            assert value.get("usage") is None
            assert not finish, "nothing comes after the finish"
            (choice,) = value["choices"]
            delta = choice["delta"]
            assert ("role" in delta) == (number == 0)
            text.append(delta.get("content") or "")
            thought.append(delta.get("reasoning_content", ""))
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    assert call["type"] == "function"
                    assert call["index"] == len(calls)
                    calls.append([call["id"], call["function"]["name"], ""])
                calls[call["index"]][2] += call["function"]["arguments"]
            if choice["finish_reason"] is not None:
                finish.append(choice["finish_reason"])
        assert len(finish) == 1
        if finish == ["length"]:
            calls = [call for call in calls if _parses(call[2])]
        answer = Answer(
            frozenset(value["id"] for value in values),
            "".join(text),
            "".join(thought),
            tuple(map(tuple, calls)),
            finish[0],
            usage,
        )
        self._ask_the_sdk(body, answer)
        return answer

    def _ask_the_sdk(self, body, answer):
        with _client(body, "text/event-stream").chat.completions.stream(model="m", messages=[]) as stream:
            for _ in stream:
                pass
            told = stream.current_completion_snapshot
        assert told.choices[0].message.content == answer.text
        assert told.choices[0].finish_reason == answer.finish
        assert (told.choices[0].message.model_extra or {}).get("reasoning_content", "") == answer.thought
        called = [call for call in told.choices[0].message.tool_calls or [] if _parses(call.function.arguments)]
        assert tuple((call.id, call.function.name, call.function.arguments) for call in called) == answer.calls

    def error(self, status, body):
        """Read an error object."""
        return _openai_error(json.loads(body), status)


READERS: dict[str, Reader] = {"openai_chat": OpenAIChatReader()}


def _client(body, content_type):
    answer = httpx2.Response(200, headers={"content-type": content_type}, content=body)
    transport = httpx2.MockTransport(lambda request: answer)
    http = httpx2.Client(transport=transport)
    return openai.OpenAI(api_key="key", base_url="http://gateway.invalid/v1", max_retries=0, http_client=http)


def _payloads(stream):
    """Return the data of each event; every event is one line of data and a blank one, also to a careless client."""
    *blocks, rest = stream.decode().split("\n\n")
    assert rest == ""
    for block in blocks:
        assert block.startswith("data: ")
        assert len(block.splitlines()) == 1
    return [block[len("data: ") :].encode() for block in blocks]


def _usage(value):
    assert value["total_tokens"] == value["prompt_tokens"] + value["completion_tokens"]
    assert value["completion_tokens_details"]["reasoning_tokens"] >= 0
    assert value["prompt_tokens_details"]["cached_tokens"] == 0
    return value["prompt_tokens"], value["completion_tokens"], value["total_tokens"]


def _openai_error(value, status=None):
    assert list(value) == ["error"]
    error = value["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["code"], str)
    sorts = {"invalid_request_error", "rate_limit_error", "insufficient_quota"}
    if status is not None and status >= 500:
        sorts = {"server_error", "service_unavailable_error"}
    assert error["type"] in sorts or status is None
    return error["message"]


def _parses(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
