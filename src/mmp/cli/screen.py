"""What the user sees: the result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

    from mmp.errors import Finding

_FLAGS = {
    "--json": "json",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
    "--no-color": "plain",
}
_COLORS = {"error": "31", "warning": "33", "note": "36", "good": "32", "dim": "2", "bold": "1"}


@dataclass(frozen=True)
class Screen:
    """How this command talks.

    Parameters
    ----------
    json : bool
        One JSON object on stdout instead of text.
    quiet : bool
        Nothing on stderr but warnings and errors.
    verbose : bool
        Tracebacks with errors.
    plain : bool
        No colours, whatever the terminal can.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    plain: bool = False

    @classmethod
    def from_arguments(cls, words: Sequence[str]) -> tuple[Screen, list[str]]:
        """Take the flags that every command has, wherever they stand, and return the rest.

        Examples
        --------
        >>> screen, rest = Screen.from_arguments(["runs", "--json", "--limit", "3"])
        >>> screen.json, rest
        (True, ['runs', '--limit', '3'])
        """
        flags = {_FLAGS[word] for word in words if word in _FLAGS}
        return cls(**dict.fromkeys(flags, True)), [word for word in words if word not in _FLAGS]

    @property
    def colored(self) -> bool:
        """Whether stderr takes colours: a terminal, and nobody said no."""
        return not self.plain and "NO_COLOR" not in os.environ and sys.stderr.isatty()

    def paint(self, text: str, role: str) -> str:
        """Return `text` in the colour of a role, or as it is."""
        return f"\x1b[{_COLORS[role]}m{text}\x1b[0m" if self.colored else text

    def say(self, text: str = "") -> None:
        """Write a line for the human."""
        if not self.quiet:
            write(text, sys.stderr)

    def warn(self, text: str) -> None:
        """Write a warning; quiet does not hide it."""
        write(f"{self.paint('warning:', 'warning')} {text}", sys.stderr)

    def findings(self, findings: Iterable[Finding]) -> None:
        """Write findings, the serious ones always, the informative ones unless quiet."""
        for finding in findings:
            where = f"{finding.where}: " if finding.where else ""
            if finding.level == "info":
                self.say(f"{self.paint('note:', 'note')} {where}{finding.message}")
            else:
                self.warn(f"{where}{finding.message}")

    def result(self, value: Mapping[str, Any], text: str) -> None:
        """Write the result: `value` as one JSON object, or `text`."""
        write(to_json(value) if self.json else text, sys.stdout)


def write(text: str, stream: TextIO) -> None:
    """Write a line; a reader that went away (`mmp runs | head -1`) has what it wanted."""
    with _unread(stream):
        print(text, file=stream, flush=True)


@contextmanager
def _unread(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # what follows goes nowhere, and a training goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def to_json(value: Any) -> str:
    """Return strict JSON; a number that JSON does not know becomes null.

    Examples
    --------
    >>> to_json({"rmse": float("nan"), "name": "é"})
    '{"rmse": null, "name": "é"}'
    """
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def columns(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Lay out rows, under a header where there is one, numbers to the right.

    Examples
    --------
    >>> print(columns([["rmse", "1.50"], ["r2", "10.25"]], ["metric", "test"]))
    metric   test
    rmse     1.50
    r2      10.25
    """
    lines = [*([list(header)] if header else []), *[list(row) for row in rows]]
    places = range(len(lines[0]) if lines else 0)
    widths = [max(len(line[i]) for line in lines) for i in places]
    right = [bool(rows) and all(_numeric(row[i]) for row in rows) for i in places]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _numeric(text: str) -> bool:
    return text.replace(",", "").lstrip("-").replace(".", "", 1).replace("e-", "", 1).isdigit() or text in {
        "",
        "-",
    }


def number(value: float | None) -> str:
    """Return a number as a table shows it: four digits that matter.

    Examples
    --------
    >>> number(0.83456), number(1234567.8), number(0.0000123), number(None), number(12)
    ('0.8346', '1,234,568', '1.23e-05', '-', '12')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.1f}"
    return f"{value:.4f}" if size >= 1e-3 else f"{value:.3g}"


def between(ends: tuple[float, float] | None) -> str:
    """Return an interval as a table shows it.

    Examples
    --------
    >>> between((0.81234, 0.85)), between(None)
    ('0.8123 to 0.8500', '')
    """
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def program(folder: Path | None = None) -> str:
    """Return what a user types to run mmp again: its name where the shell finds it, else its path.

    Parameters
    ----------
    folder : Path, optional
        Where the user types it; the working directory by default.
    """
    called = Path(sys.argv[0])
    if shutil.which("mmp") or called.name != "mmp":
        return "mmp"
    if folder is None and called.resolve().is_relative_to(Path.cwd()):
        return str(called.resolve().relative_to(Path.cwd()))
    return str(called.resolve())
