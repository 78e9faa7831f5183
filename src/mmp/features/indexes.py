"""Whether a table in PostgreSQL has an index by which the newest values of a key are found at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmp.data.sql.workspace import Workspace
    from mmp.features.references import ValueType
    from mmp.features.statements import History

_KEY_TYPES: Final[Mapping[ValueType, tuple[str, ...]]] = {
    "INT32": ("int2", "int4", "int8"),
    "INT64": ("int2", "int4", "int8"),
    "FLOAT": ("float4", "float8"),
    "DOUBLE": ("float4", "float8"),
    "STRING": ("text", "varchar"),
    "BOOL": ("bool",),
    "UNIX_TIMESTAMP": ("timestamptz", "timestamp", "date"),
}
_TIME_TYPES = _KEY_TYPES["UNIX_TIMESTAMP"]
_COLUMNS = """
SELECT i.indexrelid::int8 AS index, i.indisunique AS is_unique, a.attname::text AS name,
       t.typname::text AS type, a.attnotnull AS is_filled, c.reltuples::float8 AS n_rows
FROM pg_class c
JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(number, position)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = to_regclass({table})
ORDER BY i.indexrelid, k.position
"""


@dataclass(frozen=True)
class Index:
    """An index over the keys of a view and its event time.

    Parameters
    ----------
    is_unique : bool
        Whether keys, event and created time name one row, and are never missing.
    n_rows : float
        How many rows the table has, about; negative where nobody counted.
    """

    is_unique: bool
    n_rows: float


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    is_filled: bool


def find(space: Workspace, history: History) -> Index | None:
    """Return the best index for a view, or None where it has none that helps."""
    source = history.view.source
    if space.dialect != "postgresql" or source.is_query:
        return None
    table = "'" + source.location.replace("'", "''") + "'"
    found = [
        Index(bool(rows[0]["is_unique"]) and is_exact, float(rows[0]["n_rows"]))
        for rows, is_exact in _helpful(space.read(_COLUMNS.format(table=table)).to_pylist(), history)
    ]
    return max(found, key=lambda index: index.is_unique, default=None)


def _helpful(
    rows: Sequence[Mapping[str, Any]], history: History
) -> Iterator[tuple[list[Mapping[str, Any]], bool]]:
    for _, group in groupby(rows, key=lambda row: row["index"]):
        columns = list(group)
        named = [_Column(str(row["name"]), str(row["type"]), bool(row["is_filled"])) for row in columns]
        if _leads_with_keys(named, history):
            yield columns, _is_exact(named, history)


def _leads_with_keys(columns: Sequence[_Column], history: History) -> bool:
    view = history.view
    keys = {view.source.key_column(key): _KEY_TYPES[key.value_type] for key in view.keys}
    leading, then = columns[: len(keys)], columns[len(keys) : len(keys) + 1]
    return (
        {column.name for column in leading} == set(keys)
        and all(column.type in keys[column.name] for column in leading)
        and [column.name for column in then] == [view.source.timestamp_column]
        and then[0].type in _TIME_TYPES
    )


def _is_exact(columns: Sequence[_Column], history: History) -> bool:
    view = history.view
    times = {view.source.timestamp_column, view.source.created_column} - {None}
    keys = {view.source.key_column(key) for key in view.keys}
    return {column.name for column in columns} == keys | times and all(column.is_filled for column in columns)
