"""How a client of each dialect reads its answers. A dialect without a reader here has no client that was tried."""

import json
from itertools import pairwise
from typing import NamedTuple, Protocol

import anthropic
import httpx
import httpx2
import ollama
import openai
import pydantic
import pytest
from mistralai.client import Mistral
from openai.types.responses import Response, ResponseStreamEvent


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
            (_own_part(call["id"]), call["function"]["name"], call["function"]["arguments"])
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
                    calls.append([_own_part(call["id"]), call["function"]["name"], ""])
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

    def choices(self, body):
        """Read the several answers of one ``chat.completion``, in order."""
        value = json.loads(body)
        assert [choice["index"] for choice in value["choices"]] == list(range(len(value["choices"])))
        alone = [value | {"choices": [choice | {"index": 0}]} for choice in value["choices"]]
        return [self.whole(json.dumps(one).encode()) for one in alone]

    def streamed_choices(self, body):
        """Read the several answers of one stream."""
        return [self.stream(one) for one in _taken_apart(body)]

    def _ask_the_sdk(self, body, answer):
        with _client(body, "text/event-stream").chat.completions.stream(model="m", messages=[]) as stream:
            for _ in stream:
                pass
            told = stream.current_completion_snapshot
        assert told.choices[0].message.content == answer.text
        assert told.choices[0].finish_reason == answer.finish
        assert (told.choices[0].message.model_extra or {}).get("reasoning_content", "") == answer.thought
        called = [call for call in told.choices[0].message.tool_calls or [] if _parses(call.function.arguments)]
        told_calls = [(_own_part(call.id), call.function.name, call.function.arguments) for call in called]
        assert tuple(told_calls) == answer.calls

    def error(self, status, body):
        """Read an error object."""
        return _openai_error(json.loads(body), status)


class OpenAICompletionsReader:
    """Reads JSON by hand, and holds the official SDK to the same result."""

    terminator = b"data: [DONE]\n\n"
    tools = False

    def whole(self, body):
        """Read one ``text_completion``."""
        value = json.loads(body)
        assert value["object"] == "text_completion"
        (choice,) = value["choices"]
        assert (choice["index"], choice["logprobs"]) == (0, None)
        told = _client(body, "application/json").completions.create(model="m", prompt="")
        assert told.choices[0].text == choice["text"]
        ids = frozenset({value["id"]})
        return Answer(ids, choice["text"], "", (), choice["finish_reason"], _usage(value["usage"]))

    def stream(self, body):
        """Read ``text_completion`` events."""
        *chunks, last = _payloads(body)
        if "error" in (final := json.loads(last) if last != b"[DONE]" else {}):
            _openai_error(final)
            raise ConnectionError(final["error"]["message"])
        assert last == b"[DONE]"
        values = [json.loads(chunk) for chunk in chunks]
        usage = _usage(values.pop()["usage"]) if not values[-1]["choices"] else None
        made = [choice for value in values for choice in value["choices"]]
        assert {value["object"] for value in values} == {"text_completion"}
        assert all(value.get("usage") is None for value in values)
        assert len(made) == len(values)
        assert {choice["index"] for choice in made} == {0}
        assert [choice["finish_reason"] for choice in made[:-1]] == [None] * (len(made) - 1)
        text = "".join(choice["text"] for choice in made)
        told = _client(body, "text/event-stream").completions.create(model="m", prompt="", stream=True)
        assert "".join(choice.text for chunk in told for choice in chunk.choices) == text
        return Answer(frozenset(value["id"] for value in values), text, "", (), made[-1]["finish_reason"], usage)

    def choices(self, body):
        """Read the several answers of one ``text_completion``, in order."""
        return OpenAIChatReader.choices(self, body)

    def streamed_choices(self, body):
        """Read the several answers of one stream."""
        return OpenAIChatReader.streamed_choices(self, body)

    def error(self, status, body):
        """Read an error object."""
        return _openai_error(json.loads(body), status)


