"""The account's tokens on disk: what survives, who may hold the lock, and what a damaged file means."""

import asyncio
import json
import os
import stat
import subprocess
import sys

import pytest

from fittengate.core.account import Tokens
from fittengate.services import vault as vault_module
from fittengate.services.vault import FileVault, MemoryVault

TOKENS = Tokens("https://x.example", "me", "abc", "acc", "ref", 5.0, None)
OTHER = Tokens("https://x.example", "me", "abc", "acc2", "ref2", None, 7.5)
REFUSED = ("print", 12.5, "wrong password")


@pytest.fixture(params=["file", "memory"])
def vault(request, tmp_path):
    return FileVault(tmp_path / "account.json") if request.param == "file" else MemoryVault()


async def test_what_was_saved_last_is_loaded(vault):
    """Nothing at first, then the latest, then nothing again; forgetting twice is no error."""
    assert await vault.load() is None
    await vault.save(TOKENS)
    await vault.save(OTHER)
    assert await vault.load() == OTHER
    await vault.forget()
    await vault.forget()
    assert await vault.load() is None


async def test_a_refused_login_is_remembered_until_it_is_cleared(vault):
    """The record stands apart from the tokens."""
    assert await vault.refusal() is None
    await vault.note_refusal(*REFUSED)
    await vault.save(TOKENS)
    await vault.forget()
    assert await vault.refusal() == REFUSED
    await vault.clear_refusal()
    await vault.clear_refusal()
    assert await vault.refusal() is None


async def test_tasks_of_one_process_take_turns(vault):
    """The lock is not let in twice, although the process already holds it."""
    order = []

    async def hold(name):
        await vault.acquire()
        order.append(name)
        for _ in range(3):
            await asyncio.sleep(0)
        order.append(name)
        await vault.release()

    await asyncio.gather(*(hold(name) for name in "abc"))
    assert "".join(order) in {"".join(n * 2 for n in names) for names in ("abc", "acb", "bac", "bca", "cab", "cba")}


async def test_a_second_vault_sees_what_the_first_saved(tmp_path):
    """Processes share the files."""
    await FileVault(tmp_path / "account.json").save(TOKENS)
    await FileVault(tmp_path / "account.json").note_refusal(*REFUSED)
    other = FileVault(tmp_path / "account.json")
    assert await other.load() == TOKENS
    assert await other.refusal() == REFUSED


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
async def test_p10_every_file_of_the_vault_is_private(tmp_path):
    """P10: tokens, refusal and lock are 0600."""
    vault = FileVault(tmp_path / "account.json")
    await vault.acquire()
    await vault.save(TOKENS)
    await vault.note_refusal(*REFUSED)
    await vault.release()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"account.json": 0o600, "account-state.json": 0o600, "account.lock": 0o600}


async def test_fields_of_a_newer_version_are_passed_over(tmp_path):
    """Going back a version does not cost the login."""
    path = tmp_path / "account.json"
    await FileVault(path).save(TOKENS)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sealed": {"by": [1]}}))
    assert await FileVault(path).load() == TOKENS


@pytest.mark.parametrize("text", ["", "{", "[]", '{"access": "hunter2"}', '{"access": 7}', "\xff\xfe", "[" * 100_000])
async def test_a_damaged_file_means_no_tokens_and_says_why(tmp_path, text):
    """The gateway goes on without them; doctor shows the reason, which quotes nothing; saving repairs it."""
    path = tmp_path / "account.json"
    path.write_text(text, encoding="latin-1")
    vault = FileVault(path)
    assert await vault.load() is None
    assert "account.json is damaged" in vault.problem
    assert "hunter2" not in vault.problem
    await vault.save(TOKENS)
    assert await vault.load() == TOKENS
    assert vault.problem is None


async def test_an_unreadable_file_means_no_tokens_and_says_why(tmp_path):
    """A directory in the file's place is no crash."""
    (tmp_path / "account.json").mkdir()
    vault = FileVault(tmp_path / "account.json")
    assert await vault.load() is None
    assert "cannot be read" in vault.problem


async def test_a_missing_file_is_no_problem(tmp_path):
    """Nobody has logged in yet."""
    vault = FileVault(tmp_path / "account.json")
    assert await vault.load() is None
    assert vault.problem is None


HOLDER = """
import asyncio, sys
from pathlib import Path
from fittengate.services.vault import FileVault
async def main():
    vault = FileVault(Path(sys.argv[1]))
    await vault.acquire()
    print("held", flush=True)
    sys.stdin.read()
    await vault.release()
asyncio.run(main())
"""

COUNTER = """
import asyncio, sys
from pathlib import Path
from fittengate.services.vault import FileVault
async def main():
    vault, count = FileVault(Path(sys.argv[1])), Path(sys.argv[2])
    for _ in range(10):
        await vault.acquire()
        number = int(count.read_text())
        await asyncio.sleep(0.001)
        count.write_text(str(number + 1))
        await vault.release()
asyncio.run(main())
"""


def started(code, *args):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def test_p4_two_processes_never_hold_the_lock_at_once(tmp_path):
    """P4 rests on this: reading, changing and writing under the lock loses no step."""
    count = tmp_path / "count"
    count.write_text("0")
    both = [started(COUNTER, tmp_path / "account.json", count) for _ in range(2)]
    for process in both:
        with process:
            assert await asyncio.to_thread(process.wait) == 0
    assert count.read_text() == "20"


async def test_a_process_that_dies_gives_the_lock_back(tmp_path):
    """Another process holds it: we wait. It is killed: we have it."""
    path = tmp_path / "account.json"
    with started(HOLDER, path) as holder:
        assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
        vault = FileVault(path)
        waiting = asyncio.create_task(vault.acquire())
        done, _ = await asyncio.wait({waiting}, timeout=0.15)
        assert not done
        holder.kill()
        await asyncio.wait_for(waiting, 5)
        await vault.release()


async def test_whoever_leaves_while_waiting_takes_no_lock_with_it(tmp_path):
    """A cancelled wait ends at once, and the lock is free for the next one in this process and in others."""
    path = tmp_path / "account.json"
    with started(HOLDER, path) as holder:
        assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
        vault = FileVault(path)
        waiting = asyncio.create_task(vault.acquire())
        await asyncio.wait({waiting}, timeout=0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # While the other process still holds the lock: no thread of ours goes on waiting for it.
        await asyncio.wait_for(vault._turn.acquire(), 5)
        vault._turn.release()
        holder.stdin.close()
        await asyncio.to_thread(holder.wait)
    for other in (vault, FileVault(path)):
        await asyncio.wait_for(other.acquire(), 5)
        await other.release()


async def test_a_lock_won_after_its_waiter_left_is_given_back(tmp_path):
    """Cancelled in the very moment in which the thread takes the lock."""
    for steps in range(6):
        vault = FileVault(tmp_path / "account.json")
        waiting = asyncio.create_task(vault.acquire())
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        if not waiting.cancelled():
            await vault.release()
        await asyncio.wait_for(vault.acquire(), 5)
        await vault.release()


async def test_waiting_for_the_lock_has_an_end(tmp_path, monkeypatch):
    """A process that hangs with the lock costs an error, not the gateway; later the lock can be had."""
    monkeypatch.setattr(vault_module, "LOCK_SECONDS", 0.1)
    first, second = FileVault(tmp_path / "account.json"), FileVault(tmp_path / "account.json")
    await first.acquire()
    with pytest.raises(TimeoutError, match=r"account\.lock"):
        await second.acquire()
    with pytest.raises(TimeoutError):
        await first.acquire()
    await first.release()
    await second.acquire()
    await second.release()
