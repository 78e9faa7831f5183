from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mmp.cli.screen import Screen, columns


class What(StrEnum):
    """The tables."""

    MODELS = "models"
    METRICS = "metrics"
    PREPROCESSORS = "preprocessors"
    ADAPTERS = "adapters"
    EVALUATORS = "evaluators"
    TASKS = "tasks"


def main(ctx: typer.Context, what: Annotated[What, typer.Argument(help="Which table.")]) -> None:
    """List what a recipe or a config can name."""
    from mmp.pipelines.tables import table

    screen: Screen = ctx.obj
    header, rows = table(what.value)
    screen.result({what.value: [dict(zip(header, row, strict=True)) for row in rows]}, columns(rows, header))
