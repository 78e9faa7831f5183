"""The SQL of a point-in-time join, in words that PostgreSQL and DuckDB share.

Two ways lead to the same rows:

- *lookup*: for each row the newest values of its entity, by an index of the history;
- *merge*: number the history so that of two values the one that wins has the higher number, then carry
  the highest number that is known along the time of each entity.

A row sees what had happened by its moment (event time), was known by then (created time) and still
holds (TTL, its last instant included). Of several the latest event wins, then what was created last; of
rows equal in both, the one with the larger values, compared in the order of the features, a missing value
smaller than any. A missing created time is the event time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mmp.data.sql.workspace import identifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.features.references import ValueType, View

SPINE: Final = "mmp_spine"
"""The table of rows to find features for: ``place``, ``asked`` and the key columns ``k0``, ``k1``, …"""

SQL_TYPES: Final[Mapping[ValueType, str]] = {
    "INT32": "int8",
    "INT64": "int8",
    "FLOAT": "float8",
    "DOUBLE": "float8",
    "STRING": "text",
    "BOOL": "bool",
    "UNIX_TIMESTAMP": "timestamptz",
}
"""What values are cast to."""

_COLLATION = {"postgresql": ' COLLATE "C"', "duckdb": ""}


@dataclass(frozen=True)
class History:
    """Where the values of a view were, as SQL.

    Parameters
    ----------
    view : View
        What is taken.
    dialect : str
        ``postgresql`` or ``duckdb``.
    source : str
        What stands after FROM.
    spine_keys : tuple of str
        The columns of the spine that find the entity, in the order of the view's keys.
    table : str
        Name of the temporary table, for a merge.
    moment : str
        Event time, of the alias ``h``.
    created : str
        Created time likewise; the event time where there is none.
    """

    view: View
    dialect: str
    source: str
    spine_keys: tuple[str, ...]
    table: str
    moment: str
    created: str

    @property
    def source_keys(self) -> tuple[str, ...]:
        """The key columns of the source, of the alias ``h``."""
        return tuple(f"h.{identifier(self.view.source.key_column(key))}" for key in self.view.keys)


def create_spine(types: Sequence[ValueType]) -> str:
    """Return the statement that makes the table of rows, with keys of these types."""
    keys = "".join(f", k{n} {SQL_TYPES[type_]}" for n, type_ in enumerate(types))
    return f"CREATE TEMP TABLE {SPINE} (place int8, asked timestamptz{keys})"


def create_history(history: History) -> str:
    """Return the statement that makes the table of a view's history."""
    keys = [f"k{n} {SQL_TYPES[key.value_type]}" for n, key in enumerate(history.view.keys)]
    values = [f"f{n} {SQL_TYPES[each.value_type]}" for n, each in enumerate(history.view.features)]
    columns = ", ".join(["number int8", *keys, "moment timestamptz", "known timestamptz", *values])
    return f"CREATE TEMP TABLE {history.table} ({columns})"


def fill_history(history: History, first: datetime, last: datetime) -> str:
    """Return the statement that numbers what rows between two moments may see.

    The order is that in which values win within a key: event, created, then the values themselves.
    """
    keys = [f"k{n}" for n, _ in enumerate(history.view.keys)]
    values = [f"f{n}" for n, _ in enumerate(history.view.features)]
    same = " AND ".join(f"s.{mine} = typed.k{n}" for n, mine in enumerate(history.spine_keys))
    wins = _listed(*keys, "moment", "created", *_ties(history, "NULLS FIRST"))
    return (
        f"INSERT INTO {history.table} "  # noqa: S608 - names are quoted
        f"SELECT row_number() OVER (ORDER BY {wins}), "
        f"{_listed(*keys, 'moment', 'greatest(moment, created)', *values)} "
        f"FROM ({_typed(history)}) AS typed "
        f"WHERE moment <= {_instant(last)} AND created <= {_instant(last)}"
        f"{_held(history, 'moment', _instant(first))} "
        f"AND EXISTS (SELECT 1 FROM {SPINE} AS s WHERE {same})"
    )


def merge(history: History) -> str:
    """Return the query that finds what each row sees in a history that was numbered."""
    mine, theirs = _listed(*history.spine_keys), _listed(*(f"k{n}" for n, _ in enumerate(history.view.keys)))
    values = [f"h.f{n}" for n, _ in enumerate(history.view.features)]
    timeline = (
        f"SELECT {theirs}, known AS asked, number, CAST(NULL AS int8) AS place FROM {history.table} "  # noqa: S608
        f"UNION ALL SELECT {mine}, asked, CAST(NULL AS int8), place FROM {SPINE} "
        f"WHERE {_filled(history.spine_keys)}"
    )
    return (
        f"SELECT {_listed('seen.place', 'h.known', *values)} "  # noqa: S608
        f"FROM (SELECT place, asked, max(number) OVER (PARTITION BY {theirs} ORDER BY asked) AS number "
        f"FROM ({timeline}) AS timeline) AS seen "
        f"JOIN {history.table} AS h ON h.number = seen.number "
        f"WHERE seen.place IS NOT NULL{_held(history, 'h.moment', 'seen.asked')}"
    )


