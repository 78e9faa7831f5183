"""A small Feast repository: one project of each store, its definitions, and Parquet files under them."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq

from mmp.settings.stores import FeatureStore

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)


def source(name, **more):
    return FileSource(
        name=name, path=f"{name}.parquet", timestamp_field="happened", created_timestamp_column="created", **more
    )


users = FeatureView(
    name="users",
    entities=[user],
    ttl=timedelta(days=30),
    schema=[
        Field(name="user_id", dtype=Int64),
        Field(name="age", dtype=Int64),
        Field(name="score", dtype=Float32),
        Field(name="city", dtype=String),
        Field(name="premium", dtype=Bool),
        Field(name="since", dtype=UnixTimestamp),
    ],
    source=source("users", field_mapping={"town": "city"}),
)
visits = FeatureView(
    name="visits",
    entities=[user, shop],
    ttl=timedelta(0),
    schema=[
        Field(name="user_id", dtype=Int64),
        Field(name="shop_id", dtype=Int64),
        Field(name="n", dtype=Int64),
        Field(name="city", dtype=String),
    ],
    source=source("visits"),
)
lists = FeatureView(
    name="lists",
    entities=[user],
    schema=[Field(name="user_id", dtype=Int64), Field(name="tags", dtype=Array(String)), Field(name="n2", dtype=Int32)],
    source=source("lists"),
    online=False,
)
buying = FeatureService(name="buying", features=[users[["age", "city"]], visits])
"""


def write_repo(folder, definitions=DEFINITIONS):
    """Write definitions and files; return the settings of the store."""
    folder.mkdir(exist_ok=True)
    (folder / "definitions.py").write_text(definitions)
    write(folder / "users.parquet", users=[1, 2, 3])
    write_visits(folder / "visits.parquet")
    return settings(folder)


def settings(folder, **more):
    """Return the settings of a store in a folder: everything in files."""
    feast = {
        "project": "shop",
        "registry": str(folder / "registry.db"),
        "repo_path": str(folder),
        "offline_store": {"type": "file"},
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        **more,
    }
    return FeatureStore.model_validate({"provider": "feast", "feast_config": feast})


def write(path, users, *, days=0, created_days=0, age=20, extra=()):
    """Write one row a user, and `extra` rows of (user, age, happened, created)."""
    rows = [
        (user, age + user, START + dt.timedelta(days=days), START + dt.timedelta(days=created_days))
        for user in users
    ]
    rows += extra
    n = len(rows)
    table = {
        "user_id": pa.array([row[0] for row in rows], pa.int64()),
        "age": pa.array([row[1] for row in rows], pa.int64()),
        "score": pa.array([0.1] * n, pa.float32()),
        "town": pa.array(["Köln"] * n),
        "premium": pa.array([None] * n, pa.bool_()),
        "since": pa.array([START + dt.timedelta(seconds=1.5)] * n, pa.timestamp("us", "UTC")),
        "happened": pa.array([row[2] for row in rows], pa.timestamp("us", "UTC")),
        "created": pa.array([row[3] for row in rows], pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(table), path)


def write_visits(path):
    """Write visits whose keys read the same one after the other: (1, 23) and (12, 3)."""
    table = {
        "user_id": pa.array([1, 12], pa.int64()),
        "shop_id": pa.array([23, 3], pa.int64()),
        "n": pa.array([123, 2**53 + 1], pa.int64()),
        "city": pa.array(["Bonn", "Ulm"]),
        "happened": pa.array([START] * 2, pa.timestamp("us", "UTC")),
        "created": pa.array([START] * 2, pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(table), path)
