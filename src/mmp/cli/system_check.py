from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns

if TYPE_CHECKING:
    from mmp.pipelines.system.check import Report


def main(
    ctx: typer.Context,
    config: options.Config = None,
    recipe: Annotated[
        str | None,
        typer.Option("-r", "--recipe", "--recipe-file", "--recipe-path", help="Check for this recipe."),
    ] = None,
    actionable: Annotated[
        bool, typer.Option("--actionable", help="Say what to do about each warning and failure.")
    ] = False,
) -> None:
    """Check packages, tracking, database, Redis, Feast, disk, ports and contract, as far as they are used."""
    from mmp.pipelines.system.check import check_system
    from mmp.settings.load import load_config, load_recipe

    screen: Screen = ctx.obj
    where = load_config(config)
    what = load_recipe(recipe, environment=where.surroundings) if recipe else None
    screen.findings([*where.findings, *(what.findings if what else ())])
    report = check_system(where, what)
    screen.result(report.as_dict(), _text(report, actionable=actionable))
    raise typer.Exit(report.exit_code)


def _text(report: Report, *, actionable: bool) -> str:
    lines = columns([[check.name, check.status, check.found] for check in report.checks]).splitlines()
    told = []
    for check, line in zip(report.checks, lines, strict=True):
        told.append(line)
        if actionable and check.action and check.status != "ok":
            told.append(f"  -> {check.action}")
    if not actionable and report.exit_code:
        told.append("(--actionable says what to do)")
    return "\n".join(told)