class AnthropicMessagesReader:
    """Reads events by hand, and holds the official SDK to the same result."""

    terminator = b"event: message_stop\n"

    def whole(self, body):
        """Read one ``message``."""
        value = json.loads(body)
        kinds = [block["type"] for block in value["content"]]
        assert "thinking" not in kinds[1:], "reasoning comes first, in one block"
        assert ("text", "text") not in pairwise(kinds), "text is divided by calls alone"
        answer = _message(value)
        told = _anthropic(body, "application/json").messages.create(model="m", max_tokens=1, messages=[])
        assert _message(told.to_dict()) == answer
        return answer

    def stream(self, body):
        """Read the events of one message, block by block."""
        events = [self._event(block) for block in _blocks(body)]
        if events[-1]["type"] == "error":
            raise ConnectionError(_anthropic_error(events[-1]))
        first, *middle, delta, stop = events
        assert first["type"] == "message_start"
        message = first["message"]
        assert (message["content"], message["stop_reason"]) == ([], None)
        assert set(message["usage"]) < set(delta["usage"])
        assert (delta["type"], stop) == ("message_delta", {"type": "message_stop"})
        message |= delta["delta"] | {"content": self._content(middle), "usage": delta["usage"]}
        answer = _message(message)
        with _anthropic(body, "text/event-stream").messages.stream(model="m", max_tokens=1, messages=[]) as stream:
            told = stream.get_final_message().to_dict()
        if answer.finish == "max_tokens":
            # The SDK reads half a call as far as it goes. What it makes of the whole ones counts.
            told["content"] = told["content"][: len(message["content"])]
        assert _message(told) == answer
        return answer

    def _event(self, block):
        name, data = block.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        return value

    def _content(self, events):
        content = []
        while events:
            start, *events = events
            assert (start["type"], start["index"]) == ("content_block_start", len(content))
            deltas = []
            while events[0]["type"] == "content_block_delta":
                delta, *events = events
                assert delta["index"] == len(content)
                deltas.append(delta["delta"])
            stop, *events = events
            assert stop == {"type": "content_block_stop", "index": len(content)}
            content.append(self._block(start["content_block"], deltas))
        while content and content[-1] is None:
            content.pop()
        assert None not in content, "only the last call can have been cut off"
        return content

    def _block(self, block, deltas):
        """Return a block as it stands in a whole message; None for a call that was cut off."""
        if block["type"] == "text":
            assert block["text"] == ""
            return {"type": "text", "text": "".join(delta["text"] for delta in deltas)}
        if block["type"] == "thinking":
            *thoughts, signed = deltas
            assert (block["thinking"], block["signature"]) == ("", "")
            thought = "".join(delta["thinking"] for delta in thoughts)
            return {"type": "thinking", "thinking": thought, "signature": signed["signature"]}
        assert block["input"] == {}
        given = "".join(delta["partial_json"] for delta in deltas)
        return block | {"input": json.loads(given)} if _parses(given) else None

    def error(self, status, body):
        """Read an error object as the SDK does: the class of the exception follows the status."""
        value = json.loads(body)
        assert set(value) == {"type", "error", "request_id"}
        message = _anthropic_error(value)
        try:
            _anthropic(body, "application/json", status).messages.create(model="m", max_tokens=1, messages=[])
        except anthropic.APIStatusError as error:
            assert (error.status_code, error.api_message) == (status, message)  # noqa: PT017 - one of many classes
        else:
            raise AssertionError("the SDK saw no error")
        return message


class MistralFimReader:
    """Reads JSON by hand, and holds the official SDK to the same result."""

    terminator = b"data: [DONE]\n\n"
    tools = False

    def whole(self, body):
        """Read one answer, which is shaped as a chat's."""
        value = json.loads(body)
        assert value["object"] == "chat.completion"
        (choice,) = value["choices"]
        message = choice["message"]
        assert (choice["index"], message["role"], message["tool_calls"]) == (0, "assistant", None)
        with _mistral(body, "application/json") as client:
            told = client.fim.complete(model="m", prompt="")
        assert told.choices[0].message.content == message["content"]
        assert told.choices[0].finish_reason == choice["finish_reason"]
        ids = frozenset({value["id"]})
        return Answer(ids, message["content"], "", (), choice["finish_reason"], self._usage(value["usage"]))

    def stream(self, body):
        """Read chunks; the last one has the finish and the usage."""
        *chunks, last = _payloads(body)
        if "error" in (final := json.loads(last) if last != b"[DONE]" else {}):
            raise ConnectionError(self._error(final["error"]))
        assert last == b"[DONE]"
        values = [json.loads(chunk) for chunk in chunks]
        choices = [choice for value in values for choice in value["choices"]]
        assert {value["object"] for value in values} == {"chat.completion.chunk"}
        assert ["role" in choice["delta"] for choice in choices] == [True] + [False] * (len(choices) - 1)
        assert ["usage" in value for value in values] == [False] * (len(values) - 1) + [True]
        assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
        text = "".join(choice["delta"]["content"] for choice in choices)
        with _mistral(body, "text/event-stream") as client, client.fim.stream(model="m", prompt="") as stream:
            told = [event.data for event in stream]
        assert "".join(chunk.choices[0].delta.content for chunk in told) == text
        ids = frozenset(value["id"] for value in values)
        return Answer(ids, text, "", (), choices[-1]["finish_reason"], self._usage(values[-1]["usage"]))

    def error(self, status, body):
        """Read an error object, which is flat."""
        return self._error(json.loads(body))

    def _error(self, value):
        assert set(value) == {"object", "message", "type", "param", "code"}
        assert value["object"] == "error"
        return value["message"]

    def _usage(self, value):
        assert value["total_tokens"] == value["prompt_tokens"] + value["completion_tokens"]
        return value["prompt_tokens"], value["completion_tokens"], value["total_tokens"]


