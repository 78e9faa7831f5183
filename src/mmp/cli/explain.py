from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns, number
from mmp.cli.watch import watcher

if TYPE_CHECKING:
    from mmp.pipelines.explain import Explained

_MOST_CLASSES = 6  # of a table; the rest is in --json


def main(
    ctx: typer.Context,
    run_id: options.RunId,
    data: Annotated[str, typer.Option("-d", "--data", "--data-path", help="The table.")],
    row: Annotated[int | None, typer.Option("--row", help="Explain this row only, from 0.")] = None,
    params: options.Params = None,
    config: options.Config = None,
) -> None:
    """Tell which columns predictions come from (SHAP): over a table, or for one row of it."""
    from mmp.pipelines.explain import explain
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    parameters = options.parameters(params)
    where = load_config(config)
    screen.findings(where.findings)
    result = explain(run_id, where.value, data=data, parameters=parameters, row=row, watcher=watcher(screen))
    screen.findings(result.findings)
    screen.say(_heading(result))
    screen.result(result.as_dict(), _whole(result) if result.row is None else _one(result, result.row))


def _heading(result: Explained) -> str:
    of = f" of {result.target}" + (f" = {result.of[0]}" if len(result.of) == 1 else "")
    what = "mean absolute parts" if result.row is None else "parts"
    return f"{what} in the {result.unit}{of}"


def _whole(result: Explained) -> str:
    classes = result.of[:_MOST_CLASSES] if len(result.of) > 1 else []
    rows = [
        [line["column"], number(line["mean_abs_shap"]), *(number(line["classes"][name]) for name in classes)]
        for line in result.columns
    ]
    return columns(rows, ["column", "mean |SHAP|", *classes])


def _one(result: Explained, row: dict[str, Any]) -> str:
    prediction = row["prediction"]["prediction"]
    chosen = str(prediction) if len(result.of) > 1 else None

    def shown(value: Any) -> str:
        return number(value if chosen is None else value[chosen])

    lines = [
        ["(base)", "", shown(row["base"])],
        *([part["column"], _cell(part["value"]), shown(part["shap"])] for part in result.columns),
        ["(score)", "", shown(row["score"])],
        ["(prediction)", "", number(prediction) if isinstance(prediction, float) else str(prediction)],
    ]
    return columns(lines, ["column", "value", "SHAP" if chosen is None else f"SHAP, {chosen}"])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value)
