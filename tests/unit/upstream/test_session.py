"""Sign-in and refresh, driven by hand: every request is looked at, every answer made up."""

import base64
import json

import pytest

from fittengate.core.account import Tokens
from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.fitten import session
from fittengate.upstream.fitten.session import Account, Past, Refused, renewal
from fittengate.upstream.fitten.wire import Answer

NOW = 1_800_000_000.0
BASE = "http://service.test"
ME = Account(BASE, "me", "secret")
NOBODY = Account(BASE)
UID = "0123456789abcdef01234567"


def jwt(kind="access", *, life=86400.0, issued=NOW, uid=UID, serial=0):
    """Return a token as the service makes it; its signature is nobody's business here."""
    claims = {"subject": {"uid": uid}, "type": kind, "exp": issued + life, "iat": issued, "jti": str(serial)}
    if life is None:
        del claims["exp"]
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.sig"


def tokens(**changes):
    """Return stored tokens with a day to go."""
    given = {
        "base_url": BASE,
        "username": "me",
        "user_id": UID,
        "access": jwt(serial=1),
        "refresh": jwt("refresh", life=30 * 86400),
        "access_expires": NOW + 86400,
        "refresh_expires": NOW + 30 * 86400,
    }
    return Tokens(**(given | changes))


def ok(**body):
    return Answer(200, json.dumps(body).encode())


class Play:
    """Runs a renewal against scripted answers and keeps what was asked."""

    def __init__(self, answers, start, rejected=None, account=ME, past=None, now=NOW, **more):
        self.paths, self.bodies, self.bearers = [], [], []
        steps = renewal(start, rejected, account, past or Past(), lambda: now, **more)
        answers = list(answers)
        try:
            call = next(steps)
            while True:
                self.paths.append(call.path.rsplit("/", 1)[1])
                self.bodies.append(call.body)
                self.bearers.append(call.bearer)
                call = steps.send(answers.pop(0))
        except StopIteration as done:
            self.tokens = done.value
        assert not answers, "an answer that nobody asked for"


LOGIN_OK = ok(access_token=jwt(serial=9), refresh_token=jwt("refresh", serial=9), user_info={"user_id": UID})
PAGE = b"<html><head><title>Sign in to the hotel's network</title></head></html>"
WRONG = Answer(200, '{"data":"","status_code":2,"msg":"用户名或密码不正确"}'.encode())


def test_a_cold_start_logs_in():
    """Without tokens the new login is the one request."""
    play = Play([LOGIN_OK], None)
    assert play.paths == ["login"]
    assert json.loads(play.bodies[0]) == {"username": "me", "password": "secret"}
    assert play.tokens.access == jwt(serial=9)
    assert play.tokens.user_id == UID
    assert play.tokens.access_expires == NOW + 86400


@pytest.mark.parametrize(
    "wrong", [WRONG, Answer(401, PAGE), *(Answer(status, b'{"detail":"no"}') for status in (400, 403, 404, 422))]
)
def test_a_wrong_password_is_a_login_fault_that_tells_what_to_do(wrong):
    """The service says it with status 200; a 4xx is understood too."""
    with pytest.raises(Refused) as caught:
        Play([wrong], None)
    assert caught.value.kind is FaultKind.UPSTREAM_LOGIN
    assert "fittengate login" in caught.value.message
    assert caught.value.retry_after >= 60
    assert caught.value.new


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(200, b""), Answer(200, b"<html>"), Answer(502, b"<html>"), Answer(0, b"", "reset"), ok()),
        *(ok(status_code=0, msg="ok"), ok(access_token="Not expired", user_info={"user_id": UID})),
        # Whose tokens these are nobody says.
        *(ok(access_token="opaque"), ok(access_token="opaque", user_info={"user_id": ""})),
    ],
)
def test_a_login_answered_with_nonsense_is_an_outage_not_a_refusal(answer):
    """HTML, nothing, missing fields and 5xx do not blame the password, and give no tokens."""
    with pytest.raises(Fault) as caught:
        Play([answer], None)
    assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
    assert "upstream.base_url" not in caught.value.message


