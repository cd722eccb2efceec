"""Signing in because a person asks: AccountKeeper.sign_in, sign_in_with, user_info."""

import asyncio

import pytest

from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.fitten.account import AccountKeeper
from fittengate.upstream.fitten.wire import Answer
from unit.upstream.test_account import Hands, Vault, keeper
from unit.upstream.test_session import LOGIN_OK, ME, NOBODY, NOW, WRONG, jwt, ok, tokens


async def test_signing_in_replaces_tokens_that_are_still_good():
    """A person who signs in gets a new login, whatever is stored."""
    hands, vault = Hands(LOGIN_OK), Vault(tokens())
    keep = keeper(hands, vault)
    got = await keep.sign_in()
    assert hands.asked == ["login"]
    assert vault.saved == got == keep.ready()
    assert got.access == jwt(serial=9)


async def test_a_person_need_not_wait_after_a_refusal():
    """A refusal holds requests back, not somebody who signs in by hand; a login that works forgets it."""
    hands, vault = Hands(WRONG, LOGIN_OK), Vault()
    keep = keeper(hands, vault)
    with pytest.raises(Fault):
        await keep.fresh()
    assert vault.noted is not None
    with pytest.raises(Fault):
        await keep.fresh()
    assert hands.asked == ["login"]
    await keep.sign_in()
    assert hands.asked == ["login", "login"]
    assert vault.noted is None


async def test_a_refused_sign_in_leaves_the_stored_tokens():
    """A wrong password wipes nothing, and is noted for the processes that would try it by themselves."""
    old = tokens()
    hands, vault = Hands(WRONG), Vault(old)
    with pytest.raises(Fault) as raised:
        await keeper(hands, vault).sign_in()
    assert raised.value.kind is FaultKind.UPSTREAM_LOGIN
    assert vault.saved == old
    assert vault.noted is not None
    assert not vault.lock.locked()


async def test_a_sign_in_waits_for_the_renewal_under_way():
    """Law: at most one renewal runs, one by hand included."""
    hands, vault = Hands(LOGIN_OK, LOGIN_OK), Vault()
    hands.gate.clear()
    keep = keeper(hands, vault)
    first = asyncio.create_task(keep.fresh())
    for _ in range(20):
        await asyncio.sleep(0)
    second = asyncio.create_task(keep.sign_in())
    for _ in range(20):
        await asyncio.sleep(0)
    assert hands.asked == ["login"]
    hands.gate.set()
    await asyncio.gather(first, second)
    assert hands.asked == ["login", "login"]


async def test_a_refresh_token_is_tried_before_it_is_kept():
    """What is saved is what the refresh gave, and a noted refusal is forgotten."""
    token = jwt("refresh", life=30 * 86400.0)
    hands, vault = Hands(ok(access_token=jwt(serial=5))), Vault()
    vault.noted = ("print", NOW + 100, "refused")
    got = await AccountKeeper(NOBODY, vault, hands.send, hands).sign_in_with(token)
    assert hands.asked == ["refresh_access_token"]
    assert (got.access, got.refresh) == (jwt(serial=5), token)
    assert vault.saved == got
    assert vault.noted is None


async def test_a_refused_refresh_token_is_not_kept_and_no_password_takes_its_place():
    """The password of the settings is another account's, perhaps: it is not sent in place of the token."""
    hands, vault = Hands(Answer(401, b"{}")), Vault()
    with pytest.raises(Fault) as raised:
        await AccountKeeper(ME, vault, hands.send, hands).sign_in_with(jwt("refresh", life=30 * 86400.0))
    assert raised.value.kind is FaultKind.UPSTREAM_LOGIN
    assert hands.asked == ["refresh_access_token"]
    assert vault.saved is None


async def test_what_is_no_token_is_refused_without_asking_the_service():
    """Some text is not sent anywhere."""
    hands, vault = Hands(), Vault()
    with pytest.raises(Fault) as raised:
        await keeper(hands, vault).sign_in_with("abc")
    assert raised.value.kind is FaultKind.CALLER_BAD_REQUEST
    assert hands.asked == []


async def test_user_info_renews_a_token_that_the_service_rejects():
    """One 401 is answered by one renewal."""
    hands = Hands(Answer(401, b"{}"), ok(access_token=jwt(serial=2)), ok(user_id="u", username="me", client_time=3))
    assert await keeper(hands, Vault(tokens())).user_info() == {"user_id": "u", "username": "me"}
    assert hands.asked == ["user_info", "refresh_access_token", "user_info"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(401, b"{}"), FaultKind.UPSTREAM_LOGIN),
        (Answer(200, b"<html>"), FaultKind.UPSTREAM_BROKEN),
        (Answer(0, b"", "no connection"), FaultKind.UPSTREAM_BROKEN),
    ],
)
async def test_user_info_that_is_none_is_a_fault(answer, kind):
    """A service that rejects, or answers something else, gives no half a record."""
    answers = [answer, ok(access_token=jwt(serial=2)), answer]
    with pytest.raises(Fault) as raised:
        await keeper(Hands(*answers), Vault(tokens())).user_info()
    assert raised.value.kind is kind


async def test_the_refresh_token_can_be_tried_while_the_access_token_is_good():
    """What it gives is kept and saved; where there is none, nothing is asked; a refusal costs no token."""
    old = tokens()
    hands, vault = Hands(ok(access_token=jwt(serial=2)), ok(access_token="Not expired"), Answer(401, b"{}")), Vault(old)
    keep = keeper(hands, vault)
    assert await keep.try_refresh()
    assert vault.saved.access == keep.ready().access == jwt(serial=2)
    assert vault.saves == 1
    assert await keep.try_refresh()
    assert vault.saves == 1, "there was nothing new"
    vault.saved, kept = None, vault.saved
    hands.answers.insert(0, ok(access_token="Not expired"))
    assert await keep.try_refresh(), "somebody took the file away"
    vault.saved = kept
    with pytest.raises(Fault) as caught:
        await keep.try_refresh()
    assert caught.value.kind is FaultKind.UPSTREAM_LOGIN
    assert vault.saved.access == keep.tokens.access == jwt(serial=2)
    assert not vault.lock.locked()
    hands = Hands()
    assert not await keeper(hands, Vault(tokens(refresh=""))).try_refresh()
    assert hands.asked == []
