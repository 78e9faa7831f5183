"""Features as they were known at the moment of each row: the point-in-time join of training and scoring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.arrow import normalise
from mmp.data.buffers import INSTANT, one_chunk, valid, values, wrap
from mmp.data.names import require
from mmp.errors import DataError, LeakageError, SettingsError
from mmp.features import indexes
from mmp.features.joined import Joined
from mmp.features.sources import history, workspace
from mmp.features.statements import (
    SPINE,
    create_history,
    create_spine,
    fill_history,
    lookup,
    merge,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from mmp.data.sql.workspace import Workspace
    from mmp.features.references import Feature, FeatureSet, JoinKey, ValueType, View
    from mmp.features.statements import History
    from mmp.settings.stores import FeatureStore

QUERY_TIMEOUT_S = 300.0

_KEY_TYPES: Mapping[ValueType, pa.DataType] = {
    "INT32": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "DOUBLE": pa.float64(),
    "STRING": pa.string(),
    "BOOL": pa.bool_(),
    "UNIX_TIMESTAMP": INSTANT,
}
# How many rows of history may go with one row to look up, where an index gives the keys but not the last
# word: a lookup took 5 us, a merge 1.7 us for a row and 1.5 us for a row of history.
_ROWS_PER_LOOKUP = 4
_MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Spine:
    """What the store is told of the rows: where each is, its moment, and its keys, each column once."""

    rows: pa.Table
    n_rows: int
    asked: npt.NDArray[np.int64]
    key_types: tuple[ValueType, ...]
    names: Mapping[tuple[str, pa.DataType], str]

    def keys(self, view: View) -> tuple[str, ...]:
        return tuple(self.names[key.column, _KEY_TYPES[key.value_type]] for key in view.keys)


def join(
    spine: pa.Table,
    features: FeatureSet,
    store: FeatureStore,
    *,
    as_of: datetime | None = None,
    query_timeout: float = QUERY_TIMEOUT_S,
    application: str = "mmp",
) -> Joined:
    """Add to each row the features that were known at its moment.

    Parameters
    ----------
    spine : pyarrow.Table
        Rows with the key columns and the event timestamp that `features` names; a time without a zone is
        in UTC. Rows may repeat, and keep their order.
    features : FeatureSet
        What to add.
    store : FeatureStore
        The config's feature store.
    as_of : datetime, optional
        One moment for all rows, instead of their timestamps.
    query_timeout : float
        Seconds that a statement may take.
    application : str
        What the database calls us.

    Returns
    -------
    Joined
        Every row once. A row without key or moment, an entity that is not known and values that no longer
        hold give nulls.

    Raises
    ------
    MissingColumnsError, DataError
        The rows lack a key or the timestamp, or hold something else there.
    SettingsError
        Neither a timestamp column nor `as_of` says when.
    FeatureStoreError
        The store cannot be reached, lacks a column, or fails on the way.
    """
    _refuse_taken(spine.column_names, features)
    rows = _spine(spine, features, as_of)
    columns, found = list(spine.columns), {}
    with workspace(store, timeout_s=query_timeout, application=application) as space:
        for view, seen in _seen(space, rows, features, store):
            found[view.name], placed = _placed(seen, view, rows)
            columns += placed
    table = pa.Table.from_arrays(columns, [*spine.column_names, *features.names])
    return Joined(table, found)


def _seen(
    space: Workspace, spine: _Spine, features: FeatureSet, store: FeatureStore
) -> Iterator[tuple[View, pa.Table]]:
    """Yield what each view has for the rows: their place, when it was known, and the features, f0 first."""
    histories = [
        history(space, view, number, spine.keys(view), store) for number, view in enumerate(features.views)
    ]
    ways = {each.table: _way(space, each, spine) for each in histories}
    space.run(create_spine(spine.key_types))
    for each in histories:
        if ways[each.table] is None:
            space.run(create_history(each))
    space.fill(SPINE, spine.rows)
    space.seal()
    for each in histories:
        way = ways[each.table]
        if way is None:
            space.run(fill_history(each, *_range(spine)))
        yield each.view, space.read(way or merge(each))


def _way(space: Workspace, history: History, spine: _Spine) -> str | None:
    """Return the query that looks rows up, or None where a merge is faster or the only way."""
    index = indexes.find(space, history)
    if index is None or not (index.is_unique or len(spine.rows) * _ROWS_PER_LOOKUP < index.n_rows):
        return None
    return lookup(history, is_unique=index.is_unique)


def _range(spine: _Spine) -> tuple[datetime, datetime]:
    ends = pc.min_max(spine.rows.column("asked")).as_py()
    return ends["min"] or _EPOCH, ends["max"] or _EPOCH


# ── the rows ────────────────────────────────────────────────────────────────


def _refuse_taken(names: list[str], features: FeatureSet) -> None:
    taken = [name for name in features.names if name in names]
    if taken:
        described = ", ".join(map(repr, taken))
        raise DataError(
            f"The rows already have {described}, which the feature store is to add.",
            hint="Leave it out of the source, or out of data.fetcher.",
        )


def _spine(table: pa.Table, features: FeatureSet, as_of: datetime | None) -> _Spine:
    timestamp = None if as_of is not None else features.timestamp_column
    if as_of is None and timestamp is None:
        raise SettingsError(
            "data.fetcher.timestamp_column is missing: nothing says at which moment a row sees its features.",
            hint="Name the column of the event timestamp.",
        )
    require(
        [*features.key_columns, *([timestamp] if timestamp else [])], table.column_names, "the rows to score"
    )
    asked = _constant(as_of, len(table)) if as_of is not None else _moments(table, str(timestamp))
    by_name: dict[tuple[str, pa.DataType], tuple[str, JoinKey]] = {}
    for key in (key for view in features.views for key in view.keys):
        by_name.setdefault((key.column, _KEY_TYPES[key.value_type]), (f"k{len(by_name)}", key))
    columns = {"place": wrap(np.arange(len(table)), pa.int64()), "asked": asked}
    columns |= {name: _key(table, key) for name, key in by_name.values()}
    rows = pa.table(columns)
    return _Spine(
        rows.filter(asked.is_valid()) if asked.null_count else rows,
        len(table),
        values(asked),
        tuple(key.value_type for _, key in by_name.values()),
        {column: name for column, (name, _) in by_name.items()},
    )


def _constant(moment: datetime, n_rows: int) -> pa.Array:
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return pa.array([utc], INSTANT).take(wrap(np.zeros(n_rows, np.int64), pa.int64()))


def _moments(table: pa.Table, name: str) -> pa.Array:
    column = normalise(name, table.column(name))
    if column.spec.kind != "timestamp" and column.array.null_count < len(column.array):
        raise DataError(
            f"Column {name!r} is {column.spec.kind}, and data.fetcher.timestamp_column needs timestamps.",
            hint="Write ISO 8601 in the source, such as 2026-01-31T12:00:00Z.",
        )
    return column.array if column.spec.kind == "timestamp" else pa.nulls(len(table), INSTANT)


def _key(table: pa.Table, key: JoinKey) -> pa.Array:
    column, wanted = normalise(key.column, table.column(key.column)).array, _KEY_TYPES[key.value_type]
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        elif pa.types.is_floating(column.type) and wanted == pa.string():
            raise pa.ArrowInvalid("a number with a fraction is no text")  # noqa: TRY301
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"Column {key.column!r} cannot be the key {key.name!r}, which is {key.value_type}: {error}.",
            hint="Check data.fetcher: is it the column of that entity?",
        ) from error


# ── what was found, where it belongs ────────────────────────────────────────


def _placed(seen: pa.Table, view: View, spine: _Spine) -> tuple[npt.NDArray[np.bool_], list[pa.Array]]:
    """Return which rows a view had values for, and its columns in the order of the rows."""
    places = values(one_chunk(seen.column("place")))
    _refuse_future(values(one_chunk(seen.column("known"))), spine.asked[places], view)
    positions = np.zeros(spine.n_rows, np.int64)
    positions[places] = np.arange(len(places))
    found = np.zeros(spine.n_rows, np.bool_)
    found[places] = True
    order = wrap(positions, pa.int64(), found)
    return found, [
        _rounded(normalise(feature.name, seen.column(f"f{n}")).array, feature).take(order)
        for n, feature in enumerate(view.features)
    ]


def _refuse_future(known: npt.NDArray[np.int64], asked: npt.NDArray[np.int64], view: View) -> None:
    """Hold what came back to the one promise of this module, whatever a database made of its statement."""
    n_early = int(np.count_nonzero(known > asked))
    if n_early:
        raise LeakageError(
            f"The feature view {view.name!r} gave {n_early} rows values that were not known at their moment.",
            hint="This is a bug of mmp or of the database; please report it.",
        )


def _rounded(column: pa.Array, feature: Feature) -> pa.Array:
    """Return values with no more digits than the online store keeps of them."""
    if feature.value_type == "FLOAT":
        with np.errstate(over="ignore"):
            return wrap(values(column).astype(np.float32).astype(np.float64), column.type, valid(column))
    if feature.value_type == "UNIX_TIMESTAMP":
        moments = values(column)
        return wrap(moments - np.fmod(moments, _MICROSECONDS), column.type, valid(column))
    return column
