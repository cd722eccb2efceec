"""Code completion as Tabby's clients ask for it, and what else they send to its server."""

import json

import pytest

from fakes.line import KEY

BODY = "\n    return a + b"
ASKED = {
    "language": "python",
    "segments": {"prefix": "def add(a, b):", "suffix": "\n", "filepath": "src/add.py"},
    "user": "somebody",
}


async def post(gateway, path, body, **options):
    return await gateway.request("POST", path, json.dumps(body).encode(), **options)


async def test_segments_are_a_code_completion(gateway, simulator):
    """Told from OpenAI's request at the same path by the body; the name of the file goes to the service."""
    reply = await post(gateway, "/v1/completions", ASKED)
    assert reply.json["choices"][0] | {"index": 0, "text": BODY} == reply.json["choices"][0]
    assert reply.json["id"].startswith("cmpl-")
    assert reply.headers["x-fittengate-model"] == "fitten-completion"
    assert not simulator.requests("chat")
    (sent,) = simulator.requests("completion")
    assert "add.py" in repr(sent)


async def test_what_a_client_asks_first(gateway):
    """A client asks for completions where health names a model, and reports elsewhere unless told not to."""
    for method in ("GET", "POST"):
        state = (await gateway.request(method, "/v1/health")).json
        assert (state["model"], state["chat_model"]) == ("fitten-completion", "fitten-code")
        assert {"device", "arch", "cpu_info", "cpu_count", "version"} <= set(state)
    assert (await gateway.request("GET", "/v1beta/server_setting")).json == {"disable_client_side_telemetry": True}


async def test_events_are_taken_and_kept_nowhere(gateway):
    """Whatever they hold: not in the log either."""
    event = {"type": "select", "completion_id": "cmpl-secret", "choice_index": 0}
    reply = await post(gateway, "/v1/events", event)
    assert (reply.status, reply.json) == (200, {})
    assert "cmpl-secret" not in gateway.terminal.getvalue()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/health"), ("POST", "/v1/health"), ("POST", "/v1/events"), ("GET", "/v1beta/server_setting")],
)
async def test_all_of_it_wants_a_key(gateway, method, path):
    """A client takes the 401 for a wrong token and says so."""
    assert (await gateway.request(method, path, b"{}", key=None)).status == 401
    assert (await gateway.request(method, path, b"{}", key=KEY)).status == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"segments": []}, "segments"),
        ({"segments": {"prefix": 5}}, "segments.prefix"),
        ({"segments": {"prefix": "", "suffix": 5}}, "segments.suffix"),
        ({"mode": "next_edit_suggestion"}, "mode"),
    ],
)
async def test_what_cannot_be_read_names_its_place(gateway, fields, param):
    """A proposal for an edit elsewhere is no completion."""
    reply = await post(gateway, "/v1/completions", ASKED | fields)
    assert (reply.status, reply.error["param"]) == (400, param)
