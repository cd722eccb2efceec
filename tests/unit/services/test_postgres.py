"""The store on a PostgreSQL server: its address, its outages, several processes on it, its migrations."""

import asyncio
import contextlib
import secrets
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from fakes.postgres import query
from fittengate.core.caller import Receipt
from fittengate.core.faults import Fault
from fittengate.core.record import Record
from fittengate.core.reply import Usage
from fittengate.services import postgres as postgres_module
from fittengate.services import postgres_care, receipt_rows, response_rows
from fittengate.services.clock import SystemClock
from fittengate.services.key_store import KeyStore, KeyWish
from fittengate.services.keyring import Keys
from fittengate.services.ledger import Ledger
from fittengate.services.migrations import KNOWN, _upgrade
from fittengate.services.postgres import PostgresServer, check_url, password_of
from fittengate.services.receipt_rows import packed, store
from fittengate.services.response_rows import Row, insert
from fittengate.services.spending import Period, _add
from fittengate.services.store import Database, RowRefusedError, StoreDownError
from fittengate.services.store_watch import StoreWatch
from fittengate.services.tables import METADATA, REVISION

HOST = "host.invalid"


def receipt(name):
    return Receipt(
        1.7e9, name, "k", "openai_chat", "POST", "/v1", 200, "complete", "m", Usage(1, 2), 0.1, 0.2, "c", None, None
    )


@contextmanager
def opened(url):
    """Give the database at a URL; it is closed at the end."""
    database = Database(PostgresServer(url))
    try:
        yield database
    finally:
        database.close()


def answers(database):
    with database.begin() as connection:
        return connection.exec_driver_sql("SELECT 1").scalar() == 1


def until_answers(database, seconds):
    """Wait until the database answers again; fail when that takes longer."""
    end = time.monotonic() + seconds
    found = False
    while not found:
        assert time.monotonic() < end, database.problem
        with contextlib.suppress(StoreDownError):
            found = answers(database)
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u:hunter2@db.example:5433/fg", "postgresql://db.example:5433/fg"),
        ("postgres://u:hunter2@db.example/fg?sslmode=verify-full", "postgresql://db.example/fg"),
        ("postgresql://u:hunter2@a:1,b:2/fg?target_session_attrs=read-write", "postgresql://a:1,b:2/fg"),
        ("postgresql:///fg?host=/run/postgresql&password=hunter2", "postgresql:///run/postgresql/fg"),
    ],
)
def test_p10_a_server_is_named_without_user_and_password(url, name):
    """P10: what people are shown says where the store is, and not how to get in."""
    assert check_url(f" {url} ") == url
    assert PostgresServer(url).name == name
    assert repr(PostgresServer(url)) == f"PostgresServer({name})"
    assert password_of(url) == "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@h:70000/db",
        "postgresql://u:hunter2@h:x/db",
        "postgresql://u:hunter2@h/db?nonsense=1",
        "postgresql://u:hunter2@[::1/db",
        "postgresql+asyncpg://u:hunter2@h/db",
    ],
)
def test_what_libpq_cannot_use_is_refused_without_being_quoted(url):
    """P10: a typo in the address is told when the settings are read, and nothing of it is shown."""
    with pytest.raises(ValueError) as refused:
        check_url(url)
    assert "hunter2" not in f"{refused.value!r} {refused.value.__cause__!r}"


def test_p10_an_error_of_the_server_shows_no_password_and_no_row(postgres):
    """P10: neither the wrong password nor what stood in a row that was refused is in any error."""
    with opened("postgresql://u:hunter2@127.0.0.1:1/db?connect_timeout=2") as database:
        with pytest.raises(StoreDownError) as down, database.begin():
            pass
        assert "hunter2" not in f"{down.value} {down.value.__cause__} {database.problem}"
        assert "\n" not in str(down.value)
    with opened(postgres) as database:
        insertion = "INSERT INTO journals (name, position, used) VALUES ('secret-words', NULL, 1)"
        with pytest.raises(RowRefusedError) as refused, database.begin() as connection:
            connection.exec_driver_sql(insertion)
        assert "secret-words" not in str(refused.value)
        assert database.problem is None or "secret-words" not in database.problem


