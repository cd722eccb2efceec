"""A running simulator, a signed-in client, and a bare socket."""

import asyncio
import contextlib
import json
import random

import aiohttp
import pytest

from fittengate.simulator import Scenario, Simulator

START = 1_800_000_000.0


class HandClock:
    """Time that moves only when told to; the monotonic one is real."""

    def __init__(self):
        self.seconds = START

    def now(self):
        return self.seconds

    def monotonic(self):
        return asyncio.get_running_loop().time()


class Client:
    """Speaks to a simulator as the account that it signed in."""

    def __init__(self, sim, session):
        self.sim, self.session = sim, session
        self.access = self.refresh = self.user_id = ""

    async def json(self, method, path, body=None, *, token=None, **more):
        headers = more.pop("headers", {})
        if token is not None:
            headers = headers | {"Authorization": f"Bearer {token}"}
        async with self.session.request(method, path, json=body, headers=headers, **more) as reply:
            text = await reply.text()
            try:
                return reply.status, json.loads(text)
            except ValueError:
                return reply.status, text

    async def login(self, username="demo", password="demo"):
        status, body = await self.json("POST", "/codeuser/auth/login", {"username": username, "password": password})
        if "access_token" in body:
            self.access, self.refresh = body["access_token"], body["refresh_token"]
            self.user_id = body["user_info"]["user_id"]
        return status, body

    def chat(self, text="hello", *, inputs=None, meta=None, path="/codeapi/chat_auth", headers=None):
        """Return the request context of a chat; the caller reads the body."""
        inputs = (
            f"<|system|>\nBe brief.\n<|end|>\n<|user|>\n{text}\n<|end|>\n<|assistant|>" if inputs is None else inputs
        )
        body = {"inputs": inputs, "ft_token": self.user_id}
        if meta is not None:
            body["meta_datas"] = meta
        return self.session.post(
            f"{path}?ft_token={self.user_id}",
            json=body,
            headers={"Authorization": f"Bearer {self.access}"} | (headers or {}),
        )

    async def body(self, *args, **kwargs):
        async with self.chat(*args, **kwargs) as reply:
            return await reply.read()

    async def lines(self, *args, **kwargs):
        return [json.loads(line) for line in (await self.body(*args, **kwargs)).splitlines()]

    async def text(self, *args, **kwargs):
        return "".join(line.get("delta", "") for line in await self.lines(*args, **kwargs))

    def raw_request(self, text="hello"):
        """Return the bytes of a chat request."""
        body = json.dumps({"inputs": f"<|user|>\n{text}\n<|end|>\n<|assistant|>", "ft_token": self.user_id}).encode()
        head = (
            f"POST /codeapi/chat_auth?ft_token={self.user_id} HTTP/1.1\r\nHost: sim\r\n"
            f"Authorization: Bearer {self.access}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@contextlib.asynccontextmanager
async def running(scenario=None, **parts):
    """Start a simulator and a client that is not signed in."""
    sim = Simulator(scenario, **({"random": random.Random(7)} | parts))
    await sim.start()
    try:
        async with aiohttp.ClientSession(sim.base_url, timeout=aiohttp.ClientTimeout(total=10)) as session:
            yield Client(sim, session)
    finally:
        await sim.stop()


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def serve(clock):
    """Return what starts a simulator with a scenario and hands over a client that is signed in."""

    @contextlib.asynccontextmanager
    async def start(scenario=None, *, login=True):
        async with running(scenario or Scenario(), clock=clock) as client:
            if login:
                await client.login()
            yield client

    return start


@pytest.fixture
async def client(serve):
    """Sign a client in at a simulator without a scenario."""
    async with serve() as signed_in:
        yield signed_in


@pytest.fixture
def exchange():
    """Return what sends bytes over a bare socket and returns the segments that come back until the connection ends."""

    async def send(port, data):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        segments = []
        try:
            while segment := await asyncio.wait_for(reader.read(65_536), 5):
                segments.append(segment)
        except ConnectionResetError:
            segments.append(None)
        finally:
            writer.close()
        return segments

    return send
