"""The flight recorder through the whole gateway, and ``fittengate bundle`` as a program."""

import contextlib
import io
import json
import re
import secrets
import stat
import tarfile

import pytest

from fakes.line import CHAT, KEY, until
from fakes.running import PASSWORD, run_command
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.store import Database
from fittengate.simulator import Plan

EXCHANGES = "/admin/api/exchanges"
PROMPT = "The heron waits for jane.doe@example.org"
ANSWER = "A kingfisher dives"
HEADERS = f"x-request-id: mine-1\r\ncookie: session=tasty\r\nx-api-key: {KEY}\r\n"


@pytest.fixture
def recorded(start, tmp_path):
    """Give what runs a gateway with an administrator; its ``ask`` asks the API, its ``files`` gives those of mine-1."""
    store = KeyStore(Database(tmp_path / "fittengate.db"), SystemClock(), secrets.token_bytes, 90)
    admin, _ = store.create(KeyWish(name="chief", scopes=("admin",)))
    store.close()

    class Recorded:
        def __init__(self, **recorder):
            self._options = recorder

        async def __aenter__(self):
            url = f"sqlite:///{tmp_path}/fittengate.db"
            self._running = start(store={"url": url}, recorder=self._options)
            self.gateway = await self._running.__aenter__()
            return self

        async def __aexit__(self, *error):
            return await self._running.__aexit__(*error)

        async def ask(self, path):
            return await self.gateway.request("GET", path, key=admin)

        async def files(self, name="mine-1"):
            return (await self.ask(f"{EXCHANGES}/{name}")).json["files"]

    return Recorded


async def test_a_stream_is_kept_on_all_four_sides_without_its_words(recorded, simulator):
    """Client in, service out, service raw with times, client out: the structure of each, and nobody's words."""
    simulator.plan("chat", Plan(text=ANSWER, first_ms=5, interval_ms=5))
    async with recorded() as one:
        await one.gateway.chat(PROMPT, headers=HEADERS, stream=True)
        files = await one.files()
    assert {"README.txt", "exchange.json", "client-in.txt", "client-out.txt"} < files.keys()
    assert {"upstream-1-out.txt", "upstream-1-raw.txt"} < files.keys()
    assert '"role": "user"' in files["client-in.txt"]
    assert files["upstream-1-out.txt"].startswith('{"inputs":"[')
    assert '"ft_token":[redacted]' in files["upstream-1-out.txt"]
    assert files["upstream-1-raw.txt"].count('{"delta":"[') > 2
    assert files["client-out.txt"].rstrip().endswith("data: [DONE]")
    facts = json.loads(files["exchange.json"])
    assert (facts["status"], facts["outcome"], facts["calls"][0]["status"]) == (200, "complete", 200)
    times = facts["calls"][0]["reply"]["times"]
    assert len(times) == facts["calls"][0]["reply"]["pieces"] > 2
    assert sum(size for _, size in times) == facts["calls"][0]["reply"]["bytes"] > 50
    assert facts["sent"]["pieces"] > 2
    everything = "".join(files.values())
    for word in ("heron", "jane", "kingfisher", "dives", KEY, "tasty", PASSWORD):
        assert word not in everything


async def test_what_is_kept_of_a_stream_is_what_went_over_the_wires(recorded, simulator):
    """Byte for byte, on the short way of a delta too."""
    simulator.plan("chat", Plan(text=ANSWER * 5, first_ms=5, interval_ms=3))
    async with recorded() as one:
        reply = await one.gateway.chat(PROMPT, headers=HEADERS, stream=True)
        tape = one.gateway.gateway.exchanges.recorder.find("mine-1")
    assert tape.sent.kept().head == reply.body
    said = [json.loads(line) for line in tape.calls[0].raw.kept().head.decode().splitlines()]
    assert "".join(line.get("delta", "") for line in said) == ANSWER * 5
    assert tape.calls[0].raw.kept().pieces > 5


async def test_a_whole_answer_is_kept(recorded, simulator):
    """Also one that has no stream, with all its tries."""
    simulator.plan("chat", Plan(status=502, page="502"))
    simulator.plan("chat", Plan(text=ANSWER))
    async with recorded() as one:
        await one.gateway.chat(PROMPT, headers=HEADERS)
        files = await one.files()
    facts = json.loads(files["exchange.json"])
    assert [call["status"] for call in facts["calls"]] == [502, 200]
    assert "upstream-1-raw.txt" in files
    left = json.loads(files["client-out.txt"])
    assert left["choices"][0]["message"]["role"] == "assistant"
    assert left["usage"]["completion_tokens"] > 0
    assert "kingfisher" not in "".join(files.values())


