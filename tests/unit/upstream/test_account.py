"""The keeper of tokens: single flight, failures, and other processes."""

import asyncio
import json

import pytest

from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.session import Account
from fittengate.upstream.fitten.wire import Answer
from unit.upstream.test_session import BASE, LOGIN_OK, ME, NOBODY, NOW, UID, WRONG, jwt, ok, tokens


class Vault:
    """A vault in memory that two keepers can share."""

    def __init__(self, saved=None):
        self.saved, self.noted, self.lock, self.saves = saved, None, asyncio.Lock(), 0

    async def load(self):
        return self.saved

    async def save(self, given):
        self.saved = given
        self.saves += 1

    async def forget(self):
        self.saved = None

    async def acquire(self):
        await self.lock.acquire()

    async def release(self):
        self.lock.release()

    async def refusal(self):
        return self.noted

    async def note_refusal(self, fingerprint, until, message):
        self.noted = (fingerprint, until, message)

    async def clear_refusal(self):
        self.noted = None


class Hands:
    """The clock and the wire, both moved by hand."""

    def __init__(self, *answers):
        self.time, self.answers, self.asked, self.gate = NOW, list(answers), [], asyncio.Event()
        self.gate.set()

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    async def send(self, call):
        self.asked.append(call.path.rsplit("/", 1)[1])
        await self.gate.wait()
        return self.answers.pop(0)


def keeper(hands, vault, account=ME):
    return AccountKeeper(account, vault, hands.send, hands)


async def test_p4_fifty_cold_requests_log_in_once():
    """P4: whoever comes while a login runs waits for that one."""
    hands, vault = Hands(LOGIN_OK), Vault()
    hands.gate.clear()
    keep = keeper(hands, vault)
    waiting = [asyncio.create_task(keep.fresh()) for _ in range(50)]
    while not hands.asked:
        await asyncio.sleep(0)
    hands.gate.set()
    got = await asyncio.gather(*waiting)
    assert hands.asked == ["login"]
    assert {one.access for one in got} == {jwt(serial=9)}
    assert vault.saved == got[0]


async def test_p4_two_processes_log_in_once():
    """P4: the second keeper finds under the lock what the first one saved."""
    hands, vault = Hands(LOGIN_OK), Vault()
    one, two = keeper(hands, vault), keeper(hands, vault)
    first, second = await asyncio.gather(one.fresh(), two.fresh())
    assert hands.asked == ["login"]
    assert first == second


async def test_p4_fifty_rejections_of_one_token_refresh_once():
    """P4: late 401s for the old token get the new one without another refresh."""
    old = tokens()
    hands, vault = Hands(ok(access_token=jwt(serial=2))), Vault(old)
    keep = keeper(hands, vault)
    assert await keep.fresh() == old
    got = await asyncio.gather(*(keep.replace(old) for _ in range(50)))
    assert hands.asked == ["refresh_access_token"]
    assert {one.access for one in got} == {jwt(serial=2)}
    assert (await keep.replace(old)).access == jwt(serial=2)
    assert hands.asked == ["refresh_access_token"]


async def test_a_client_that_leaves_does_not_stop_the_renewal():
    """The renewal of one request is everybody's."""
    hands, vault = Hands(LOGIN_OK), Vault()
    hands.gate.clear()
    keep = keeper(hands, vault)
    first, second = asyncio.create_task(keep.fresh()), asyncio.create_task(keep.fresh())
    while not hands.asked:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    hands.gate.set()
    assert (await second).access == jwt(serial=9)
    assert vault.saves == 1


async def test_a_refused_login_is_told_to_everybody_and_sent_once():
    """Ten requests after a refusal cost the service nothing, and the next try comes after a minute."""
    hands, vault = Hands(WRONG, LOGIN_OK), Vault()
    keep = keeper(hands, vault)
    for _ in range(10):
        with pytest.raises(Fault) as caught:
            await keep.fresh()
        assert caught.value.kind is FaultKind.UPSTREAM_LOGIN
        hands.time += 1
    assert hands.asked == ["login"]
    hands.time += 60
    assert (await keep.fresh()).access == jwt(serial=9)
    assert vault.noted is None
    assert keep.renewals == {"done": 1, "failed": 0, "refused": 1}
    assert keep.sent == {"refresh": 0, "login": 2}


async def test_a_refusal_holds_for_another_process_and_for_a_restart():
    """The refusal is kept beside the tokens; changed credentials make it void."""
    hands, vault = Hands(WRONG, LOGIN_OK), Vault()
    with pytest.raises(Fault):
        await keeper(hands, vault).fresh()
    with pytest.raises(Fault):
        await keeper(hands, vault).fresh()
    assert hands.asked == ["login"]
    vault.noted = ("fingerprint of another password", *vault.noted[1:])
    assert (await keeper(hands, vault).fresh()).access == jwt(serial=9)


