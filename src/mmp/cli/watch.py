"""Showing steps: a live line on a terminal, one plain line a step elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmp.cli.screen import Screen
    from mmp.pipelines.steps import Watcher


class Lines:
    """One line a step, when it has ended."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def begin(self, step: str) -> None:
        """Say nothing yet."""

    def progress(self, step: str, detail: str) -> None:
        """Say nothing: a file or a pipe gets a line a step."""

    def end(self, step: str, detail: str, seconds: float) -> None:
        """Write the step's line."""
        self.screen.say(
            f"{self.screen.paint(f'{step:<10}', 'bold')} {detail}  {self.screen.paint(_time(seconds), 'dim')}"
        )

    def fail(self, step: str) -> None:
        """Leave the word to the error."""


class Live(Lines):
    """The same lines, with the running step turning below them."""

    def __init__(self, screen: Screen) -> None:
        from rich.console import Console

        super().__init__(screen)
        self._status: Any = Console(stderr=True, no_color=not screen.colored).status("")

    def begin(self, step: str) -> None:
        """Show the step as running."""
        self._status.update(step)
        self._status.start()

    def progress(self, step: str, detail: str) -> None:
        """Show how far the step is."""
        self._status.update(f"{step} {detail}")

    def end(self, step: str, detail: str, seconds: float) -> None:
        """Replace the running step by its line."""
        self._status.stop()
        super().end(step, detail, seconds)

    def fail(self, step: str) -> None:
        """Take the running step away."""
        self._status.stop()


def watcher(screen: Screen) -> Watcher | None:
    """Return what shows the steps on this screen, None where nothing should."""
    if screen.quiet:
        return None
    return Live(screen) if sys.stderr.isatty() else Lines(screen)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
