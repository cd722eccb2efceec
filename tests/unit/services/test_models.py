"""Which model a name means."""

import pytest

from fittengate.core.caller import ModelCard
from fittengate.core.faults import Fault, FaultKind
from fittengate.services.models import MAX_REMEMBERED, ModelNames
from fittengate.settings import DEFAULT_ALIASES
from fittengate.upstream.fitten.catalogue import built_in

ALIASES = dict.fromkeys(DEFAULT_ALIASES, "fitten-code")


def names(cards=None, aliases=None):
    cards = built_in() if cards is None else cards
    return ModelNames(lambda: cards, ALIASES if aliases is None else aliases)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, "fitten-code"),
        ("", "fitten-code"),
        ("fitten-code", "fitten-code"),
        ("deepseek-v3", "deepseek-v3"),
        ("S2", "deepseek-v3"),
        ("s5", "default-agent"),
        ("DeepSeek R1", "deepseek-r1"),
        ("Default", "default"),
        ("Default (Agent)", "default-agent"),
        ("claude-sonnet-4-5", "fitten-code"),
        ("gpt-4o-mini", "fitten-code"),
        ("GPT-4o", "fitten-code"),
        ("o3-mini", "fitten-code"),
        ("deepseek-chat", "fitten-code"),
        ("qwen2.5-coder:7b", "fitten-code"),
    ],
)
def test_a_name_finds_its_model(name, found):
    """Ids, selection names, display names, then aliases, ignoring case."""
    assert names().find(name).id == found


def test_an_unknown_name_is_told_the_known_ones():
    """404 with the list, and the name cut short if it is long."""
    with pytest.raises(Fault) as caught:
        names().find("x" * 500)
    assert caught.value.kind is FaultKind.CALLER_NO_MODEL
    assert "deepseek-v3" in caught.value.message
    assert len(caught.value.message) < 300


def test_a_changed_catalogue_is_noticed_and_a_model_wins_over_an_alias():
    """A real model called gpt-9 is that model and no alias any more."""
    cards = built_in()
    found = ModelNames(lambda: cards, ALIASES)
    assert found.find("gpt-9").id == "fitten-code"
    cards = (*cards, ModelCard("gpt-9", "GPT 9", "S9"))
    assert found.find("gpt-9").selection == "S9"


def test_an_alias_to_a_model_that_is_not_there_is_no_alias():
    """The next pattern counts."""
    assert names(aliases={"x*": "gone", "xy*": "deepseek-r1"}).find("xyz").id == "deepseek-r1"


def test_the_memory_for_names_is_bounded():
    """A client that makes up names fills no memory (P6)."""
    found = names()
    for i in range(MAX_REMEMBERED * 2):
        found.find(f"gpt-{i}")
    assert len(found._remembered) == MAX_REMEMBERED
