from __future__ import annotations

from typing import Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen


def main(
    ctx: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="A run id, `latest`, `best`, or an alias; else serving.model_alias."),
    ] = None,
    config: options.Config = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to bind; else serving.host.")] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port, 0 for a free one; else serving.port."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; else serving.workers.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Bind a public address without credentials.")
    ] = False,
) -> None:
    """Serve a logged model over HTTP."""
    from mmp.pipelines.serve import serve
    from mmp.settings.checks import check_config
    from mmp.settings.load import load_config

    screen: Screen = ctx.obj
    where = load_config(config)
    screen.findings((*where.findings, *check_config(where)))
    given = {"host": host, "port": port, "workers": workers}
    settings = where.value.serving.model_copy(update={k: v for k, v in given.items() if v is not None})
    raise typer.Exit(serve(run_id, where.value.model_copy(update={"serving": settings}), insecure=insecure))
