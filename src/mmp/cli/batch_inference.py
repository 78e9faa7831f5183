from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns
from mmp.cli.watch import watcher

if TYPE_CHECKING:
    from mmp.pipelines.batch import BatchResult


def main(  # noqa: PLR0913, PLR0917 - the options of the command
    ctx: typer.Context,
    run_id: options.RunId,
    config: options.Config = None,
    data: Annotated[
        str | None,
        typer.Option(
            "-d",
            "--data",
            "--data-path",
            help="The table: a file, a directory, a glob or a query; else what the model was trained on.",
        ),
    ] = None,
    params: options.Params = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="A .parquet, .csv or .jsonl file, or a name without suffix for a directory of parts; "
            "else the config's output.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart",
            help="Go on with what is done; or begin anew and replace what is there.",
        ),
    ] = True,
    part_rows: Annotated[
        int | None, typer.Option("--part-rows", min=1, help="Rows of a part: what a crash can cost.")
    ] = None,
    explain_top_k: Annotated[
        int | None,
        typer.Option(
            "--explain-top-k",
            min=1,
            help="Name the columns that say most about each prediction, so many of them (SHAP); slow.",
        ),
    ] = None,
) -> None:
    """Score a table of any size, each row once, whatever dies on the way."""
    from mmp.pipelines.batch import batch_inference
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    parameters = options.parameters(params)
    where = load_config(config)
    screen.findings(where.findings)
    result = batch_inference(
        run_id,
        where.value,
        data=data,
        parameters=parameters,
        output=output,
        restart=not resume,
        part_rows=part_rows,
        explain_top_k=explain_top_k,
        watcher=watcher(screen),
        tell=screen.findings,
    )
    screen.result(result.as_dict(), _text(result))


def _text(result: BatchResult) -> str:
    rows = [["rows", f"{result.rows:,}"]]
    if result.rejected:
        rows.append(["rejected", f"{result.rejected:,} in {result.rejected_output}"])
    known = "" if result.is_new else " (complete already; nothing was written)"
    rows.append(["output", result.output + known])
    if result.is_new:
        rows.append(["rate", f"{result.rows_per_s:,.0f} rows/s in {result.seconds:.1f} s"])
        rows.append(["memory", f"{result.peak_rss_mb:,.0f} MB"])
        rows.append(["predictor", result.predictor])
        rows.append(["run", result.run_id])
    return columns(rows)
