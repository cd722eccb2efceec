"""Scenario files and what is wrong with them."""

import pytest

from fittengate.simulator import AccountRecord, Fast, Plan, Queued, Scenario, ScenarioError, Simulator, load
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
        ('{"wrong_password": "maybe"}', ["maybe", "wrong_password", "known are 'body', '401'"]),
        ('{"defaults": {"chat": {"cut": "x"}}}', ["'x'", "known are 'end', 'close', 'reset', 'stall'"]),
        ('{"plans": [{"route": "chat", "plan": {"call_flaws": ["x"]}}]}', ["call_flaws", "'fenced', 'upper'"]),
        ('{"tokens": {"access_form": "x"}}', ["known are 'jwt', 'no_exp', 'opaque'"]),
        ('{"models": {"form": "x"}}', ["known are 'plain', 'string'"]),
        ("{", ["truncated"]),
        ("", ["there is nothing in it"]),
        ('{"accounts": [{"username": "", "password": "p"}]}', ["$.accounts[0].username"]),
        ('{"accounts": [{"username": "u", "password": "p", "user_id": "7"}]}', ["$.accounts[0].user_id"]),
        ('{"fast": {"deltas": 1000000000}}', ["$.fast.deltas"]),
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


def test_a_plan_that_would_do_nothing_is_refused():
    """What only a chat reply has is of no use to any other; a plan for any route may have it."""
    with pytest.raises(ScenarioError, match="login has no use for text, first_ms"):
        Simulator(Scenario(defaults={"login": Plan(text="x", first_ms=5)}))
    with pytest.raises(ScenarioError, match="models has no use for deltas"):
        Simulator().plan("models", Plan(deltas=("x",)))
    Simulator().plan("*", Plan(text="x"))
    Simulator().plan("login", Plan(status=503, delay_ms=1, cut="reset", cut_at=3))


def test_two_accounts_of_one_name_are_refused():
    """By user name, e-mail or phone; the one that comes along is one of them."""
    twice = ({"username": "a", "email": "a@example.org"}, {"username": "b", "email": "a@example.org"})
    for records in (twice, ({"username": "demo"},)):
        with pytest.raises(ScenarioError, match="names two of them"):
            Simulator(Scenario(accounts=tuple(AccountRecord(password="p", **record) for record in records)))
    Simulator(Scenario(accounts=(AccountRecord(username="demo", password="own"),), demo_account=False))
