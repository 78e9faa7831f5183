from __future__ import annotations

from typing import Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns, number


def main(
    ctx: typer.Context,
    config: options.Config = None,
    experiment: Annotated[str | None, typer.Option("--experiment", help="Only this experiment.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Order by this test metric, best first.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 20,
) -> None:
    """List runs, newest first or best first."""
    from mmp.pipelines.runs import leaderboard
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    where = load_config(config)
    board = leaderboard(where.value, experiment=experiment, sort=sort, limit=limit)
    rows = [
        [
            row.run_id[:8],
            row.name,
            row.experiment,
            row.status,
            row.started,
            row.model,
            *map(number, row.scores),
        ]
        for row in board.rows
    ]
    text = columns(rows, ["run", "name", "experiment", "status", "started (UTC)", "model", *board.metrics])
    if not rows:
        screen.say(f"no runs yet{f' in the experiment {experiment!r}' if experiment else ''}")
    if rows or screen.json:
        screen.result({"runs": [row.as_dict(board.metrics) for row in board.rows]}, text)
