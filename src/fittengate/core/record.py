"""What is kept of a reply, so that a later request can go on with it."""

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct


class Record(Struct, frozen=True):
    """One reply that a client wants kept. Its contents are the client's own and no business of whoever keeps them."""

    id: str
    """As the client knows it."""
    previous: str | None
    """The record that this one goes on with; None where it begins a conversation."""
    given: bytes
    """What the client sent, in the dialect's own form."""
    response: bytes
    """What it was answered, as JSON."""


Recalled: TypeAlias = Mapping[str, tuple[Record, ...]]
"""For each id that was wanted, the records that lead up to it, oldest first, itself last; none where it is unknown.

A record that is only referred to stands alone.
"""
