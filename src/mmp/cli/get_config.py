from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmp.cli.ask import Force, Output, Yes, ask, can_ask, may_replace
from mmp.cli.screen import Screen, program

if TYPE_CHECKING:
    from mmp.pipelines.authoring.configs import Place

_QUESTIONS = {
    "env": ("What is this environment called?", "local"),
    "tracking": ("Where are runs tracked? A folder of this machine, or a server (http://…).", "./mlruns"),
    "experiment": ("Which experiment do runs go to?", "mmp"),
    "registered_model": ("Register every model under a name?", "no"),
}


def main(
    ctx: typer.Context,
    output: Output = None,
    env: Annotated[str | None, typer.Option("--env", help="Name of the environment.")] = None,
    tracking: Annotated[
        str | None, typer.Option("--tracking", help="A folder, sqlite:///…, or a server: http://…")
    ] = None,
    experiment: Annotated[str | None, typer.Option("--experiment", help="Where runs go.")] = None,
    registered_model: Annotated[
        str | None, typer.Option("--registered-model", help="Register every model under this name.")
    ] = None,
    yes: Yes = False,
    force: Force = False,
) -> None:
    """Write a commented config: where runs, tables, predictions and logs are.

    On a terminal it asks for what the flags leave open.
    """
    from mmp.pipelines.authoring import configs, files

    screen: Screen = ctx.obj
    given = {"env": env, "tracking": tracking, "experiment": experiment, "registered_model": registered_model}
    place = configs.Place()
    for key, value in given.items():
        place = place.settled(key, value)
    asking = can_ask(screen, yes=yes)
    if asking:
        place = _asked(screen, place, [key for key, value in given.items() if value is None])
    settings, notes = configs.draft(place)
    if output is None:
        text = files.text("config", settings, notes)
        screen.result({"path": None, "text": text}, text.rstrip("\n"))
        return
    path = Path(output)
    replacing = may_replace(screen, path, force=force, asking=asking)
    written = files.write(path, "config", settings, notes, replace=replacing)
    screen.result({"path": str(path), "files": [str(file) for file in written]}, str(path))
    screen.say(f"\nnext\n  {program()} train -c {shlex.quote(str(path))} -r RECIPE")


def _asked(screen: Screen, place: Place, open_keys: list[str]) -> Place:
    for key in open_keys:
        text, default = _QUESTIONS[key]
        answer = ask(screen, text, default=default)
        place = place.settled(key, None if key == "registered_model" and answer == "no" else answer)
    return place