@pytest.mark.parametrize("info", [None, [], {}, {"user_id": ""}, {"user_id": 7}])
def test_the_user_is_the_one_whom_the_login_names_or_else_the_token(info):
    """The record beside the tokens counts first; where it is missing or no record, what the token claims."""
    named = ok(access_token=jwt(), user_info={"user_id": "fedcba"})
    assert Play([named], None).tokens.user_id == "fedcba"
    assert Play([ok(access_token=jwt(), user_info=info)], None).tokens.user_id == UID


def test_a_refused_login_is_not_repeated_before_its_time_and_waits_twice_as_long_then():
    """Back-off: nothing is sent while the refusal is fresh, and the next refusal doubles it."""
    with pytest.raises(Refused) as caught:
        Play([], None, past=Past(refused_until=NOW + 40, refused_message="no", refused_for=60))
    assert not caught.value.new
    assert (caught.value.wait, caught.value.retry_after) == (40, 60), "clients are never told less than a minute"
    with pytest.raises(Refused) as caught:
        Play([WRONG], None, past=Past(refused_until=NOW - 1, refused_message="no", refused_for=60))
    assert (caught.value.wait, caught.value.retry_after) == (120, 120)
    with pytest.raises(Refused) as caught:
        Play([WRONG], None, past=Past(refused_until=NOW - 1, refused_message="no", refused_for=3600))
    assert caught.value.wait == 3600


def test_a_401_is_answered_by_one_refresh():
    """The refresh token is the bearer, the user stays who they were."""
    old = tokens()
    play = Play([ok(access_token=jwt(serial=2), access_token_expires="P1D")], old, rejected=old.access)
    assert play.paths == ["refresh_access_token"]
    assert play.bearers == [old.refresh]
    assert (play.tokens.access, play.tokens.refresh, play.tokens.user_id) == (jwt(serial=2), old.refresh, UID)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, b"{}"),
        Answer(404, b"{}"),
        Answer(500, b""),
        ok(access_token="Not expired"),
        ok(),
        Answer(0, b"", "x"),
    ],
)
def test_a_refresh_that_gives_no_token_after_a_401_is_followed_by_one_login(answer):
    """``Not expired`` is no token either when the service has just rejected the one we have."""
    old = tokens()
    play = Play([answer, LOGIN_OK], old, rejected=old.access)
    assert play.paths == ["refresh_access_token", "login"]


def test_not_expired_keeps_what_is_there_when_nobody_complained():
    """The literal words are no token and are stored nowhere."""
    old = tokens(access_expires=NOW + 100)
    play = Play([ok(access_token="Not expired", access_token_expires="P1D")], old)
    assert play.tokens == old


def test_a_failing_refresh_keeps_the_old_token_until_it_expires():
    """An outage before expiry changes nothing; after expiry it is a fault, for an account without a password."""
    old = tokens(access_expires=NOW + 100)
    assert Play([Answer(503, b"")], old, account=NOBODY).tokens == old
    assert Play([Answer(401, b"")], old, account=NOBODY).tokens == old
    with pytest.raises(Fault) as caught:
        Play([Answer(503, b"")], old, account=NOBODY, now=NOW + 101)
    assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
    with pytest.raises(Fault) as caught:
        Play([Answer(401, b"")], old, account=NOBODY, now=NOW + 101)
    assert caught.value.kind is FaultKind.UPSTREAM_LOGIN


def test_tokens_renewed_by_somebody_else_are_used_without_a_request():
    """A stale 401 meets newer tokens: nothing is sent, nothing is wiped. Newer ones that have died are renewed."""
    newer = tokens(access=jwt(serial=5))
    assert Play([], newer, rejected=jwt(serial=1)).tokens == newer
    dead = tokens(access=jwt(serial=5), access_expires=NOW - 1)
    assert Play([ok(access_token=jwt(serial=6))], dead, rejected=jwt(serial=1)).paths == ["refresh_access_token"]


def test_a_token_is_sent_up_to_two_seconds_before_its_end():
    """Later it would die on the way; one that does not say when it ends is sent until it is rejected."""
    assert session.usable(tokens(access_expires=NOW + 2.1), NOW)
    assert not session.usable(tokens(access_expires=NOW + 2), NOW)
    assert session.usable(tokens(access="opaque", access_expires=None), NOW)
    assert not session.usable(tokens(access="", access_expires=None), NOW)


def test_the_service_s_word_that_a_token_has_not_expired_counts_more_than_our_clock():
    """``Not expired`` for a token that is dead by our clock: it is used, and nobody logs in."""
    old = tokens(access_expires=NOW - 1)
    assert Play([ok(access_token="Not expired")], old).tokens == old


