from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, between, columns, number
from mmp.cli.watch import watcher

if TYPE_CHECKING:
    from mmp.pipelines.evaluate import Evaluation

_MORE_PROBABLE = 0.5


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
    table = columns(rows, ["metric", "here", "95 %", "test split"])
    screen.result(result.as_dict(), "\n\n".join(filter(None, (table, _decided(result)))))


def _decided(result: Evaluation) -> str:
    """Say what the model's probabilities are, and from which one on it decides."""
    words = [f"probabilities calibrated by {result.calibration}"] if result.calibration else []
    if result.threshold not in {None, _MORE_PROBABLE}:
        words.append(f"positive from {result.threshold:.4g} on")
    return ", ".join(words)
