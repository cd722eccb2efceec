"""P11 through the whole way of a picture: only allowed addresses are ever dialled."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from fittengate.core.faults import Fault
from fittengate.upstream.addresses import is_public
from fittengate.upstream.dialer import Dialer
from fittengate.upstream.pictures import Pictures
from unit.upstream.test_pictures import PNG_URL, Names, always, ask, by_path, redirect, refused, reply, site

NOT_PUBLIC = "The host of the picture has no public address."

LOOPBACK = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "0.0.0.0",
    "0",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
]


@pytest.mark.parametrize("host", LOOPBACK)
async def test_p11_this_machine_is_refused_in_every_spelling(host):
    """P11: with the strict rule nothing on loopback is called, and the answer is the same for all spellings."""
    async with site(always(reply()), resolver=None, allow=is_public) as here:
        assert (await refused(here.pictures, f"http://{host}:{here.port}/a.png")).startswith(NOT_PUBLIC)
        assert here.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "\uff11\uff12\uff17.0.0.1"])
async def test_it_is_the_rule_that_keeps_this_machine_out_of_reach(host):
    """The same call goes through once the rule lets it: the refusals above are no accident."""
    async with site(always(reply()), resolver=None, allow=lambda address: str(address) == "127.0.0.1") as here:
        await here.pictures.inline(ask(f"http://{host}:{here.port}/a.png"))
        assert here.connections == 1


async def test_p11_an_inner_host_and_an_unknown_one_and_a_closed_port_sound_the_same():
    """P11: the reply does not tell what lies inside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
        answers = {
            "unknown": [OSError("no such name")],
            "wrong": [UnicodeError("label too long")],
            "empty": [[]],
            "odd": [["not an address"]],
            "inner": [["10.1.2.3"]],
            "cloud": [["169.254.169.254"]],
            "six": [["fd00:ec2::254"]],
        }
        async with site(always(reply()), resolver=Names(**answers), allow=is_public) as here:
            messages = {await refused(here.pictures, f"http://{name}.test:{here.port}/") for name in answers}
            messages |= {await refused(here.pictures, f"http://127.0.0.1:{port}/") for port in (closed, here.port)}
            assert here.connections == 0
    assert len(messages) == 1
    assert messages.pop().startswith(NOT_PUBLIC)


async def test_the_log_learns_the_address_that_was_refused():
    """The detail names host and address; the message to the client does not."""
    pictures = Pictures(user_agent="x", resolver=Names(inner=[["10.1.2.3"]]))
    with pytest.raises(Fault) as caught:
        await pictures.inline(ask("http://inner.test/"))
    assert caught.value.detail == "inner.test is 10.1.2.3"
    assert "10.1.2.3" not in caught.value.message
    await pictures.close()


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"], ["127.0.0.1", "x"]]
)
async def test_p11_one_bad_address_spoils_a_host(addresses):
    """P11: all addresses of a name must be allowed, in whatever order they come."""
    async with site(always(reply()), resolver=Names(mixed=[addresses])) as here:
        assert (await refused(here.pictures, f"http://mixed.test:{here.port}/")).startswith(NOT_PUBLIC)
        assert here.connections == 0


async def test_p11_a_name_is_asked_for_once_and_its_first_answer_is_dialled():
    """P11: a name that turns inner after the look-up (DNS rebinding) changes nothing; the next call judges anew."""
    names = Names(turncoat=[["127.0.0.1"], ["10.0.0.1"]])
    async with site(always(reply()), resolver=names) as here:
        url = f"http://turncoat.test:{here.port}/"
        done = await here.pictures.inline(ask(url))
        assert done.conversation.messages[0].parts[0].url == PNG_URL
        assert names.asked == ["turncoat.test"]
        assert (await refused(here.pictures, url)).startswith(NOT_PUBLIC)
        assert names.asked == ["turncoat.test"] * 2
        assert here.connections == 1


async def test_p11_a_dead_address_leads_to_the_next_allowed_one_without_asking_again():
    """P11: of several addresses each was judged before any is dialled; a dead one does not cause another look-up."""
    names = Names(two=[["::1", "127.0.0.1"]])
    async with site(always(reply()), resolver=names, allow=lambda address: address.is_loopback) as here:
        await here.pictures.inline(ask(f"http://two.test:{here.port}/"))
        assert names.asked == ["two.test"]


@pytest.mark.parametrize("target", ["inner.test", "127.0.0.2", "[::1]", "2130706434"])
async def test_p11_a_redirect_to_an_inner_address_is_refused(target):
    """P11: a friendly server cannot send the gateway inside."""
    async with site(always(b""), resolver=Names(inner=[["127.0.0.2"]])) as here:
        here.answer = by_path(a=redirect(f"http://{target}:{here.port}/b"))
        assert (await refused(here.pictures, f"http://pictures.test:{here.port}/a")).startswith(NOT_PUBLIC)
        assert here.connections == 1


