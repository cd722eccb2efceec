"""Tables and counts as people read them on a terminal."""

import unicodedata

CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""What would steer a terminal: C0 and C1 controls and DEL. Names of the service, or a model's words, may hold them."""


def columns(rows: list[tuple[str, ...]], *, right: range = range(0)) -> list[str]:
    """Return the rows as lines with their columns one below the other, those in ``right`` set to the right.

    Characters of East Asian scripts take two places. Nothing steers the terminal, and each row stays one line.
    """
    clean = [[" ".join(cell.translate(CONTROL).split()) for cell in row] for row in rows]
    widths = [max(width(cell) for cell in column) for column in zip(*clean, strict=True)]
    lines = []
    for row in clean:
        blanks = [" " * (most - width(cell)) for cell, most in zip(row, widths, strict=True)]
        cells = [
            gap + cell if at in right else cell + gap for at, (cell, gap) in enumerate(zip(row, blanks, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def width(text: str) -> int:
    """Return how many places a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_places(char) for char in text)


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: ``1 receipt``, ``2 receipts``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _places(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
