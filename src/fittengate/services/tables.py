"""The tables of the store, in one place. Imported only by who is about to use a database: it takes a third of a second.

What stands here is what the newest migration leaves behind (``services/migrations``); a test holds the two together.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table

REVISION = "0002"
"""The migration that made the tables as they are below."""

METADATA = MetaData()

RESPONSES = Table(
    "responses",
    METADATA,
    Column("id", String(64), primary_key=True),
    # Whose key it was: nobody else sees the row.
    Column("caller", String(64), nullable=False),
    Column("previous", String(64)),
    # Seconds since the epoch.
    Column("created", BigInteger, nullable=False),
    # Bytes of the two columns behind it, so that sums need not read them.
    Column("size", BigInteger, nullable=False),
    Column("given", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Index("responses_by_age", "created", "size"),
)
"""Responses that clients have kept."""

JOURNALS = Table(
    "journals",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    # Number of its last record that is in ``receipts``.
    Column("position", BigInteger, nullable=False),
    # When that was, in seconds since the epoch.
    Column("used", BigInteger, nullable=False),
    # A number is never given twice: receipts may outlive their journal.
    sqlite_autoincrement=True,
)
"""How far the journal of each process has come."""

RECEIPTS = Table(
    "receipts",
    METADATA,
    Column("journal", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # Milliseconds since the epoch.
    Column("at", BigInteger, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("key", String(64), nullable=False),
    Column("dialect", String(32), nullable=False),
    Column("model", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("first_ms", Integer),
    Column("total_ms", Integer, nullable=False),
    Column("client", String(40), nullable=False),
    Index("receipts_by_age", "at"),
    # New rows go to the end of their journal's: inserting costs the same however many there are.
    sqlite_with_rowid=False,
)
"""What each request came to."""
