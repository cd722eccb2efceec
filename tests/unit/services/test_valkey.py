"""Connections to the fleet's server: nothing hangs, and what fails is told once."""

import asyncio
import socket
import time

import pytest

from fakes.certificates import self_signed
from fakes.line import until
from fakes.valkey import PASSWORD, valkey
from fittengate.services.valkey import CALL_SECONDS, FleetDownError, Valkey, publish, script, shown_url


@pytest.fixture
def server():
    """Run a server for this test alone."""
    with valkey() as one:
        yield one


@pytest.fixture
def said():
    """Give what was told."""
    return []


@pytest.fixture
async def one(server, said):
    """Give connections."""
    made = Valkey(server.url, lambda level, text, **_: said.append((level, text)))
    yield made
    await made.close()


def test_a_url_is_shown_without_its_password():
    """Neither name nor password nor options."""
    assert shown_url("rediss://name:secret@host:1/2?ssl_ca_certs=x") == "rediss://host:1/2"


async def test_a_program_runs_also_after_the_server_forgot_it(one, server):
    """What it is known by is enough, until it is not."""
    program = script("return ARGV[1]")
    for _ in range(2):
        assert await one.run(program, [], "x") == b"x"
        server.ask("SCRIPT", "FLUSH")


@pytest.mark.parametrize("how", ["stop", "hold"])
async def test_an_outage_costs_one_call_half_a_second_and_the_others_nothing(one, server, said, how):
    """The calls of the next second fail at once; it is told once, without the password, and once when it is over."""
    await one.command("PING")
    getattr(server, how)()
    began = time.monotonic()
    with pytest.raises(FleetDownError) as first:
        await one.command("PING")
    assert first.value.sent
    assert time.monotonic() - began < CALL_SECONDS + 0.3
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(FleetDownError) as caught:
            await one.command("PING")
        assert not caught.value.sent
    assert time.monotonic() - began < 0.2
    assert one.problem is not None
    assert PASSWORD not in one.problem
    if how == "stop":
        server.start()
    else:
        server.go_on()
    began = time.monotonic()
    await until(lambda: one.up)
    assert time.monotonic() - began < 2.5
    assert await one.command("PING")
    assert [level for level, _ in said] == ["error", "info"]
    assert PASSWORD not in str(said)
    assert one.outages == 1


async def test_a_server_that_takes_no_writes_stays_down_until_it_does(one, server, said):
    """One that is full, or a copy that may only be read, answers a ping: coming and going each second would fill the log."""
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(FleetDownError, match="OutOfMemory"):
        await one.command("SET", "a", "b")
    await until(lambda: one.failures >= 3)
    assert not one.up
    assert [level for level, _ in said] == ["error"]
    server.ask("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: one.up)
    assert [level for level, _ in said] == ["error", "info"]
    assert one.outages == 1


async def test_a_wrong_password_is_an_outage_that_does_not_show_it(server, said):
    """What the server says to it is not quoted."""
    one = Valkey(server.url.replace(PASSWORD, "wrong-word"), lambda level, text, **_: said.append(text))
    with pytest.raises(FleetDownError) as caught:
        await one.command("PING")
    assert "wrong-word" not in f"{caught.value}{said}"
    await one.close()


async def test_a_server_in_tls_is_spoken_to_where_its_certificate_is_trusted(tmp_path, said):
    """By the file that the URL names; without it the reason is told, and nothing of the password."""
    shown = self_signed(tmp_path)
    with valkey(shown) as server:
        for url, trusted in ((f"{server.url}?ssl_ca_certs={shown.cert}", True), (server.url, False)):
            one = Valkey(url, lambda level, text, **_: said.append(text))
            if trusted:
                assert await one.command("PING")
                await asyncio.to_thread(publish, url, "news")
            else:
                with pytest.raises(FleetDownError, match="certificate verify failed"):
                    await one.command("PING")
                with pytest.raises(FleetDownError, match="certificate verify failed"):
                    await asyncio.to_thread(publish, url, "news")
            await one.close()
    assert len(said) == 1
    assert PASSWORD not in said[0]


async def test_why_nothing_answers_is_told_in_the_systems_words(said):
    """`ConnectionError` helps nobody."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        one = Valkey(f"redis://127.0.0.1:{sock.getsockname()[1]}/0", lambda level, text, **_: said.append(text))
        with pytest.raises(FleetDownError, match="Connect call failed"):
            await one.command("PING")
        await one.close()


async def test_who_listens_hears_what_is_said_and_what_may_have_been_missed(one, server):
    """Once when it begins, once for each news, and again after the line broke."""
    heard = []
    listening = asyncio.create_task(one.listen("news", lambda: heard.append(1)))
    await until(lambda: len(heard) == 1)
    await asyncio.to_thread(publish, server.url, "news")
    await until(lambda: len(heard) == 2)
    server.stop()
    server.start()
    await until(lambda: len(heard) == 3)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


def test_news_that_nobody_takes_is_an_error_without_the_password(server):
    """A command can say why, and goes on."""
    server.stop()
    with pytest.raises(FleetDownError) as caught:
        publish(server.url, "news")
    assert PASSWORD not in str(caught.value)
    assert str(server.port) in str(caught.value)
