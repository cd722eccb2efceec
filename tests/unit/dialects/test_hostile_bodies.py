"""P11: bodies of wrong types, of great depth, and with very many of one thing are refused or read, and never for long."""

import json
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import pytest

from fittengate.core.ask import Ask, FillAsk, Several
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects import DIALECTS
from fittengate.dialects._fields import as_json
from golden.regenerate import FOLDER, head_for, writer_for

_OF_EVERY_SORT = [
    *(None, True, 0, -1, 1.5, 1e308, 10**30),
    *("", "x", "x" * 300, "\x00\u2028"),
    *([], [None], ["x"], [[]], [{}], [{"type": "text", "text": "x"}]),
    *({}, {"type": "text"}, {"type": 1}, {"x": 1}),
]

_SO_MANY = 12_000
"""Items of each list in the bodies that have very many of one thing: those come to half a megabyte, or a whole one."""


def _by_name(name: str) -> Any:
    return next(dialect for dialect in DIALECTS if dialect.name == name)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from _places(inner, (*path, key))


def _replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    inner = _replaced(value[key], tuple(rest), new)
    if isinstance(value, dict):
        return value | {key: inner}
    return [*value[:key], inner, *value[key + 1 :]]


def _many(item: Any) -> list[Any]:
    return [item(number) if callable(item) else item for number in range(_SO_MANY)]


def _tools() -> list[Any]:
    return _many(lambda number: {"type": "function", "name": f"f{number}", "function": {"name": f"f{number}"}})


def _chat(*messages: Any, **fields: Any) -> tuple[str, Any]:
    return "openai_chat", {"messages": [{"role": "user", "content": "x"}, *messages], **fields}


def _responses(tools: list[Any], allowed: list[Any]) -> tuple[str, Any]:
    choice = {"type": "allowed_tools", "tools": allowed}
    return "openai_responses", {"input": "x", "tools": tools, "tool_choice": choice}


def _space() -> list[Any]:
    return [{"type": "namespace", "name": "n", "tools": _tools()}]


def _user(*blocks: Any) -> tuple[str, Any]:
    return "anthropic_messages", {"max_tokens": 1, "messages": [{"role": "user", "content": blocks}]}


def _results(result: Any) -> tuple[str, Any]:
    calls = _many(lambda number: {"id": f"c{number}", "function": {"name": "f"}})
    messages = [{"role": "assistant", "tool_calls": calls}, *_many(result)]
    return "ollama_chat", {"model": "m", "messages": messages}