def test_p12_a_server_that_went_away_is_met_anew(postgres, postgres_server):
    """P12: down means an error at once, also for who comes right after; up again, it answers within a second."""
    with opened(postgres) as database:
        assert answers(database)
        postgres_server.stop()
        try:
            with pytest.raises(StoreDownError):
                answers(database)
            began = time.monotonic()
            with pytest.raises(StoreDownError):
                answers(database)
            assert time.monotonic() - began < 0.1
            assert database.problem is not None
        finally:
            postgres_server.start()
        until_answers(database, 1)
        assert database.problem is None


def test_p12_a_restart_between_two_uses_costs_no_error(postgres, postgres_server):
    """A connection of the pool that died meanwhile is found out before it is used."""
    with opened(postgres) as database:
        assert answers(database)
        postgres_server.stop()
        postgres_server.start()
        assert answers(database)


def test_p12_a_server_that_is_down_is_not_stormed(monkeypatch):
    """After a failure nobody tries for a quarter of a second, however many ask."""
    tried = []

    def connect(*arguments, **options):
        tried.append(time.monotonic())
        raise psycopg.OperationalError("down")

    monkeypatch.setattr(postgres_module._Connection, "connect", connect)
    with opened("postgresql://h/db") as database:
        end = time.monotonic() + 1.2
        asked = 0
        while time.monotonic() < end:
            asked += 1
            with pytest.raises(StoreDownError, match="down"):
                answers(database)
            time.sleep(0.005)
    assert asked > 50
    assert 2 <= len(tried) <= 6


def test_p12_a_server_that_says_no_more_is_taken_for_dead(postgres, postgres_server, monkeypatch):
    """P12: frozen in the middle of its work, the wait ends; when it goes on, so do we, within two seconds."""
    monkeypatch.setattr(postgres_module._Connection, "patience", 0.4)
    with opened(postgres) as database:
        assert answers(database)
        postgres_server.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(StoreDownError, match=r"said nothing|timeout"):
                answers(database)
            assert time.monotonic() - began < 4
        finally:
            postgres_server.thaw()
        until_answers(database, 2)


def test_p12_a_statement_ends_at_a_locked_table(postgres, monkeypatch):
    """P12: waiting for a lock has an end, and afterwards all is well at once."""
    monkeypatch.setattr(postgres_module, "STATEMENT_SECONDS", 0.3)
    with opened(postgres) as database:
        assert answers(database)
        with psycopg.connect(postgres) as holder:
            holder.execute("LOCK TABLE receipts")
            with pytest.raises(StoreDownError, match="timeout"), database.begin() as connection:
                store(connection, "j", [(1, packed(receipt("a")))], 0)
        until_answers(database, 1)
        with database.begin() as connection:
            assert store(connection, "j", [(1, packed(receipt("a")))], 0) == (1, 0)


