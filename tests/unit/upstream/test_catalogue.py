"""The service's model list, in every form it may come in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.upstream.fitten import catalogue


def ids(value):
    cards = catalogue.read(json.dumps(value).encode())
    return None if cards is None else [card.id for card in cards if card.section != "completion"]


def entry(selection, display=None, **more):
    return {"selection_name": selection, **({} if display is None else {"display_name": display}), **more}


def test_slugs_are_made_from_display_names_and_agents_say_so():
    """The built-in list shows the names that users will type."""
    cards = {card.id: card for card in catalogue.built_in()}
    names = ["fitten-code", "default", "deepseek-v3", "deepseek-r1", "default-agent", "fitten-completion"]
    assert list(cards) == names
    assert (cards["default-agent"].selection, cards["default-agent"].section) == ("S5", "agent")
    assert cards["fitten-code"].selection is None


def test_the_default_comes_first_then_the_higher_order_then_the_name():
    """As the service's own clients sort."""
    value = {
        "chat": [
            entry("S2", "B", order=5),
            entry("S3", "A", order=5),
            entry("S4", "C", order=99),
            entry("S1", "Z", is_default=True),
        ]
    }
    assert ids(value) == ["fitten-code", "z", "c", "a", "b"]


def test_odd_entries_cost_only_themselves():
    """Missing names, names that are no text, orders that are no numbers, duplicates."""
    value = {
        "chat": [
            entry("S1", "Same"),
            entry("S2", "Same", order="high"),
            entry("S3"),
            entry("S4", "深度"),
            entry("", "x"),
            entry(7, "y"),
            "text",
            None,
            entry("S8", "a\nb"),
        ],
        "agent": "none",
    }
    assert ids(value) == ["fitten-code", "s3", "s8", "same", "same-s2", "s4"]


def test_completion_is_the_last_model_and_no_other_takes_its_name():
    """It is on no list of the service; a chat model of that name gets another one."""
    cards = catalogue.read(json.dumps({"chat": [entry("S9", "Fitten Completion")]}).encode())
    assert [(card.id, card.section) for card in cards[1:]] == [
        ("fitten-completion-s9", "chat"),
        ("fitten-completion", "completion"),
    ]


def test_the_list_may_come_as_a_string_that_holds_it():
    """One client allows for a JSON string with the object inside."""
    assert ids(json.dumps({"chat": [entry("S2", "DeepSeek V3")]})) == ["fitten-code", "deepseek-v3"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"chat":[],"agent":[]}', b'"x"', b"\xff", b"[" * 5000]
)
def test_what_is_no_list_gives_none_so_that_the_last_good_one_is_kept(body):
    """An empty list would take every model away."""
    assert catalogue.read(body) is None


def test_a_list_is_bounded():
    """Thousands of entries are not kept."""
    value = {"chat": [entry(f"S{i}", f"M{i}") for i in range(5000)]}
    assert len(ids(value)) == catalogue.MAX_MODELS + 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(["chat", "agent", "selection_name", "display_name", "order", "is_default"]),
                x,
                max_size=4,
            )
        ),
    )
)
def test_any_json_gives_cards_or_none(value):
    """Never an exception, and always the default first."""
    cards = catalogue.read(json.dumps(value).encode())
    assert cards is None or cards[0] == catalogue.DEFAULT