async def test_signing_in_elsewhere_ends_the_failure_at_once():
    """``fittengate login`` beside a running server takes effect with the next request."""
    hands, vault = Hands(WRONG), Vault()
    keep = keeper(hands, vault)
    with pytest.raises(Fault):
        await keep.fresh()
    vault.saved = tokens(access=jwt(serial=33))
    hands.time += 1.5
    assert (await keep.fresh()).access == jwt(serial=33)


async def test_an_outage_is_waited_out_with_growing_pauses():
    """No request of a client turns into a login during the pause."""
    hands, vault = Hands(Answer(0, b"", "reset"), Answer(502, b""), LOGIN_OK), Vault()
    keep = keeper(hands, vault)
    for pause in (0.5, 0.6, 1.0, 1.1):
        with pytest.raises(Fault) as caught:
            await keep.fresh()
        assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
        hands.time += pause
    assert hands.asked == ["login", "login"]
    assert (await keep.fresh()).access == jwt(serial=9)


async def test_tokens_that_were_there_before_do_not_end_a_pause():
    """An outage with dead tokens on the disk: what is read there again is nothing new, and the pauses go on growing."""
    hands, vault = Hands(*[Answer(503, b"")] * 6), Vault(tokens(access_expires=NOW - 5))
    keep = keeper(hands, vault, NOBODY)
    for pause in (1, 2, 4, 8, 16, 0):
        with pytest.raises(Fault):
            await keep.fresh()
        hands.time += pause
    for _ in range(9):
        hands.time += 3
        with pytest.raises(Fault):
            await keep.fresh()
    assert len(hands.asked) == 6


async def test_renewal_before_expiry_keeps_nobody_waiting():
    """A token in its last minutes is still handed out while the refresh runs behind it."""
    old = tokens()
    hands, vault = Hands(ok(access_token=jwt(serial=2, issued=NOW + 86000))), Vault(old)
    keep = keeper(hands, vault)
    await keep.fresh()
    hands.time = NOW + 86400 - 500
    assert keep.ready() is old
    assert keep.ready() is old
    while keep.tokens is old:
        await asyncio.sleep(0)
    assert hands.asked == ["refresh_access_token"]
    assert keep.ready().access == jwt(serial=2, issued=NOW + 86000)


async def test_a_failing_early_renewal_is_not_repeated_with_every_request():
    """The old token goes on; the next try comes half a minute later."""
    old = tokens()
    hands, vault = Hands(Answer(503, b""), LOGIN_OK), Vault(old)
    keep = keeper(hands, vault)
    keep.account = type(ME)(ME.base_url)
    await keep.fresh()
    hands.time = NOW + 86400 - 500
    for _ in range(20):
        assert keep.ready() is not None
        await asyncio.sleep(0)
        await keep.close()
    assert hands.asked == ["refresh_access_token"]


async def test_a_rejected_token_is_not_sent_again_while_no_other_is_to_be_had():
    """After a 401 that could not be healed, requests fail at once instead of asking the service with a dead token."""
    old = tokens()
    hands, vault = Hands(Answer(401, b""), WRONG), Vault(old)
    keep = keeper(hands, vault)
    await keep.fresh()
    with pytest.raises(Fault):
        await keep.replace(old)
    assert keep.ready() is None
    with pytest.raises(Fault):
        await keep.fresh()
    assert hands.asked == ["refresh_access_token", "login"]


async def test_a_kill_between_refresh_and_save_costs_one_refresh():
    """What was never saved is asked for again with the refresh token that is still there."""
    old = tokens(access_expires=NOW - 5)
    hands, vault = Hands(ok(access_token=jwt(serial=3)), ok(access_token=jwt(serial=4))), Vault(old)

    async def die(_given):
        raise OSError("killed here")

    save, vault.save = vault.save, die
    with pytest.raises(OSError, match="killed"):
        await keeper(hands, vault).fresh()
    vault.save = save
    assert (await keeper(hands, vault).fresh()).access == jwt(serial=4)
    assert json.loads(json.dumps(hands.asked)) == ["refresh_access_token"] * 2


async def test_a_service_that_says_when_to_come_back_is_not_asked_before():
    """`Retry-After` of a login outlasts our own pauses; the client is told what is left of it."""
    hands, vault = Hands(Answer(429, b"", retry_after=90.0), LOGIN_OK), Vault()
    keep = keeper(hands, vault)
    for passed, left in ((0, 90), (50, 40)):
        hands.time = NOW + passed
        with pytest.raises(Fault) as caught:
            await keep.fresh()
        assert (caught.value.kind, caught.value.retry_after) == (FaultKind.UPSTREAM_RATE, left)
    assert hands.asked == ["login"]
    hands.time = NOW + 91
    assert (await keep.fresh()).access == jwt(serial=9)


