from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from mmp.cli.screen import Screen


class Kind(StrEnum):
    """The two files."""

    RECIPE = "recipe"
    CONFIG = "config"


def main(ctx: typer.Context, kind: Annotated[Kind, typer.Argument(help="Which file.")]) -> None:
    """Print the JSON Schema of a recipe or a config, for editors that complete and check YAML."""
    from mmp.settings.schema import schema

    screen: Screen = ctx.obj
    value = schema(kind.value)
    screen.result(value, json.dumps(value, indent=2, ensure_ascii=False))
