"""Code completion as llama.cpp's plugins for editors ask for it."""

import json

import pytest

from fakes.line import chunks

ADD = {"input_prefix": "# adds\n", "prompt": "def add(a, b):", "input_suffix": "\n", "n_predict": 256}
BODY = "\n    return a + b"


async def post(gateway, **fields):
    return await gateway.request("POST", "/infill", json.dumps(ADD | fields).encode())


async def test_a_completion_whole_and_streamed(gateway, simulator):
    """Lines, the line up to the cursor, and what follows make one place; the chat is not asked."""
    reply = await post(gateway, n_indent=0, top_k=40, input_extra=[{"text": "x", "filename": "b.py"}])
    assert (reply.json["content"], reply.json["stop_type"]) == (BODY, "eos")
    assert reply.headers["x-fittengate-model"] == "fitten-completion"
    assert reply.headers["x-fittengate-ignored"] == "top_k, input_extra"
    streamed = await post(gateway, stream=True)
    assert "".join(chunk["content"] for chunk in chunks(streamed.body)) == BODY
    assert not simulator.requests("chat")


async def test_warming_up_asks_the_service_nothing(gateway, simulator):
    """Plugins send their context every second to fill a local cache: no text is wanted, none is made."""
    reply = await post(gateway, n_predict=0)
    assert (reply.json["content"], reply.json["stop_type"]) == ("", "limit")
    assert not simulator.requests("completion")


async def test_what_plugins_ask_a_server_first(gateway):
    """Health without a key, the model and its context with one."""
    assert (await gateway.request("GET", "/health")).json == {"status": "ok"}
    props = (await gateway.request("GET", "/props")).json
    assert props["model_alias"] == "fitten-completion"
    assert props["default_generation_settings"]["n_ctx"] == 131072


@pytest.mark.parametrize(
    ("fields", "param"), [({"input_prefix": 5}, "input_prefix"), ({"n_predict": "x"}, "n_predict")]
)
async def test_errors_have_llamas_shape(gateway, fields, param):
    """The status is in the body too."""
    reply = await post(gateway, **fields)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, 400, param)
