from __future__ import annotations

import sys
from typing import Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, to_json


def main(
    ctx: typer.Context,
    run_id: options.RunId,
    rows: Annotated[
        str,
        typer.Option(
            "-i",
            "--input",
            help="A JSON object or list of them, a .json, .jsonl, .csv, .parquet or .sql file; - for stdin.",
        ),
    ],
    params: options.Params = None,
    config: options.Config = None,
) -> None:
    """Predict without a server: one row as an object, several as a list."""
    from mmp.pipelines.predict import predict
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    parameters = options.parameters(params)
    where = load_config(config)
    screen.findings(where.findings)
    result = predict(run_id, where.value, sys.stdin.read() if rows == "-" else rows, parameters)
    screen.findings(result.findings)
    if result.single:
        screen.result({"prediction": result.records[0], "run_id": result.run_id}, to_json(result.records[0]))
    else:
        screen.result(
            {"predictions": result.records, "run_id": result.run_id}, "\n".join(map(to_json, result.records))
        )
