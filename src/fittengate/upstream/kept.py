"""A record that outlives the process: read at the start, and written anew when it has changed."""

import asyncio
from typing import Generic, TypeVar

import msgspec

from fittengate.upstream.base import NoteStore

T = TypeVar("T", bound=msgspec.Struct)


class Kept(Generic[T]):
    """Reads and writes a record; the store is asked in a thread. Without a store nothing is kept, and that is no problem."""

    def __init__(self, store: NoteStore | None, kind: type[T]) -> None:
        self._store = store
        self._kind = kind

    async def load(self) -> tuple[T | None, str | None]:
        """Return what was kept, None where there is nothing, and why it could not be read, None where it could."""
        if self._store is None:
            return None, None
        try:
            data = await asyncio.to_thread(self._store.load)
            return (None if data is None else msgspec.json.decode(data, type=self._kind)), None
        except (OSError, ValueError) as error:
            return None, str(error)

    async def save(self, value: T) -> str | None:
        """Keep ``value`` in the place of what was kept; return why it could not be, None where it was."""
        if self._store is None:
            return None
        data = msgspec.json.format(msgspec.json.encode(value)) + b"\n"
        try:
            await asyncio.to_thread(self._store.save, data)
        except OSError as error:
            return str(error)
        return None
