"""Databases of every earlier version become one of this, with what is in them."""

import contextlib
import importlib
import sqlite3
import subprocess
import sys
import threading

import pytest

from fakes.ledger import rows
from fittengate.services.migrations import KNOWN, _upgrade
from fittengate.services.store import Database, StoreDownError
from fittengate.services.tables import METADATA, REVISION

FIRST_TABLES = """
CREATE TABLE responses (
    id VARCHAR(64) NOT NULL, caller VARCHAR(64) NOT NULL, previous VARCHAR(64), created BIGINT NOT NULL,
    size BIGINT NOT NULL, given BLOB NOT NULL, response BLOB NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX responses_by_age ON responses (created, size);
INSERT INTO responses VALUES ('resp_1', 'owner', NULL, 1700000000, 4, x'7b7d', x'7b7d');
"""
"""What the version before revisions made, with a row."""


def schema(path):
    """Return every table and index in a form in which blanks do not count."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {
        name: " ".join(sql.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()) for name, sql in found
    }


def made_at(path, revision):
    """Make a database of an earlier revision, with a response in it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_TABLES)
    if revision is not None:
        from sqlalchemy import create_engine

        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _upgrade(connection, "0001", revision)
        engine.dispose()


@pytest.mark.parametrize("revision", [None, *KNOWN])
def test_every_earlier_database_comes_up_with_its_data(tmp_path, revision):
    """Without a revision, and at each one: afterwards the tables are those of a new database, and the row is there."""
    old, new = tmp_path / "100% old.db", tmp_path / "new.db"
    made_at(old, revision)
    for path in (old, new):
        database = Database(path)
        with database.begin() as connection:
            assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == REVISION
        database.close()
    known, found = schema(new), schema(old)
    assert set(known) == set(found) >= set(METADATA.tables)
    for name in ("journals", "receipts", "receipts_by_age", "keys", "keys_by_change", "spent", "ix_spent_first_used"):
        assert found[name] == known[name]
    assert rows(old) == []
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT id, response FROM responses").fetchall() == [("resp_1", b"{}")]


def test_the_last_migration_is_the_revision_of_the_tables():
    """KNOWN lists the modules in order, each after the one before."""
    from importlib import resources

    names = sorted(
        path.name.removesuffix(".py")
        for path in resources.files("fittengate.services.migrations.versions").iterdir()
        if path.name.startswith("rev_")
    )
    modules = [importlib.import_module(f"fittengate.services.migrations.versions.{name}") for name in names]
    assert tuple(module.revision for module in modules) == KNOWN
    assert [module.down_revision for module in modules] == [None, *KNOWN[:-1]]
    assert KNOWN[-1] == REVISION


def test_several_that_start_at_once_migrate_once(tmp_path):
    """Eight openings of one old database at the same moment: all find it usable."""
    path = tmp_path / "old.db"
    made_at(path, None)
    errors = []

    def open_it():
        database = Database(path)
        try:
            with database.begin() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM receipts").scalar()
        except StoreDownError as error:
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []


def test_alembic_is_imported_only_for_an_old_database(tmp_path):
    """Making a new one and opening one that is up to date go without it."""
    code = (
        "import sys; from pathlib import Path; from fittengate.services.store import Database\n"
        "with Database(Path(sys.argv[1])).begin(): pass\n"
        "print('alembic' in sys.modules)"
    )

    def run(path):
        command = [sys.executable, "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    made_at(tmp_path / "old.db", None)
    assert [run(tmp_path / "new.db"), run(tmp_path / "new.db")] == ["False", "False"]
    assert [run(tmp_path / "old.db"), run(tmp_path / "old.db")] == ["True", "False"]