async def test_a_completion_is_kept_and_unpacked(recorded, simulator):
    """What was sent compressed is to be read, and a file's text is nobody's business."""
    simulator.plan("completion", Plan(json={"generated_text": "heron()", "ex_msg": ""}))
    async with recorded() as one:
        body = json.dumps({"model": "fitten-completion", "prompt": "import heron\n", "suffix": "\nx = 1\n"}).encode()
        reply = await one.gateway.request("POST", "/v1/completions", body, headers=HEADERS)
        assert reply.json["choices"][0]["text"] == "heron()"
        files = await one.files()
    sent = json.loads(files["upstream-1-out.txt"])
    assert sent["meta_datas"]["cpos"] == 13
    assert json.loads(files["upstream-1-raw.txt"])["generated_text"].startswith("[7 chars")
    assert "heron" not in "".join(files.values())
    facts = json.loads(files["exchange.json"])
    assert facts["calls"][0]["path"].endswith("/generate_one_stage_auth")


async def test_words_are_in_a_bundle_only_when_the_settings_ask_for_them(recorded, simulator):
    """Then, too, what looks like a secret is taken out."""
    simulator.plan("chat", Plan(text=ANSWER))
    async with recorded(content=True) as one:
        await one.gateway.chat(f"{PROMPT} my key is sk-{'a' * 30}", headers=HEADERS)
        files = await one.files()
    everything = "".join(files.values())
    assert "The heron waits for [redacted]" in files["client-in.txt"]
    assert "kingfisher dives" in files["client-out.txt"]
    assert "aaaaaaaa" not in everything
    assert KEY not in everything
    assert "recorder.content = true" in files["README.txt"]


async def test_a_request_that_was_refused_is_kept_with_its_answer(recorded):
    """A wrong key ends before the body is read."""
    async with recorded() as one:
        await one.gateway.request("POST", CHAT, b"{}", key="wrong-key", headers="x-request-id: refused\r\n")
        files = await one.files("refused")
    assert json.loads(files["exchange.json"])["status"] == 401
    assert json.loads(files["client-out.txt"])["error"]["type"]
    assert "client-in.txt" not in files
    assert "wrong-key" not in "".join(files.values())


async def test_why_a_request_was_refused_does_not_quote_it(recorded):
    """The message of a fault may; its kind does not. What is said of the service is plain."""
    async with recorded() as one:
        body = b'{"messages":[{"role":"heron","content":"x"}]}'
        await one.gateway.request("POST", CHAT, body, headers="x-request-id: bad\r\n")
        files = await one.files("bad")
    facts = json.loads(files["exchange.json"])
    assert facts["fault"] == "caller_bad_request"
    assert re.fullmatch(r"\[\d+ chars \w+\]", facts["detail"])
    assert "heron" not in "".join(files.values())


async def test_an_exchange_that_hangs_can_be_looked_at(recorded, simulator):
    """What does not end is what one wants to know about."""
    simulator.plan("chat", Plan(text=ANSWER, cut="stall", cut_after=2))
    async with recorded() as one, one.gateway.line() as line:
        body = json.dumps({"stream": True, "messages": [{"role": "user", "content": "hm"}]}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nx-request-id: hangs\r\n"
        await line.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await line.head()
        listed = (await one.ask(EXCHANGES)).json["data"]
        assert [(row["id"], row["running"]) for row in listed] == [("hangs", True)]
        files = await one.files("hangs")
    facts = json.loads(files["exchange.json"])
    assert (facts["ended_ms"], facts["outcome"]) == (None, None)
    assert facts["calls"][0]["reply"]["bytes"] > 0


async def test_an_unknown_id_and_a_recorder_that_is_off_are_said(recorded):
    """Each in its own words."""
    async with recorded() as one:
        reply = await one.ask(f"{EXCHANGES}/nobody")
        assert reply.status == 404
        assert "No exchange of this id" in reply.error["message"]
    async with recorded(bytes=0) as one:
        assert (await one.ask(EXCHANGES)).status == 400
    async with recorded(exchanges=0) as one:
        await one.gateway.chat("hm", headers=HEADERS)
        reply = await one.ask(EXCHANGES)
        assert reply.status == 400
        assert "recorder.exchanges" in reply.error["message"]


async def test_a_key_without_the_scope_admin_sees_nothing(recorded):
    """Neither the list nor an exchange, its own included."""
    async with recorded() as one:
        await one.gateway.chat("hm", headers=HEADERS)
        for path in (EXCHANGES, f"{EXCHANGES}/mine-1"):
            assert (await one.gateway.request("GET", path)).status == 403


async def test_a_large_body_does_not_stay_in_memory(recorded, simulator):
    """Of megabytes the two ends are kept."""
    simulator.plan("chat", Plan(text=ANSWER))
    async with recorded(artifact_bytes=10_000) as one:
        await one.gateway.chat(PROMPT + " x" * 200_000, headers=HEADERS)
        recorder = one.gateway.gateway.exchanges.recorder
        assert recorder.used < 60_000
        files = await one.files()
    assert "bytes are not kept]" in files["client-in.txt"]
    assert '"role": "user"' in files["client-in.txt"]
    assert "heron" not in files["client-in.txt"]


async def run(process, tmp_path, *arguments, **settings):
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "FITTENGATE_SERVER_STATE_DIR": str(process.state_dir),
        "FITTENGATE_SERVER_PORT": str(process.port),
        **settings,
    }
    given = {name: value for name, value in environ.items() if value is not None}
    return await run_command(given, tmp_path, "bundle", *arguments)


