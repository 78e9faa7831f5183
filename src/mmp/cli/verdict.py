"""Where a command ends: every error becomes a sentence and an exit code, once, here."""

from __future__ import annotations

import platform
import sys
import traceback
from typing import TYPE_CHECKING, Self

import typer

from mmp.cli.screen import to_json, write
from mmp.errors import EXIT_BUG, EXIT_INTERRUPTED, MmpError, SettingsError

if TYPE_CHECKING:
    from types import TracebackType

    from mmp.cli.screen import Screen

# Typer carries its own Click; the base of its usage errors is reachable through what it exports.
_UsageError: type = typer.BadParameter.__base__ or typer.BadParameter
_ClickError: type = _UsageError.__base__ or _UsageError


class Verdict:
    """Context manager that turns whatever leaves its body into the process's exit.

    Parameters
    ----------
    screen : Screen
        Where to say it.
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        if isinstance(error, KeyboardInterrupt | typer.Abort):
            self._tell("interrupted", "Interrupted.", "", "")
            sys.exit(EXIT_INTERRUPTED)
        if isinstance(error, typer.Exit):
            sys.exit(error.exit_code)
        known = error if isinstance(error, MmpError) else _usage(error)
        if known is None:
            self._report_bug(error)
            sys.exit(EXIT_BUG)
        self._tell(known.code, known.message, known.hint, known.where)
        for note in getattr(error, "__notes__", ()):
            self.screen.warn(note)
        if self.screen.verbose:
            traceback.print_exception(error, file=sys.stderr)
        sys.exit(known.exit_code)

    def _tell(self, code: str, message: str, hint: str, where: str) -> None:
        if self.screen.json:
            answer = {"error": {"code": code, "message": message, "hint": hint, "where": where}}
            write(to_json(answer), sys.stdout)
            return
        place = f"{where}: " if where and where not in message else ""
        write(f"{self.screen.paint('error:', 'error')} {place}{message}", sys.stderr)
        if hint:
            write(f"{self.screen.paint('hint:', 'note')} {hint}", sys.stderr)

    def _report_bug(self, error: BaseException) -> None:
        from mmp import __version__

        versions = f"mmp {__version__}, Python {platform.python_version()}, {platform.platform()}"
        self._tell(
            "bug",
            f"This is a bug in mmp: {type(error).__name__}: {error}",
            "Please report it with the lines below; they hold no data of yours but what the message shows.",
            "",
        )
        write(f"\n{versions}", sys.stderr)
        traceback.print_exception(error, file=sys.stderr)


def _usage(error: BaseException) -> SettingsError | None:
    """Return a mistake in the command line as an error of ours."""
    if not isinstance(error, _ClickError):
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mmp"
    # in one line, and without the words of the library that converts values
    words = error.format_message().removesuffix(".").replace("Value error, ", "").split()  # type: ignore[attr-defined]
    return SettingsError(f"{' '.join(words)}.", hint=f"`{command} --help` shows how it is called.")