async def test_a_login_that_the_service_forgot_is_made_once_more_at_once_but_not_again_and_again():
    """One login follows another without a pause, once in ten minutes; then a minute lies between two."""
    gone = Answer(404, b'{"detail":"User not found"}')
    month = jwt("refresh", life=30 * 86400)
    first, again, last = [
        ok(access_token=jwt(serial=n), refresh_token=month, user_info={"user_id": UID}) for n in (9, 10, 11)
    ]
    hands, vault = Hands(first, gone, again, gone, gone, last), Vault()
    keep = keeper(hands, vault)
    tokens_now = await keep.replace(await keep.fresh())
    assert tokens_now.access == jwt(serial=10)
    for _ in range(3):
        with pytest.raises(Fault) as caught:
            await keep.replace(tokens_now)
        assert caught.value.kind is FaultKind.UPSTREAM_LOGIN
    assert hands.asked == ["login", "refresh_access_token", "login", "refresh_access_token"]
    hands.time += 61
    assert (await keep.replace(tokens_now)).access == jwt(serial=11)


async def test_an_early_renewal_that_is_asked_to_wait_waits_so_long():
    """The token is still good; `Retry-After` is longer than our own pause."""
    old = tokens(access_expires=NOW + 500, refresh_expires=None)
    hands, vault = Hands(Answer(429, b"", retry_after=200.0), ok(access_token=jwt(serial=2))), Vault(old)
    keep = keeper(hands, vault)
    for _ in range(5):
        assert (await keep.fresh()).access == old.access
        await keep.close()
        hands.time += 39
    assert hands.asked == ["refresh_access_token"]
    hands.time += 39
    keep.ready()
    await keep.close()
    assert hands.asked == ["refresh_access_token"] * 2


@pytest.mark.parametrize("foreign", [{"base_url": "http://other.test"}, {"username": "you"}])
async def test_p10_tokens_of_another_service_or_user_are_sent_nowhere(foreign):
    """P10: what is stored for somebody else is passed over, at the start and while there is no way in."""
    stored = tokens(**foreign)
    hands, vault = Hands(LOGIN_OK), Vault(stored)
    assert (await keeper(hands, vault).fresh()).access == jwt(serial=9)
    assert hands.asked == ["login"]
    hands, vault = Hands(WRONG), Vault()
    keep = keeper(hands, vault)
    for _ in range(2):
        with pytest.raises(Fault) as caught:
            await keep.fresh()
        assert caught.value.kind is FaultKind.UPSTREAM_LOGIN
        vault.saved = stored
        hands.time += 1.5
    assert hands.asked == ["login"]
    keep = keeper(Hands(), Vault(tokens()), NOBODY)
    kept = await keep.fresh()
    keep.vault.saved = stored
    assert kept.refresh
    keep._send = Hands(ok(access_token=jwt(serial=2))).send
    await keep.try_refresh()
    assert keep.vault.saved.base_url == BASE


async def test_tokens_that_do_not_say_when_they_end_are_used_as_they_are():
    """Nothing is asked before somebody is answered 401, and nothing is saved again."""
    old = tokens(access="opaque", access_expires=None)
    hands, vault = Hands(), Vault(old)
    keep = keeper(hands, vault)
    hands.time += 10 * 86400
    assert await keep.fresh() == keep.ready() == old
    assert (hands.asked, vault.saves) == ([], 0)


async def test_a_token_that_has_expired_is_not_handed_out():
    """Past its end there is something to wait for, however little there was to do before."""
    old = tokens()
    hands, vault = Hands(ok(access_token=jwt(serial=2, issued=NOW + 86400))), Vault(old)
    keep = keeper(hands, vault)
    await keep.fresh()
    hands.time = NOW + 86400
    assert keep.ready() is None
    assert (await keep.fresh()).access == jwt(serial=2, issued=NOW + 86400)
    assert hands.asked == ["refresh_access_token"]


async def test_a_forced_login_asks_for_no_refresh():
    """The fruit of the refresh was rejected as well: what is left is the password."""
    old = tokens()
    hands, vault = Hands(LOGIN_OK), Vault(old)
    keep = keeper(hands, vault)
    await keep.fresh()
    assert (await keep.replace(old, force_login=True)).access == jwt(serial=9)
    assert hands.asked == ["login"]


