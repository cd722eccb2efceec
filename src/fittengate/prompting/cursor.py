"""A place in a text that is still coming."""


class Cursor:
    """Where reading stands; what was read is forgotten as soon as more comes."""

    __slots__ = ("at", "last", "text")

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.last = False
        """Nothing comes after the text."""

    def add(self, text: str) -> None:
        """Go on with more text."""
        self.text = self.text[self.at :] + text
        self.at = 0

    def take(self, at: int) -> str:
        """Return the text from a place on, and leave none of it here."""
        rest, self.text, self.at = self.text[at:], "", 0
        return rest
