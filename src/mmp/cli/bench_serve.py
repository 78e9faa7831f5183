from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen, columns, number
from mmp.cli.watch import watcher
from mmp.errors import GateError

if TYPE_CHECKING:
    from mmp.pipelines.bench_serve import Bench


def main(  # noqa: PLR0913, PLR0917 - options
    ctx: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="A run id, `latest`, `best`, or an alias; else serving.model_alias."),
    ] = None,
    config: options.Config = None,
    p99_ms: Annotated[
        float, typer.Option("--p99-ms", min=0.1, help="The promise: 99 of 100 are answered within.")
    ] = 20.0,
    url: Annotated[
        str | None, typer.Option("--url", help="A server on this machine that runs; else one is started.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option("-i", "--input", help="A JSON object or a list of them to send; else the example."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Of the server started.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.2, max=60, help="At each rate.")] = 2.0,
    max_rate: Annotated[
        float, typer.Option("--max-rate", min=1, max=100_000, help="Requests a second at most.")
    ] = 20_000.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A .json file; the curve goes beside it as .png.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", help="A file of -o: exit 7 where this is worse.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, max=1.0, help="Share of the rate that may be lost.")
    ] = 0.1,
) -> None:
    """Find the highest rate at which a served model answers in time."""
    from mmp.pipelines.bench_serve import Ask, bench_serve
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    where = load_config(config)
    screen.findings(where.findings)
    words = [] if config is None else ["-c", config]
    words += [] if workers is None else ["--workers", str(workers)]
    found = bench_serve(
        run_id,
        where.value,
        Ask(p99_ms, seconds, max_rate, rows),
        server_words=words,
        url=url,
        output=output,
        compare=None if compare is None else (compare, tolerance),
        watcher=watcher(screen),
    )
    screen.findings(found.findings)
    screen.result(found.as_dict(), _text(found))
    if output is not None:
        screen.say(f"\n{output}, {output.with_suffix('.png').name}")
    if found.comparison is not None and not found.comparison.holds:
        screen.warn(f"The highest rate is {1 - found.comparison.ratio:.0%} below that of {compare}.")
        raise typer.Exit(GateError.exit_code)


def _text(found: Bench) -> str:
    table = columns(
        [
            [
                f"{level.rate:,.0f}",
                f"{level.answered_rate:,.0f}",
                *(number(value) for value in (level.p50_ms, level.p90_ms, level.p99_ms, level.max_ms)),
                ", ".join(f"{count:,} {name}" for name, count in level.failed.items()),
            ]
            for level in found.curve
        ],
        ["rate/s", "answered/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed"],
    )
    line = f"{found.highest_rate:,.0f} requests/s at p99 <= {found.p99_ms:g} ms, on {found.n_cpus} CPUs"
    if (comparison := found.comparison) is not None:
        line += f"; {comparison.ratio - 1:+.1%} on {comparison.before:,.0f} before"
    return f"{table}\n\n{line}"
