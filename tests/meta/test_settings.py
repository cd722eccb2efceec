"""Every setting of the table is read by the program: one that does nothing is a defect."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fittengate.settings import TABLE, Settings

SOURCE = Path(__file__).parents[2] / "src" / "fittengate"

READERS = {SOURCE / "settings.py", SOURCE / "server" / "configure.py", SOURCE / "server" / "sources.py"}
"""Where settings are made and checked: to be read there is not to do anything."""

CLASSES = {type(getattr(Settings(), section)).__name__: section for section in Settings.__struct_fields__}

BY_NAME = {"limits": "src/fittengate/server/assemble.py reads all limits in a loop, over services.key_rows.LIMITS"}
"""Sections whose fields are read by a name that is put together, and where."""


def read_in(text: str) -> set[str]:
    """Return the settings that a module reads: ``section.name``, or the name of whatever has a section's class."""
    tree = ast.parse(text)
    called = dict(CLASSES)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "fittengate.settings":
            called |= {name.asname: CLASSES[name.name] for name in node.names if name.asname and name.name in CLASSES}
    holders = dict(_holders(tree, called))
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        base = node.value
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        section = holders.get(name) or (name if name in Settings.__struct_fields__ else None)
        if (name, node.attr) == ("configured", "state_dir"):
            # Made absolute there, and handed on beside the settings.
            found.add("server.state_dir")
        if section:
            found.add(f"{section}.{node.attr}")
    return found


def _holders(tree: ast.AST, called: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of arguments and variables that hold a section, and which one."""
    own = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name) and node.annotation.id in called:
            own[node.arg] = called[node.annotation.id]
            yield node.arg, own[node.arg]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        pairs = zip(
            *(part.elts if isinstance(part, ast.Tuple) else [part] for part in (node.targets[0], node.value)),
            strict=False,
        )
        for target, value in pairs:
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if isinstance(value, ast.Attribute) and value.attr in Settings.__struct_fields__:
                yield name, value.attr
            elif isinstance(value, ast.Name) and value.id in own:
                yield name, own[value.id]


def all_read() -> set[str]:
    """Return the settings that the program reads."""
    files = [path for path in SOURCE.rglob("*.py") if path not in READERS]
    return set().union(*(read_in(path.read_text(encoding="utf-8")) for path in files))


def test_every_setting_is_read_by_the_program():
    """Reading and checking the sources does not count."""
    found = all_read()
    assert [row.key for row in TABLE if row.key not in found and row.section not in BY_NAME] == []


def test_sections_that_are_read_in_a_loop_are():
    """The loop is there, and it goes over every field of the section."""
    from fittengate.server.assemble import allowances
    from fittengate.settings import Limits

    names = Limits.__struct_fields__
    each, account = allowances(Limits(**{name: number for number, name in enumerate(names, 1)}))
    told = [getattr(each, name) for name in names[:5]] + [getattr(account, name) for name in names[:5]]
    assert told == list(range(1, len(names) + 1))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("x = settings.server.port", {"server.port"}),
        ("def f(one: Server): return one.port", {"server.port"}),
        (
            "from fittengate.settings import Overload as Full\ndef f(full: Full): return full.loop_lag",
            {"overload.loop_lag"},
        ),
        ("server, log = settings.server, settings.log\nx = log.level", {"log.level"}),
        ("class A:\n def __init__(self, s: Fleet): self._s = s\n def f(self): return self._s.name", {"fleet.name"}),
        ("x = other.port", set()),
    ],
)
def test_what_counts_as_read(text, settings):
    """A name alone is none: it has to belong to the section."""
    assert {key for key in read_in(text) if key in {row.key for row in TABLE}} == settings
