"""The one shape of everything that a stream passes through.

Law: ``feed`` may be called any number of times, then ``close`` once, and after ``close`` nothing more. Neither does
I/O. What the two return, joined in order, depends on what was fed, not on how it was cut into pieces.
"""

from typing import Protocol, TypeVar

X_contra = TypeVar("X_contra", contravariant=True)
Y = TypeVar("Y")


class Step(Protocol[X_contra, Y]):
    """A part of a stream: takes some of X at a time and gives what of Y has become certain."""

    def feed(self, item: X_contra, /) -> list[Y]:
        """Take the next piece; return what it completes, perhaps nothing."""
        ...

    def close(self) -> list[Y]:
        """Say that no more comes; return what was held back."""
        ...
