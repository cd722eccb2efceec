"""The tables of the store, in one place. Imported only by who is about to use a database: it takes a third of a second."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table

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
