"""Responses that clients have kept."""

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table of responses."""
    op.create_table(
        "responses",
        Column("id", String(64), primary_key=True),
        Column("caller", String(64), nullable=False),
        Column("previous", String(64)),
        Column("created", BigInteger, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("given", LargeBinary, nullable=False),
        Column("response", LargeBinary, nullable=False),
    )
    op.create_index("responses_by_age", "responses", ["created", "size"])
