"""The settings page is made from the table."""

import importlib.util
from pathlib import Path

from fittengate.settings import TABLE

ROOT = Path(__file__).parents[2]


def script():
    spec = importlib.util.spec_from_file_location("settings_page", ROOT / "scripts" / "settings_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_page_is_what_the_table_makes():
    """Nobody edits docs/settings.md: after a change of the table run scripts/settings_page.py."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == script().page()


def test_every_setting_stands_on_the_page_once():
    """Each variable of the table has its row, and no two settings share one."""
    page = script().page()
    names = [row.environment for row in TABLE]
    assert len(set(names)) == len(names)
    for name in names:
        assert page.count(f"| `{name}` |") == 1


def test_a_row_of_the_page_keeps_its_columns():
    """No text of the table breaks the page's tables."""
    for line in script().page().splitlines():
        if line.startswith("| `"):
            assert line.count("|") == 7
