"""The tables of the store, in one place. Imported only by who is about to use a database: it takes a third of a second.

What stands here is what the newest migration leaves behind (``services/migrations``); a test holds the two together.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table

REVISION = "0003"
"""The migration that made the tables as they are below."""

METADATA = MetaData()

KEYS = Table(
    "keys",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    Column("prefix", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    # The same for a key and for all that take its place: what was used and kept goes on under it.
    Column("owner", String(64), nullable=False),
    # Words with commas between them.
    Column("scopes", String(64), nullable=False),
    # Patterns, a line each.
    Column("models", String(4096), nullable=False),
    Column("lane", String(16), nullable=False),
    # Seconds since the epoch, here and below.
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", BigInteger),
    # When another key took its place; it then works until "expires".
    Column("replaced", BigInteger),
    # Null means the default of the settings, 0 no limit.
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("concurrency", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("tokens_per_month", BigInteger),
    # Grows with every change of any row, so that what has changed since can be asked for.
    Column("changed", BigInteger, nullable=False),
    Index("keys_by_change", "changed"),
)
"""Client keys, by their hash."""

SPENT = Table(
    "spent",
    METADATA,
    # As in "keys"; "*" is the account as a whole.
    Column("owner", String(64), primary_key=True),
    # "day" or "month", and its number.
    Column("kind", String(8), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("tokens", BigInteger, nullable=False),
    # Seconds since the epoch.
    Column("first_used", BigInteger, nullable=False, index=True),
)
"""Tokens that count against limits of days and months."""

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
