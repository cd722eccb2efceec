"""What the gateway sends is what the service knows: the simulator notes whatever it would let pass but finds odd."""

import json

from fakes.line import ask


async def test_nothing_that_is_sent_is_odd(gateway, simulator):
    """Login, models, chat of every model with turns and a picture, and both doors of code completion."""
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "?"}],
        },
    ]
    for model in ("fitten-code", "deepseek-v3", "default-agent"):
        body = json.dumps({**ask(), "messages": turns, "model": model}).encode()
        assert (await gateway.request("POST", "/v1/chat/completions", body)).status == 200
        assert (await gateway.chat("Hi", model=model)).status == 200
    for suffix in ("", "\n你好 😀\n"):
        body = json.dumps({"model": "fitten-completion", "prompt": "😀 = 1\nx = ", "suffix": suffix}).encode()
        assert (await gateway.request("POST", "/v1/completions", body)).status == 200
    seen = simulator.requests()
    assert {"login", "models", "chat", "completion"} <= {record.route for record in seen}
    assert [(record.route, record.problems) for record in seen if record.problems] == []
    assert [record.status for record in seen if record.status != 200] == []
