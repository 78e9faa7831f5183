"""The rows that a batch scores: of files as they are, of queries and functions as they came."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from mmp.data import functions, sql
from mmp.data.batches import open_files
from mmp.data.durable import replacing, sha256
from mmp.data.names import refuse_bad_names
from mmp.data.table import ColumnSpec
from mmp.data.template import Query, render
from mmp.errors import SettingsError
from mmp.pipelines.record import QUERY_FILE
from mmp.pipelines.source import opened
from mmp.settings.sources import PYTHON
from mmp.tracking.scratch import scratch
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pyarrow as pa

    from mmp.data.batches import Batches
    from mmp.modeling.bundle import Bundle
    from mmp.pipelines.model import LoggedModel
    from mmp.settings.config import Config

_ROWS = "rows.parquet"
_ASKED = "rows.json"


def find_rows(
    logged: LoggedModel, config: Config, data: str | None, parameters: Mapping[str, Any] | None
) -> str | Query:
    """Return what to score: what is named, else what the model was trained on.

    Raises
    ------
    SettingsError
        The source is refused, or the run does not say what it was trained on.
    """
    if data is not None:
        return opened(data, config, parameters)
    recorded = _recorded_query(logged, config)
    if recorded is not None:
        if parameters is None:
            return replace(recorded, values=tuple(recorded.values))
        identifiers = json.loads(logged.run.params.get("data.loader.identifiers", "{}"))
        given = {**recorded.parameters, **parameters}
        return render(recorded.template, given, recorded.dialect, identifiers, source=recorded.source)
    source = logged.run.params.get("dataset.source")
    if source is None:
        raise SettingsError(
            f"The run {logged.run.run_id} does not say what it was trained on.", hint="Name a table by -d."
        )
    return opened(source, config, parameters)


def open_rows(
    logged: LoggedModel, config: Config, found: str | Query, folder: Path, *, fresh: bool = False
) -> Batches:
    """Open the rows of a source to be read in order, as often as need be.

    What a query or a function gives is first kept in a file: it need not give the same again, and a
    run that goes on must score the rows that it began with.

    Parameters
    ----------
    logged : LoggedModel
        Knows which columns are read, and as what.
    config : Config
        How buckets and databases are reached.
    found : str or Query
        From `find_rows`.
    folder : Path
        Where rows are kept.
    fresh : bool
        Whether to ask again where rows are kept already.
    """
    bundle = logged.bundle
    inputs = (*bundle.inputs, *bundle.request, *_moments(bundle))
    if isinstance(found, str) and not found.startswith(PYTHON):
        return open_files(found, inputs, bundle.entities, config.files.storage_options)
    rows, asked = folder / _ROWS, folder / _ASKED
    question = _question(found, config)
    kept = _read(asked)
    if fresh or kept.get("question") != question or not rows.exists():
        asked.unlink(missing_ok=True)
        digest = _keep(found, config, rows, f"mmp batch {logged.run.run_id[:8]}")
        kept = {"question": question, "sha256": digest}
        with replacing(asked) as beside:
            beside.write_text(json.dumps(kept), encoding="utf-8")
    opened_rows = open_files(str(rows.absolute()), inputs, bundle.entities)
    source = found if isinstance(found, str) else found.source
    return replace(opened_rows, source=source, digest=kept["sha256"])  # type: ignore[type-var]


def _moments(bundle: Bundle) -> list[ColumnSpec]:
    """Return the column that says as of when the feature store is asked."""
    moment = bundle.features.timestamp_column if bundle.features is not None else None
    return [ColumnSpec(moment, "timestamp")] if moment else []


def _question(found: str | Query, config: Config) -> Any:
    if isinstance(found, str):
        return found
    return [
        sql.address(config.database.connection_uri.get_secret_value()).name,
        found.statement,
        *found.values,
    ]


def _keep(found: str | Query, config: Config, path: Path, application: str) -> str:
    with replacing(path) as beside:
        if isinstance(found, str):
            table = functions.read(found.removeprefix(PYTHON), None).arrow
            _write(beside, table.schema, table.to_batches())
        else:
            with sql.stream(found, config.database, application=application) as rows:
                refuse_bad_names(rows.schema.names, found.source)
                _write(beside, rows.schema, rows)
        return sha256(beside)


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _recorded_query(logged: LoggedModel, config: Config) -> Query | None:
    with connect(config.mlflow, create=False) as store, scratch("query") as folder:
        if QUERY_FILE not in store.artifacts(logged.run.run_id):
            return None
        store.download(logged.run.run_id, "", folder)
        return Query(**json.loads((folder / QUERY_FILE).read_text(encoding="utf-8")))
