"""Code completion: places, diffs, suggestions."""

import gzip
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.simulator import Completion, Scenario
from fittengate.simulator.completion import END_OF_TEXT, Place, suggest

ERROR = {"error": "diff data error"}


def units(text):
    return len(text.encode("utf-16-le")) // 2


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def common(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def meta(before, after="", previous=None, **more):
    """Return what a client sends: the whole text, or what has changed since the previous one."""
    text = before + after
    fields = {"filename": "a.py", "cpos": units(before), "bcpos": len(before.encode()), "nmd5": md5(text)}
    if previous is None:
        return fields | {"plen": 0, "slen": 0, "bplen": 0, "bslen": 0, "pmd5": "", "diff": text} | more
    head = common(previous, text)
    tail = common(previous[head:][::-1], text[head:][::-1])
    prefix, suffix = text[:head], text[len(text) - tail :]
    return (
        fields
        | {
            "plen": units(prefix),
            "slen": units(suffix),
            "bplen": len(prefix.encode()),
            "bslen": len(suffix.encode()),
            "pmd5": md5(previous),
            "diff": text[head : len(text) - tail],
        }
        | more
    )


async def complete(client, fields, version="", path="generate_one_stage_auth"):
    body = gzip.compress(json.dumps({"inputs": "", "meta_datas": fields}).encode())
    async with client.session.post(
        f"/codeapi/completion{version}/{path}/{client.user_id}?ide=editor",
        data=body,
        headers={
            "Authorization": f"Bearer {client.access}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        },
    ) as reply:
        return await reply.json()


async def by_markers(client, before, after=""):
    path = f"/codeapi/completion/generate_one_stage/{client.user_id}?ide=vim&v=0.2.1"
    inputs = f"!FCPREFIX!{before}!FCSUFFIX!{after}!FCMIDDLE!"
    return (await client.json("POST", path, {"inputs": inputs}))[1]


async def test_the_key_in_the_path_is_enough_for_the_old_kind(client):
    """Prefix and suffix stand between markers."""
    said = await by_markers(client, "def add(a, b):")
    assert said["generated_text"] == "\n    return a + b"
    assert (said["ex_msg"], said["delta_char"], said["delta_line"]) == ("", 0, 0)
    seconds, fraction, number = said["server_request_id"].split(".")
    assert (seconds, len(fraction), number.isdigit()) == ("1800000000", 3, True)
    assert (await client.json("POST", "/codeapi/completion/accept/k", {"request_id": "1.2.3"})) == (200, {})


async def test_inputs_of_another_form_are_an_error_body(client):
    """At status 200."""
    for inputs in ("def", "!FCPREFIX!a!FCSUFFIX!b", None, 5):
        status, said = await client.json("POST", "/codeapi/completion/generate_one_stage/k", {"inputs": inputs})
        assert (status, list(said)) == (200, ["error"])


@pytest.mark.parametrize("version", ["", "2_1", "2_2", "2_3"])
async def test_the_new_kind_takes_whole_texts_on_all_paths(client, version):
    """Compressed, with a token."""
    assert (await complete(client, meta("x = foo(1, [2"), version))["generated_text"] == "])"
    assert (await client.json("GET", "/codeuser/get_completion_version?ft_token=k")) == (200, "0")
    token, client.access = client.access, "x"
    assert "detail" in await complete(client, meta("x"), version)
    client.access = token
    assert "error" in await complete(client, meta("x") | {"nmd5": "other"}, version)


async def test_a_diff_builds_on_the_text_before(client):
    """In UTF-16 units and bytes, also beside characters of two units."""
    texts = ["# 😀 é\nfoo(bar", "# 😀 é\nfoo(bar, 你", "# 😀😀 é\nfoo(bar, 你", "", "foo(", "foo("]
    previous = None
    for text in texts:
        said = await complete(client, meta(text, previous=previous))
        assert "generated_text" in said, text
        previous = text
    assert [record.problems for record in client.sim.requests("completion")] == [[]] * len(texts)


@given(st.lists(st.text(alphabet="ab\n😀é", max_size=8), min_size=2, max_size=5))
def test_any_chain_of_diffs_is_understood(texts):
    """The rebuilt text is the one that the client has."""
    from fittengate.simulator.completion import Completions
    from fittengate.simulator.reply import Request

    class Still:
        def now(self):
            return 1.0

        def monotonic(self):
            return 1.0

        def random(self):
            return 0.5

        def getrandbits(self, k):
            return 0

    completions = Completions(Completion(), Still(), Still())
    previous = None
    for text in texts:
        request = Request("POST", "/", "", {}, b"")
        half = len(text) // 2
        fields = meta(text[:half], text[half:], previous=previous)
        reply = completions.answer("u", {"inputs": "", "meta_datas": fields}, request)
        assert "generated_text" in json.loads(reply.body)
        assert request.problems == []
        previous = text


async def test_a_text_is_built_on_once(client):
    """A second use of the same hash is refused, and then only the whole text helps."""
    await complete(client, meta("a"))
    assert "generated_text" in await complete(client, meta("ab", previous="a"))
    assert await complete(client, meta("ac", previous="a")) == ERROR
    assert await complete(client, meta("abc", previous="ab")) == ERROR
    assert "generated_text" in await complete(client, meta("abc"))


async def test_diffs_that_cannot_be_right_are_refused(client):
    """Unknown text, other file, wrong hash, lengths beyond the text."""
    for change in ({"pmd5": md5("b")}, {"filename": "b.py"}, {"nmd5": md5("b")}, {"plen": 99}):
        await complete(client, meta("a"))
        assert await complete(client, meta("ab", previous="a") | change) == ERROR


async def test_lengths_that_do_not_agree_are_noted(client):
    """The service serves them; the log says what is wrong."""
    await complete(client, meta("é") | {"bcpos": 1})
    await complete(client, meta("éa", previous="é") | {"bplen": 1})
    assert [len(record.problems) for record in client.sim.requests("completion")] == [1, 1]


async def test_valid_diffs_can_fail_at_random_and_the_cache_can_be_lost(serve):
    """So a client must be able to send the whole again; whole texts never fail."""
    async with serve(Scenario(completion=Completion(diff_errors=1.0))) as client:
        assert "generated_text" in await complete(client, meta("a"))
        assert await complete(client, meta("ab", previous="a")) == ERROR
        client.sim.set_scenario(Scenario())
        await complete(client, meta("a"))
        client.sim.service.completions.forget()
        assert await complete(client, meta("ab", previous="a")) == ERROR


async def test_the_cache_is_bounded(serve):
    """The oldest text goes first."""
    async with serve(Scenario(completion=Completion(cache=2))) as client:
        for name in ("a", "b", "c"):
            await complete(client, meta("x", filename=name))
        assert await complete(client, meta("xy", previous="x", filename="a")) == ERROR
        assert "generated_text" in await complete(client, meta("xy", previous="x", filename="c"))


async def test_replies_come_in_every_form(serve):
    """Empty, without fields, equal to the rest of the line, with a mark, in the other field."""
    async with serve() as client:

        async def said(form, before, after=""):
            client.sim.set_scenario(Scenario(completion=Completion(form=form)))
            return await by_markers(client, before, after)

        assert (await said("empty", "foo("))["generated_text"] == ""
        assert list(await said("nothing", "foo(")) == ["server_request_id"]
        assert (await said("rest_of_line", "foo(", "a)\nb"))["generated_text"] == "a)"
        assert (await said("end_of_text", "foo("))["generated_text"] == ")" + END_OF_TEXT
        moved = await said("ex_msg", "x = (", "1+😀\nnext")
        assert (moved["generated_text"], moved["ex_msg"], moved["delta_char"]) == ("", "1+😀", 4)


async def test_edits_replace_a_line_or_insert_one(serve):
    """Inserting is told by a start after the end; the old kinds of fields are absent."""
    async with serve() as client:
        said = await complete(client, meta("a\nb = 1", " \nc", edit_mode="true"))
        assert said["generated_text"] == "b = 1  # edited"
        assert (said["ori_start_line"], said["ori_end_line"]) == (0, 0)
        assert said["delete_offsets"]
        assert "ex_msg" not in said
        client.sim.set_scenario(Scenario(completion=Completion(form="edit_insert")))
        said = await complete(client, meta("a\nb"))
        assert said["ori_start_line"] > said["ori_end_line"]


async def test_project_context_and_version_are_told(serve):
    """As plain text and as a JSON string."""
    async with serve(Scenario(completion=Completion(project_context="no", version="3"))) as client:
        assert await client.json("GET", "/codeuser/pc_check_auth?user_id=u") == (200, "no")
        assert await client.json("GET", "/codeuser/get_completion_version?ft_token=u") == (200, "3")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("    def mul(x: int, y: int) -> int:", "", "\n        return x + y"),
        ("if ready:", "\nmore", "\n    pass"),
        ("function f() {", "", "\n    \n}"),
        ("print(value, [1, {2", "", "}])"),
        ("total = count * price\nto", "", "tal = count * price"),
        ("x = 1", "", ""),
        ("foo(", "bar)", ""),
        ("", "", ""),
        ("def add(a, b):\n    return ", "\n", "a + b"),
        ("def add(a, b):\n    ", "\n", "return a + b"),
        ("def add(a, b):\n    total = 1\n    ", "\n", ""),
        ("class A:\n    async def of(self, n: int = 3) -> int:\n        return ", "\n", "n"),
        ("def f():\n    return ", "\n", ""),
        ("x = 1\n    return ", "\n", ""),
    ],
)
def test_suggestions_are_small_and_sensible(before, after, text):
    """Going by the text alone."""
    assert suggest(Place(before, after)) == text


