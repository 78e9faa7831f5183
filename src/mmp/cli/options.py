"""The options that several verbs share, so that they mean the same everywhere."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mmp.errors import SettingsError
from mmp.settings import json_text

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
    str | None, typer.Option("-p", "--params", help="Values for the variables of a query, as a JSON object.")
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


def parameters(text: str | None) -> dict[str, Any] | None:
    """Return the values that ``-p`` gives to the variables of a query.

    Raises
    ------
    SettingsError
        It is no JSON object.

    Examples
    --------
    >>> parameters('{"start": "2024-01-01", "ids": [1, 2]}')
    {'start': '2024-01-01', 'ids': [1, 2]}
    """
    if text is None:
        return None
    hint = """Write -p '{"start": "2024-01-01", "ids": [1, 2]}'"""
    try:
        value = json_text.parse(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"-p is no JSON: {error}.", hint=hint) from error
    except json_text.RepeatedKeyError as error:
        raise SettingsError(f"-p is not clear: {error}.", hint="Keep the one that is meant.") from error
    if not isinstance(value, dict):
        raise SettingsError("-p is no JSON object.", hint=hint)
    return value
