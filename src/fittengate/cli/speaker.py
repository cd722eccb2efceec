"""How an answer comes out: plain where it is piped, with colour and a spinner on a terminal."""

from typing import Protocol, TextIO

import click

from fittengate.cli.tables import CONTROL


class Speaker(Protocol):
    """Takes one answer after the other: ``wait``, then texts and thoughts, then ``end``, whatever happened."""

    def wait(self) -> None:
        """Say that the answer is being waited for."""
        ...

    def text(self, text: str) -> None:
        """Put out the next piece of the answer."""
        ...

    def thought(self, text: str) -> None:
        """Put out the next piece of reasoning."""
        ...

    def end(self) -> None:
        """Say that nothing more comes."""
        ...


class Plain:
    """The words of the answer and nothing else, each piece at once; the last line is ended."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last = "\n"

    def wait(self) -> None:
        """Show nothing."""
        self._last = "\n"

    def text(self, text: str) -> None:
        """Write the piece as it is."""
        self._out.write(text)
        self._out.flush()
        self._last = text[-1:]

    def thought(self, text: str) -> None:
        """Leave it out: whoever reads the pipe wants the answer."""

    def end(self) -> None:
        """End the line, if one is open."""
        if self._last != "\n":
            self._out.write("\n")
            self._out.flush()


class Terminal:
    """Answers in the terminal's own colour, reasoning dim, a spinner until the first word. Shows no control codes."""

    def __init__(self) -> None:
        from rich.console import Console

        console = Console()
        # Rich knows terminals, but its writing turns tabs into blanks: it has the spinner alone.
        self._status = console.status("waiting…", spinner="dots")
        self._styled = not (console.no_color or console.is_dumb_terminal)
        self._last = "\n"
        self._thinking = False

    def wait(self) -> None:
        """Show the spinner."""
        self._last = "\n"
        self._thinking = False
        self._status.start()

    def text(self, text: str) -> None:
        """Write the piece."""
        if self._thinking:
            self._thinking = False
            self._write("\n" if self._last == "\n" else "\n\n")
        self._write(text)

    def thought(self, text: str) -> None:
        """Write the piece dim."""
        self._thinking = True
        self._write(text, dim=True)

    def end(self) -> None:
        """Take the spinner away and end the line, if one is open."""
        self._status.stop()
        if self._last != "\n":
            self._write("\n")

    def _write(self, text: str, *, dim: bool = False) -> None:
        self._status.stop()
        if clean := text.translate(CONTROL):
            click.echo(click.style(clean, dim=True) if dim and self._styled else clean, nl=False)
            self._last = clean[-1]
