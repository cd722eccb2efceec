"""What a test wants to know of a ledger: its rows, read past the program."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any


def rows(database: Path, columns: str = "request_id") -> list[tuple[Any, ...]]:
    """Return these columns of every receipt; none where there is no table yet."""
    if not database.exists():
        return []
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(f"SELECT {columns} FROM receipts ORDER BY at, request_id").fetchall()
    except sqlite3.DatabaseError as error:
        if any(reason in str(error) for reason in ("no such table", "not a database", "unable to open", "malformed")):
            return []
        raise


async def until_rows(database: Path, enough: Callable[[list[str]], bool], seconds: float = 10.0) -> list[str]:
    """Wait until the ids of the requests in the ledger are enough; return them."""
    found: list[str] = []
    async with asyncio.timeout(seconds):
        while True:
            found = [row[0] for row in await asyncio.to_thread(rows, database)]
            if enough(found):
                return found
            await asyncio.sleep(0.02)
