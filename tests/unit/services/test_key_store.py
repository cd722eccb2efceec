"""Keys in the store: made, found by name, replaced, revoked, deleted when they are old."""

import secrets
import sqlite3
import threading

import pytest

from fittengate.services import key_rows as rows_module
from fittengate.services.key_rows import KeyRefusedError, NoKeyError, read_since, shown
from fittengate.services.key_store import DAY_SECONDS, KeyStore, KeyWish
from fittengate.services.keys import store_new_key, stored_keys
from fittengate.services.store import Database


class Clock:
    """A clock that stands where it is put."""

    at = 1_000_000_000.0

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(where, clock):
    """Give a store of keys in either kind of database."""
    made = KeyStore(where.database(), clock, secrets.token_bytes, 90)
    yield made
    made.close()


@pytest.fixture
def file_store(tmp_path, clock):
    """Give one in a file: for what the kind of database has no part in."""
    made = KeyStore(Database(tmp_path / "fittengate.db"), clock, secrets.token_bytes, 90)
    yield made
    made.close()


def changes(store):
    return [row.changed for row in store.listed()]


def test_the_store_has_the_hash_and_ten_characters(file_store, tmp_path):
    """P10: what is on disk lets nobody in, and what is shown does not even have the hash."""
    key, row = file_store.create(KeyWish(name="ci"))
    assert key.startswith("fg_")
    assert row.prefix == key[:10]
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("fittengate.db*"))
    assert key[:10].encode() in kept
    assert key[10:].encode() not in kept
    assert not {row.sha256, row.owner} & set(map(str, shown(row, 0).values()))


@pytest.mark.parametrize(
    "wish",
    [
        {"name": ""},
        {"name": " ci"},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"name": "fg_abcdefg"},
        {"name": "key-1"},
        {"name": "--help"},
        {"name": "ci", "scopes": ()},
        {"name": "ci", "scopes": ("root",)},
        {"name": "ci", "lane": "fast"},
        {"name": "ci", "models": ("",)},
        {"name": "ci", "models": ("a\nb",)},
        {"name": "ci", "models": ("m",) * 33},
        {"name": "ci", "lasts": 0.0},
        {"name": "ci", "lasts": 1e12},
        {"name": "ci", "rpm": -1},
        {"name": "ci", "tokens_per_day": 10**13},
    ],
)
def test_what_no_key_can_be_is_refused(file_store, wish):
    """With words for a person, and nothing is written."""
    with pytest.raises(KeyRefusedError):
        file_store.create(KeyWish(**wish))
    assert file_store.listed() == []


def test_a_name_is_one_keys_own_while_it_works(store, clock):
    """Free again when the key is revoked or has expired."""
    store.create(KeyWish(name="ci", lasts=10))
    with pytest.raises(KeyRefusedError, match="already"):
        store.create(KeyWish(name="ci"))
    clock.at += 11
    store.create(KeyWish(name="ci"))
    store.revoke("ci")
    store.create(KeyWish(name="ci"))
    assert [row.state(clock.at) for row in store.listed()] == ["expired", "revoked", "active"]


def test_a_key_is_found_by_name_or_prefix(store, clock):
    """A name means the newest key that works; what is unknown or not plain is said."""
    _, first = store.create(KeyWish(name="ci"))
    _, second = store.rotate("ci", 60)
    assert store.find("ci") == second
    assert store.find(first.prefix).sha256 == first.sha256
    with pytest.raises(NoKeyError, match="no key nope"):
        store.find("nope")
    store.revoke("ci")
    store.create(KeyWish(name="ci"))
    store.revoke("ci")
    with pytest.raises(NoKeyError, match="Name one by its prefix"):
        store.find("ci")


