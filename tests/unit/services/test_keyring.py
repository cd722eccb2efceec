"""Keys of the store as a running gateway sees them: new ones at once, revoked ones no more, whatever the store does."""

import asyncio
import secrets
import sqlite3
import threading
import time

import pytest

from fakes.line import until
from fittengate.core.caller import Allowance
from fittengate.core.faults import Fault, FaultKind
from fittengate.services import keyring as keyring_module
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.keyring import MAX_REFUSED, POLL_SECONDS, Keys
from fittengate.services.keys import store_new_key, stored_keys
from fittengate.services.store import Database, StoreDownError


class Clock:
    """A clock that can be put ahead."""

    ahead = 0.0

    def now(self):
        return time.time() + self.ahead

    def monotonic(self):
        return time.monotonic()


class Counted(Database):
    """A database that counts how often it is used, and can be down."""

    used = 0
    down = False

    def begin(self):
        self.used += 1
        if self.down:
            raise StoreDownError("disk on fire")
        return super().begin()


class Hanging(Database):
    """A database that hangs while ``go`` is not set."""

    def __init__(self, path):
        super().__init__(path)
        self.go = threading.Event()
        self.go.set()

    def begin(self):
        self.go.wait(10)
        return super().begin()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fittengate.db"


@pytest.fixture
def store(path, clock):
    made = KeyStore(Database(path), clock, secrets.token_bytes, 90)
    yield made
    made.close()


@pytest.fixture
def said():
    return []


@pytest.fixture
async def make(path, clock, said):
    """Give what makes a ring over the store; each is closed with the test."""
    made = []

    def ring(configured=(), stored=(), defaults=Allowance(), database=None):
        database = Database(path) if database is None else database
        made.append(Keys(configured, stored, defaults, database, clock, lambda level, text: said.append((level, text))))
        return made[-1]

    yield ring
    for one in made:
        await asyncio.to_thread(one.close)


async def look_up(keys, credential):
    return keys.known(credential) or await keys.find(credential)


async def refused(keys, credential, kind=FaultKind.CALLER_NO_KEY):
    with pytest.raises(Fault) as caught:
        await look_up(keys, credential)
    assert caught.value.kind is kind
    return caught.value.message


async def refused_after(keys, credential):
    """Use a key until it is refused; return how long that took and what was said."""
    began = time.monotonic()
    while time.monotonic() - began < 5:
        try:
            await look_up(keys, credential)
        except Fault as fault:
            return time.monotonic() - began, fault.message
        await asyncio.sleep(0.01)
    raise AssertionError("it is never refused")


async def test_a_new_key_works_at_once(make, store):
    """Made while the gateway runs, known at its first use, and without a look from then on."""
    keys = make()
    await refused(keys, "fg_nobody")
    key, row = store.create(KeyWish(name="ci", scopes=("chat",), models=("DeepSeek-*",), lane="background"))
    caller = await look_up(keys, key)
    assert (caller.name, caller.owner, caller.lane) == ("ci", row.owner, "background")
    assert (caller.scopes, caller.models) == ({"chat"}, ("deepseek-*",))
    assert keys.known(key) is caller


async def test_limits_that_a_key_does_not_have_are_the_defaults(make, store):
    """What it has counts, 0 for none included."""
    key, _ = store.create(KeyWish(name="ci", rpm=5, tpm=0))
    keys = make(["configured"], defaults=Allowance(rpm=1, tpm=2, concurrency=3))
    assert (await look_up(keys, key)).allowance == Allowance(rpm=5, concurrency=3)
    assert keys.known("configured").allowance == Allowance(rpm=1, tpm=2, concurrency=3)


async def test_a_revoked_key_is_refused_within_a_second(make, store):
    """While it is in use; and all the more at the first use after nobody had come for a while."""
    key, _ = store.create(KeyWish(name="ci"))
    keys, other = make(), make()
    for ring in (keys, other):
        await look_up(ring, key)
    store.revoke("ci")
    took, message = await refused_after(keys, key)
    assert took < 1
    assert "was revoked" in message
    while other._watching:
        await asyncio.sleep(POLL_SECONDS)
    assert "was revoked" in await refused(other, key)


async def test_nobody_asks_the_store_while_nobody_comes(make, path, store):
    """After some looks without a use the thread sleeps, and one use wakes it."""
    key, _ = store.create(KeyWish(name="ci"))
    database = Counted(path)
    keys = make(database=database)
    await look_up(keys, key)
    while keys._watching:
        await asyncio.sleep(POLL_SECONDS)
    used = database.used
    await asyncio.sleep(3 * POLL_SECONDS)
    assert database.used == used
    assert (await look_up(keys, key)).name == "ci"
    assert database.used == used + 1


async def test_a_known_key_is_looked_up_without_the_store(make, path, store):
    """A thousand requests cost a look or two, by the clock, and not one each."""
    key, _ = store.create(KeyWish(name="ci"))
    database = Counted(path)
    keys = make(database=database)
    await look_up(keys, key)
    used = database.used
    for _ in range(1000):
        assert keys.known(key) is not None
    assert database.used == used


async def test_a_key_that_is_nobodys_is_remembered_for_a_second(make, path, store):
    """Refused again without a look; many at once share one; and the memory is bounded."""
    store.create(KeyWish(name="ci"))
    database = Counted(path)
    keys = make(database=database)
    await refused(keys, "fg_stranger")
    used = database.used
    for _ in range(50):
        await refused(keys, "fg_stranger")
    assert database.used <= used + 1  # the look that comes by the clock
    used = database.used
    await asyncio.gather(*(refused(keys, f"fg_stranger{number}") for number in range(200)))
    assert database.used <= used + 3
    keys._refused.update({number.to_bytes(4): 0.0 for number in range(MAX_REFUSED)})
    await refused(keys, "fg_another")
    assert len(keys._refused) < 10