def test_p6_connections_are_few_and_waiting_for_one_ends(postgres, monkeypatch):
    """P6: six at a time; who comes as the seventh is told after a while, and the six go on."""
    monkeypatch.setattr(postgres_module, "POOL_SECONDS", 0.2)
    with opened(postgres) as database, contextlib.ExitStack() as busy:
        held = [busy.enter_context(database.begin()) for _ in range(postgres_module.CONNECTIONS)]
        with pytest.raises(StoreDownError, match="QueuePool limit"):
            answers(database)
        assert [one.exec_driver_sql("SELECT 1").scalar() for one in held] == [1] * 6
        busy.close()
        assert answers(database)
        assert query(postgres, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fittengate'") <= [(6,)]


def test_a_database_that_was_emptied_gets_its_tables_again(postgres):
    """As a file that somebody removed: after one failure it is made anew."""
    with opened(postgres) as database:
        assert answers(database)
        with psycopg.connect(postgres) as other:
            other.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with pytest.raises(StoreDownError), database.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM receipts")
        until_answers(database, 1)
        assert query(postgres, "SELECT count(*) FROM receipts") == [(0,)]


def test_p8_a_connection_that_broke_stores_nothing_twice(postgres):
    """P8: broken off before the end of a transaction, and tried again after an end that nobody told: one row each."""
    batch = [(number, packed(receipt(f"r{number}"))) for number in range(1, 600)]
    with opened(postgres) as database:
        with pytest.raises(StoreDownError), database.begin() as connection:  # noqa: PT012 - the end of the block fails
            store(connection, "j", batch, 0)
            with psycopg.connect(postgres, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='fittengate'"
                )
        until_answers(database, 1)
        for wanted in ((599, 0), (0, 0)):
            with database.begin() as connection:
                assert store(connection, "j", batch, 0) == wanted
    assert query(postgres, "SELECT count(*), count(DISTINCT number) FROM receipts") == [(599, 599)]


def test_a_receipt_that_the_server_does_not_take_takes_no_other_with_it(postgres, tmp_path):
    """A NUL cannot be in a text there: that one is counted as lost, the ones beside it are in the table."""
    with opened(postgres) as database:
        ledger = Ledger(tmp_path, "one", database, SystemClock(), lambda *_, **__: None, 0)
        for name in ("a", "b\0", "c"):
            ledger.add(receipt(name))
        ledger.close()
    assert query(postgres, "SELECT request_id FROM receipts ORDER BY 1") == [("a",), ("c",)]
    assert ledger.lost == 1


def test_p8_two_that_write_the_same_batch_at_once_write_it_once(postgres):
    """P8: the one that comes second waits for the first, and finds nothing left to do; also for a new journal."""
    batch = [(number, packed(receipt(f"r{number}"))) for number in range(1, 300)]
    written = []
    with opened(postgres) as database:
        assert answers(database)

        def write(name):
            with database.begin() as connection:
                written.append(store(connection, name, batch, 0).written)

        for name in ("one", "two", "three"):
            threads = [threading.Thread(target=write, args=(name,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert sorted(written) == [0] * 9 + [299] * 3


def test_what_replicas_used_adds_up(postgres):
    """Several processes that write the same days and months at once lose nothing and lock nobody out."""
    failed = []
    together = threading.Barrier(3)

    def use(number):
        periods = [Period(f"owner-{owner}", "day", 1) for owner in range(200)]
        with opened(postgres) as database:
            try:
                answers(database)
                together.wait()
                for turn in range(10):
                    order = periods if (number + turn) % 2 else reversed(periods)
                    with database.begin() as connection:
                        _add(connection, dict.fromkeys(order, 3), 0)
            except StoreDownError as error:
                failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert query(postgres, "SELECT DISTINCT tokens FROM spent") == [(90,)]


def test_replicas_that_clean_up_at_once_do_not_wait_for_one_another(postgres):
    """What another one is about to delete is left to it; the rest goes."""
    rows = [Row(Record(f"resp_{number}", None, b"", b""), "o", number) for number in range(50)]
    with opened(postgres) as database:
        with database.begin() as connection:
            store(connection, "j", [(number, packed(receipt(f"r{number}"))) for number in range(1, 51)], 0)
            insert(connection, rows)
        with psycopg.connect(postgres) as other:
            other.execute("SELECT 1 FROM receipts WHERE number <= 10 FOR UPDATE")
            other.execute("SELECT 1 FROM responses WHERE created < 10 FOR UPDATE")
            began = time.monotonic()
            assert receipt_rows.sweep(database, 1.8e9) == 40
            response_rows.sweep(database, 1.8e9)
            assert time.monotonic() - began < postgres_module.STATEMENT_SECONDS / 2
        assert receipt_rows.sweep(database, 1.8e9) == 10
        response_rows.sweep(database, 1.8e9)
    assert query(postgres, "SELECT count(*) FROM receipts UNION ALL SELECT count(*) FROM responses") == [(0,), (0,)]


@pytest.mark.parametrize("revision", [None, *KNOWN])
def test_every_earlier_database_comes_up_with_its_data(postgres, revision):
    """As in a file: from each revision on to the tables of this version, and the row is there."""
    server = PostgresServer(postgres)
    engine = server.engine()
    if revision is not None:
        with engine.begin() as connection:
            _upgrade(connection, None, revision)
            connection.exec_driver_sql("INSERT INTO responses VALUES ('resp_1', 'o', NULL, 1, 4, '{}', '{}')")
    engine.dispose()
    assert postgres_care.revision_of(server) == revision
    with opened(postgres) as database:
        assert answers(database)
    health = postgres_care.examine(server)
    assert (health.revision, health.problems, health.responses) == (REVISION, (), 0 if revision is None else 1)
    migrated = {row[0] for row in query(postgres, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}
    assert migrated >= {index.name for table in METADATA.tables.values() for index in table.indexes}


def test_replicas_that_start_together_migrate_once(postgres):
    """Eight processes' openings of one empty database at the same moment: all find it usable."""
    errors = []

    def open_it():
        with opened(postgres) as database:
            try:
                answers(database)
            except StoreDownError as error:
                errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert query(postgres, "SELECT version_num FROM alembic_version") == [(REVISION,)]


def test_a_migration_may_take_its_time(postgres, monkeypatch):
    """The limits of everyday statements do not break off the rewriting of a large table."""
    monkeypatch.setattr(postgres_module, "STATEMENT_SECONDS", 0.2)
    monkeypatch.setattr(postgres_module._Connection, "patience", 0.2)
    engine = PostgresServer(postgres).engine()
    with engine.begin() as connection, postgres_module.unhurried(connection):
        connection.exec_driver_sql("SELECT pg_sleep(0.6)")
    with pytest.raises(SQLAlchemyError), engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(2)")
    engine.dispose()


def test_what_is_missing_is_found(postgres):
    """A table and a column that somebody dropped are named."""
    with opened(postgres) as database:
        assert answers(database)
    with psycopg.connect(postgres) as other:
        other.execute("DROP TABLE spent; ALTER TABLE keys DROP COLUMN lane")
    assert postgres_care.examine(PostgresServer(postgres)).problems == (
        "keys has no column lane",
        "the table spent is missing",
    )


async def test_a_key_that_one_replica_revokes_is_refused_by_another_within_a_second(postgres):
    """Two gateways on one database: the second follows the first."""
    with opened(postgres) as one, opened(postgres) as two:
        keys = Keys((), (), database=two, clock=SystemClock(), say=lambda *_: None)
        made = KeyStore(one, SystemClock(), secrets.token_bytes, 90)
        key, _row = await asyncio.to_thread(made.create, KeyWish(name="ci"))
        assert (await keys.find(key)).name == "ci"
        await asyncio.to_thread(made.revoke, "ci")
        began = time.monotonic()
        with pytest.raises(Fault, match="was revoked"):  # noqa: PT012 - it works for a while
            while time.monotonic() < began + 3:
                assert keys.known(key) or await keys.find(key)
                await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1
        await asyncio.to_thread(keys.close)


async def test_the_watch_finds_out_what_nobody_uses(postgres, postgres_server, monkeypatch):
    """Asked again and again it tells of an outage and of its end, shows no address, and never waits."""
    monkeypatch.setattr("fittengate.services.store_watch.STALE_SECONDS", 0.05)
    monkeypatch.setattr("fittengate.services.store_watch.RETRY_SECONDS", 0.05)

    async def told(watch, wanted):
        async with asyncio.timeout(3):
            while (watch.problem is not None) is not wanted:
                await asyncio.sleep(0.02)

    with opened(postgres) as database:
        watch = StoreWatch(database, SystemClock())
        assert watch.problem is None
        await asyncio.to_thread(answers, database)
        await asyncio.to_thread(postgres_server.stop)
        await told(watch, True)
        assert "/" not in watch.problem
        await asyncio.to_thread(postgres_server.start)
        await told(watch, False)
        await asyncio.to_thread(postgres_server.freeze)
        try:
            monkeypatch.setattr("fittengate.services.store_watch.SLOW_SECONDS", 0.2)
            await told(watch, True)
            assert "does not answer" in watch.problem
        finally:
            postgres_server.thaw()
        await told(watch, False)
        async with asyncio.timeout(3):
            while watch._since is not None:
                await asyncio.sleep(0.02)