async def test_a_renewal_that_began_before_the_rejection_is_followed_by_another():
    """It may give the rejected token once more: nobody is handed that, and what was demanded is done then."""
    old = tokens(access_expires=NOW + 100)
    hands, vault = Hands(ok(access_token="Not expired"), LOGIN_OK), Vault(old)
    keep = keeper(hands, vault)
    hands.gate.clear()
    early = asyncio.create_task(keep.fresh())
    while not hands.asked:
        await asyncio.sleep(0)
    keep.tokens = old
    late = asyncio.create_task(keep.replace(old, force_login=True))
    await asyncio.sleep(0)
    gate, hands.gate = hands.gate, asyncio.Event()
    gate.set()
    assert await early == old
    while len(hands.asked) < 2:
        await asyncio.sleep(0)
    assert keep.ready() is None
    hands.gate.set()
    assert (await late).access == jwt(serial=9)
    assert hands.asked == ["refresh_access_token", "login"]
    assert vault.saves == 1, "what the first renewal gave was nothing new"


async def test_each_refusal_doubles_the_wait():
    """A minute, then two, then four; a login that works begins anew."""
    hands, vault = Hands(WRONG, WRONG, WRONG, LOGIN_OK), Vault()
    keep = keeper(hands, vault)
    for wait in (60, 120, 240):
        with pytest.raises(Fault):
            await keep.fresh()
        assert vault.noted[1] == hands.time + wait
        hands.time += wait + 1
    await keep.fresh()
    assert keep.problem is None
    assert hands.asked == ["login"] * 4


async def test_a_refusal_is_that_of_one_password():
    """Other credentials are tried at once, by this process or another; the same ones are not."""
    vault = Vault()
    with pytest.raises(Fault):
        await keeper(Hands(WRONG), vault).fresh()
    assert "secret" not in vault.noted[0]
    with pytest.raises(Fault):
        await keeper(Hands(), vault).fresh()
    hands = Hands(LOGIN_OK)
    await keeper(hands, vault, Account(BASE, "me", "another secret")).fresh()
    assert hands.asked == ["login"]


async def test_the_vault_is_looked_at_once_a_second_while_there_is_no_way_in():
    """However many clients ask in between; the file is on a disk."""
    hands, vault = Hands(WRONG), Vault()
    keep, loads = keeper(hands, vault), 0
    load = vault.load

    async def counted():
        nonlocal loads
        loads += 1
        return await load()

    with pytest.raises(Fault):
        await keep.fresh()
    vault.load = counted
    for _ in range(30):
        with pytest.raises(Fault):
            await keep.fresh()
        hands.time += 0.1
    assert loads == 3


async def test_p4_whoever_waits_for_the_vault_joins_the_renewal_that_began_meanwhile():
    """P4: clients that both see that somebody signed in elsewhere make one renewal of it."""
    hands, vault = Hands(WRONG), Vault()
    keep = keeper(hands, vault)
    with pytest.raises(Fault):
        await keep.fresh()
    load = vault.load

    async def slow():
        await asyncio.sleep(0)
        return await load()

    vault.load, vault.saved = slow, tokens()
    hands.time += 1.5
    keep._looked_at = float("-inf")
    first = asyncio.create_task(keep.fresh())
    await asyncio.sleep(0)
    keep._looked_at = float("-inf")
    second = asyncio.create_task(keep.fresh())
    assert await first == await second == tokens()
    assert keep.renewals == {"done": 1, "failed": 0, "refused": 1}


async def test_a_disk_that_fails_is_no_fault_of_the_account():
    """Why there are no tokens is then a defect of ours, and the service is not asked again at once."""
    hands, vault = Hands(LOGIN_OK), Vault()

    async def fail(_given):
        raise OSError(28, "No space left on device")

    vault.save = fail
    keep = keeper(hands, vault)
    with pytest.raises(OSError, match="No space"):
        await keep.fresh()
    assert keep.problem.kind is FaultKind.GATEWAY_BROKEN
    with pytest.raises(Fault) as caught:
        await keep.fresh()
    assert caught.value.kind is FaultKind.GATEWAY_BROKEN
    assert "No space" not in caught.value.message
    assert hands.asked == ["login"]


async def test_a_refresh_is_no_login():
    """What follows it is the first login, and so may be followed by another at once."""
    gone = Answer(401, b"{}")
    month = jwt("refresh", life=30 * 86400)
    first, second = (ok(access_token=jwt(serial=n), refresh_token=month, user_info={"user_id": UID}) for n in (9, 10))
    hands, vault = Hands(ok(access_token=jwt(serial=2)), gone, first, gone, second), Vault(tokens())
    keep = keeper(hands, vault)
    tokens_now = await keep.fresh()
    for serial in (2, 9, 10):
        tokens_now = await keep.replace(tokens_now)
        assert tokens_now.access == jwt(serial=serial)
    assert hands.asked.count("login") == 2
