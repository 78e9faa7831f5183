"""The options that several verbs share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from mmp.errors import SettingsError

Recipe = Annotated[
    str, typer.Option("-r", "--recipe", "--recipe-file", "--recipe-path", help="The recipe (YAML).")
]
Config = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--config",
        "--config-path",
        help="The config; else $MMP_CONFIG, configs/$APP_ENV.yaml, configs/local.yaml.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option("-d", "--data", "--data-path", help="The table, instead of the recipe's source_uri."),
]
Params = Annotated[
    str | None, typer.Option("-p", "--params", help="Parameters of the source, as a JSON object.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change one recipe key: --set model.hyperparameters.values.max_depth=4. Repeatable."
    ),
]
RunId = Annotated[
    str, typer.Option("--run-id", help="A run id, `latest`, `best`, or an alias of the registered model.")
]


def refuse_parameters(text: str | None) -> None:
    """Refuse ``-p`` where the source takes no parameters: today every source is files.

    Raises
    ------
    SettingsError
        There are parameters.
    """
    if text is not None:
        raise SettingsError(
            "-p sets the parameters of a SQL source, and this version reads files only.",
            hint="Leave -p out; --set changes a recipe key.",
        )