def test_rotating_keeps_everything_but_the_key(store, clock):
    """Scopes, limits, expiry, owner; the old one ends after the grace, or when it would have ended anyway."""
    wish = KeyWish(name="ci", scopes=("chat",), models=("m*",), lane="background", lasts=100, rpm=3)
    _, old = store.create(wish)
    clock.at += 50
    _, new = store.rotate("ci", 10)
    for field in ("name", "owner", "scopes", "models", "lane", "expires", "rpm"):
        assert getattr(new, field) == getattr(old, field)
    replaced = store.find(old.prefix)
    assert replaced.state(clock.at) == "replaced"
    assert replaced.expires == int(clock.at + 10)
    _, newest = store.rotate("ci", 1000)
    assert store.find(new.prefix).expires == old.expires
    with pytest.raises(KeyRefusedError, match="is replaced"):
        store.rotate(new.prefix, 10)
    assert [row.sha256 for row in store.revoke("ci")] != []
    assert {row.state(clock.at) for row in store.listed()} == {"revoked"}
    with pytest.raises(KeyRefusedError, match="is revoked"):
        store.rotate(newest.prefix, 10)


def test_revoking_a_replaced_key_leaves_the_new_one(store, clock):
    """By its prefix; and to revoke again changes nothing."""
    _, old = store.create(KeyWish(name="ci"))
    store.rotate("ci", 60)
    (ended,) = store.revoke(old.prefix)
    assert ended.sha256 == old.sha256
    assert store.find("ci").state(clock.at) == "active"
    assert store.revoke(old.prefix) == []


def test_every_change_is_higher_than_all_before(store):
    """So nobody who asks for what came after the last one misses any, also when several write at once."""
    stores = [KeyStore(store._database, store._clock, secrets.token_bytes, 0) for _ in range(4)]

    def work(number):
        for turn in range(5):
            stores[number].create(KeyWish(name=f"{number}-{turn}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(changes(store)) == list(range(1, 21))
    store.revoke("1-1")
    store.rotate("2-2", 0)
    with store._database.begin() as connection:
        assert [row.name for row in read_since(connection, 20)] == ["1-1", "2-2", "2-2"]


def test_keys_that_ended_long_ago_are_deleted(store, clock):
    """After the retention, when a new one is made; the number of changes does not go back."""
    store.create(KeyWish(name="stays"))
    store.create(KeyWish(name="ends", lasts=10))
    store.create(KeyWish(name="revoked"))
    store.revoke("revoked")
    clock.at += 91 * DAY_SECONDS
    before = max(changes(store))
    store.create(KeyWish(name="new"))
    assert [row.name for row in store.listed()] == ["stays", "revoked", "new"]
    assert max(changes(store)) == before + 1
    store.create(KeyWish(name="newer"))
    assert [row.name for row in store.listed()] == ["stays", "new", "newer"]


def test_there_is_a_most_of_keys(store, monkeypatch):
    """P6: all of them are held in memory by every gateway."""
    monkeypatch.setattr(rows_module, "MAX_KEYS", 2)
    store.create(KeyWish(name="a"))
    store.create(KeyWish(name="b"))
    with pytest.raises(KeyRefusedError, match="2 keys already"):
        store.create(KeyWish(name="c"))


def test_keys_of_the_file_are_taken_over_once(store, tmp_path):
    """They keep name and owner; the file keeps what is needed to know that there are keys."""
    keys = [store_new_key(tmp_path, secrets.token_bytes) for _ in range(2)]
    store.take_over(tmp_path)
    assert [row.name for row in store.listed()] == [key[:10] for key in keys]
    assert all(key.moved for key in stored_keys(tmp_path))
    store.revoke(keys[0][:10])
    another = store_new_key(tmp_path, secrets.token_bytes)
    assert [key.moved for key in stored_keys(tmp_path)] == [True, True, False]
    store.take_over(tmp_path)
    assert sorted(row.name for row in store.listed()) == sorted([*[key[:10] for key in keys], another[:10]])


def test_taking_over_goes_on_where_it_was_broken_off(store, tmp_path):
    """In the store, but the file did not say so yet: nothing is doubled."""
    key = store_new_key(tmp_path, secrets.token_bytes)
    store._take(stored_keys(tmp_path))
    store.take_over(tmp_path)
    assert [row.name for row in store.listed()] == [key[:10]]


def test_a_store_of_an_earlier_version_gets_its_table(tmp_path, clock):
    """A file that has only the responses of before takes keys."""
    path = tmp_path / "fittengate.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE responses (id VARCHAR(64) PRIMARY KEY, created BIGINT, size BIGINT)")
    connection.close()
    store = KeyStore(Database(path), clock, secrets.token_bytes, 90)
    store.create(KeyWish(name="ci"))
    assert len(store.listed()) == 1
    store.close()
