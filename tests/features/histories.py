"""Histories as they are in the wild, the stores that keep them, and what a join must make of them, in plain Python.

`oracle` reads the definition of the join word by word: it looks at every value of the history for every row.
"""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi
from hypothesis import strategies as st

from mmp.features.references import Feature, FeatureSet, JoinKey, Source, View
from mmp.settings.stores import FeatureStore

START = dt.datetime(2025, 3, 30, tzinfo=dt.UTC)
STEP = dt.timedelta(minutes=10)
TTL = dt.timedelta(hours=1)
TTLS = (None, TTL.total_seconds(), 0.5)
INSTANT = pa.timestamp("us", "UTC")

PAIRS = View(
    "pairs",
    (JoinKey("a", "a", "INT64"), JoinKey("b", "the b", "INT64")),
    (
        Feature("n", "n", "n", "INT64"),
        Feature("x", "x", "x value", "DOUBLE"),
        Feature("r", "r", "r", "FLOAT"),
        Feature("word", "word", "word", "STRING"),
        Feature("flag", "flag", "flag", "BOOL"),
        Feature("since", "since", "since", "UNIX_TIMESTAMP"),
    ),
    TTL.total_seconds(),
    Source("file", "", "happened", "created at"),
)
PEOPLE = View(
    "people",
    (JoinKey("who", "who", "STRING"),),
    (Feature("score", "score", "score", "INT32"), Feature("people__word", "word", "word", "STRING")),
    None,
    Source("file", "", "ts", None, key_columns={"who": "person"}),
)
TYPES = {
    "INT32": pa.int32(), "INT64": pa.int64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(),
    "STRING": pa.string(), "BOOL": pa.bool_(), "UNIX_TIMESTAMP": pa.timestamp("us", "UTC"),
}  # fmt: skip
SQL_TYPES = {
    "INT32": "int4", "INT64": "int8", "FLOAT": "float4", "DOUBLE": "float8", "STRING": "text", "BOOL": "bool",
    "UNIX_TIMESTAMP": "timestamptz",
}  # fmt: skip
VALUES = {
    "INT32": st.integers(-3, 3),
    "INT64": st.sampled_from([0, 1, -1, 2**53 + 1, -(2**63), 2**63 - 1]),
    "FLOAT": st.sampled_from([0.0, 0.1, -1.5, 3.4e38]),
    "DOUBLE": st.sampled_from([0.0, 0.1, -1e300, float("inf")]),
    "STRING": st.sampled_from(["", "a", "B", "Ä", "b c", "東京"]),
    "BOOL": st.booleans(),
    "UNIX_TIMESTAMP": st.sampled_from(
        [dt.datetime(1969, 12, 31, 23, 59, 58, 300_000, dt.UTC), START + dt.timedelta(microseconds=999_999)]
    ),
}
KEYS = {
    "INT64": st.sampled_from([1, 12, 23, 3, 123]),
    "STRING": st.sampled_from(["ann", "Ann", "ann ", "12"]),
}


@dataclass(frozen=True)
class World:
    """Rows to find features for, and the history of each view: one dict a row."""

    spine: list[dict]
    histories: dict[str, list[dict]]
    views: tuple[View, ...] = (PAIRS, PEOPLE)
    time_type: pa.DataType = field(default_factory=lambda: pa.timestamp("us", "UTC"))

    @property
    def features(self):
        return FeatureSet("test", 3, self.views, timestamp_column="when")

    def rows(self, time_type=INSTANT):
        """Return the spine as a table, with a column that nobody asks for."""
        keys = {key.column: TYPES[key.value_type] for view in self.views for key in view.keys}
        return pa.table(
            {
                "id": pa.array(np.arange(len(self.spine))),
                **{name: pa.array([row[name] for row in self.spine], type_) for name, type_ in keys.items()},
                "when": times([row["when"] for row in self.spine], time_type),
            }
        )

    def history(self, view):
        """Return the history of a view as a table."""
        source, rows = view.source, self.histories[view.name]
        columns = {source.key_column(key): TYPES[key.value_type] for key in view.keys}
        columns |= {each.source_column: TYPES[each.value_type] for each in view.features}
        clocks = [name for name in (source.timestamp_column, source.created_column) if name]
        return pa.table(
            {name: pa.array([row[name] for row in rows], type_) for name, type_ in columns.items()}
            | {name: times([row[name] for row in rows], self.time_type) for name in clocks}
        )


def times(moments, type_):
    """Return moments in any type of time; without a zone they are in UTC."""
    return pa.array(moments, pa.timestamp("us", "UTC")).cast(type_)


@st.composite
def worlds(draw, ttls=TTLS):
    """Draw a world small enough that everything collides with everything."""
    views = tuple(replace(view, ttl_s=draw(st.sampled_from(ttls))) for view in (PAIRS, PEOPLE))
    spine = draw(st.lists(_spine_row(views), max_size=8))
    spine += draw(st.lists(st.sampled_from(spine), max_size=3)) if spine else []
    histories = {view.name: draw(st.lists(_history_row(view), max_size=20)) for view in views}
    kinds = [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("us", "Asia/Seoul")]
    return World(spine, histories, views, draw(st.sampled_from(kinds)))


def moments():
    """Instants on a grid, so that they tie and meet the edge of the TTL, and a microsecond beside it."""
    return st.builds(
        lambda step, off: START + step * STEP + dt.timedelta(microseconds=off),
        st.integers(0, 12),
        st.sampled_from([0, 0, 0, 0, 1, -1]),
    )


def _spine_row(views):
    keys = {key.column: key.value_type for view in views for key in view.keys}
    return st.fixed_dictionaries(
        {name: st.none() | KEYS[type_] for name, type_ in keys.items()} | {"when": st.none() | moments()}
    )


