"""The documents say what is true: examples run as printed, lists are complete, links lead somewhere."""

import ast
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fittengate.cli import COMMANDS
from fittengate.core.faults import KINDS
from fittengate.dialects import COUNTING, DIALECTS, RESPONSES
from fittengate.server.admin import ADMIN_METHODS
from fittengate.server.app import MODEL_PREFIXES, App
from fittengate.server.kept import KEPT_METHODS
from fittengate.server.metrics import Metrics
from fittengate.server.ollama import OllamaModels
from fittengate.server.pages import Pages
from fittengate.server.probes import Probes
from fittengate.server.tabby import Tabby
from fittengate.settings import TABLE

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
PAGES = [ROOT / "CHANGELOG.md", *(ROOT / name for name in READMES), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
COMMAND = [sys.executable, "-c", "from fittengate.cli import main; main()"]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name, language):
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL)


def rows(name):
    """Return the rows of every table of a page, as lists of cells; headings and rules too."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text_of(name).splitlines()
        if line.startswith("|")
    ]


def clean_environment(home):
    ours = ("FITTENGATE_", "OPENAI_", "ANTHROPIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
    return kept | {"HOME": str(home), "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def demo():
    """Run a demo gateway in a process of its own; give the line it printed last and an environment that leads to it."""
    with tempfile.TemporaryDirectory() as home:
        environment = clean_environment(home)
        process = subprocess.Popen(
            [*COMMAND, "demo", "--port", "0"], cwd=home, env=environment, stdout=subprocess.PIPE, text=True
        )
        printed = []
        try:
            for line in process.stdout:
                printed.append(line.rstrip("\n"))
                if line.startswith("curl "):
                    break
            said = "\n".join(printed)
            url = re.search(r"http://127\.0\.0\.1:\d+/v1", said)[0]
            key = re.search(r"fg_[\w-]+", said)[0]
            openai = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": key}
            anthropic = {"ANTHROPIC_BASE_URL": url.removesuffix("/v1"), "ANTHROPIC_API_KEY": key}
            yield printed[-1], environment | openai | anthropic
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                # Left running it would be told of as a leak, in whatever test comes next.
                process.kill()
                process.communicate()
                raise


def run_example(name, wanted, environment):
    """Run the README's example that holds ``wanted`` just as it is printed; return what it printed."""
    found = [block for block in blocks(name, "python") if wanted in block]
    assert len(found) == 1
    done = subprocess.run(
        [sys.executable, "-c", found[0]],
        env=environment,
        cwd=environment["HOME"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", READMES)
def test_the_whole_example_runs_as_printed(name, demo):
    """The README's first example, pasted into Python, prints the answer and its tokens."""
    printed = run_example(name, "print(reply.choices[0].message.content)", demo[1])
    assert "This is the Fitten simulator" in printed
    assert re.search(r"^\d+ tokens$", printed, re.MULTILINE)


@pytest.mark.parametrize("name", READMES)
def test_the_streaming_example_runs_as_printed(name, demo):
    """The README's second example, pasted into Python, prints the streamed answer."""
    assert "def greet(name: str) -> str:" in run_example(name, "stream=True", demo[1])


@pytest.mark.parametrize("name", READMES)
def test_the_example_of_the_messages_api_runs_as_printed(name, demo):
    """The README's third example, pasted into Python, prints what Anthropic's SDK streamed."""
    assert "def greet(name: str) -> str:" in run_example(name, "from anthropic import Anthropic", demo[1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to paste the line to")
def test_the_curl_line_of_the_demo_works_as_pasted(demo):
    """What `fittengate demo` prints, pasted into a shell, streams an answer to its clean end."""
    done = subprocess.run(
        demo[0], shell=True, env=demo[1], capture_output=True, text=True, encoding="utf-8", timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("data: {")
    assert done.stdout.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("name", READMES)
def test_the_curl_line_of_the_readme_is_the_one_of_the_demo(name, demo):
    """The README shows the line that the demo prints, but for port and key."""
    line = demo[0].replace(demo[1]["OPENAI_BASE_URL"], "http://127.0.0.1:5000/v1")
    assert line.replace(demo[1]["OPENAI_API_KEY"], "KEY") in [block.strip() for block in blocks(name, "sh")]


def test_both_readmes_say_the_same():
    """Commands, code, links and table rows of the two READMEs are the same; the words are in two languages."""
    english, chinese = READMES
    assert blocks(english, "sh") == blocks(chinese, "sh")
    assert len(blocks(english, "python")) == len(blocks(chinese, "python")) == 3
    assert [len(row) for row in rows(english)] == [len(row) for row in rows(chinese)]
    headings = [re.findall(r"^#+ ", text_of(name), re.MULTILINE) for name in READMES]
    assert headings[0] == headings[1]
    links = [sorted(set(re.findall(r"\]\(([^)]+)\)", text_of(name))) - set(READMES)) for name in READMES]
    assert links[0] == links[1]


@pytest.mark.parametrize("name", READMES)
def test_every_command_is_in_the_readme_and_exists(name):
    """The README's table of commands names those that there are, and each can be loaded."""
    cells = " ".join(row[0] for row in rows(name) if row[0].startswith("`fittengate"))
    named = re.findall(r"`(?:fittengate )?([a-z]+)`", cells)
    assert sorted(named) == sorted(COMMANDS)
    for command in COMMANDS:
        assert importlib.import_module(f"fittengate.cli.{command}").command.help


def test_every_fault_kind_is_on_the_errors_page():
    """The table has one row for each kind, with its status, its code and what to do."""
    found = {row[0]: row[1:] for row in rows("docs/errors.md") if len(row) == 4 and row[0].startswith("`")}
    assert list(found) == [f"`{kind.value}`" for kind in KINDS]
    for kind, known in KINDS.items():
        status, code, advice = found[f"`{kind.value}`"]
        assert (status, code) == (str(known.status), f"`{known.code}`")
        assert advice.endswith(".")


def test_every_path_is_on_the_page_of_paths():
    """The page lists exactly the paths that the application answers, aliases included."""
    app = App(
        None,
        Probes(None, None, None, None, 0, {}),
        Pages(),
        None,
        None,
        OllamaModels(None, None, None, 0, 0),
        Tabby(None, None, 0),
        Metrics(None, None, on=True),
    )
    answered = {*app._gets, *app._tells} | {path for dialect in DIALECTS for path in dialect.paths}
    answered |= {path for dialect in COUNTING for path in dialect.count_paths}
    answered |= {f"{prefix}{{id}}" for prefix in MODEL_PREFIXES}
    answered |= {f"{path}/{{id}}/{what}".rstrip("/") for path in RESPONSES.paths for what in KEPT_METHODS}
    answered |= set(ADMIN_METHODS)
    listed = [
        path for row in rows("docs/paths.md") if len(row) == 5 for path in re.findall(r"`(/[^`]*)`", row[0] + row[2])
    ]
    assert sorted(listed) == sorted(answered)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_that_a_page_names_exists(name):
    """Names like `server.port` and FITTENGATE_SERVER_PORT in the documents are settings of the table."""
    sections = "|".join({row.section for row in TABLE})
    keys = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", text_of(name)))
    files = {f"{row.section}.{suffix}" for row in TABLE for suffix in ("py", "md", "log")}
    assert keys - files <= {row.key for row in TABLE}
    variables = set(re.findall(r"\bFITTENGATE_[A-Z_]*[A-Z]\b", text_of(name)))
    assert variables <= {row.environment for row in TABLE} | {"FITTENGATE_CONFIG", "FITTENGATE_DEBUG"}


def folders():
    """Return every folder that holds a file of the project; a dialect's goldens count as one with their parent."""
    found = set()
    for top in ("src/fittengate", "tests", "bench", "deploy", "docs", "scripts"):
        for path in (ROOT / top).rglob("*"):
            inside = path.relative_to(ROOT).parent
            made = {"__pycache__", "node_modules"} & set(path.parts)
            if path.is_file() and not made and not path.name.startswith("."):
                found |= {inside, *(parent for parent in inside.parents if parent.is_relative_to(top))}
    return {f"{path}/" for path in found if not str(path).startswith("tests/golden/")}


def test_every_folder_is_on_the_map():
    """The map has one row for each folder, and none for a folder that does not exist."""
    listed = [row[0].strip("`") for row in rows("docs/map.md") if row[0].startswith("`")]
    assert len(listed) == len(set(listed))
    assert sorted(folders()) == sorted(listed)


def test_the_way_of_a_request_names_files_that_exist():
    """A file that was moved or renamed leaves no false trail."""
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", text_of("docs/way-of-a-request.md"))
    assert len(named) > 20
    for name in named:
        assert (ROOT / "src/fittengate" / name).is_file(), name


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_relative_links_lead_somewhere(path):
    """Every link to a file or folder of the project resolves."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_every_page_can_be_reached():
    """No page of docs/ is an orphan: the README or the list of decisions links to it."""
    linked = set()
    for page in (ROOT / "README.md", ROOT / "docs/decisions/README.md", ROOT / "docs/limits.md"):
        linked |= {
            (page.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
        }
    assert {path for path in PAGES if path.name != "README.md" or path.parent.name == "docs"} <= linked | {
        ROOT / "README.zh-CN.md"
    }


@pytest.mark.parametrize("path", sorted((ROOT / "docs/decisions").glob("[a-z]*.md")), ids=lambda path: path.stem)
def test_a_decision_says_what_why_and_what_it_costs(path):
    """Each note has its three parts and stays half a page long."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)[:3] == ["What.", "Why.", "What it costs."]
    assert len(text.splitlines()) <= 40


CLIENTS = sorted(path for path in (ROOT / "docs/clients").glob("*.md") if path.name != "requirements.md")


@pytest.mark.parametrize("path", CLIENTS, ids=lambda path: path.stem)
def test_a_page_for_a_client_says_what_was_tried(path):
    """What to set with a base URL of this gateway, what to know, and with which version it was tried, or that it was not."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[-2:] == ["Good to know", "Tried"]
    urls = re.findall(r"http://127\.0\.0\.1[^\s`\"']*", text)
    assert urls
    assert set(urls) <= {"http://127.0.0.1:5000", "http://127.0.0.1:5000/v1"}
    tried = text.partition("\n## Tried\n")[2].strip()
    assert re.match(r"On \d{4}-\d\d-\d\d, on \w+, .*\bsimulator\b|Not run", tried, re.DOTALL)
    assert re.search(r"\d+\.\d+\.\d+", tried)


@pytest.mark.parametrize("name", READMES)
def test_every_page_for_a_client_is_linked_from_the_readme(name):
    """Whoever looks for a client finds its page in the README, in either language."""
    assert set(re.findall(r"\]\(docs/clients/([a-z-]+\.md)\)", text_of(name))) >= {path.name for path in CLIENTS}


def docstring_of(test):
    """Return the docstring of a test that is given as path::name; None where there is no such test."""
    path, _, name = test.partition("::")
    nodes = ast.walk(ast.parse(text_of(path))) if (ROOT / path).is_file() else ()
    named = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name]
    return ast.get_docstring(named[0]) if named else None


def test_every_point_that_clients_need_is_shown_by_a_test():
    """All 44 are listed; each names a test whose docstring begins with its number, or the route that it waits for."""
    found = {int(row[0]): row[2] for row in rows("docs/clients/requirements.md") if row[0].isdigit()}
    assert list(found) == list(range(1, 45))
    for number, shown in found.items():
        if shown.startswith("later: `"):
            continue
        tests = re.findall(r"`([^`]+)`", shown)
        assert tests, number
        for test in tests:
            assert (docstring_of(test) or "").startswith(f"Requirement {number}:"), f"{number}: {test}"


def test_the_versions_of_python_are_the_same_everywhere():
    """The package's classifiers name those that the limits and both READMEs call tried."""
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text_of("pyproject.toml"))
    assert len(named) > 1
    for name in ("docs/limits.md", *READMES):
        (line,) = re.findall(r"^.*3\.12.*$", text_of(name), re.MULTILINE)
        assert sorted(set(re.findall(r"\b3\.\d+\b", line))) == sorted(named)
