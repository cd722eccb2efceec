"""Floor 5: the commands."""


def main() -> None:
    """Run one command."""
    raise SystemExit(2)