def _history_row(view):
    source = view.source
    known = {source.key_column(key): st.none() | KEYS[key.value_type] for key in view.keys}
    known |= {each.source_column: st.none() | VALUES[each.value_type] for each in view.features}
    clocks = {source.timestamp_column: st.none() | moments()}
    if source.created_column:
        clocks[source.created_column] = st.none() | moments()
    return st.fixed_dictionaries(known | clocks)


# ── what is right ───────────────────────────────────────────────────────────


def oracle(world):
    """Return, by feature, what each row must get, and by view, which rows must find something."""
    columns, found = {}, {}
    for view in world.views:
        seen = [_seen(row, view, world.histories[view.name]) for row in world.spine]
        found[view.name] = [each is not None for each in seen]
        for feature in view.features:
            columns[feature.name] = [
                None if each is None else _kept(each[feature.source_column], feature.value_type)
                for each in seen
            ]
    return columns, found


def _seen(row, view, history):
    source, when = view.source, row["when"]
    if when is None or any(row[key.column] is None for key in view.keys):
        return None
    held = []
    for past in history:
        event = past[source.timestamp_column]
        created = (past[source.created_column] if source.created_column else None) or event
        if (
            all(past[source.key_column(key)] == row[key.column] for key in view.keys)
            and event is not None
            and event <= when
            and created <= when
            and (view.ttl_s is None or event >= when - dt.timedelta(seconds=view.ttl_s))
        ):
            held.append(((event, created, _rank(past, view)), past))
    return max(held, key=lambda each: each[0])[1] if held else None


def _rank(past, view):
    values = [past[feature.source_column] for feature in view.features]
    return [(value is not None, _comparable(value)) for value in values]


def _comparable(value):
    if isinstance(value, str):
        return value.encode()
    return value.timestamp() if isinstance(value, dt.datetime) else value or 0


def _kept(value, type_):
    if value is None or value == "":
        return None
    if type_ == "FLOAT":
        return float(np.float32(value))
    if type_ == "UNIX_TIMESTAMP":
        return dt.datetime.fromtimestamp(int(value.timestamp()), dt.UTC)
    return value


# ── the stores that keep it ─────────────────────────────────────────────────


def file_store(repo_path=None):
    """Return the settings of Feast's file store."""
    feast = {"project": "test", "repo_path": repo_path, "offline_store": {"type": "file"}}
    return FeatureStore.model_validate({"provider": "feast", "feast_config": feast})


def to_files(world, folder):
    """Write the histories as Parquet files; return the world whose views read them."""
    views = []
    for view in world.views:
        path = folder / f"{view.name}.parquet"
        pq.write_table(world.history(view), path)
        views.append(replace(view, source=replace(view.source, kind="file", location=str(path))))
    return replace(world, views=tuple(views))


def postgres_store(server, *, reader=True):
    """Return the settings of Feast's PostgreSQL store, for the role that may only read."""
    uri = server.reader_uri if reader else server.uri
    user, password = uri.removeprefix("postgresql://").partition("@")[0].split(":")
    offline = {
        "type": "postgres", "host": server.host, "port": server.port, "database": server.db, "user": user,
        "password": password, "db_schema": "features",
    }  # fmt: skip
    feast = {"project": "test", "offline_store": offline}
    return FeatureStore.model_validate({"provider": "feast", "feast_config": feast})


def to_postgres(world, server, prefix, *, index=None):
    """Write the histories as tables; return the world whose views read them.

    `index` is None, "keys" (event time after the keys) or "unique" (created time too, nothing null), which only
    histories without ties and gaps can have.
    """
    views = []
    with closing(dbapi.connect(server.uri)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("SET timezone = 'UTC'")
        for view in world.views:
            name = f"{prefix}_{view.name}"
            rows = world.history(view)
            _create(cursor, name, view, "timestamptz" if world.time_type.tz else "timestamp", index)
            cursor.adbc_ingest(name, rows, mode="append", db_schema_name="features")
            cursor.execute(f'ANALYZE features."{name}"')
            location = f'features."{name}"'
            views.append(replace(view, source=replace(view.source, kind="postgres", location=location)))
        connection.commit()
    return replace(world, views=tuple(views))


def _create(cursor, name, view, time_type, index):
    source = view.source
    keys = [source.key_column(key) for key in view.keys]
    clocks = [each for each in (source.timestamp_column, source.created_column) if each]
    types = {source.key_column(key): SQL_TYPES[key.value_type] for key in view.keys}
    types |= {each.source_column: SQL_TYPES[each.value_type] for each in view.features}
    types |= dict.fromkeys(clocks, time_type)
    filled = {*keys, *clocks} if index == "unique" else set()
    columns = ", ".join(
        f'"{column}" {type_}{" NOT NULL" if column in filled else ""}' for column, type_ in types.items()
    )
    cursor.execute(f'DROP TABLE IF EXISTS features."{name}"')
    cursor.execute(f'CREATE TABLE features."{name}" ({columns})')
    if index:
        ordered = [*keys, *(clocks if index == "unique" else clocks[:1])]
        listed = ", ".join(f'"{column}"' for column in ordered)
        unique = "UNIQUE " if index == "unique" else ""
        cursor.execute(f'CREATE {unique}INDEX ON features."{name}" ({listed})')


def unique(world):
    """Return a world whose histories have no gaps in keys and times, and no ties."""
    histories = {}
    for view in world.views:
        source = view.source
        names = [source.key_column(key) for key in view.keys]
        names += [each for each in (source.timestamp_column, source.created_column) if each]
        rows = {tuple(row[name] for name in names): row for row in world.histories[view.name]}
        histories[view.name] = [row for key, row in rows.items() if None not in key]
    return replace(world, histories=histories)