MANY: dict[str, Callable[[], tuple[str, Any]]] = {
    "chat: messages": lambda: _chat(*_many({"role": "tool"})),
    "chat: tools that are allowed": lambda: _chat(
        tools=_tools(), tool_choice={"type": "allowed_tools", "allowed_tools": {"tools": _tools()}}
    ),
    "chat: unknown fields": lambda: _chat(**{f"k{number}": 1 for number in range(_SO_MANY)}),
    "responses: tools that are allowed": lambda: _responses(_tools(), _tools()),
    "responses: tools that are allowed without their namespace": lambda: _responses(_space(), _tools()),
    "responses: a namespace that is allowed again and again": lambda: _responses(
        _space(), _many({"type": "namespace", "name": "n"})
    ),
    "responses: references": lambda: (
        "openai_responses",
        {"input": [{"role": "user", "content": "x"}, *_many({"id": "rs_0"})]},
    ),
    "messages: blocks": lambda: _user(*_many({"type": "text", "text": "x"})),
    "messages: documents of tools": lambda: _user(
        *_many({"type": "document", "source": {"type": "x"}}), {"type": "tool_result", "tool_use_id": "a"}
    ),
    "ollama: results, the last call first": lambda: _results(
        lambda number: {"role": "tool", "tool_call_id": f"c{_SO_MANY - number}"}
    ),
    "ollama: results of no call": lambda: _results({"role": "tool", "tool_call_id": "x"}),
    "ollama: results of no tool": lambda: _results({"role": "tool", "tool_name": "x"}),
    "ollama: results that name nothing": lambda: _results({"role": "tool"}),
    "fim: markers": lambda: ("mistral_fim", {"prompt": "<|fim_prefix|>" * _SO_MANY, "suffix": "x"}),
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_any_value_at_any_place_is_read_or_refused(dialect):
    """Each value of every request, replaced by values of every sort, makes an Ask or a fault of the caller with a place."""
    for file in sorted((FOLDER / dialect.name).glob("*/request.json")):
        try:
            request = json.loads(file.read_bytes())
        except ValueError:
            continue
        for path in _places(request):
            for value in _OF_EVERY_SORT:
                _read(dialect, json.dumps(_replaced(request, path, value)).encode())


def _read(dialect: Any, body: bytes) -> None:
    try:
        ask = dialect.read(body)
    except Fault as fault:
        assert fault.kind in {FaultKind.CALLER_BAD_REQUEST, FaultKind.CALLER_UNSUPPORTED}  # noqa: PT017 - or no fault
        assert fault.param, body  # noqa: PT017
        return
    assert isinstance(ask, Ask | FillAsk | Several)
    writer_for(dialect, ask, head_for(ask))


@pytest.mark.parametrize("what", MANY)
def test_very_many_of_one_thing_cost_little(what):
    """A body of half a megabyte or more is read in well under a second of CPU time, whatever there is so much of in it.

    It takes less than a tenth of that. Where each item was compared with each other one it took up to thirteen seconds.
    """
    name, request = MANY[what]()
    dialect, body = _by_name(name), json.dumps(request).encode()
    before = process_time()
    dialect.read(body)
    assert process_time() - before < 1


_U = {"role": "user", "content": "x"}
_DEEP: list[tuple[str, dict[str, Any]]] = [
    ("openai_chat", {"messages": [_U], "tools": [{"function": {"name": "f", "parameters": "*"}}]}),
    ("openai_chat", {"messages": [_U], "functions": [{"name": "f", "parameters": "*"}]}),
    ("openai_chat", {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "*"}}]}),
    ("openai_chat", {"messages": [_U], "response_format": {"type": "json_schema", "json_schema": {"schema": "*"}}}),
    ("openai_responses", {"input": "x", "tools": [{"type": "function", "name": "f", "parameters": "*"}]}),
    ("openai_responses", {"input": "x", "tools": [{"type": "custom", "name": "f", "more": "*"}]}),
    ("openai_responses", {"input": "x", "tools": [{"type": "tool_search", "execution": "client", "parameters": "*"}]}),
    ("openai_responses", {"input": "x", "metadata": "*"}),
    ("openai_responses", {"input": "x", "instructions": [{"role": "user", "content": "x", "more": "*"}]}),
    ("openai_responses", {"input": "x", "text": {"format": {"type": "json_schema", "schema": "*"}}}),
    ("openai_responses", {"input": [{"role": "user", "content": "x", "more": "*"}]}),
    ("openai_responses", {"input": [{"type": "function_call", "name": "f", "arguments": "*"}]}),
    ("openai_responses", {"input": [{"type": "tool_search_call", "arguments": "*"}]}),
    ("openai_responses", {"input": [{"type": "shell_call", "action": "*"}]}),
    ("openai_responses", {"input": [{"type": "shell_call_output", "output": "*"}]}),
    ("anthropic_messages", {"max_tokens": 1, "messages": [_U], "tools": [{"name": "f", "input_schema": "*"}]}),
    (
        "anthropic_messages",
        {
            "max_tokens": 1,
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "*"}]},
            ],
        },
    ),
    (
        "anthropic_messages",
        {"max_tokens": 1, "messages": [_U], "output_format": {"type": "json_schema", "schema": "*"}},
    ),
    ("ollama_chat", {"model": "m", "messages": [_U], "format": "*"}),
    ("ollama_generate", {"model": "m", "prompt": "x", "format": "*"}),
]


@pytest.mark.parametrize(("name", "request_"), _DEEP, ids=lambda value: value if isinstance(value, str) else "")
def test_at_no_depth_does_a_value_break_its_reader(name, request_):
    """What is just not too deep to be read may be too deep to be written again, further down in calls: that is no defect."""
    dialect, form = _by_name(name), json.dumps(request_)
    for depth in (400, *range(880, 1000)):
        for deep in ('{"a":' * depth + "1" + "}" * depth, '{"a":' + "[" * depth + "]" * depth + "}"):
            try:
                ask = dialect.read(form.replace('"*"', deep).encode())
            except Fault as fault:
                assert fault.kind is FaultKind.CALLER_BAD_REQUEST  # noqa: PT017 - or no fault
                continue
            writer_for(dialect, ask, head_for(ask)).fault(Fault(FaultKind.GATEWAY_BROKEN, "m"))


def test_what_is_too_deep_to_be_written_is_the_callers_fault():
    """An object that was read, and cannot be written as JSON again, is refused by its place."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(Fault) as caught:
        as_json(deep, "tools[0].parameters")
    assert (caught.value.kind, caught.value.param) == (FaultKind.CALLER_BAD_REQUEST, "tools[0].parameters")
