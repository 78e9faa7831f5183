"""Predictions without a server: rows from the command line or a small file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.data.stored import SUFFIXES
from mmp.errors import DataError, SettingsError
from mmp.pipelines.model import load_model
from mmp.settings import json_text
from mmp.settings.sources import BUCKETS, PYTHON, QUERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from mmp.errors import Finding
    from mmp.settings.config import Config

_TABLES = (*SUFFIXES, *QUERIES)
_HINT = (
    """Pass an object like '{"age": 31}', a list of them, or a .json, .jsonl, .csv, .parquet or .sql file."""
)


@dataclass(frozen=True)
class Predicted:
    """Predictions as JSON-able objects.

    Parameters
    ----------
    run_id : str
        The model's run.
    records : list of dict
        One a row.
    single : bool
        Whether one object was asked for, not a list.
    findings : tuple of Finding
        What was worth telling.
    """

    run_id: str
    records: list[dict[str, Any]]
    single: bool
    findings: tuple[Finding, ...]


def predict(ref: str, config: Config, rows: str, parameters: Mapping[str, Any] | None = None) -> Predicted:
    """Predict rows with a logged model.

    Where the model takes features from the feature store, rows of JSON get those of now from the online
    store, rows of a table those of their event timestamp from the offline store.

    Parameters
    ----------
    ref : str
        The run: an id, ``latest``, ``best`` or an alias.
    config : Config
        Where runs are.
    rows : str
        A JSON object, a list of objects, a ``.json``, ``.jsonl``, ``.csv``, ``.parquet`` or ``.sql``
        file, a directory of tables, or a URI as a recipe's source has it.
    parameters : Mapping, optional
        Values for the variables of a query.

    Raises
    ------
    MmpError
        Run, model or rows are not as needed.
    """
    logged = load_model(ref, config)
    is_table = rows.startswith((PYTHON, *BUCKETS)) or rows.lower().endswith(_TABLES) or _is_directory(rows)
    source: pa.Table | Sequence[Mapping[str, Any]]
    if is_table:
        source, single = logged.complete(logged.read(rows, parameters=parameters)).arrow, False
    else:
        if parameters is not None:
            raise SettingsError(
                "-p sets the variables of a query, and --input is none.", hint="Leave -p out."
            )
        value = _parsed(rows)
        single = isinstance(value, dict)
        source = logged.complete_now([value] if single else value)
    predictions = logged.bundle.predict(source, where=rows if is_table else "")
    return Predicted(logged.run.run_id, predictions.records(), single, logged.findings)


def _parsed(rows: str) -> Any:
    text, where = rows, "--input"
    if rows.lower().endswith(".json"):
        where = rows
        text = _text(Path(rows))
    try:
        value = json_text.parse(text)
    except json.JSONDecodeError as error:
        looks_like_json = text.lstrip()[:1] in ("{", "[", "")
        message = (
            f"{where} is not JSON: {error}." if looks_like_json else f"{where} is no JSON: {text[:60]!r}."
        )
        raise DataError(message, hint=_HINT) from error
    except json_text.RepeatedKeyError as error:
        raise DataError(f"{where} is not clear: {error}.", hint="Keep the one that is meant.") from error
    objects = value if isinstance(value, list) else [value]
    if not all(isinstance(row, dict) for row in objects):
        raise DataError(f"{where} must be a JSON object or a list of objects.", hint="One object is one row.")
    if not objects:
        raise DataError(f"{where} holds no rows.", hint="One object is one row.")
    return value


def _is_directory(rows: str) -> bool:
    try:
        return bool(rows.strip()) and Path(rows).is_dir()
    except (OSError, ValueError):  # JSON can be too long for a path
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.") from error