class LlamaInfillReader:
    """Reads JSON by hand, as llama.cpp's plugins do."""

    terminator = b'"stop":true'
    tools = False

    def whole(self, body):
        """Read one answer."""
        value = json.loads(body)
        assert (value["stop"], value["index"], value["truncated"]) == (True, 0, False)
        assert (value["stop_type"] == "word") == (value["stopping_word"] != "")
        spent = (value["tokens_evaluated"], value["tokens_predicted"])
        assert (value["timings"]["prompt_n"], value["timings"]["predicted_n"]) == spent
        return Answer(frozenset({value["id"]}), value["content"], "", (), value["stop_type"], (*spent, sum(spent)))

    def stream(self, body):
        """Read pieces up to the one that says it is the last."""
        values = [json.loads(payload) for payload in _payloads(body)]
        if "error" in values[-1]:
            raise ConnectionError(self._error(values[-1]))
        assert [value["stop"] for value in values] == [False] * (len(values) - 1) + [True]
        last = self.whole(json.dumps(values[-1]).encode())
        text = "".join(value["content"] for value in values)
        return last._replace(ids=frozenset(value["id"] for value in values), text=text)

    def error(self, status, body):
        """Read an error object."""
        value = json.loads(body)
        assert value["error"]["code"] == status
        return self._error(value)

    def _error(self, value):
        assert set(value["error"]) == {"code", "message", "type", "param"}
        return value["error"]["message"]


class OpenAIResponsesReader:
    """Reads the events by hand, checks each against the SDK's own models, and holds its stream helper to the result."""

    terminator = b"event: response.completed\n"

    def whole(self, body):
        """Read one ``response``."""
        value = json.loads(body)
        told = _client(body, "application/json").responses.create(model="m", input="x")
        answer = _response(value)
        assert told.output_text == answer.text
        return answer

    def stream(self, body):
        """Read the events of one response, item by item."""
        events = [self._event(block) for block in _blocks(body)]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        error = events.pop() if events[-1]["type"] == "error" else None
        created, in_progress, *middle, last = events
        assert (error is None) == (last["type"] != "response.failed"), "an error follows a failed response and no other"
        kinds = (created["type"], in_progress["type"])
        assert kinds == ("response.created", "response.in_progress")
        assert created["response"] == in_progress["response"]
        assert created["response"]["status"] == "in_progress"
        constant = ("id", "created_at", "model", "tools", "object")
        assert [created["response"][key] for key in constant] == [last["response"][key] for key in constant]
        items = self._items(middle)
        assert last["response"]["output"] == items
        if last["type"] == "response.failed":
            assert last["response"]["status"] == "failed"
            assert error["message"] == error["error"]["message"] == last["response"]["error"]["message"]
            raise ConnectionError(last["response"]["error"]["message"])
        assert last["type"] == f"response.{last['response']['status']}"
        answer = _response(last["response"])
        with _client(body, "text/event-stream").responses.stream(model="m", input="x") as stream:
            final = list(stream)[-1].response
        assert final.output_text == answer.text
        assert final.id in answer.ids
        return answer

    def _event(self, block):
        name, data = block.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        EVENT.validate_python(value)
        return value

    def _items(self, events):
        """Return the items that were ended, each told in full: added, opened, its deltas, closed, done."""
        ended = []
        while events:
            added, *events = events
            assert added["type"] == "response.output_item.added"
            at, item = added["output_index"], added["item"]
            own = []
            while events and events[0]["type"] != "response.output_item.added":
                event, *events = events
                assert event["output_index"] == at
                if event["type"] == "response.output_item.done":
                    assert event["item"]["id"] == item["id"]
                    self._told(own, event["item"])
                    ended.append(event["item"])
                    break
                assert event["item_id"] == item["id"]
                own.append(event)
        return ended

    def _told(self, events, item):
        said = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
        kind = item["type"]
        if kind in {"function_call", "custom_tool_call"}:
            field = "arguments" if kind == "function_call" else "input"
            (done,) = [event for event in events if event["type"].endswith(".done")]
            assert said == done[field] == item[field]
        elif kind in {"message", "reasoning"}:
            (part,) = item["content"] or item["summary"]
            opened, *_, done, closed = events
            assert said == part["text"] == done["text"]
            assert opened["part"] == part | {"text": ""}
            assert closed["part"] == part

    def error(self, status, body):
        """Read an error object."""
        return _openai_error(json.loads(body), status)


