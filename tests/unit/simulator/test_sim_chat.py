"""Chat: what is asked and what streams back, over a real socket."""

import base64
import json

import pytest

from fittengate.simulator import Model, Models, Pace, Plan, Scenario
from fittengate.simulator.chat import PADDING

OPEN = "<|user|>\nhi\n<|end|>\n<|assistant|>"


def deltas(lines):
    return [line["delta"] for line in lines if "delta" in line]


async def test_a_reply_is_json_lines_with_token_like_deltas_an_empty_one_and_the_usage(client):
    """The form of every logged reply."""
    lines = await client.lines("repeat: Hello world, 你好!")
    assert deltas(lines) == ["Hello", " world", ",", " ", "你", "好", "!", ""]
    assert lines[-1]["usage"]["output_tokens"] == 7
    assert lines[-1]["usage"]["input_tokens"] > 80
    assert isinstance(lines[-1]["usage"]["status"], str)


async def test_headers_are_those_of_the_machines_in_front(client):
    """On a stream and on an error."""
    async with client.chat() as reply:
        await reply.read()
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        assert reply.headers["Transfer-Encoding"] == "chunked"
        assert reply.headers["Server"] == "nginx/1.24.0"
        assert reply.headers["Connection"] == "keep-alive"
        names = ("req-arrive-time", "req-cost-time", "resp-start-time", "x-envoy-upstream-service-time")
        assert all(reply.headers[name].isdigit() for name in names)
        assert "Date" in reply.headers
    async with client.session.post("/codeapi/chat_auth") as reply:
        await reply.read()
        assert reply.headers["Content-Type"] == "application/json"
        assert int(reply.headers["Content-Length"]) > 0
        assert "req-arrive-time" in reply.headers


async def test_a_token_is_needed_on_one_path_and_not_on_the_others(client):
    """Open chat can be switched off."""
    client.access = "x"
    async with client.chat() as reply:
        assert reply.status == 401
    assert await client.text("repeat: a", path="/codeapi/chat") == "a"
    assert await client.text("repeat: a", path="/codeapi/rag/chat") == "a"
    client.sim.set_scenario(Scenario(anonymous_chat=False))
    async with client.chat(path="/codeapi/chat") as reply:
        assert reply.status == 404


async def test_the_key_may_have_either_name_and_the_query_a_stray_ampersand(client):
    """Both were seen to work."""
    for query in ("?&apikey=k&ide=vim", "?ft_token=k", "?&&ft_token=k&", ""):
        async with client.session.post(
            f"/codeapi/chat_auth{query}", json={"inputs": OPEN}, headers={"Authorization": f"Bearer {client.access}"}
        ) as reply:
            assert reply.status == 200
            await reply.read()
    assert client.sim.requests("chat")[0].query == {"apikey": "k", "ide": "vim"}


@pytest.mark.parametrize("value", [None, 1, ["a"], {"x": "y" * 5000}, True])
async def test_inputs_that_are_no_string_are_a_422_that_echoes_them(client, value):
    """However long they are."""
    async with client.session.post(
        "/codeapi/chat_auth", json={"inputs": value}, headers={"Authorization": f"Bearer {client.access}"}
    ) as reply:
        assert reply.status == 422
        assert await reply.json() == {
            "detail": [
                {
                    "type": "string_type",
                    "loc": ["body", "inputs"],
                    "msg": "Input should be a valid string",
                    "input": value,
                }
            ]
        }


@pytest.mark.parametrize(("data", "kind"), [("{}", "missing"), ("[]", "model_attributes_type"), ("{", "json_invalid")])
async def test_other_bad_bodies_are_a_422_too(client, data, kind):
    """With the kind of the mistake."""
    headers = {"Authorization": f"Bearer {client.access}", "Content-Type": "application/json"}
    async with client.session.post("/codeapi/chat_auth", data=data, headers=headers) as reply:
        assert (reply.status, (await reply.json())["detail"][0]["type"]) == (422, kind)


async def test_prompts_can_be_limited(serve):
    """The real limit is unknown."""
    async with serve(Scenario(max_input_chars=100)) as client:
        async with client.chat("x" * 100) as reply:
            assert (reply.status, (await reply.json())["detail"][0]["type"]) == (422, "string_too_long")
        assert await client.text("repeat: a") == "a"


async def test_requests_are_recorded(client):
    """Headers, query, body, turns, times, outcome; no token."""
    await client.text("one<|end|>\n<|system|>\ntwo", headers={"X-Extra": "1"})
    record = client.sim.requests("chat")[0]
    assert record.turns == (("system", "Be brief."), ("user", "one"), ("system", "two"))
    assert record.headers["x-extra"] == "1"
    assert client.access not in repr(record)
    assert record.json["ft_token"] == record.query["ft_token"] == client.user_id
    assert (record.status, record.outcome) == (200, "complete")
    assert record.arrived <= record.began <= record.ended
    assert record.bytes_sent > 0
    assert record.problems == []