def test_without_a_refresh_token_or_any_token_a_rejection_leads_to_a_login():
    """There is nothing to refresh with: one request, the login. Without a user name there is no login either."""
    old = tokens(refresh="")
    assert Play([LOGIN_OK], old, rejected=old.access).paths == ["login"]
    assert Play([LOGIN_OK], None, rejected=old.access).paths == ["login"]
    for incomplete in (Account(BASE, "", "secret"), Account(BASE, "me")):
        with pytest.raises(Refused, match="no Fitten account yet"):
            Play([], None, account=incomplete)
        with pytest.raises(Refused, match="no longer accepted"):
            Play([], old, rejected=old.access, account=incomplete)


def test_the_refresh_token_is_renewed_in_its_last_days():
    """First the refresh token, as a bare JSON string and without a bearer, then the access token with the new one."""
    old = tokens(access_expires=NOW + 100, refresh_expires=NOW + 86400)
    fresh = jwt("refresh", life=30 * 86400, serial=7)
    both = ok(access_token="Not expired", refresh_token=fresh, refresh_token_expires="P30D")
    play = Play([both, ok(access_token=jwt(serial=8))], old)
    assert play.paths == ["refresh_refresh_token", "refresh_access_token"]
    assert json.loads(play.bodies[0]) == old.refresh
    assert play.bearers == [None, fresh]
    assert play.tokens.refresh == fresh
    assert play.tokens.refresh_expires == NOW + 30 * 86400
    play = Play([ok(access_token=jwt(serial=8), refresh_token=fresh)], old)
    assert play.paths == ["refresh_refresh_token"]
    assert play.tokens.access == jwt(serial=8)
    sooner = tokens(access_expires=NOW + 100, refresh_expires=NOW + 3 * 86400 + 1)
    assert Play([ok(access_token=jwt(serial=8))], sooner).paths == ["refresh_access_token"]
    last = tokens(access_expires=NOW + 100, refresh_expires=NOW + 3 * 86400 - 1)
    assert Play([both, ok(access_token=jwt(serial=8))], last).paths[0] == "refresh_refresh_token"


@pytest.mark.parametrize("answer", [Answer(429, b"{}"), Answer(503, b"", retry_after=90.0)])
def test_a_service_that_does_not_want_to_renew_the_refresh_token_is_asked_nothing_more(answer):
    """Neither for an access token nor for a login: 429, or any answer that says when to come back."""
    with pytest.raises(Fault) as caught:
        Play([answer], tokens(access_expires=NOW - 1, refresh_expires=NOW + 86400))
    assert caught.value.kind is not FaultKind.UPSTREAM_LOGIN


def test_the_rejected_token_is_no_new_one():
    """A service that gives the same token once more is asked on: for an access token, then for a login."""
    old = tokens(refresh_expires=NOW + 86400)
    same = ok(access_token=old.access)
    play = Play([same, same, LOGIN_OK], old, rejected=old.access)
    assert play.paths == ["refresh_refresh_token", "refresh_access_token", "login"]
    assert play.tokens.access == jwt(serial=9)


def test_not_expired_is_no_way_in_without_a_token():
    """Somebody who brought a refresh token alone has nothing that could go on."""
    assert Play([ok(access_token="Not expired"), LOGIN_OK], tokens(access="")).paths[-1] == "login"


@pytest.mark.parametrize("status", [201, 500])
def test_tokens_that_come_with_an_error_are_none(status):
    """What an answer of another status holds is not looked into."""
    body = json.dumps({"access_token": jwt(serial=8), "refresh_token": jwt("refresh", serial=8)}).encode()
    old = tokens(access_expires=NOW + 100, refresh_expires=NOW + 86400)
    assert Play([Answer(status, body), Answer(status, body)], old, account=NOBODY).tokens == old
    with pytest.raises(Fault):
        Play([Answer(status + 300, body)], None)


def test_a_refresh_answered_by_the_service_without_a_token_is_a_refusal():
    """It read the token and gave nothing: without a password that is the end of the login, and no outage."""
    old = tokens()
    with pytest.raises(Refused):
        Play([ok(status_code=2, msg="no such user")], old, rejected=old.access, account=NOBODY)


