from __future__ import annotations

import json
import shlex
from functools import partial
from typing import TYPE_CHECKING

import typer

from mmp.catalog.metrics import parse
from mmp.cli import options
from mmp.cli.screen import Screen, between, columns, number, program
from mmp.cli.watch import watcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.pipelines.train import TrainResult

_LONGEST_EXAMPLE = 300
_UNCALIBRATED = "uncalibrated"


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
    parameters = options.parameters(params)
    where = load_config(config)
    what = load_recipe(recipe, overrides=changes or (), environment=where.surroundings)
    screen.findings([*where.findings, *what.findings])
    result = train(
        what,
        where,
        data=data,
        parameters=parameters,
        watcher=watcher(screen),
        tell=screen.findings,
        open_log=partial(log_to, where.value.logging, what.value.name),
    )
    screen.say()
    # what was asked for by name is shown, whatever it is
    everything = screen.verbose or what.value.evaluation.metrics is not None
    screen.result(result.as_dict(), _text(result, everything=everything))
    screen.say(_next(result, config))


def _is_main(name: str, task: str) -> bool:
    """Tell whether a metric is more than the value of one class or an average, or is of a promise."""
    metric = parse(name, task)
    return not metric.variant or metric.needs == "promises"


def _text(result: TrainResult, *, everything: bool) -> str:
    splits = [split for split in ("train", "validation", "test") if split in result.metrics]
    names = dict.fromkeys(name for split in splits for name in result.metrics[split])
    main = [name for name in names if everything or _is_main(name, result.task)] or list(names)
    rows = [[name, *(number(result.metrics[split].get(name)) for split in splits)] for name in main]
    if result.intervals:
        rows = [[*row, between(result.intervals.get(row[0]))] for row in rows]
        splits.append("test 95 %")
    if _UNCALIBRATED in result.metrics:
        rows = [[*row, number(result.metrics[_UNCALIBRATED].get(row[0]))] for row in rows]
        splits.append(_UNCALIBRATED)
    for split, title in (("cv", "folds"), ("nested", "nested folds")):
        if split in result.metrics:
            rows = [[*row, _over_folds(row[0], result.metrics[split])] for row in rows]
            splits.append(title)
    more = (
        f"\n(and {len(names) - len(main)} more, by class and by average, in the run)"
        if len(main) < len(names)
        else ""
    )
    place = columns([["run", result.run_id], ["experiment", result.experiment], ["model", result.model_uri]])
    compared = [f"The model is {comparison['sentence']}." for comparison in result.comparisons]
    blocks = (f"{columns(rows, ['metric', *splits])}{more}", "\n".join(compared), place)
    return "\n\n".join(block for block in blocks if block)


def _over_folds(name: str, metrics: Mapping[str, float]) -> str:
    """Return the mean of a metric over the folds, and its standard error."""
    error = metrics.get(f"{name}_se")
    return number(metrics.get(f"{name}_mean")) + ("" if error is None else f" ± {number(error)}")


def _next(result: TrainResult, config: str | None) -> str:
    where = f" -c {shlex.quote(config)}" if config else ""
    run = result.run_id[:8]
    example = shlex.quote(json.dumps(result.example, ensure_ascii=False))
    rows = example if len(example) <= _LONGEST_EXAMPLE else shlex.quote(result.source)
    mmp = program()
    return (
        "\nnext\n"
        f"  {mmp} predict{where} --run-id {run} --input {rows}\n"
        f"  {mmp} evaluate{where} --run-id {run} -d {shlex.quote(result.source)}\n"
        f"  {mmp} runs{where}\n"
        f"  {mmp} ui{where}"
    )