async def test_the_command_writes_a_private_archive(serve, simulator, tmp_path):
    """Beside the gateway's own store no key is needed; the one that it makes is worth nothing afterwards."""
    simulator.plan("chat", Plan(text=ANSWER))
    process = await serve()
    await process.chat(PROMPT, headers=HEADERS)
    code, out, err = await run(process, tmp_path, "mine-1")
    assert (code, err) == (0, "")
    path = tmp_path / "fittengate-mine-1.tar.gz"
    assert out.startswith("fittengate-mine-1.tar.gz: README.txt, exchange.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        names = tar.getnames()
        texts = "".join(tar.extractfile(name).read().decode() for name in names)
    assert "fittengate-mine-1/client-in.txt" in names
    for word in ("heron", "kingfisher", "tasty", KEY, PASSWORD):
        assert word not in texts
    # The key that was made is revoked; a gateway follows within a second.
    with contextlib.closing(Database(process.state_dir / "fittengate.db")) as store, store.begin() as connection:
        from fittengate.services.key_rows import listed

        assert [(row.name, row.state(0)) for row in listed(connection)] == [("fittengate bundle", "revoked")]
    code, out, err = await run(process, tmp_path, "mine-1", "--output", str(tmp_path))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"{tmp_path} cannot be written" in err
    assert "--output" in err


async def test_the_command_says_in_one_line_what_is_wrong(serve, simulator, tmp_path):
    """An unknown id, no gateway, a key that may not, a gateway that is none."""
    process = await serve()

    async def said(*arguments, **settings):
        code, out, err = await run(process, tmp_path, *arguments, **settings)
        assert (code, out, err.count("\n")) == (1, "", 1)
        return err

    assert "No exchange of this id" in await said("nobody")
    assert "refuses the key" in await said("nobody", FITTENGATE_ADMIN_KEY=KEY)
    assert "no gateway answers at" in await said("nobody", "--url", "http://127.0.0.1:9")
    assert "no fittengate" in await said("nobody", FITTENGATE_ADMIN_URL=simulator.base_url, FITTENGATE_ADMIN_KEY="k")
    assert not re.search("Traceback", await said("nobody"))
    code, out, err = await run(process, tmp_path, "")
    assert (code, out, "id of a request is missing" in err) == (2, "", True)


async def test_a_file_of_somebodys_repository_does_not_say_where_the_key_goes(serve, simulator, tmp_path):
    """Neither by the address of the gateway nor by that of the server."""
    process = await serve()
    for text in ('[admin]\nurl = "http://192.0.2.1"\n', '[server]\nhost = "127.0.0.2"\n', "[server]\nport = 9\n"):
        (tmp_path / "fittengate.toml").write_text(text)
        code, _, err = await run(process, tmp_path, "x", FITTENGATE_SERVER_PORT=None)
        assert code in {1, 2}
        assert "you chose" in err or "which you did not name" in err


async def test_nothing_is_left_of_requests_that_came_and_went(recorded, simulator):
    """A thousand exchanges leave as many as are to be kept, and the books are true."""
    async with recorded(exchanges=5) as one:
        for number in range(30):
            await one.gateway.chat("hm", headers=f"x-request-id: r{number}\r\n", stream=bool(number % 2))
        recorder = one.gateway.gateway.exchanges.recorder
        await until(lambda: len(recorder.newest()) == 5)
        assert recorder.used == sum(tape.taken for tape in recorder.newest())
        assert recorder.find("r29") is not None