FILE = "import os\n\ndef main():\n    print('你好')\n"


@pytest.mark.parametrize(
    ("before", "after", "rules", "text"),
    [
        ("import", "", {}, " os"),
        ("import os", "", {}, "\n"),
        ("import os\n\ndef main():", "", {}, "\n    print('你好')"),
        ("import os\n\ndef", "    print('你好')\n", {}, " main():"),
        ("import os\n\ndef main():\n    print", ")\n", {}, "('你好'"),
        (FILE, "", {}, ""),
        ("imp", "", {"silent_chars": 4}, ""),
        ("impo", "", {"silent_chars": 4}, "rt os"),
        ("import os\n\ndef main():\n    pri", "", {"silent_chars": 4}, ""),
        ("import os\n\nd", "", {"wrong_lines": 3}, "ef m_other"),
        ("import os\n\ndef mai", "", {"wrong_lines": 3}, "n():"),
        ("im", "", {"wrong_lines": 3}, "port os"),
    ],
)
async def test_a_known_file_is_foretold(serve, before, after, rules, text):
    """Up to the end of the line, or with the next one; late or wrong where the scenario says so."""
    async with serve(Scenario(completion=Completion(files=("another", FILE), **rules))) as client:
        said = await complete(client, meta(before, after))
        assert said == {**said, "generated_text": text, "ex_msg": "", "delta_char": 0, "delta_line": 0}


async def test_what_is_in_no_known_file_is_suggested_by_the_text_alone(serve):
    """Another beginning, another end, or one that overlaps: the file at hand is another one."""
    async with serve(Scenario(completion=Completion(files=(FILE,)))) as client:
        assert (await complete(client, meta("foo(")))["generated_text"] == ")"
        assert (await complete(client, meta("import os", "import os")))["generated_text"] == ""
        assert (await complete(client, meta("import os\n\ndef main():", ":\n    print('你好')\n")))[
            "generated_text"
        ] == ""
