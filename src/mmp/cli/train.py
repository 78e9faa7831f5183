from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns, number
from mmp.cli.watch import watcher

if TYPE_CHECKING:
    from mmp.pipelines.train import TrainResult


def main(
    ctx: typer.Context,
    recipe: options.Recipe,
    config: options.Config = None,
    data: options.Data = None,
    params: options.Params = None,
    changes: options.Set = None,
) -> None:
    """Train, evaluate, package and log a model."""
    from mmp.cli.logs import log_to
    from mmp.pipelines.train import train
    from mmp.settings.load import load_config, load_recipe

    screen: Screen = ctx.obj
    where = load_config(config)
    what = load_recipe(recipe, overrides=changes or ())
    screen.findings([*where.findings, *what.findings])
    result = train(
        what,
        where,
        data=data,
        parameters=options.parameters(params),
        watcher=watcher(screen),
        tell=screen.findings,
        log_file=log_to(where.value.logging, what.value.name),
    )
    screen.result(result.as_dict(), _text(result))
    screen.say(_next(result, config))


def _text(result: TrainResult) -> str:
    splits = [split for split in ("train", "validation", "test") if result.metrics.get(split)]
    names = dict.fromkeys(name for split in splits for name in result.metrics[split])
    rows = [[name, *(number(result.metrics[split].get(name)) for split in splits)] for name in names]
    table = columns(rows, ["metric", *splits])
    return f"\n{table}\n\nrun         {result.run_id}\nexperiment  {result.experiment}\nmodel       {result.model_uri}"


def _next(result: TrainResult, config: str | None) -> str:
    where = f" -c {config}" if config else ""
    run = result.run_id[:8]
    return (
        "\nnext\n"
        f"  mmp predict{where} --run-id {run} --input '{result.example}'\n"
        f"  mmp evaluate{where} --run-id {run} -d NEW_DATA\n"
        f"  mmp runs{where}\n"
        f"  mmp ui{where}"
    )