async def test_what_is_wrong_but_served_is_noted(client):
    """A prompt without an open turn, models that do not exist or are two."""
    await client.body(inputs="<|user|>\nhi\n<|end|>\n")
    await client.body(meta={"model": "S9"})
    await client.body(meta={"model": "S1", "agentModel": "S5"})
    noted = [record.problems for record in client.sim.requests("chat")]
    assert ["open assistant" in noted[0][0], "S9" in noted[1][0], "both" in noted[2][0]] == [True] * 3


async def test_the_model_can_be_chosen(client):
    """By its selection name, in either section."""
    for meta, name in (
        ({"model": "S2"}, "DeepSeek V3 (S2)"),
        ({"agentModel": "S5"}, "Default (S5)"),
        ({"project_id": ""}, "Default."),
        (None, "Default."),
    ):
        assert f"for the model {name}" in await client.text(meta=meta)
    await client.body(inputs=OPEN, meta="nonsense")


async def test_an_unlisted_model_can_be_refused(serve):
    """Or answered as the default one."""
    chat = (Model(selection_name="A", display_name="B"),)
    async with serve(Scenario(models=Models(chat=chat, unknown="refuse"))) as client:
        assert "B (A)" in await client.text(meta={"model": "A"})
        async with client.chat(meta={"model": "S2"}) as reply:
            assert reply.status == 400


async def test_a_picture_is_described(client):
    """Type and size."""
    data = base64.b64encode(bytes(1234)).decode()
    assert "image/webp, 1234 bytes" in await client.text(f"![Base64 Image](data:image/webp;base64,{data})\nWhat?")


async def test_keywords_work(client):
    """In the last user turn."""
    lines = await client.lines("think, then write code")
    assert "reasoning_delta" in lines[0]
    assert "```python" in "".join(deltas(lines))


async def test_content_can_be_given_exactly(client):
    """As text, pieces, lines or bytes; for one request each, in the order of planning."""
    client.sim.plan("chat", Plan(text="a b"))
    client.sim.plan("chat", Plan(deltas=("a b", "<tool_call>", "")))
    client.sim.plan("chat", Plan(lines=('{"x":1}', "no json", "null")))
    client.sim.plan("chat", Plan(raw=b"\xff\n\n{"))
    assert deltas(await client.lines()) == ["a", " b", ""]
    assert deltas(await client.lines()) == ["a b", "<tool_call>", "", ""]
    assert await client.body() == b'{"x":1}\nno json\nnull\n'
    assert await client.body() == b"\xff\n\n{"
    assert "simulator" in await client.text()


async def test_given_content_does_not_replace_the_checks(client):
    """The plan is for those who may chat."""
    client.sim.plan("chat", Plan(text="x"))
    client.access = "x"
    async with client.chat() as reply:
        assert reply.status == 401


async def test_plans_can_be_for_many_requests_or_for_some(client):
    """By number, by content, by route or for any."""
    sim = client.sim
    sim.plan("chat", Plan(text="never"), contains="no such text")
    sim.plan("chat", Plan(text="special"), contains="xyzzy", times=None)
    sim.plan("chat", Plan(text="twice"), times=2)
    texts = [await client.text(text) for text in ("a", "xyzzy", "b", "c", "xyzzy")]
    assert texts[:3] + texts[4:] == ["twice", "special", "twice", "special"]
    assert "simulator" in texts[3]
    sim.plan("*", Plan(status=503))
    assert (await client.json("GET", "/codeuser/user_info"))[0] == 503
    sim.reset()
    assert "simulator" in await client.text("xyzzy")


async def test_lasting_plans_belong_to_the_scenario(serve):
    """Queued ones go first."""
    async with serve(Scenario(defaults={"chat": Plan(text="always")})) as client:
        client.sim.plan("chat", Plan(text="first"))
        assert [await client.text() for _ in range(3)] == ["first", "always", "always"]


async def test_padding_comes_before_and_inside_the_text(client):
    """Eight NULs and two line feeds, or the heartbeat text; an empty delta follows the first."""
    client.sim.plan("chat", Plan(deltas=("a", "b", "c"), padding=2, padding_every=2))
    assert deltas(await client.lines()) == [PADDING, PADDING, "", "a", "b", PADDING, "c", ""]
    client.sim.plan("chat", Plan(deltas=("a",), padding=1, heartbeat="heartbeat 1"))
    assert deltas(await client.lines()) == ["heartbeat 1", "", "a", ""]
    client.sim.plan("chat", Plan(deltas=(), padding=2, final_delta=False, usage="none"))
    assert deltas(await client.lines()) == [PADDING, PADDING, ""]
    client.sim.plan("chat", Plan(padding=1))
    assert (await client.body()).startswith(b'{"delta":"' + b"\\u0000" * 8 + b'\\n\\n"}\n')