async def test_no_store_is_made_by_looking(make, path):
    """Without a database file a wrong key is a wrong key, and there is no file afterwards."""
    keys = make(["configured"])
    await refused(keys, "wrong")
    assert keys.known("configured").name == "key-1"
    assert not path.exists()


async def test_p12_while_the_store_is_down_known_keys_work_and_unknown_ones_are_not_judged(make, path, store, said):
    """P12: 503 and not 401 for a key that was not seen; 200 for one that was; and it heals by itself."""
    key, _ = store.create(KeyWish(name="ci"))
    database = Counted(path)
    keys = make(database=database)
    await look_up(keys, key)
    database.down = True
    later, _ = store.create(KeyWish(name="later"))
    assert "Try again" in await refused(keys, later, FaultKind.GATEWAY_BUSY)
    assert (await look_up(keys, key)).name == "ci"
    while keys._watching:
        await asyncio.sleep(POLL_SECONDS)
    assert (await look_up(keys, key)).name == "ci"
    database.down = False
    assert (await look_up(keys, later)).name == "later"
    assert [level for level, _ in said] == ["error", "info"]


async def test_p12_a_store_that_hangs_makes_a_known_key_wait_once(make, path, store, monkeypatch):
    """P12: nobody asked for a while, and the look does not end: the first waits for it, those after it do not."""
    monkeypatch.setattr("fittengate.services.keyring.POLL_SECONDS", 0.01)
    monkeypatch.setattr("fittengate.services.keyring.KNOWN_SECONDS", 0.2)
    database = Hanging(path)
    keys = make(database=database)
    key, _ = store.create(KeyWish(name="ci"))
    await look_up(keys, key)
    await until(lambda: not keys._watching)
    database.go.clear()
    try:
        took = []
        for _ in range(4):
            began = time.monotonic()
            assert (await look_up(keys, key)).name == "ci"
            took.append(time.monotonic() - began)
        assert took[0] > 0.15
        assert max(took[1:]) < 0.1
    finally:
        database.go.set()
    await until(lambda: not keys._hanging)


async def test_a_key_does_not_end_by_being_gone_from_the_store(make, path, store):
    """The file was lost or an older one put back: who is known goes on, and new keys are seen."""
    store.create(KeyWish(name="older"))
    key, _ = store.create(KeyWish(name="ci"))
    keys = make()
    await look_up(keys, key)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM keys")
    connection.close()
    new, _ = store.create(KeyWish(name="new"))
    assert (await look_up(keys, new)).name == "new"
    assert (await look_up(keys, key)).name == "ci"


async def test_an_expired_key_is_refused(make, store, clock):
    """By the clock, without any change of the store."""
    key, _ = store.create(KeyWish(name="ci", lasts=60))
    keys = make()
    assert await look_up(keys, key)
    clock.ahead = 61
    assert "has expired" in await refused(keys, key)


async def test_both_keys_work_while_one_takes_the_place_of_the_other(make, store, clock):
    """They have one owner, so that what was kept and used goes on; after the grace only the new one works."""
    old, _ = store.create(KeyWish(name="ci", rpm=7))
    keys = make()
    before = await look_up(keys, old)
    new, _ = store.rotate("ci", 60)
    after = await look_up(keys, new)
    assert (after.owner, after.name, after.allowance) == (before.owner, before.name, before.allowance)
    assert await look_up(keys, old)
    clock.ahead = 61
    assert await look_up(keys, new)
    took, _ = await refused_after(keys, old)
    assert took < 1


async def test_a_key_of_the_file_that_is_revoked_in_the_store_is_refused(make, store, tmp_path):
    """The running gateway read it from its file; the commands took it over and ended it."""
    key = store_new_key(tmp_path, secrets.token_bytes)
    keys = make(stored=stored_keys(tmp_path))
    assert (await look_up(keys, key)).name == key[:10]
    store.take_over(tmp_path)
    assert (await look_up(keys, key)).name == key[:10]
    store.revoke(key[:10])
    took, _ = await refused_after(keys, key)
    assert took < 1
    fresh = make(stored=stored_keys(tmp_path))
    await refused(fresh, key)


async def test_keys_that_were_revoked_are_forgotten_where_there_are_many(make, store, monkeypatch):
    """P6: they are refused all the same, after a look."""
    monkeypatch.setattr(keyring_module, "MAX_KNOWN", 3)
    made = [store.create(KeyWish(name=f"k{number}"))[0] for number in range(5)]
    for number in range(4):
        store.revoke(f"k{number}")
    keys = make()
    assert await look_up(keys, made[4])
    assert len(keys._known) == 1
    await refused(keys, made[0])


async def test_a_key_of_the_settings_works_as_long_as_it_stands_there(make, store):
    """Whatever the store has to say of it."""
    key, _ = store.create(KeyWish(name="ci"))
    store.revoke("ci")
    keys = make([key])
    await refused(keys, "wrong")
    assert keys.known(key).name == "key-1"


async def test_a_look_that_fails_oddly_does_not_end_the_looking(make, store, monkeypatch):
    """The thread goes on, and unknown keys are not judged meanwhile."""
    key, _ = store.create(KeyWish(name="ci"))
    monkeypatch.setattr(keyring_module, "last_change", lambda connection: 1 / 0)
    keys = make()
    await refused(keys, key, FaultKind.GATEWAY_BUSY)
    monkeypatch.undo()
    assert (await look_up(keys, key)).name == "ci"
