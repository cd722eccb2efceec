"""Whether a call only repeats what the prompt holds: a page or a file that was read gives no orders."""

from fittengate.prompting.tags import restore_tags


class Quotes:
    """The prompt that an answer may quote, looked at when the first doubtful call comes."""

    __slots__ = ("_bare", "_prompt")

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._bare: str | None = None

    def hold(self, text: str) -> bool:
        """Return whether the prompt holds a text, whatever white space is in either."""
        if self._bare is None:
            self._bare = _without_space(restore_tags(self._prompt))
        return _without_space(text) in self._bare


def _without_space(text: str) -> str:
    return "".join(text.split())
