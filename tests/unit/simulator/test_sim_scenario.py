"""Scenario files and what is wrong with them."""

import pytest

from fittengate.simulator import Fast, Plan, Queued, Scenario, ScenarioError, Simulator, load
from fittengate.simulator.scenario import parse


def test_an_empty_scenario_is_the_default_one():
    """Every field has a default."""
    assert parse(b"{}") == Scenario()
    assert parse(b"", toml=True) == Scenario()


def test_json_and_toml_say_the_same(tmp_path):
    """The suffix decides."""
    (tmp_path / "a.json").write_text(
        '{"fast": {"deltas": 3}, "plans": [{"route": "chat", "plan": {"text": "hi", "raw": "aGk="}, "times": 2}]}'
    )
    (tmp_path / "a.toml").write_text(
        '[fast]\ndeltas = 3\n[[plans]]\nroute = "chat"\ntimes = 2\nplan = {text = "hi", raw = "aGk="}\n'
    )
    assert load(tmp_path / "a.json") == load(tmp_path / "a.toml")
    assert load(tmp_path / "a.toml") == Scenario(
        fast=Fast(deltas=3), plans=(Queued(route="chat", plan=Plan(text="hi", raw=b"hi"), times=2),)
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"tokens": {"acces_seconds": 1}}', ["acces_seconds", "$.tokens"]),
        ('{"nonsense": 1}', ["nonsense"]),
        ('{"defaults": {"chat": {"txt": "x"}}}', ["txt", "$.defaults"]),
        ('{"tokens": {"access_seconds": -1}}', ["access_seconds"]),
        ('{"wrong_password": "maybe"}', ["maybe", "wrong_password"]),
        ("{", ["truncated"]),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, text, parts):
    """The file, the place and the field."""
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        load(path)
    assert all(part in str(error.value) for part in [str(path), *parts])


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    """Not a traceback of another kind."""
    with pytest.raises(ScenarioError, match=r"none\.json"):
        load(tmp_path / "none.json")


def test_a_plan_for_an_unknown_route_is_refused():
    """The known ones are listed."""
    with pytest.raises(ScenarioError, match=r"'chta'.*refresh"):
        Simulator(Scenario(defaults={"chta": Plan()}))
    with pytest.raises(ScenarioError, match="chta"):
        Simulator().plan("chta", Plan())
    with pytest.raises(ScenarioError, match="sometimes"):
        Simulator().plan("chat", Plan(cut="sometimes"))
    sim = Simulator()
    with pytest.raises(ScenarioError, match="chta"):
        sim.set_scenario(Scenario(plans=(Queued(route="chta", plan=Plan()),), demo_account=False))
    assert sim.scenario == Scenario()
