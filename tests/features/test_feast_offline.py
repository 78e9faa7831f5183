"""Feast's own joins beside ours: equal where Feast is right, and what it answers where it is not.

`docs/feast-report.md` tells the same with programs to run. A case that Feast mends fails here, and then the report and
this file lose it.
"""

from __future__ import annotations

import datetime as dt
from contextlib import closing

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi

from mmp.features import registry
from mmp.features.offline import join
from mmp.features.registry.opened import opened
from mmp.settings.data import Fetcher
from mmp.settings.stores import FeatureStore

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DEFINITIONS = """
from datetime import timedelta

from feast import Entity, FeatureView, Field
from feast.types import Int64
from feast.value_type import ValueType
{imports}

a = Entity(name="a", join_keys=["a"], value_type=ValueType.INT64)
b = Entity(name="b", join_keys=["b"], value_type=ValueType.INT64)
pairs = FeatureView(
    name="pairs",
    entities=[a, b],
    ttl=timedelta(days=10),
    schema=[Field(name="a", dtype=Int64), Field(name="b", dtype=Int64), Field(name="n", dtype=Int64)],
    source={source},
)
"""
CLOCKS = 'timestamp_field="happened", created_timestamp_column="created"'
FILE = f'FileSource(name="pairs", path="pairs.parquet", {CLOCKS})'
TABLE = f'PostgreSQLSource(name="pairs", table="features.feast_pairs", {CLOCKS})'
POSTGRES = (
    "from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource"
)


class Both:
    """One feature view of two keys in one store, asked by us and by Feast."""

    def __init__(self, folder, offline, keep):
        self._keep = keep
        feast = {
            "project": "pairs",
            "registry": str(folder / "registry.db"),
            "repo_path": str(folder),
            "offline_store": offline,
            "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        }
        self._store = FeatureStore.model_validate({"provider": "feast", "feast_config": feast})
        registry.apply(self._store)
        self._features = registry.resolve(
            Fetcher(features=("pairs:n",), timestamp_column="event_timestamp"), self._store
        )

    def answers(self, history, spine, **options):
        """Return for (a, b, day) of the spine our values, and Feast's in the order of `order`."""
        self._keep(_history(history))
        rows = pa.table(
            {
                "order": np.arange(len(spine)),
                "a": [row[0] for row in spine],
                "b": [row[1] for row in spine],
                "event_timestamp": pa.array(
                    [START + row[2] * DAY for row in spine], pa.timestamp("us", "UTC")
                ),
            }
        )
        ours = join(rows, self._features, self._store).table
        with opened(self._store) as feast:
            asked = rows.to_pandas()
            found = feast.get_historical_features(entity_df=asked, features=["pairs:n"], **options).to_df()
        theirs = [
            (int(row.order), None if pd.isna(row.n) else int(row.n))
            for row in found.sort_values(["order", "n"]).itertuples()
        ]
        return ours["n"].to_pylist(), theirs


def _history(rows):
    columns = list(zip(*rows, strict=True))
    moments = [
        pa.array([START + day * DAY for day in days], pa.timestamp("us", "UTC")) for days in columns[3:]
    ]
    numbers = [pa.array(column, pa.int64()) for column in columns[:3]]
    return pa.table([*numbers, *moments], ["a", "b", "n", "happened", "created"])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Feast's store of files; its other one needs a library that nothing else of ours does."""
    folder = tmp_path_factory.mktemp("file")
    keep = lambda rows: pq.write_table(rows, folder / "pairs.parquet")  # noqa: E731
    keep(_history([(1, 1, 1, 0, 0)]))
    (folder / "definitions.py").write_text(
        DEFINITIONS.format(imports="from feast import FileSource", source=FILE)
    )
    return Both(folder, {"type": "file"}, keep)


@pytest.fixture(scope="module")
def tables(postgres, tmp_path_factory):
    """Feast's PostgreSQL store."""

    def keep(rows):
        with closing(dbapi.connect(postgres.uri)) as connection, closing(connection.cursor()) as cursor:
            cursor.adbc_ingest("feast_pairs", rows, mode="replace", db_schema_name="features")
            connection.commit()

    keep(_history([(1, 1, 1, 0, 0)]))
    folder = tmp_path_factory.mktemp("postgres")
    (folder / "definitions.py").write_text(DEFINITIONS.format(imports=POSTGRES, source=TABLE))
    offline = {
        "type": "postgres", "host": postgres.host, "port": postgres.port, "database": postgres.db,
        "user": postgres.user, "password": postgres.password, "db_schema": "features",
    }  # fmt: skip
    return Both(folder, offline, keep)


def plain():
    """Return a history without ties and late rows, and rows that all find something."""
    random = np.random.default_rng(7)
    history = [
        (a, b, int(random.integers(1, 2**53)), day + 0.25 * (a % 3), day + 0.25 * (a % 3))
        for a in range(1, 10)
        for b in (1, 2)
        for day in range(0, 30, 4)
    ]
    spine = [
        (int(random.integers(1, 10)), int(random.integers(1, 3)), 4 + 26 * random.random())
        for _ in range(200)
    ]
    return history, spine


def _equal(answers):
    ours, theirs = answers
    assert [(order, value) for order, value in enumerate(ours)] == theirs


TIES = [(1, 1, 5, 0, 0), (1, 1, 7, 0, 0)]
LATE = [(1, 1, 5, 0, 0), (1, 1, 7, 1, 9)]
COLLISION = [(1, 23, 123, 0, 0), (12, 3, 312, 0, 0)]


class TestFiles:
    def test_agree_where_nothing_is_special(self, files):
        _equal(files.answers(*plain()))

    def test_feast_loses_rows_whose_values_no_longer_hold(self, files):
        ours, theirs = files.answers([(1, 1, 5, 0, 0)], [(1, 1, 1), (1, 1, 11)])
        assert (ours, theirs) == ([5, None], [(0, 5)])

    def test_feast_sees_what_was_not_known(self, files):
        ours, theirs = files.answers(LATE, [(1, 1, 2)])
        assert (ours, theirs) == ([5], [(0, 7)])


@pytest.mark.infra
class TestTables:
    def test_agree_where_nothing_is_special(self, tables):
        _equal(tables.answers(*plain()))

    def test_agree_at_the_edge_of_the_ttl(self, tables):
        microsecond = 1 / 86_400_000_000
        _equal(tables.answers([(1, 1, 5, 0, 0)], [(1, 1, 10), (1, 1, 10 + 2 * microsecond), (1, 1, 0)]))

    def test_agree_on_late_rows_where_feast_is_told_to_look(self, tables):
        answers = tables.answers(LATE, [(1, 1, 2), (1, 1, 9)], filter_by_created_timestamp=True)
        _equal(answers)
        assert answers[0] == [5, 7]

    def test_feast_sees_what_was_not_known(self, tables):
        ours, theirs = tables.answers(LATE, [(1, 1, 2)])
        assert (ours, theirs) == ([5], [(0, 7)])

    def test_feast_mixes_up_keys_that_read_the_same(self, tables):
        ours, theirs = tables.answers(COLLISION, [(1, 23, 1), (12, 3, 1)])
        assert ours == [123, 312]
        assert theirs != [(0, 123), (1, 312)]

    def test_feast_repeats_rows_at_ties(self, tables):
        ours, theirs = tables.answers(TIES, [(1, 1, 1)])
        assert (ours, theirs) == ([7], [(0, 5), (0, 7)])
