"""What the OpenAI formats share: error types, the model list, bodies that cannot be read."""

import json

import pytest

from fittengate.core.caller import ModelCard
from fittengate.core.faults import Fault, FaultKind
from fittengate.dialects._fields import read_object
from fittengate.dialects._openai import error_body, model_entry, model_list
from fittengate.dialects.openai_chat import OpenAIChat
from fittengate.dialects.openai_completions import OpenAICompletions
from fittengate.dialects.openai_responses import OpenAIResponses
from fittengate.lib.jsonio import shown, to_json


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        (FaultKind.CALLER_BAD_REQUEST, "invalid_request_error"),
        (FaultKind.CALLER_NO_KEY, "invalid_request_error"),
        (FaultKind.CALLER_FORBIDDEN, "invalid_request_error"),
        (FaultKind.CALLER_NO_MODEL, "invalid_request_error"),
        (FaultKind.POLICY_RATE, "rate_limit_error"),
        (FaultKind.UPSTREAM_RATE, "rate_limit_error"),
        (FaultKind.POLICY_QUOTA, "insufficient_quota"),
        (FaultKind.GATEWAY_BROKEN, "server_error"),
        (FaultKind.UPSTREAM_LATE, "server_error"),
        (FaultKind.GATEWAY_BUSY, "service_unavailable_error"),
    ],
)
def test_errors_have_openais_types(kind, sort):
    """The type follows from kind and status; the code is the fault's own."""
    fault = Fault(kind, "Why.", param="a.b")
    assert json.loads(error_body(fault))["error"] == {
        "message": "Why.",
        "type": sort,
        "param": "a.b",
        "code": fault.code,
    }


@pytest.mark.parametrize(
    ("dialect", "place"),
    [(OpenAIChat(), "messages"), (OpenAICompletions(), "prompt"), (OpenAIResponses(), "input")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_prompt_that_is_too_long_is_named_as_the_format_names_it(dialect, place):
    """``param`` is a field of the request that was sent; what goes on with a kept response names that."""
    fault = Fault(FaultKind.CALLER_TOO_LONG, "Too long.", param="messages")
    assert json.loads(dialect.error(fault, "id"))["error"]["param"] == place
    kept = Fault(FaultKind.CALLER_TOO_LONG, "Too long.", param="previous_response_id")
    assert json.loads(dialect.error(kept, "id"))["error"]["param"] == "previous_response_id"


def test_the_request_id_is_told_for_our_own_failures_only():
    """A 5xx names the id that the log can be searched for; a 4xx is the caller's to mend."""
    assert b"(request id r1)" in error_body(Fault(FaultKind.GATEWAY_BROKEN, "Ours."), "r1")
    assert b"r1" not in error_body(Fault(FaultKind.CALLER_BAD_REQUEST, "Theirs."), "r1")


def test_a_model_is_an_entry_of_both_vendors():
    """One entry carries what either SDK reads."""
    assert model_entry(ModelCard("deepseek-r1", "DeepSeek R1", created=1767225600), 131072) == {
        "id": "deepseek-r1",
        "object": "model",
        "created": 1767225600,
        "owned_by": "fitten",
        "type": "model",
        "display_name": "DeepSeek R1",
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "context_window": 131072,
        "max_input_tokens": 131072,
    }


@pytest.mark.parametrize(
    ("created", "shown_as"),
    [(0, "1970-01-01T00:00:00Z"), (-5, "1970-01-01T00:00:00Z"), (10**18, "9999-12-31T23:59:59Z")],
)
def test_any_date_can_be_shown(created, shown_as):
    """A date that no calendar has, or that is unknown, never breaks the list."""
    assert model_entry(ModelCard("m", "M", created=created), 1)["created_at"] == shown_as


def test_the_model_list_is_a_page_of_both_vendors():
    """OpenAI's list and Anthropic's paging stand in one object."""
    cards = (ModelCard("a", "A"), ModelCard("b", "模型"))
    body = json.loads(model_list(cards, 5))
    assert {key: body[key] for key in body if key != "data"} == {
        "object": "list",
        "has_more": False,
        "first_id": "a",
        "last_id": "b",
    }
    assert [entry["display_name"] for entry in body["data"]] == ["A", "模型"]


def test_a_list_of_no_models_has_no_ends():
    """Nothing to list is not an error."""
    assert json.loads(model_list((), 5))["first_id"] is None


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"messages":[{"content":[{"text":"ok"},{"text":"cut \\ud83d"}]}]}', "messages[0].content[1].text"),
        (b'{"a":{"b c":"\\uDE00 x"}}', "a.b_c"),
        (b'["\\ud83d"]', "[0]"),
        (b'{"fine":"\\ud83d\\ude00","bad":"\\ude00"}', "bad"),
    ],
)
def test_half_a_character_is_found(body, place):
    """A cut emoji, which clients do send, is named by its place."""
    with pytest.raises(Fault) as caught:
        read_object(body)
    assert (caught.value.kind, caught.value.param) == (FaultKind.CALLER_BAD_REQUEST, place)


def test_the_place_of_half_a_character_stays_short():
    """A path through a body that is deep and wide is cut, and costs no memory for each of its values."""
    key = b"k" * 60
    body = (b'{"' + key + b'":') * 500 + b"[" + b"{}," * 50_000 + b'"\\ud83d"]' + b"}" * 500
    with pytest.raises(Fault) as caught:
        read_object(body)
    assert caught.value.param == ".".join(["k" * 60] * 4)[:200]


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud83d":1}',
        b'{"a":"\\ud83d"',
        b'{"a":"\\ud83d","b":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":"' + b"x" * 1_000_000 + b'\\ud83d"}',
    ],
    ids=["in a key", "not JSON either", "a depth bomb too", "too long to search"],
)
def test_half_a_character_that_cannot_be_found_is_refused_all_the_same(body):
    """The search for the place never turns a bad request into anything else."""
    with pytest.raises(Fault) as caught:
        read_object(body)
    assert (caught.value.kind, caught.value.param) == (FaultKind.CALLER_BAD_REQUEST, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"a":"\xc4\xe3"}', "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b"[]", "object"),
        (b"{a:1}", "byte 1"),
    ],
)
def test_what_is_wrong_with_a_body_is_told(body, words):
    """Each sort of unreadable body has its own sentence."""
    with pytest.raises(Fault, match=words):
        read_object(body)


def test_names_are_shown_cut_and_clean():
    """What a client calls its fields may stand in a header."""
    assert shown("a b\r\n,é" + "x" * 100) == "a_b____" + "x" * 57
    assert shown("") == "_"


def test_json_is_one_line_to_everybody():
    """The line ends of Unicode are escaped and read back as what they are; half a character is replaced."""
    text = "é\x85\u2028\u2029“”"
    written = to_json({"a": text})
    assert len(written.decode().splitlines()) == 1
    assert json.loads(written) == {"a": text}
    assert json.loads(to_json(["\ud800\u2028"])) == ["?\u2028"]
