"""Client keys: who is let in, what is kept, and the first key."""

import hashlib
import json
import os
import re
import secrets
import stat
import subprocess
import sys

import pytest

from fittengate.core.faults import Fault, FaultKind
from fittengate.services import keyring as keyring_module
from fittengate.services import keys as keys_module
from fittengate.services.keyring import Keys
from fittengate.services.keys import (
    StoredKey,
    ensure_first_key,
    hand_over,
    make_key,
    store_new_key,
    stored_keys,
    write_first_key,
)


def refused(keys, credential):
    with pytest.raises(Fault) as caught:
        keys.known(credential)
    assert caught.value.kind is FaultKind.CALLER_NO_KEY
    return caught.value.message


def test_a_configured_key_is_named_by_its_place():
    """Never by a part of itself; blank and repeated entries count for nothing."""
    keys = Keys(["", "alpha", "  ", " beta ", "alpha"], [])
    assert keys.known("alpha").name == "key-1"
    assert keys.known("beta").name == "key-2"
    refused(keys, " ")
    refused(keys, " beta ")


def test_a_made_key_is_known_by_its_hash_alone(tmp_path):
    """What is on disk lets nobody in; the key's beginning is its name."""
    key = store_new_key(tmp_path, secrets.token_bytes)
    other = store_new_key(tmp_path, secrets.token_bytes)
    keys = Keys([], stored_keys(tmp_path))
    assert keys.known(key).name == key[:10]
    assert keys.known(other).name == other[:10]
    kept = (tmp_path / "keys.json").read_text()
    assert key[10:] not in kept
    for row in json.loads(kept):
        refused(keys, row["sha256"])
        refused(keys, row["prefix"])


def test_a_made_key_has_256_random_bits():
    """They all come from the source, and stand behind fg_."""
    key = make_key(lambda count: bytes(range(count)))
    assert key == "fg_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert re.fullmatch(r"fg_[\w-]{43}", make_key(secrets.token_bytes))


@pytest.mark.parametrize("credential", [None, ""])
def test_without_a_key_the_answer_says_how_to_send_one(credential):
    """Both headers are named."""
    message = refused(Keys(["k"], []), credential)
    assert "No API key" in message
    assert "Authorization: Bearer" in message
    assert "x-api-key" in message


@pytest.mark.parametrize("credential", ["Zq", "secre", "secrets", "SECRET", "secret\n", "sécret", "\ud800", "Secret"])
def test_a_wrong_key_is_refused_whole(credential):
    """No beginning, no other case, nothing outside ASCII passes, and the answer does not repeat it."""
    message = refused(Keys(["secret"], []), credential)
    assert "not one of this gateway's" in message
    assert credential not in message


def test_a_hash_that_begins_alike_is_another_key():
    """The whole hash is compared, not only the part that finds the candidate."""
    alike = hashlib.sha256(b"x").hexdigest()[:62] + "00"
    refused(Keys([], [StoredKey("fg_alike", alike)]), "x")


def test_a_very_long_credential_is_not_hashed(monkeypatch):
    """512 characters are the most; what is longer costs nothing."""
    keys = Keys(["k" * 512, "l" * 513], [])
    assert keys.known("k" * 512).name == "key-1"
    monkeypatch.setattr(keyring_module.hashlib, "sha256", None)
    refused(keys, "l" * 513)
    refused(keys, "l" * 10_000_000)


def test_without_any_key_nobody_is_let_in():
    """An empty list of keys is no open door."""
    refused(Keys([], []), "anything")
    refused(Keys([""], []), "")


def test_the_first_key_is_made_once(tmp_path):
    """A key that is configured or was made before is enough."""
    assert ensure_first_key(tmp_path, ["k"], secrets.token_bytes) is None
    assert stored_keys(tmp_path) == ()
    key = ensure_first_key(tmp_path, ["", " "], secrets.token_bytes)
    assert Keys([], stored_keys(tmp_path)).known(key).name == key[:10]
    assert ensure_first_key(tmp_path, [], secrets.token_bytes) is None
    assert len(stored_keys(tmp_path)) == 1


