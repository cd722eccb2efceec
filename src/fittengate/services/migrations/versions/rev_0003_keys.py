"""Client keys, and what counts against limits of days and months."""

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of keys and of what was spent."""
    op.create_table(
        "keys",
        Column("sha256", String(64), primary_key=True),
        Column("prefix", String(16), nullable=False),
        Column("name", String(64), nullable=False),
        Column("owner", String(64), nullable=False),
        Column("scopes", String(64), nullable=False),
        Column("models", String(4096), nullable=False),
        Column("lane", String(16), nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("expires", BigInteger),
        Column("revoked", BigInteger),
        Column("replaced", BigInteger),
        Column("rpm", BigInteger),
        Column("tpm", BigInteger),
        Column("concurrency", BigInteger),
        Column("tokens_per_day", BigInteger),
        Column("tokens_per_month", BigInteger),
        Column("changed", BigInteger, nullable=False),
    )
    op.create_index("keys_by_change", "keys", ["changed"])
    op.create_table(
        "spent",
        Column("owner", String(64), primary_key=True),
        Column("kind", String(8), primary_key=True),
        Column("number", BigInteger, primary_key=True),
        Column("tokens", BigInteger, nullable=False),
        Column("first_used", BigInteger, nullable=False),
    )
    op.create_index("ix_spent_first_used", "spent", ["first_used"])
