"""Tokens whose disk takes nothing: they are kept, told of once, and saved when it can be."""

import pytest
from msgspec import structs

from fittengate.core.account import Tokens
from fittengate.services.vault import MemoryVault
from fittengate.services.vault_outage import OutageVault, through_outages

OLD = Tokens("https://a.example", "me", "1", "old", "refresh", None, None)
NEW = structs.replace(OLD, access="new")
OTHER = structs.replace(OLD, access="other")
FULL = OSError(28, "No space left on device")


class Disk(MemoryVault):
    """A vault that takes nothing while it is full."""

    full = True
    locks = 0

    def check(self):
        if self.full:
            raise FULL

    async def save(self, tokens):
        self.check()
        await super().save(tokens)

    async def acquire(self):
        self.check()
        self.locks += 1

    async def release(self):
        self.locks -= 1

    async def note_refusal(self, fingerprint, until, message):
        self.check()
        await super().note_refusal(fingerprint, until, message)

    async def clear_refusal(self):
        self.check()
        await super().clear_refusal()


@pytest.fixture
def said():
    return []


@pytest.fixture
def disk():
    return Disk(OLD)


@pytest.fixture
def vault(disk, said):
    return OutageVault(disk, lambda level, text: said.append((level, text)))


async def test_what_the_disk_does_not_take_is_kept_and_saved_later(vault, disk, said):
    """Told once; every look tries again; what was saved at last is on the disk."""
    await vault.acquire()
    await vault.save(NEW)
    await vault.release()
    assert await vault.load() == await vault.load() == NEW
    assert await disk.load() == OLD
    assert said == [("error", "the login cannot be saved (No space left on device); it is kept in memory")]
    disk.full = False
    assert await vault.load() == NEW
    assert await disk.load() == NEW
    assert said[1:] == [("info", "the login is saved again")]


async def test_what_somebody_else_saved_meanwhile_counts(vault, disk):
    """Another process signed in: its tokens are newer than those that wait here."""
    await vault.save(NEW)
    await MemoryVault.save(disk, OTHER)
    assert await vault.load() == OTHER
    disk.full = False
    assert await vault.load() == await disk.load() == OTHER


async def test_what_somebody_else_saved_between_two_renewals_counts_too(vault, disk):
    """What stood on the disk is what stood there before the first that it did not take."""
    await vault.save(NEW)
    await MemoryVault.save(disk, OTHER)
    await vault.save(structs.replace(OLD, access="newer"))
    assert await vault.load() == OTHER


async def test_a_file_that_is_gone_takes_nothing_away(vault, disk):
    """A disk that was replaced has nothing on it: what waits here is given to it."""
    await vault.save(NEW)
    await MemoryVault.forget(disk)
    assert await vault.load() == NEW
    disk.full = False
    assert await vault.load() == NEW
    assert await disk.load() == NEW


async def test_what_is_on_the_disk_shows_through(vault, disk):
    """A login that another process was refused, and why the file cannot be read."""
    await MemoryVault.note_refusal(disk, "print", 5.0, "no")
    disk.problem = "damaged"
    assert await vault.refusal() == ("print", 5.0, "no")
    assert await vault.load() == OLD
    assert vault.problem == "damaged"


async def test_the_end_saves_what_is_left(disk, said):
    """A disk that has room again before the gateway stops has the tokens for the next one."""
    async with through_outages(disk, lambda *told: said.append(told)) as vault:
        await vault.save(NEW)
        await vault.save(OTHER)
        disk.full = False
    assert await disk.load() == OTHER


async def test_a_refused_login_is_remembered_without_a_disk(vault, disk, said):
    """No login loop because a note could not be written."""
    await vault.note_refusal("print", 5.0, "no")
    assert await vault.refusal() == ("print", 5.0, "no")
    await vault.clear_refusal()
    assert await vault.refusal() is None
    assert [level for level, _ in said] == ["error", "error"]


async def test_a_lock_is_given_back_only_if_it_was_had(vault, disk):
    """And a lock that another process holds too long is still an error."""
    await vault.acquire()
    await vault.release()
    assert disk.locks == 0
    disk.full = False
    await vault.acquire()
    assert disk.locks == 1
    await vault.release()
    assert disk.locks == 0

    async def held():
        raise TimeoutError("held")

    disk.acquire = held
    with pytest.raises(TimeoutError):
        await vault.acquire()


async def test_forgetting_forgets_what_waits_too(vault):
    """Logged out is logged out."""
    await vault.save(NEW)
    await vault.forget()
    assert await vault.load() is None
