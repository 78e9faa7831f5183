from __future__ import annotations

from typing import Annotated

import typer

from mmp.cli import options
from mmp.cli.screen import Screen


def main(
    ctx: typer.Context,
    config: options.Config = None,
    port: Annotated[int, typer.Option("--port", help="Where the local pages answer.")] = 5000,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Open the tracking server, or start MLflow's pages over the local store until Ctrl-C."""
    from mmp.settings.load import load_config
    from mmp.tracking.pages import open_pages

    screen: Screen = ctx.obj
    where = load_config(config)
    pages = open_pages(where.value.mlflow, port=port)
    screen.result({"url": pages.url}, pages.url)
    if not no_browser:
        typer.launch(pages.url)
    pages.wait()
