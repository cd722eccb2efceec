"""What proves to a service that an account is ours."""

from msgspec import Struct


class Tokens(Struct, frozen=True):
    """What proves that an account is ours. ``repr`` shows none of it."""

    base_url: str
    """The service that gave them; they are sent nowhere else."""
    username: str
    """Who signed in; empty where only a token was given."""
    user_id: str
    access: str
    refresh: str
    access_expires: float | None
    """When the access token dies by our clock, seconds since the epoch; None: until the service says 401."""
    refresh_expires: float | None

    def __repr__(self) -> str:
        """Show whose they are, and nothing else."""
        return f"Tokens({self.username or self.user_id} at {self.base_url})"
