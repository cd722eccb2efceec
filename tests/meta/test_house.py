"""The house rules that a program can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

LONG_MODULE = 500
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


def tree(path):
    return ast.parse(path.read_text())


def imported(path):
    """Return every module that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(path, folder):
    return path.is_relative_to(ROOT / "src/fittengate" / folder)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for_and_is_short(path):
    """Every module opens with a docstring, none is over 500 lines, none is a drawer for everything."""
    assert ast.get_docstring(tree(path))
    assert len(path.read_text().splitlines()) <= LONG_MODULE
    assert path.stem.strip("_") not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_states_its_fact(path):
    """Every test has a docstring, and none is skipped for good or expected to fail."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
    assert "mark.xfail" not in path.read_text() or path == Path(__file__)


def test_only_configure_reads_the_environment():
    """Nobody else touches os.environ or os.getenv."""
    for path in SOURCES:
        text = path.read_text()
        if path.name != "configure.py":
            assert "os.environ" not in text, path
            assert "getenv" not in text, path


def test_only_the_clients_send_bytes():
    """Aiohttp is imported by the files that call the service, fetch pictures and ask a gateway, and by their seams."""
    users = {path.name for path in SOURCES if any(name.split(".")[0] == "aiohttp" for name in imported(path))}
    assert users <= {"call.py", "client.py", "service.py", "pictures.py", "dialer.py", "completer.py"}


def test_vendor_words_stay_in_their_rooms():
    """No floor between the walls names a vendor's wire."""
    for folder in ("core", "lib", "prompting", "services"):
        for path in SOURCES:
            if inside(path, folder):
                names = {node.id.lower() for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
                assert not {name for name in names if "openai" in name or "anthropic" in name}, path


def test_importing_the_package_does_nothing_and_is_cheap():
    """The package itself loads no library and starts no thread."""
    code = "import sys, threading; import fittengate; print(len(threading.enumerate()), 'aiohttp' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["1", "False"]


def test_the_project_speaks_of_itself_alone():
    """No path of a machine, no host of a package registry, nothing left undone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        for word in ("/work/" + "main", "/work/" + "shared", "pypi." + "org", "registry.npmjs" + ".org", "/root/"):
            assert word not in text, f"{name}: {word}"
        if name.startswith("src/"):
            assert "TODO" not in text, name
            assert "FIXME" not in text, name
