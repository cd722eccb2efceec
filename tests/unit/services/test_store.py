"""A file of SQLite: what becomes of a damaged one."""

from fittengate.services.store import MAX_ASIDE, SqliteFile


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
