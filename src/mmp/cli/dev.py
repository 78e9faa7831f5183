from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmp.cli.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path

    from mmp.pipelines.infra import Ended


class Verb(StrEnum):
    """What to do with it."""

    UP = "up"
    DOWN = "down"
    STATUS = "status"
    LOGS = "logs"
    RESET = "reset"


def main(
    ctx: typer.Context,
    verb: Annotated[Verb, typer.Argument(help="What to do.")],
    service: Annotated[
        str | None, typer.Argument(help="logs: postgresql, redis or mlflow; all where left out.")
    ] = None,
    native: Annotated[
        bool | None,
        typer.Option(
            "--native/--docker",
            help="As ordinary processes or in Docker; else Docker where an engine answers.",
            show_default=False,
        ),
    ] = None,
    port_offset: Annotated[
        int | None, typer.Option("--port-offset", help="up: add this to each port.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="up: install what is missing by the system's package manager.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="logs: go on until Ctrl-C.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="reset: do not ask; all data are removed.")] = False,
) -> None:
    """Start, stop and look at the local infrastructure: PostgreSQL, Redis and MLflow (mmp-local-dev)."""
    from mmp.pipelines import infra

    screen: Screen = ctx.obj
    flags = {
        "--native": native is True,
        "--docker": native is False,
        "--install": install,
        "--follow": follow,
        "--yes": yes,
    }
    words = [verb.value, *([service] if service else []), *(flag for flag, given in flags.items() if given)]
    if port_offset is not None:
        words += ["--port-offset", str(port_offset)]
    folder = infra.find()
    if not screen.json:
        raise typer.Exit(infra.run(folder, words))
    answer, code = _answer(folder, verb, words)
    screen.result({"folder": str(folder), "verb": verb.value, **answer}, "")
    raise typer.Exit(code)


def _answer(folder: Path, verb: Verb, words: list[str]) -> tuple[dict[str, Any], int]:
    """Do it, and return what is to be said as JSON and how it ended."""
    from mmp.pipelines import infra

    if verb is Verb.LOGS:
        ended = infra.run_aside(folder, words, keep=True)
        return ({"lines": ended.out.splitlines()} if not ended.code else _error(folder, ended)), ended.code
    if verb is not Verb.STATUS and (ended := infra.run_aside(folder, words)).code:
        return _error(folder, ended), ended.code
    ended = infra.run_aside(folder, ["status", "--json"], keep=True)
    # what was stopped is not healthy, and rightly so
    code = ended.code if verb is Verb.STATUS else 0
    return (json.loads(ended.out), code) if ended.out else (_error(folder, ended), ended.code)


def _error(folder: Path, ended: Ended) -> dict[str, Any]:
    return {"error": {"code": "infra", "message": ended.last, "hint": "", "where": str(folder)}}
