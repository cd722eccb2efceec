"""The page about the simulator names everything that it can do."""

from pathlib import Path
from typing import get_args

import pytest

from fittengate.simulator import Completion, Fast, Plan, Scenario, SignIn, Tokens
from fittengate.simulator.calls import FLAWS, FORMS, Flaw, Form
from fittengate.simulator.control import _ACTIONS
from fittengate.simulator.routes import NAMES

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [Scenario, Plan, Tokens, Completion, SignIn, Fast])
def test_every_field_is_on_the_page(kind):
    """In code marks."""
    assert [name for name in kind.__struct_fields__ if f"`{name}`" not in PAGE] == []


def test_every_form_and_flaw_of_a_call_is_on_the_page():
    """The page lists what a scenario may ask for, and what a scenario may ask for can be written."""
    assert [name for name in (*get_args(Form), *get_args(Flaw)) if f"`{name}`" not in PAGE] == []
    assert set(get_args(Form)) == {"prompted", *FORMS}
    assert set(get_args(Flaw)) == set(FLAWS)


def test_every_route_and_control_request_is_on_the_page():
    """By name and by path."""
    assert [name for name in NAMES if f"`{name}`" not in PAGE] == []
    assert [path for _, path in _ACTIONS if path not in PAGE] == []
