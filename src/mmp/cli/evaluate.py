from __future__ import annotations

from typing import Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, between, columns, number
from mmp.cli.watch import watcher


def main(
    ctx: typer.Context,
    run_id: options.RunId,
    data: Annotated[str, typer.Option("-d", "--data", "--data-path", help="The labelled table.")],
    params: options.Params = None,
    config: options.Config = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Write the report here as well (.json).")
    ] = None,
) -> None:
    """Evaluate a logged model on new labelled data, beside what its test split gave."""
    from mmp.pipelines.evaluate import evaluate
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    parameters = options.parameters(params)
    where = load_config(config)
    screen.findings(where.findings)
    result = evaluate(
        run_id, where.value, data=data, parameters=parameters, report=output, watcher=watcher(screen)
    )
    screen.findings(result.findings)
    rows = [
        [name, number(value), between(result.intervals.get(name)), number(result.logged.get(name))]
        for name, value in result.metrics.items()
    ]
    screen.result(result.as_dict(), columns(rows, ["metric", "here", "95 %", "test split"]))
