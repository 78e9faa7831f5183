from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmp.cli.screen import Screen, program


class Example(StrEnum):
    """The example tables."""

    CANCER = "cancer"
    DIABETES = "diabetes"


def main(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The folder to make.")],
    example: Annotated[
        Example, typer.Option("--example", help="Which table to start with.")
    ] = Example.CANCER,
) -> None:
    """Start a project that trains at once: configs, recipes, data, container files."""
    from mmp.pipelines.project import start_project

    screen: Screen = ctx.obj
    project = start_project(Path(name), example.value)
    files = "\n".join(f"  {file}" for file in project.files)
    screen.result({"path": str(project.path), "files": list(project.files)}, f"{project.path}\n{files}")
    screen.say(f"\nnext\n  cd {name}\n  {program(Path(name))} train -r {project.recipe}")
