"""Questions to whoever sits at the terminal, on stderr, so that stdout stays the result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mmp.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mmp.cli.screen import Screen

MOST_SHOWN = 30

Output = Annotated[
    str | None, typer.Option("-o", "--output", help="The file to write; else it is printed on stdout.")
]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Take the defaults and ask nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def can_ask(screen: Screen, *, yes: bool) -> bool:
    """Tell whether somebody is there to answer."""
    return not (yes or screen.json or screen.quiet) and sys.stdin.isatty() and sys.stderr.isatty()


def ask(
    screen: Screen,
    text: str,
    *,
    options: Mapping[str, str] | None = None,
    default: str | None = None,
    check: Callable[[str], str] = str,
) -> str:
    """Ask until there is an answer that holds.

    Parameters
    ----------
    screen : Screen
        Where the question is written.
    text : str
        The question.
    options : mapping of str to str, optional
        Answers to choose from, by number or by name, each with a word about it.
    default : str, optional
        What an empty line means.
    check : callable
        Returns the answer to keep, or raises `UnknownNameError` for one that cannot be.

    Raises
    ------
    typer.Abort
        The terminal was closed.
    """
    names = list(options or ())
    screen.say(screen.paint(text, "bold"))
    for number, name in enumerate(names[:MOST_SHOWN], start=1):
        about = (options or {})[name]
        screen.say(f"  {number:>2}  {name}" + (f"  {screen.paint(about, 'dim')}" if about else ""))
    if len(names) > MOST_SHOWN:
        screen.say(f"      and {len(names) - MOST_SHOWN} more, by name")
    while True:
        answer = _line(f"> [{default}] " if default else "> ") or default or ""
        if answer.isdecimal() and answer not in names and 0 < int(answer) <= len(names):
            answer = names[int(answer) - 1]
        try:
            if answer:
                return check(answer)
        except UnknownNameError as error:
            screen.say(f"{error.message} {error.hint}".strip())


def confirm(screen: Screen, text: str) -> bool:
    """Ask a question whose answer is no unless it is yes."""
    screen.say(screen.paint(text, "bold"))
    return _line("> [no] ").casefold() in {"y", "yes"}


def _line(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise typer.Abort
    return line.strip()


def may_replace(screen: Screen, path: Path, *, force: bool, asking: bool) -> bool:
    """Tell whether a file may be written over: only where somebody said so.

    Raises
    ------
    SettingsError
        Somebody was asked, and said no.
    """
    from mmp.pipelines.authoring.files import is_taken

    if force or not asking or not is_taken(path):
        return force
    if not confirm(screen, f"{path} is there already. Write over it?"):
        raise SettingsError(f"{path} was left as it is.", hint="Name another file with -o.")
    return True
