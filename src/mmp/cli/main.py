"""The command `mmp`: a table of verbs, loaded when called, and one place where errors end."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mmp import __version__
from mmp.cli.screen import Screen
from mmp.cli.verdict import Verdict
from mmp.cli.words import Verb
from mmp.errors import EXIT_INTERRUPTED
from mmp.modeling import lean, threads

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "init": "start a project that trains at once",
    "get-config": "write a commented config",
    "get-recipe": "write a commented recipe, for a model or from a table",
    "validate": "check a recipe, a config and their table without fitting",
    "plan": "what a training would do",
    "train": "train, evaluate, package and log a model",
    "evaluate": "evaluate a logged model on new labelled data",
    "predict": "predict without a server",
    "batch-inference": "score a table of any size",
    "serve-api": "serve a model over HTTP",
    "bench-serve": "how many requests a second a served model answers in time",
    "explain": "which columns predictions come from",
    "runs": "the leaderboard",
    "list": "the tables: models, metrics, preprocessors, adapters, evaluators, tasks",
    "schema": "JSON Schema of recipes and configs, for editors",
    "ui": "open the tracking pages",
    "system-check": "packages, tracking, database, Redis, Feast, disk, ports, contract",
    "features": "list, apply and materialize features; compare online with offline",
    "dev": "start, stop and look at the local infrastructure",
}

GLOBAL_FLAGS = "Every command also takes --json, -q/--quiet, -v/--verbose and --no-color."


class Verbs(TyperGroup):
    """The verbs; a verb's module is imported when the verb is called, so that `mmp --help` is quick."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of a project's life."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of one verb, None where there is none."""
        if cmd_name not in VERBS:
            return None
        lean.enable()
        threads.shorten_spinning()
        module = importlib.import_module(f"mmp.cli.{cmd_name.replace('-', '_')}")
        verb = typer.Typer(rich_markup_mode=None, add_completion=False)
        verb.command(cmd_name, cls=Verb, epilog=GLOBAL_FLAGS)(module.main)
        return typer.main.get_command(verb)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb, or say which one was probably meant."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from mmp.errors import UnknownNameError
            from mmp.lookup import capitalized, did_you_mean

            question = capitalized(did_you_mean(args[0], VERBS))
            raise UnknownNameError(
                f"There is no command '{args[0]}'.", hint=question or "`mmp --help` lists the commands."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmp {__version__}")
        raise typer.Exit


@app.callback(epilog=GLOBAL_FLAGS)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a table and two YAML files to a model in production, without code."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `mmp`; those of the process by default.
    """
    screen, words = Screen.from_arguments(sys.argv[1:] if arguments is None else list(arguments))
    if not words and not screen.json:
        words = ["--help"]
    if (here := str(Path.cwd())) not in sys.path:
        # a recipe names the user's own functions and classes by dotted path; installed ones come first
        sys.path.append(here)
    with Verdict(screen):
        code = typer.main.get_command(app)(args=words, prog_name="mmp", obj=screen, standalone_mode=False)
        if code == EXIT_INTERRUPTED:
            # all that Typer leaves of it, and we have a word to say
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