def test_a_new_refresh_token_is_kept_where_the_access_token_cannot_be_renewed():
    """The service may take the old one no longer."""
    old = tokens(access_expires=NOW + 100, refresh_expires=NOW + 86400)
    fresh = jwt("refresh", life=30 * 86400, serial=7)
    play = Play([ok(access_token="Not expired", refresh_token=fresh), Answer(503, b"")], old)
    assert (play.tokens.access, play.tokens.refresh) == (old.access, fresh)


def test_a_forced_login_skips_the_refresh_and_is_not_repeated_within_a_minute():
    """After refresh and login were rejected the service gets no loop."""
    old = tokens()
    assert Play([LOGIN_OK], old, rejected=old.access, force_login=True).paths == ["login"]
    with pytest.raises(Refused):
        Play([], old, rejected=old.access, force_login=True, past=Past(logged_in_at=NOW - 30, hurried_at=NOW - 30))


def test_one_login_may_follow_another_at_once_where_refresh_and_tokens_were_refused():
    """A service that has forgotten what it gave gets one more login, and the next of that kind much later."""
    old = tokens()
    soon = Past(logged_in_at=NOW - 30)
    gone = Answer(404, b'{"detail":"User not found"}')
    assert Play([gone, LOGIN_OK], old, rejected=old.access, past=soon).paths == ["refresh_access_token", "login"]
    assert Play([LOGIN_OK], old, rejected=old.access, force_login=True, past=soon).paths == ["login"]
    for spent in (NOW, NOW - 599):
        with pytest.raises(Refused):
            Play([gone], old, rejected=old.access, past=Past(logged_in_at=NOW - 30, hurried_at=spent))
    assert Play([LOGIN_OK], None, past=Past(logged_in_at=NOW - 30, hurried_at=NOW - 600)).paths == ["login"]
    assert Play([LOGIN_OK], None, past=Past(logged_in_at=NOW - 60, hurried_at=NOW)).paths == ["login"]
    with pytest.raises(Refused) as caught:
        Play([], None, past=Past(logged_in_at=NOW - 59, hurried_at=NOW))
    assert caught.value.wait == 1


@pytest.mark.parametrize(
    "answer",
    [Answer(200, PAGE), Answer(200, b""), Answer(200, b"null"), Answer(403, PAGE), Answer(404, b"\r\n" + PAGE)],
)
def test_a_refresh_answered_by_somebody_else_does_not_call_the_login_refused(answer):
    """A page of a portal, a firewall or nginx says nothing of the token: an outage, that passes."""
    old = tokens()
    with pytest.raises(Fault) as caught:
        Play([answer], old, rejected=old.access, account=NOBODY)
    assert caught.value.kind is FaultKind.UPSTREAM_BROKEN


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_login_answered_by_a_page_does_not_blame_the_password(status):
    """The service speaks JSON; a page is what stands in front of it."""
    with pytest.raises(Fault) as caught:
        Play([Answer(status, PAGE)], None)
    assert caught.value.kind is FaultKind.UPSTREAM_BROKEN


def test_a_path_that_is_not_there_is_no_refusal():
    """A 404 for the path, not for the user (protocol: HTTP errors on chat): it is the address that is wrong."""
    nowhere = Answer(404, b'{"detail":"Not Found"}')
    with pytest.raises(Fault) as caught:
        Play([nowhere], None)
    assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
    assert "upstream.base_url" in caught.value.message
    old = tokens()
    with pytest.raises(Fault) as caught:
        Play([nowhere], old, rejected=old.access, account=NOBODY)
    assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
    with pytest.raises(Refused):
        Play([Answer(404, b'{"detail":"User not found"}')], None)


def test_an_outage_of_the_refresh_is_told_as_that_where_our_own_rules_forbid_a_login():
    """That a login was refused, or made a moment ago, is not why there are no tokens."""
    old = tokens()
    for past in (
        Past(refused_until=NOW + 40, refused_message="no"),
        Past(logged_in_at=NOW - 30, hurried_at=NOW - 30),
    ):
        with pytest.raises(Fault) as caught:
            Play([Answer(503, b"")], old, rejected=old.access, past=past)
        assert caught.value.kind is FaultKind.UPSTREAM_BROKEN
    with pytest.raises(Refused):
        Play([Answer(503, b""), WRONG], old, rejected=old.access)


