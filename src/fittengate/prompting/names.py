"""Which declared tool a model means by a name it wrote.

The name itself; without a namespace that models put before it; ignoring letter case; taking ``-`` for ``_``. The later
ways count only where exactly one tool fits.
"""

from collections.abc import Iterable

_NAMESPACES = ("functions.", "tools.", "default_api.")


class Names:
    """The names of the declared tools."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._loose: dict[str, set[str]] | None = None
        """Names by their looser forms; made when one is looked for, which few replies need."""

    def find(self, name: str) -> str | None:
        """Return the declared name; None where no tool, or more than one, can be meant."""
        name = name.strip()
        if name in self._names:
            return name
        for space in _NAMESPACES:
            if name.startswith(space) and (bare := self.find(name[len(space) :])):
                return bare
        loose = self._loose
        if loose is None:
            loose = self._loose = {}
            for declared in self._names:
                for key in {declared.casefold(), _loose(declared)}:
                    loose.setdefault(key, set()).add(declared)
        for key in (name.casefold(), _loose(name)):
            found = loose.get(key, ())
            same = [one for one in found if one.casefold() == key] or found
            if len(same) == 1:
                return next(iter(same))
        return None


def _loose(name: str) -> str:
    return name.casefold().replace("-", "_")
