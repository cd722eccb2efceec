"""The model list and its odd forms."""

import json

import pytest

from fittengate.simulator import Models, Plan, Scenario

PATH = "/codeapi/chat/models"


async def test_the_list_has_two_sections(client):
    """With the entries that are known of the real one."""
    status, body = await client.json("GET", PATH, token=client.access)
    assert status == 200
    assert body["chat"][0] == {"selection_name": "S1", "display_name": "Default", "is_default": True, "order": 100}
    assert [entry["selection_name"] for entry in body["agent"]] == ["S5"]


async def test_a_token_is_needed(client):
    """And recorded only as a fingerprint."""
    assert (await client.json("GET", PATH))[0] == 401
    await client.json("GET", PATH, token=client.access)
    assert client.access not in json.dumps([record.view() for record in client.sim.requests("models")])


@pytest.mark.parametrize("form", ["string", "duplicates", "nameless", "odd_order", "empty"])
async def test_odd_forms(serve, form):
    """Each is odd in one way."""
    async with serve(Scenario(models=Models(form=form))) as client:
        _, body = await client.json("GET", PATH, token=client.access)
    if form == "string":
        body = json.loads(body)
        assert len(body["chat"]) == 3
    elif form == "duplicates":
        assert [entry["selection_name"] for entry in body["chat"]] == ["S1", "S1", "S2", "S2", "S3", "S3"]
    elif form == "nameless":
        assert any("selection_name" not in entry for entry in body["chat"])
        assert any("display_name" not in entry for entry in body["chat"])
    elif form == "odd_order":
        assert not any(type(entry["order"]) is int for entry in body["chat"])
    else:
        assert body == {"chat": [], "agent": []}


async def test_the_list_can_fail(client):
    """With any status or body."""
    for plan, status in (
        (Plan(status=404), 404),
        (Plan(status=401), 401),
        (Plan(page="502"), 502),
        (Plan(json=[]), 200),
    ):
        client.sim.plan("models", plan)
        assert (await client.json("GET", PATH, token=client.access))[0] == status
