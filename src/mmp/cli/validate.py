from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen


def main(
    ctx: typer.Context,
    recipe: options.Recipe,
    config: options.Config = None,
    data: options.Data = None,
    params: options.Params = None,
    changes: options.Set = None,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Check the settings only; read no table.")
    ] = False,
) -> None:
    """Check everything that can be checked without fitting: settings, names, columns, leakage, quality."""
    from mmp.pipelines.check import check
    from mmp.settings.load import load_config, load_recipe

    screen: Screen = ctx.obj
    parameters = options.parameters(params)
    where = load_config(config)
    what = load_recipe(recipe, overrides=changes or (), environment=where.surroundings)
    checked = check(what, where, data=data, parameters=parameters, read_data=not no_data)
    findings = [*where.findings, *what.findings, *checked.findings]
    screen.findings(findings)
    screen.result(
        {"ok": True, "checked": checked.what, "findings": [asdict(finding) for finding in findings]},
        f"ok: {checked.summary}",
    )
