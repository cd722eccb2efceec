"""What tests of the services may ask for."""

from pathlib import Path
from typing import Any

import pytest

from fakes.stores import PostgresStore, SqliteStore, StorePlace


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: Any, tmp_path: Path) -> StorePlace:
    """Give the place of an empty store: each test runs with either kind of database."""
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "fittengate.db")
    return PostgresStore(request.getfixturevalue("postgres"))
