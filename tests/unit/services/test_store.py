"""A file of SQLite: what becomes of a damaged one, and of one that two are making."""

import contextlib
import sqlite3
import threading

from fittengate.services.store import MAX_ASIDE, Database, SqliteFile


def test_damaged_files_are_set_aside_beside_one_another(tmp_path):
    """The first one may be what somebody wants to mend; of very many only the last gives way to the next."""
    path = tmp_path / "fittengate.db"
    place = SqliteFile(path)
    said = []
    for number in range(1, MAX_ASIDE + 2):
        path.write_text(f"damaged {number}")
        path.with_name("fittengate.db-wal").write_text(f"log {number}")
        place.clear()
        said.append(place.remark.rpartition(" ")[2])
    assert not path.exists()
    assert said == [*(name := [f"fittengate.db.damaged{end}" for end in ("", "-2", "-3", "-4", "-5")]), name[-1]]
    assert [(tmp_path / one).read_text() for one in name] == [f"damaged {number}" for number in (1, 2, 3, 4, 6)]
    assert (tmp_path / "fittengate.db.damaged-2-wal").read_text() == "log 2"


def test_a_file_that_another_process_is_making_is_waited_for(tmp_path):
    """Of two that start together one may find the other half way, where SQLite does not wait by itself."""
    path = tmp_path / "fittengate.db"
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other,
        contextlib.closing(Database(path)) as database,
    ):
        other.execute("BEGIN IMMEDIATE")
        done = threading.Timer(0.2, other.rollback)
        done.start()
        with database.begin():
            assert done.finished.is_set()
        done.join()