def test_a_first_key_that_another_process_just_made_is_enough(tmp_path, monkeypatch):
    """Between the look at the file and the lock somebody else may have made it."""
    store_new_key(tmp_path, secrets.token_bytes)
    looks = [()]
    monkeypatch.setattr(keys_module, "stored_keys", lambda where: looks.pop() if looks else stored_keys(where))
    assert ensure_first_key(tmp_path, [], secrets.token_bytes) is None
    assert len(stored_keys(tmp_path)) == 1


def test_processes_that_start_at_once_make_one_first_key(tmp_path):
    """The others find it."""
    code = (
        "import secrets, sys; from pathlib import Path; from fittengate.services.keys import ensure_first_key\n"
        "print(ensure_first_key(Path(sys.argv[1]), [], secrets.token_bytes))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].strip() for process in started]
    assert said.count("None") == 2
    assert len(stored_keys(tmp_path)) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_keys_are_handed_over_once(tmp_path):
    """What the store has is not given to it again, a key made later is, and the lock is private whoever makes it."""
    given = []
    hand_over(tmp_path, given.append)
    assert given == []
    first = store_new_key(tmp_path, secrets.token_bytes)
    (tmp_path / "keys.lock").unlink(missing_ok=True)
    before = os.umask(0)
    try:
        hand_over(tmp_path, given.append)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys.lock").stat().st_mode) == 0o600
    hand_over(tmp_path, given.append)
    second = store_new_key(tmp_path, secrets.token_bytes)
    hand_over(tmp_path, given.append)
    assert [[key.prefix for key in keys] for keys in given] == [[first[:10]], [second[:10]]]
    assert all(key.moved for key in stored_keys(tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_p10_files_with_keys_are_private(tmp_path):
    """P10: hashes, first key and lock are 0600."""
    key = ensure_first_key(tmp_path, [], secrets.token_bytes)
    path = write_first_key(tmp_path, key)
    assert path.read_text() == key + "\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"keys.json": 0o600, "keys.lock": 0o600, "first-key": 0o600}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[{}]", '[{"prefix":"p","sha256":"zz"}]', '[{"prefix":"p","sha256":"00"}]', "\xff", "[" * 100_000),
        '[{"more":' + "[" * 100_000,
    ],
)
def test_a_damaged_file_is_not_an_empty_one(tmp_path, text):
    """A new key in its place would lock everybody out: the start fails and says what to do, and nothing is overwritten."""
    (tmp_path / "keys.json").write_text(text, encoding="latin-1")
    for make in (
        lambda: stored_keys(tmp_path),
        lambda: ensure_first_key(tmp_path, [], secrets.token_bytes),
        lambda: store_new_key(tmp_path, secrets.token_bytes),
    ):
        with pytest.raises(Fault, match="is damaged") as caught:
            make()
        assert caught.value.kind is FaultKind.GATEWAY_BROKEN
    assert (tmp_path / "keys.json").read_text(encoding="latin-1") == text


def test_fields_of_a_newer_version_of_the_file_are_passed_over(tmp_path):
    """Going back a version locks nobody out."""
    key = store_new_key(tmp_path, secrets.token_bytes)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([row | {"scopes": ["chat"]} for row in json.loads(path.read_text())]))
    assert Keys([], stored_keys(tmp_path)).known(key)


def test_an_owner_follows_from_the_key_alone(tmp_path):
    """Whatever its name and place: what a key has stored is its own, and the owner does not tell the key."""
    key = store_new_key(tmp_path, secrets.token_bytes)
    made = Keys(["first", "second"], stored_keys(tmp_path))
    moved = Keys(["new", "second", "first", key], ())
    for one in ("first", "second", key):
        assert made.known(one).owner == moved.known(one).owner
        assert one not in made.known(one).owner
    assert len({moved.known(one).owner for one in ("new", "first", "second", key)}) == 4