async def test_reasoning_comes_in_each_form(client):
    """A field of its own, together with an empty delta, under the other name, alone."""
    client.sim.plan("chat", Plan(text="x", reasoning="r s"))
    assert (await client.lines())[:3] == [{"reasoning_delta": "r"}, {"reasoning_delta": " s"}, {"delta": "x"}]
    client.sim.plan("chat", Plan(text="x", reasoning="r", reasoning_with_delta=True))
    assert (await client.lines())[0] == {"delta": "", "reasoning_delta": "r"}
    client.sim.plan("chat", Plan(deltas=(), thinking="r", usage="none", final_delta=False))
    assert await client.lines() == [{"thinking_delta": "r"}]


async def test_usage_has_numbers_or_strings_or_is_missing(client):
    """And any values."""
    client.sim.plan("chat", Plan(text="x", usage="strings", input_tokens=5, output_tokens=6, usage_status="stop"))
    assert (await client.lines())[-1] == {"usage": {"input_tokens": "5", "output_tokens": "6", "status": "stop"}}
    client.sim.plan("chat", Plan(text="x", usage="none", final_delta=False))
    assert await client.lines() == [{"delta": "x"}]


async def test_odd_lines_can_stand_in_the_middle(client):
    """Trace data ahead, anything else in the middle."""
    odd = ("null", "1", "[]", "oops", '{"detail":"Token time expired"}', "")
    client.sim.plan("chat", Plan(deltas=("a", "b"), tracedata="t", mid_lines=odd, usage="none"))
    lines = (await client.body()).decode().split("\n")
    assert lines == ['{"tracedata":"t"}', '{"delta":"a"}', *odd, '{"delta":"b"}', '{"delta":""}', ""]
    client.sim.plan("chat", Plan(deltas=(), mid_lines=("x",), usage="none", final_delta=False))
    assert await client.body() == b"x\n"


async def test_lines_can_be_written_in_odd_ways(client):
    """CRLF, blank lines, a byte order mark, no last line feed, escapes only."""
    plan = {"deltas": ("é",), "usage": "none"}
    client.sim.plan("chat", Plan(**plan, line_end="\r\n", bom=True, last_line_end=False))
    assert await client.body() == '\ufeff{"delta":"é"}\r\n{"delta":""}'.encode()
    client.sim.plan("chat", Plan(**plan, blank_lines=True, ascii=True))
    assert await client.body() == b'{"delta":"\\u00e9"}\n\n{"delta":""}\n\n'


async def test_streams_can_be_wrapped_as_events(client):
    """As server-sent events with or without the other vendor's chunks inside."""
    client.sim.plan("chat", Plan(text="x", wrap="sse"))
    body = await client.body()
    assert body.startswith(b'data: {"delta":"x"}\n\n')
    assert body.endswith(b"data: [DONE]\n\n")
    client.sim.plan("chat", Plan(text="x", wrap="openai"))
    first, *_, last, done = [event for event in (await client.body()).decode().split("\n\n") if event]
    assert json.loads(first[6:])["choices"][0]["delta"]["content"] == "x"
    assert json.loads(last[6:])["usage"]["completion_tokens"] == 1
    assert done == "data: [DONE]"


async def test_a_reply_keeps_its_pace(serve):
    """The scenario's, or the plan's."""
    async with serve(Scenario(pace=Pace(first_ms=40, interval_ms=20))) as client:
        async with client.chat("repeat: a b c") as reply:
            sizes = [len(data) async for data, _ in reply.content.iter_chunks()]
        assert len(sizes) == 3
        record = client.sim.requests("chat")[0]
        assert record.ended - record.began >= 0.08
        client.sim.set_scenario(Scenario(pace=Pace(first_ms=60_000, interval_ms=60_000)))
        client.sim.plan("chat", Plan(text="a b c", delay_ms=30, first_ms=0, interval_ms=0))
        await client.body()
        record = client.sim.requests("chat")[1]
        assert record.began - record.arrived >= 0.03


async def test_a_burst_is_one_chunk(client):
    """As a proxy passes it on."""
    async with client.chat("repeat: a b c") as reply:
        assert len([data async for data, _ in reply.content.iter_chunks()]) == 1


@pytest.mark.parametrize("plan", [{}, {"gzip": "offered"}, {"framing": "length"}, {"framing": "close"}, {"split": 1}])
async def test_the_same_text_arrives_however_it_is_sent(client, plan):
    """Compression, framing and splitting are no business of the text."""
    for _ in range(2):
        client.sim.plan("chat", Plan(text="你好 \\ 😀", split_inside=True, **plan))
        async with client.chat() as reply:
            body = await reply.read()
            assert (reply.headers.get("Content-Encoding") == "gzip") is ("gzip" in plan)
        assert "".join(deltas(map(json.loads, body.splitlines()))) == "你好 \\ 😀"
