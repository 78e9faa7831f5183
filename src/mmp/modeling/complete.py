"""From what a request holds to complete rows: what the feature store knows is added, here for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from mmp.data.buffers import INSTANT, strings, wrap
from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.features import offline, repository
from mmp.features.joined import Joined, settle, unknown_entity
from mmp.features.online import Found, OnlineReader
from mmp.modeling.columns import Column, coerce, column_of
from mmp.modeling.values import CellError, Value, coerce_value
from mmp.modeling.values import reader as cell_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmp.errors import UnknownEntityError
    from mmp.features.references import FeatureSet
    from mmp.modeling.bundle import Bundle, Source
    from mmp.modeling.columns import Columns
    from mmp.settings.config import Config

Lookup: TypeAlias = Callable[["Columns"], Joined]
"""Finds the features of rows by their keys, and by their event timestamp where they have one."""

_TYPES = {"integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_(), "timestamp": INSTANT}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = 1_000_000
_ROWS_A_READ = 500


@contextmanager
def now(features: FeatureSet, config: Config) -> Iterator[Lookup]:
    """Open the lookup of what holds now: one read of the online store.

    Raises
    ------
    SettingsError
        The config names no online store, or one that mmp does not read.
    """
    feast = repository.complete(config.feature_store).feast_config
    store = feast.online if feast is not None else None
    timeout_s = config.serving.features_timeout_ms / 1000
    with OnlineReader.open(features, store, timeout_s=timeout_s) as reader:
        yield online(reader)


def online(reader: OnlineReader) -> Lookup:
    """Return the lookup of what holds now, by a reader that is open.

    Its time budget is that of a request, and of so many rows at a time.
    """

    def look_up(keys: Columns) -> Joined:
        cells = {name: keys[name].to_list() for name in reader.features.key_columns}
        moment, n_rows = time.time(), max(map(len, cells.values()))
        parts = [
            read_now(
                reader,
                {name: column[place : place + _ROWS_A_READ] for name, column in cells.items()},
                now=moment,
            )
            for place in range(0, max(n_rows, 1), _ROWS_A_READ)
        ]
        return joined_now(reader.features, keys, _together(parts))

    return look_up


def read_now(reader: OnlineReader, keys: Mapping[str, Sequence[Value]], *, now: float | None = None) -> Found:
    """Read rows by coerced keys."""
    return reader.read(_as_stored(reader.features, keys), now=now)


def _as_stored(
    features: FeatureSet, keys: Mapping[str, Sequence[Value]]
) -> dict[str, Sequence[Value] | list[int | None]]:
    """Return keys as the store has them: a moment in whole seconds."""
    moments = {
        key.column for view in features.views for key in view.keys if key.value_type == "UNIX_TIMESTAMP"
    }
    return {name: _in_seconds(cells) if name in moments else cells for name, cells in keys.items()}


def cells_of(features: FeatureSet, found: Found) -> dict[str, list[Value]]:
    """Return what was read as coerced cells, by feature.

    Raises
    ------
    DataError
        The store holds a value of another type.
    """
    specs = [ColumnSpec(feature.name, feature.kind) for feature in features.features]
    return {spec.name: [coerce_value(spec, cell) for cell in found.values[spec.name]] for spec in specs}


def joined_now(features: FeatureSet, keys: Columns, found: Found) -> Joined:
    """Return what was read as a table, beside its keys; raises what `cells_of` does."""
    cells = cells_of(features, found)
    columns = {name: to_arrow(keys[name]) for name in features.key_columns}
    columns |= {each.name: to_arrow(column_of(each.kind, cells[each.name])) for each in features.features}
    return Joined(_table(columns), {view: np.array(rows, np.bool_) for view, rows in found.found.items()})


def historical(
    features: FeatureSet, config: Config, *, application: str = "mmp", as_of: datetime | None = None
) -> Lookup:
    """Return the lookup in the offline store, as of each row's event timestamp.

    Rows without one get what held at `as_of`, by default now.
    """

    def look_up(keys: Columns) -> Joined:
        is_dated = features.timestamp_column in keys
        return offline.join(
            _table({name: to_arrow(column) for name, column in keys.items()}),
            features,
            config.feature_store,
            as_of=None if is_dated else as_of or datetime.now(UTC),
            query_timeout=config.query_timeout_s,
            application=application,
        )

    return look_up


def complete(bundle: Bundle, source: Source, lookup: Lookup, *, where: str = "") -> Source:
    """Add to rows what the feature store knows of them.

    Rows keep their order and number, and their other columns; equal keys are looked up once.

    Parameters
    ----------
    bundle : Bundle
        The model.
    source : pyarrow.Table or sequence of mapping
        Rows with the columns of ``bundle.request``. A table that has all of ``bundle.stored`` is
        complete already.
    lookup : callable
        `online`, `now` or `historical`.
    where : str
        What the rows are, for messages.

    Returns
    -------
    pyarrow.Table or sequence of mapping
        What ``bundle.predict`` takes.

    Raises
    ------
    MissingColumnsError, DataError
        A key is not there, or no key; rows bring features of the store themselves.
    UnknownEntityError
        The store has nothing for a row, where the recipe calls that an error.
    FeatureStoreError
        The store cannot be reached, or fails on the way.
    """
    if bundle.features is None or is_complete(bundle, source):
        return source
    _refuse_sent(bundle, source)
    keys = coerce(_asked(bundle, source), source, where=where)
    table = settle(lookup(keys), bundle.features).select([spec.name for spec in bundle.stored])
    if isinstance(source, pa.Table):
        names = [*source.column_names, *table.column_names]
        return pa.Table.from_arrays([*source.columns, *table.columns], names)
    columns = coerce(bundle.stored, table)
    names, cells = list(columns), [_cells(column) for column in columns.values()]
    return [
        {**row, **dict(zip(names, found, strict=True))}
        for row, found in zip(source, zip(*cells, strict=True), strict=True)
    ]


def complete_cells(
    reader: OnlineReader, rows: Sequence[Mapping[str, Value]]
) -> list[dict[str, Value] | UnknownEntityError]:
    """Add to coerced rows what holds now: what `complete` does, for a server that has no time for Arrow.

    Parameters
    ----------
    reader : OnlineReader
        Open, with the features of the bundle.
    rows : sequence of mapping
        Coerced cells of ``bundle.request``.

    Returns
    -------
    list of dict, or of the error of a row
        Coerced cells of ``bundle.inputs``.

    Raises
    ------
    FeatureStoreError
        The store does not answer.
    """
    return _completed(reader, rows, reader.read(_keys_of(reader.features, rows)))


async def complete_cells_soon(
    reader: OnlineReader, rows: Sequence[Mapping[str, Value]]
) -> list[dict[str, Value] | UnknownEntityError]:
    """Do what `complete_cells` does, and let the event loop go on meanwhile."""
    return _completed(reader, rows, await reader.read_soon(_keys_of(reader.features, rows)))


@lru_cache(8)
def _cell_readers(reader: OnlineReader) -> tuple[tuple[str, Callable[[object], Value]], ...]:
    features = reader.features.features
    return tuple((feature.name, cell_reader(ColumnSpec(feature.name, feature.kind))) for feature in features)


def _keys_of(
    features: FeatureSet, rows: Sequence[Mapping[str, Value]]
) -> dict[str, Sequence[Value] | list[int | None]]:
    return _as_stored(features, {name: [row[name] for row in rows] for name in features.key_columns})


def _completed(
    reader: OnlineReader, rows: Sequence[Mapping[str, Value]], found: Found
) -> list[dict[str, Value] | UnknownEntityError]:
    features = reader.features
    try:
        read = {name: list(map(read_cell, found.values[name])) for name, read_cell in _cell_readers(reader)}
    except CellError:
        read = cells_of(features, found)  # says which
    completed: list[dict[str, Value] | UnknownEntityError] = []
    for place, row in enumerate(rows):
        whole = {**row, **{name: cells[place] for name, cells in read.items()}}
        lacking = [view for view in features.views if not found.found[view.name][place]]
        if lacking and features.on_missing == "error":
            completed.append(unknown_entity(lacking[0], row))
            continue
        for view in lacking:
            whole |= {
                each.name: features.defaults[each.name]
                for each in view.features
                if each.name in features.defaults
            }
        completed.append(whole)
    return completed


def is_complete(bundle: Bundle, source: Source) -> bool:
    """Tell whether nothing is to be looked up: the model takes nothing, or a table has it all."""
    stored = {spec.name for spec in bundle.stored}
    return not stored or (isinstance(source, pa.Table) and stored <= set(source.column_names))


def _table(columns: Mapping[str, pa.Array]) -> pa.Table:
    return pa.Table.from_arrays(list(columns.values()), list(columns))


def to_arrow(column: Column) -> pa.Array:
    """Return a typed column as an Arrow array of a type of `mmp.data.table.Table`."""
    if column.kind != "text":
        return wrap(column.values, _TYPES[column.kind], column.valid)
    codes = wrap(column.values.astype(np.int32, copy=False), pa.int32(), column.valid)
    return pa.DictionaryArray.from_arrays(codes, strings(column.vocabulary))


def _cells(column: Column) -> list[Any]:
    """Return a column as a request would have it; Arrow imports pandas for a moment."""
    if column.kind != "timestamp":
        return column.to_list()
    return [
        None if moment is None else _EPOCH + timedelta(microseconds=int(moment))
        for moment in column.to_list()
    ]


def _together(parts: Sequence[Found]) -> Found:
    """Return what was read of rows that follow on each other as one."""
    whole = Found()
    for part in parts:
        for rows, more in (
            (whole.values, part.values),
            (whole.found, part.found),
            (whole.event_times, part.event_times),
        ):
            _extend(rows, more)
    return whole


def _extend(rows: dict[str, list[Any]], more: Mapping[str, list[Any]]) -> None:
    for name, cells in more.items():
        rows.setdefault(name, []).extend(cells)


def _in_seconds(cells: Sequence[Value]) -> list[int | None]:
    return [None if cell is None else int(cell) // _MICROSECONDS for cell in cells]


def _asked(bundle: Bundle, source: Source) -> tuple[ColumnSpec, ...]:
    """Return the columns that find a row's features; a table may say when, a request is about now."""
    moment = bundle.features.timestamp_column if bundle.features is not None else None
    if moment is None or not isinstance(source, pa.Table) or moment not in source.column_names:
        return bundle.feature_keys
    return (*bundle.feature_keys, ColumnSpec(moment, "timestamp"))


def _refuse_sent(bundle: Bundle, source: Source) -> None:
    """Refuse features of the store that rows bring themselves; of a table all are taken, and no part."""
    is_table = isinstance(source, pa.Table)
    there = set(source.column_names) if is_table else set().union(*source)  # type: ignore[union-attr]
    names = bundle.features.names if bundle.features is not None else ()
    sent = [name for name in names if name in there]
    # a feature that the pipeline does not read may come along
    if not sent or (is_table and not there.intersection(spec.name for spec in bundle.stored)):
        return
    described = ", ".join(map(repr, sent[:5])) + (f" and {len(sent) - 5} more" if sent[5:] else "")
    come = "comes" if len(sent) == 1 else "come"
    if is_table:
        absent = next(spec.name for spec in bundle.stored if spec.name not in there)
        raise DataError(
            f"The table has {described}, which {come} from the feature store, but not {absent!r}.",
            hint="Leave all features of the store out, and they are looked up; or bring all of them.",
        )
    raise DataError(
        f"A request does not send {described}, which {come} from the feature store.",
        hint=f"Send {', '.join(spec.name for spec in bundle.request)}.",
    )