def test_a_service_that_asks_to_be_left_alone_gets_no_further_request():
    """429, and any answer that says when to come back: no login after it, and its time is passed on."""
    old = tokens()
    with pytest.raises(Fault) as caught:
        Play([Answer(429, b"{}", retry_after=90.0)], old, rejected=old.access)
    assert (caught.value.kind, caught.value.retry_after) == (FaultKind.UPSTREAM_RATE, 90.0)
    with pytest.raises(Fault) as caught:
        Play([Answer(429, b"{}")], old, rejected=old.access, account=NOBODY)
    assert caught.value.kind is FaultKind.UPSTREAM_RATE
    with pytest.raises(Fault) as caught:
        Play([Answer(503, b"", retry_after=90.0)], old, rejected=old.access)
    assert (caught.value.kind, caught.value.retry_after) == (FaultKind.UPSTREAM_BROKEN, 90.0)
    with pytest.raises(Fault) as caught:
        Play([Answer(429, b"", retry_after=90.0)], None)
    assert (caught.value.kind, caught.value.retry_after) == (FaultKind.UPSTREAM_RATE, 90.0)
    last_days = tokens(refresh_expires=NOW + 86400)
    with pytest.raises(Fault) as caught:
        Play([Answer(429, b"", retry_after=90.0)], last_days, rejected=last_days.access)
    assert caught.value.kind is FaultKind.UPSTREAM_RATE
    still = tokens(access_expires=NOW + 100)
    assert Play([Answer(429, b"{}", retry_after=90.0)], still).tokens == still


def test_without_password_and_tokens_the_fault_names_the_command():
    """Nothing is sent, and the message says what to do."""
    with pytest.raises(Fault) as caught:
        Play([], None, account=NOBODY)
    assert "fittengate login" in caught.value.message


def test_a_wrong_clock_neither_kills_good_tokens_nor_keeps_dead_ones():
    """The life that a token claims counts from its receipt when the clocks disagree."""
    token = jwt(life=1000)
    assert session.expiry(token, NOW) == NOW + 1000
    assert session.expiry(token, NOW + 5000) == NOW + 6000, "our clock is ahead: dead on arrival by our clock"
    assert session.expiry(token, NOW - 5000) == NOW - 4000, "our clock is behind"
    assert session.expiry("opaque", NOW) is None
    assert session.expiry(jwt(life=-50), NOW) == NOW - 50, "it makes no sense: what it says counts"
    assert session.expiry(jwt(life=1000).replace("e30.", "e30.e30", 1), NOW) is None


def test_renewal_begins_ten_minutes_early_and_not_before_the_last_fifth_of_a_short_life():
    """A token of a day and one of a minute."""
    assert session.early(tokens()) == NOW + 86400 - 600
    assert session.early(tokens(access=jwt(life=60), access_expires=NOW + 60)) == NOW + 48
    assert session.early(tokens(access="opaque", access_expires=None)) is None
    assert session.early(tokens(access="opaque", access_expires=NOW + 86400)) == NOW + 86400 - 600
    assert session.early(tokens(access=jwt(life=-50), access_expires=NOW + 50)) == NOW + 50


def test_stored_tokens_belong_to_their_service_and_user():
    """A changed base_url or user name makes a stored login somebody else's."""
    assert ME.owns(tokens())
    assert NOBODY.owns(tokens())
    assert not ME.owns(tokens(base_url="http://other.test"))
    assert not ME.owns(tokens(username="you"))
    assert ME.owns(tokens(username=""))


def test_a_refresh_token_given_by_hand_names_its_user():
    """For accounts without a password."""
    token = jwt("refresh", life=3000)
    made = session.from_refresh_token(token, BASE, NOW)
    assert (made.refresh, made.user_id, made.access) == (token, UID, "")
    with pytest.raises(Fault) as caught:
        session.from_refresh_token("nonsense", BASE, NOW)
    assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST


def test_no_secret_shows_in_a_repr():
    """P10: what ends up in a traceback names no token and no password."""
    play = tokens()
    shown = (
        repr(play)
        + repr(ME)
        + repr(session.refresh_access_call(play.refresh))
        + repr(session.login_call("me", "secret"))
    )
    assert "secret" not in shown
    assert play.access not in shown
    assert play.refresh not in shown
