"""What is made of kept responses: ids of items, and the pages in which a client sees them."""

import json

import pytest
from openai.types.responses import ResponseItemList

from fittengate.core.faults import Fault, FaultKind
from fittengate.core.record import Record
from fittengate.dialects._responses_kept import (
    MAX_REFERENCES,
    Kept,
    input_items,
    item_id,
    item_page,
    response_of,
    wanted,
)

TAIL = "0" * 24


def record(tail=TAIL, given=(), output=(), previous=None):
    return Record(f"resp_{tail}", previous, json.dumps(given).encode(), json.dumps({"output": output}).encode())


def said(item):
    return item["content"][0]["text"]


def test_an_items_id_says_which_response_it_belongs_to():
    """The tail of the response's id stands in it; ids of another form belong to none."""
    assert item_id("function_call", TAIL, 10) == f"fc_{TAIL}000a"
    assert item_id("news", TAIL, 0) == f"item_{TAIL}0000"
    assert response_of(f"fc_{TAIL}000a") == f"resp_{TAIL}"
    assert [response_of(name) for name in ("fc_1", "fc", "", f"fc{TAIL}")] == [None] * 4


def test_items_are_listed_in_full_and_in_order():
    """What earlier responses were given and answered comes before what the last one was given; its answer is not input."""
    first = record(given=[{"role": "user", "content": "a"}], output=[{"type": "message", "id": "msg_x", "content": []}])
    parts = [{"type": "input_text", "text": "c"}]
    last = record("1" * 24, [{"role": "assistant", "content": "b"}, {"role": "user", "content": parts}], [{"id": "no"}])
    told, answer, *given = input_items((first, last))
    assert (told["type"], told["status"], told["id"]) == ("message", "completed", f"msg_{TAIL}0000i")
    assert told["content"] == [{"type": "input_text", "text": "a"}]
    assert answer["id"] == "msg_x"
    assert given[0]["content"] == [{"type": "output_text", "text": "b", "annotations": []}]
    assert [said(item) for item in given] == ["b", "c"]


def test_listed_items_are_of_the_types_that_the_sdk_declares():
    """Whatever form a client sent a message in, strict clients read it back."""
    contents = [
        ("user", [{"type": "input_image", "image_url": "https://example.org/a.png"}]),
        ("assistant", [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]),
        ("developer", None),
        ("user", ""),
    ]
    one = record(given=[{"role": role, "content": content} for role, content in contents])
    ResponseItemList.model_validate_json(item_page(input_items((one,)), None, 10), strict=True)
    assert [part["type"] for item in input_items((one,)) for part in item["content"]] == [
        *("input_image", "output_text", "refusal", "input_text"),
    ]


def test_a_page_begins_behind_an_item_and_says_whether_there_is_more():
    """An item that is not in the list is the caller's fault, not the end of the list."""
    items = [{"id": str(number)} for number in range(5)]
    page = json.loads(item_page(items, "1", 2))
    assert ([item["id"] for item in page["data"]], page["first_id"], page["last_id"]) == (["2", "3"], "2", "3")
    assert page["has_more"] is True
    assert json.loads(item_page(items, "2", 2))["has_more"] is False
    empty = json.loads(item_page([], None, 2))
    assert (empty["data"], empty["first_id"], empty["last_id"], empty["has_more"]) == ([], None, None, False)
    with pytest.raises(Fault) as caught:
        item_page(items, "9", 2)
    assert (caught.value.kind, caught.value.param) == (FaultKind.CALLER_BAD_REQUEST, "after")


def test_a_request_refers_to_so_many_responses_at_most():
    """Each is looked up once, in the order in which they come; what is no reference is passed over."""
    items = [{"id": f"msg_{number:024}0000"} for number in range(MAX_REFERENCES + 1)]
    assert len(wanted({"input": items})[1]) == MAX_REFERENCES
    odd = [5, {"id": 5}, {"type": "message", "id": f"msg_{TAIL}0000"}, {"type": "item_reference", "id": "msg_1"}]
    assert wanted({"input": odd, "previous_response_id": 5}) == (None, ())
    assert wanted({"input": [items[1], items[1]], "previous_response_id": "resp_a"}) == ("resp_a", (f"resp_{1:024}",))


def test_an_item_is_found_in_any_response_that_was_recalled():
    """Given or answered, by its id; there is none of another id."""
    one = record(given=[{"role": "user", "content": "a"}], output=[{"type": "message", "id": "msg_x"}])
    kept = Kept({one.id: (one,)})
    assert kept.item("msg_x") == {"type": "message", "id": "msg_x"}
    assert said(kept.item(f"msg_{TAIL}0000i")) == "a"
    assert kept.item("msg_y") is None
    assert list(kept.conversation(None)) == list(kept.conversation("resp_unknown")) == []