def lookup(history: History, *, is_unique: bool) -> str:
    """Return the query that looks up what each row sees, by an index of the source.

    Parameters
    ----------
    history : History
        The view and its source.
    is_unique : bool
        Whether event and created time tell the rows of a key apart, and neither is ever missing.
    """
    event = f"h.{identifier(history.view.source.timestamp_column)}"
    created = history.view.source.created_column
    # bare columns, where they do, let the index give the order too
    order = (
        [event, f"h.{identifier(created)}" if created else event] if is_unique else [event, history.created]
    )
    same = " AND ".join(
        f"{theirs} = s.{mine}" for theirs, mine in zip(history.source_keys, history.spine_keys, strict=True)
    )
    newest = [f"{column} DESC" for column in dict.fromkeys(order)]
    ties = [] if is_unique else _ties(history, "DESC NULLS LAST", from_source=True)
    values = [f"v.f{n}" for n, _ in enumerate(history.view.features)]
    known = f"greatest({history.moment}, {history.created}) AS known"
    return (
        f"SELECT {_listed('s.place', 'v.known', *values)} "  # noqa: S608
        # neighbours in the index one after the other
        f"FROM (SELECT * FROM {SPINE} WHERE {_filled(history.spine_keys)} "
        f"ORDER BY {_listed(*history.spine_keys, 'asked')}) AS s "
        f"CROSS JOIN LATERAL (SELECT {_listed(known, *_values(history))} FROM {history.source} AS h "
        f"WHERE {same} AND {event} <= s.asked AND {order[1]} <= s.asked{_held(history, event, 's.asked')} "
        f"ORDER BY {_listed(*newest, *ties)} LIMIT 1) AS v"
    )


def _values(history: History) -> list[str]:
    return [
        f"h.{identifier(feature.source_column)}::{SQL_TYPES[feature.value_type]} AS f{n}"
        for n, feature in enumerate(history.view.features)
    ]


def _ties(history: History, order: str, *, from_source: bool = False) -> list[str]:
    ties = []
    for n, feature in enumerate(history.view.features):
        type_ = SQL_TYPES[feature.value_type]
        name = f"h.{identifier(feature.source_column)}::{type_}" if from_source else f"f{n}"
        ties.append(f"({name}){_COLLATION[history.dialect] if type_ == 'text' else ''} {order}")
    return ties


def _filled(columns: Sequence[str]) -> str:
    return " AND ".join(f"{column} IS NOT NULL" for column in columns)


def _held(history: History, moment: str, asked: str) -> str:
    return "" if history.view.ttl_s is None else f" AND {moment} >= {asked} - {_span(history.view.ttl_s)}"


def _span(seconds: float) -> str:
    return f"INTERVAL '{round(seconds * 1_000_000)} microseconds'"


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.astimezone(UTC).isoformat()}'"


def _listed(*columns: str) -> str:
    return ", ".join(columns)


def latest(history: History, until: datetime, since: datetime | None) -> str:
    """Return the query of the values that hold at a moment, of each entity about which something came since.

    Its columns are the keys, ``moment``, ``created`` and the features.

    Parameters
    ----------
    history : History
        The view and its source.
    until : datetime
        The moment; what was not known by then is not there.
    since : datetime or None
        An entity is left out where nothing became known after it.
    """
    keys = [f"k{n}" for n, _ in enumerate(history.view.keys)]
    values = [f"f{n}" for n, _ in enumerate(history.view.features)]
    wins = _listed("moment DESC", "created DESC", *_ties(history, "DESC NULLS LAST"))
    ranked = (
        f"SELECT *, row_number() OVER (PARTITION BY {_listed(*keys)} ORDER BY {wins}) AS place, "  # noqa: S608
        f"max(greatest(moment, created)) OVER (PARTITION BY {_listed(*keys)}) AS known "
        f"FROM ({_typed(history)}) AS typed "
        f"WHERE moment <= {_instant(until)} AND created <= {_instant(until)}"
        f"{_held(history, 'moment', _instant(until))} AND {_filled(keys)}"
    )
    news = "" if since is None else f" AND known > {_instant(since)}"
    return (
        f"SELECT {_listed(*keys, 'moment', 'created', *values)} "  # noqa: S608
        f"FROM ({ranked}) AS ranked WHERE place = 1{news}"
    )


def _typed(history: History) -> str:
    keys = [
        f"{column}::{SQL_TYPES[key.value_type]} AS k{n}"
        for n, (key, column) in enumerate(zip(history.view.keys, history.source_keys, strict=True))
    ]
    clocks = [f"{history.moment} AS moment", f"{history.created} AS created"]
    return f"SELECT {_listed(*keys, *clocks, *_values(history))} FROM {history.source} AS h"  # noqa: S608