async def test_p11_a_redirect_back_to_the_same_host_is_judged_anew():
    """P11: the answer for one hop does not hold for the next."""
    names = Names(turncoat=[["127.0.0.1"], ["10.0.0.1"]])
    async with site(by_path(a=redirect("/b"), b=reply()), resolver=names) as here:
        assert (await refused(here.pictures, f"http://turncoat.test:{here.port}/a")).startswith(NOT_PUBLIC)
        assert here.connections == 1


async def test_p11_other_ports_are_refused_by_default():
    """P11: without a wider rule only 80 and 443 are called, by redirects too."""
    pictures = Pictures(user_agent="x", resolver=Names(), allow=lambda address: True)
    assert "80 and 443" in await refused(pictures, "http://pictures.test:6379/")
    await pictures.close()
    async with site(always(b"")) as here:
        here.answer = always(redirect("http://pictures.test:25/"))
        here.pictures._ports = range(26, 65536)
        assert "80 and 443" in await refused(here.pictures, f"http://pictures.test:{here.port}/")
        assert here.connections == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a key and a certificate for ``pictures.test``, for this run."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=pictures.test"
    )
    command += f" -addext subjectAltName=DNS:pictures.test -keyout {path} -out {path}.crt"
    subprocess.run(command.split(), check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(f"{path}.crt", path)
    return server, ssl.create_default_context(cafile=f"{path}.crt")


async def test_p11_the_certificate_is_that_of_the_name_though_an_address_is_dialled(certificate):
    """P11: pinning the address does not weaken TLS: the name in the URL is sent and checked."""
    server, trust = certificate
    sent = []
    server.sni_callback = lambda _, name, __: sent.append(name)
    async with site(always(reply()), tls=server, ssl_context=trust) as here:
        done = await here.pictures.inline(ask(f"https://pictures.test:{here.port}/"))
        assert done.conversation.messages[0].parts[0].url == PNG_URL
        await here.pictures.inline(ask(f"https://Pictures.TEST:{here.port}/"))
        assert [name.lower() for name in sent] == ["pictures.test"] * 2
        assert "could not be fetched" in await refused(here.pictures, f"https://other.test:{here.port}/")
        assert len(here.heads) == 2


async def test_p11_an_unknown_authority_is_refused(certificate):
    """P11: without further authorities a self-made certificate is worth nothing."""
    async with site(always(reply()), tls=certificate[0]) as here:
        assert "could not be fetched" in await refused(here.pictures, f"https://pictures.test:{here.port}/")
        assert here.heads == []


async def test_p11_a_redirect_does_not_fall_from_https_to_http(certificate):
    """P11: what was asked for in secret is not fetched in the open."""
    server, trust = certificate
    async with site(always(b""), tls=server, ssl_context=trust) as here:
        here.answer = always(redirect("http://pictures.test/"))
        assert "unencrypted" in await refused(here.pictures, f"https://pictures.test:{here.port}/")
        assert here.names.asked == ["pictures.test"]


async def test_a_slow_look_up_holds_up_neither_the_event_loop_nor_the_close(monkeypatch):
    """The system is asked in a thread of its own pool; one that is given up is not waited for."""
    loop, gate = asyncio.get_running_loop(), threading.Event()
    asked, answered, threads = asyncio.Event(), asyncio.Event(), []

    def slow(host, port, **_):
        threads.append(threading.current_thread().name)
        loop.call_soon_threadsafe(asked.set)
        gate.wait(10)
        loop.call_soon_threadsafe(answered.set)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr("fittengate.upstream.dialer.socket.getaddrinfo", slow)
    pictures = Pictures(user_agent="x")
    running = asyncio.create_task(pictures.inline(ask("http://slow.test/")))
    try:
        await asyncio.wait_for(asked.wait(), 5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(pictures.close(), 5)
        assert not answered.is_set()
    finally:
        gate.set()
    await asyncio.wait_for(answered.wait(), 5)
    assert threads == ["picture-names_0"]


async def test_p11_no_connection_is_used_for_a_second_picture():
    """P11: each call has its host looked up and judged, also where the server would keep the connection; so many at once."""
    dialer = Dialer(None, is_public)
    connector = dialer.connector(None, 7)
    assert connector.force_close
    assert not connector.use_dns_cache
    assert connector.limit == 7
    await connector.close()
    dialer.close()


async def test_a_closed_dialer_looks_nothing_up():
    """Nor do its threads outlive it."""
    dialer = Dialer(None, is_public)
    dialer.close()
    dialer.close()
    with pytest.raises(RuntimeError):
        await dialer._look_up("localhost", 80)
