"""Receipts, and how far the journals that they come from have been read."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of journals and receipts."""
    op.create_table(
        "journals",
        Column("id", Integer, primary_key=True),
        Column("name", String(32), nullable=False, unique=True),
        Column("position", BigInteger, nullable=False),
        Column("used", BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "receipts",
        Column("journal", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
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
        sqlite_with_rowid=False,
    )
    op.create_index("receipts_by_age", "receipts", ["at"])