EVENT = pydantic.TypeAdapter(ResponseStreamEvent)
RESPONSE_KEYS = [
    "completed_at",
    "incomplete_details",
    "instructions",
    "error",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "previous_response_id",
]


def _response(value):
    """Return what a response says; it must be all that the SDK's model and older clients expect."""
    Response.model_validate(value)
    assert value["object"] == "response"
    assert set(RESPONSE_KEYS) <= set(value)
    said = {"message": [], "reasoning": []}
    calls = []
    for item in value["output"]:
        if item["type"] in said:
            parts = item["content"] or item["summary"]
            said[item["type"]] += [part["text"] for part in parts]
        else:
            calls.append((_own_part(item["call_id"]), item["name"], item.get("arguments", item.get("input"))))
    spent = value["usage"]
    assert spent["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert spent["output_tokens_details"]["reasoning_tokens"] >= 0
    assert (value["status"] == "incomplete") == (value["incomplete_details"] is not None)
    return Answer(
        frozenset({value["id"]}),
        "".join(said["message"]),
        "".join(said["reasoning"]),
        tuple(calls),
        value["status"],
        (spent["input_tokens"], spent["output_tokens"], spent["total_tokens"]),
    )


class _OllamaReader:
    """Reads lines by hand, and holds the official client to the same result. Neither has ids for a reply."""

    terminator = b'"done":true'
    ids = False

    def whole(self, body):
        """Read one answer."""
        value = json.loads(body)
        assert value["done"] is True
        answer = self._answer([value])
        assert self._text_of(self._ask(_ollama(body, "application/json"), stream=False)) == answer.text
        return answer

    def stream(self, body):
        """Read the lines of an answer; a careless client sees as many."""
        assert body.endswith(b"\n")
        lines = body.decode().removesuffix("\n").split("\n")
        assert len(lines) == len(body.decode().splitlines())
        values = [json.loads(line) for line in lines]
        if "error" in values[-1]:
            assert list(values[-1]) == ["error"]
            with pytest.raises(ollama.ResponseError):
                list(self._ask(_ollama(body, "application/x-ndjson"), stream=True))
            raise ConnectionError(values[-1]["error"])
        assert [value["done"] for value in values] == [False] * (len(values) - 1) + [True]
        told = list(self._ask(_ollama(body, "application/x-ndjson"), stream=True))
        assert len(told) == len(values)
        answer = self._answer(values)
        assert "".join(self._text_of(piece) for piece in told) == answer.text
        return answer

    def error(self, status, body):
        """Read an error object."""
        value = json.loads(body)
        assert list(value) == ["error"]
        with pytest.raises(ollama.ResponseError) as caught:
            self._ask(_ollama(body, "application/json", status), stream=False)
        assert (caught.value.error, caught.value.status_code) == (value["error"], status)
        return value["error"]

    def _answer(self, values):
        said = [self._said(value) for value in values]
        last = values[-1]
        assert {value["model"] for value in values} == {last["model"]}
        assert "context" not in last
        for name in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"):
            assert isinstance(last[name], int)
        assert last["done_reason"] in {"stop", "length", "load", "unload"}
        calls = [call for one in said for call in one.get("tool_calls", [])]
        assert [call["function"]["index"] for call in calls] == list(range(len(calls)))
        spent = (last["prompt_eval_count"], last["eval_count"])
        return Answer(
            frozenset(),
            "".join(one[self.field] for one in said),
            "".join(one.get("thinking", "") for one in said),
            tuple(
                (
                    _own_part(call["id"]),
                    call["function"]["name"],
                    json.dumps(call["function"]["arguments"], ensure_ascii=False),
                )
                for call in calls
            ),
            last["done_reason"],
            (*spent, sum(spent)),
        )


class OllamaChatReader(_OllamaReader):
    """Reads messages."""

    field = "content"

    def _said(self, value):
        assert value["message"]["role"] == "assistant"
        return value["message"]

    def _ask(self, client, *, stream):
        return client.chat(model="m", messages=[], stream=stream)

    def _text_of(self, answer):
        return answer.message.content


class OllamaGenerateReader(_OllamaReader):
    """Reads responses."""

    tools = False
    field = "response"

    def _said(self, value):
        return value

    def _ask(self, client, *, stream):
        return client.generate(model="m", stream=stream)

    def _text_of(self, answer):
        return answer.response


READERS: dict[str, Reader] = {
    "openai_chat": OpenAIChatReader(),
    "anthropic_messages": AnthropicMessagesReader(),
    "openai_completions": OpenAICompletionsReader(),
    "mistral_fim": MistralFimReader(),
    "llama_infill": LlamaInfillReader(),
    "openai_responses": OpenAIResponsesReader(),
    "ollama_chat": OllamaChatReader(),
    "ollama_generate": OllamaGenerateReader(),
}


def _own_part(call_id):
    assert call_id.startswith("call_"), "OpenAI's prefix"
    return call_id.removeprefix("call_")


def _client(body, content_type):
    http = _http(body, content_type)
    return openai.OpenAI(api_key="key", base_url="http://gateway.invalid/v1", max_retries=0, http_client=http)


def _anthropic(body, content_type, status=200):
    http = _http(body, content_type, status)
    return anthropic.Anthropic(api_key="key", base_url="http://gateway.invalid", max_retries=0, http_client=http)


def _mistral(body, content_type):
    return Mistral(api_key="key", server_url="http://gateway.invalid", client=_http(body, content_type))


def _ollama(body, content_type, status=200):
    answer = httpx.Response(status, headers={"content-type": content_type}, content=body)
    return ollama.Client("http://gateway.invalid", transport=httpx.MockTransport(lambda request: answer))


def _http(body, content_type, status=200):
    answer = httpx2.Response(status, headers={"content-type": content_type}, content=body)
    return httpx2.Client(transport=httpx2.MockTransport(lambda request: answer))


def _message(value):
    """Return what a message says; every key that the SDK's own type demands must be there."""
    assert (value["type"], value["role"]) == ("message", "assistant")
    said = {"text": [], "thinking": []}
    calls = []
    for block in value["content"]:
        if block["type"] == "tool_use":
            assert block["id"].startswith("toolu_")
            given = json.dumps(block["input"], ensure_ascii=False)
            calls.append((block["id"].removeprefix("toolu_"), block["name"], given))
        else:
            said[block["type"]].append(block[block["type"]])
            assert block["type"] == "text" or block["signature"]
    assert (value["stop_reason"] == "stop_sequence") == (value["stop_sequence"] is not None)
    assert value["stop_reason"] in {"end_turn", "tool_use", "max_tokens", "stop_sequence"}
    spent = value["usage"]
    assert spent["cache_creation_input_tokens"] == spent["cache_read_input_tokens"] == 0
    usage = (spent["input_tokens"], spent["output_tokens"], spent["input_tokens"] + spent["output_tokens"])
    return Answer(
        frozenset({value["id"]}),
        "".join(said["text"]),
        "".join(said["thinking"]),
        tuple(calls),
        value["stop_reason"],
        usage,
    )


def _anthropic_error(value):
    assert value["type"] == "error"
    assert set(value["error"]) == {"type", "message"}
    assert value["error"]["type"].endswith(("_error", "request_too_large"))
    return value["error"]["message"]


def _blocks(stream):
    *blocks, rest = stream.decode().split("\n\n")
    assert rest == ""
    for block in blocks:
        assert len(block.splitlines()) == len(block.split("\n")), "a careless client sees one line too"
    return blocks


def _payloads(stream):
    """Return the data of each event; every event is one line of data and a blank one, also to a careless client."""
    blocks = _blocks(stream)
    for block in blocks:
        assert block.startswith("data: ")
        assert len(block.splitlines()) == 1
    return [block[len("data: ") :].encode() for block in blocks]


def _taken_apart(body):
    """Return a stream with several answers as a stream for each, the index of its chunks made 0; usage is in all."""
    *chunks, last = _payloads(body)
    assert last == b"[DONE]"
    values = [json.loads(chunk) for chunk in chunks]
    indexes = sorted({choice["index"] for value in values for choice in value["choices"]})
    assert indexes == list(range(len(indexes)))
    for index in indexes:
        own = [value for value in values if not value["choices"] or value["choices"][0]["index"] == index]
        for value in own:
            value["choices"] = [choice | {"index": 0} for choice in value["choices"]]
        yield b"".join(b"data: %s\n\n" % json.dumps(value).encode() for value in own) + b"data: [DONE]\n\n"


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
