"""The join of files: every row gets what the definition says, and nothing is lost on the way."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from tests.features.histories import (
    INSTANT,
    PAIRS,
    PEOPLE,
    START,
    STEP,
    World,
    file_store,
    oracle,
    to_files,
    worlds,
)

from mmp.errors import DataError, FeatureStoreError, MissingColumnsError, SettingsError
from mmp.features.offline import join
from mmp.features.references import Feature, FeatureSet, JoinKey, Source, View

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MICROSECOND = dt.timedelta(microseconds=1)
HOUR = dt.timedelta(hours=1)


def checked(world, store, **more):
    """Join, and hold the answer to the oracle."""
    rows = world.rows()
    joined = join(rows, world.features, store, **more)
    columns, found = oracle(world)
    assert joined.table.select(rows.column_names).equals(rows)
    assert joined.table.column_names == [*rows.column_names, *world.features.names]
    assert {name: joined.table[name].to_pylist() for name in columns} == columns
    assert {name: each.tolist() for name, each in joined.found.items()} == found
    return joined


@EXAMPLES
@given(world=worlds())
def test_joins_files_as_the_definition_says(world, tmp_path):
    joined = checked(to_files(world, tmp_path), file_store())
    kinds = [str(joined.table[name].type) for name in world.features.names]
    text = str(pa.dictionary(pa.int32(), pa.string()))
    assert kinds == ["int64", "double", "double", text, "bool", "timestamp[us, tz=UTC]", "int64", text]


def person(**values):
    return {"person": "ann", "score": 1, "word": "a", "ts": START, **values}


def people(tmp_path, *history, when=(START,), ttl_s=None):
    """Return a world of one person, in files."""
    rows = [{"who": "ann", "when": each} for each in when]
    return to_files(World(rows, {"people": list(history)}, (replace(PEOPLE, ttl_s=ttl_s),)), tmp_path)


def pair(**values):
    blank = dict.fromkeys(("x value", "r", "word", "flag", "since"))
    return {"a": 1, "b": 2, "n": 1, "happened": START, "created at": START, **blank, **values}


def scores(world):
    return join(world.rows(), world.features, file_store()).table["score"].to_pylist()


def test_never_shows_the_future(tmp_path):
    planted = [person(ts=START + n * MICROSECOND, score=999) for n in range(1, 50)]
    world = people(tmp_path, person(), *planted, when=(START - MICROSECOND, START))
    assert scores(world) == [None, 1]


def test_never_shows_what_was_not_known_yet(tmp_path):
    history = [pair(n=1), pair(n=2, **{"happened": START + STEP, "created at": START + 3 * STEP})]
    rows = [{"a": 1, "the b": 2, "when": START + n * STEP} for n in range(5)]
    world = to_files(World(rows, {"pairs": history}, (PAIRS,)), tmp_path)
    joined = join(world.rows(), world.features, file_store())
    assert joined.table["n"].to_pylist() == [1, 1, 1, 2, 2]


def test_holds_until_the_last_instant_of_the_ttl(tmp_path):
    end = START + HOUR
    world = people(tmp_path, person(), when=(end - MICROSECOND, end, end + MICROSECOND), ttl_s=3600.0)
    assert scores(world) == [1, 1, None]


def test_does_not_fall_back_to_a_value_that_is_older_where_the_last_is_null(tmp_path):
    world = people(tmp_path, person(), person(ts=START + STEP, score=None), when=(START + STEP,))
    joined = join(world.rows(), world.features, file_store())
    assert (joined.table["score"].to_pylist(), joined.found["people"].tolist()) == ([None], [True])


def test_rounds_up_times_finer_than_microseconds(tmp_path):
    path = tmp_path / "people.parquet"
    nanoseconds = int(START.timestamp()) * 10**9
    table = pa.table(
        {
            "person": ["ann", "ann"],
            "score": pa.array([1, 2], pa.int32()),
            "word": ["a", "b"],
            "ts": pa.array([nanoseconds, nanoseconds + 1], pa.timestamp("ns", "UTC")),
        }
    )
    pq.write_table(table, path)
    source = replace(PEOPLE.source, location=str(path))
    rows = [{"who": "ann", "when": START}, {"who": "ann", "when": START + MICROSECOND}]
    world = World(rows, {}, (replace(PEOPLE, source=source),))
    assert scores(world) == [1, 2]


def test_reads_rows_without_a_zone_as_utc_and_others_where_they_are(tmp_path):
    world = people(tmp_path, person(), when=(START - MICROSECOND, START))
    for type_ in (pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("us", "America/New_York")):
        assert join(world.rows(type_), world.features, file_store()).table["score"].to_pylist() == [None, 1]


def test_joins_as_of_one_moment(tmp_path):
    world = people(tmp_path, person(), person(ts=START + HOUR, score=2))
    rows = pa.table({"who": ["ann", None, "bob", "ann"]})
    for moment, score in ((START, 1), ((START + HOUR).replace(tzinfo=None), 2), (START - HOUR, None)):
        joined = join(rows, world.features, file_store(), as_of=moment)
        assert joined.table["score"].to_pylist() == [score, None, None, score]


def test_reads_folders_and_globs(tmp_path):
    world = people(tmp_path, person())
    folder = tmp_path / "more" / "2025"
    folder.mkdir(parents=True)
    (tmp_path / "people.parquet").rename(folder / "a.parquet")
    other = World([], {"people": [person(ts=START + STEP, score=2)]}, (PEOPLE,))
    pq.write_table(other.history(PEOPLE).select(["ts", "score", "person", "word"]), folder / "b.parquet")
    for location in ("more", "more/2025/*.parquet", "more/**/*.parquet"):
        view = replace(PEOPLE, source=replace(PEOPLE.source, location=location))
        rows = World([{"who": "ann", "when": START + HOUR}], {}, (view,)).rows()
        joined = join(rows, replace(world.features, views=(view,)), file_store(str(tmp_path)))
        assert joined.table["score"].to_pylist() == [2]


def test_takes_keys_as_other_types_hold_them(tmp_path):
    world = to_files(World([], {"pairs": [pair(n=7)]}, (PAIRS,)), tmp_path)
    for a in (pa.array([1], pa.int16()), pa.array([1.0]), pa.array(["1"])):
        rows = pa.table({"a": a, "the b": [2], "when": pa.array([START], INSTANT)})
        assert join(rows, world.features, file_store()).table["n"].to_pylist() == [7]


def test_agrees_with_an_as_of_join_of_duckdb(tmp_path):
    """A history of one created time a row, large enough that a mistake in the order of sorting shows."""
    random = np.random.default_rng(11)
    n_rows, n_history, micros = 20_000, 40_000, int(START.timestamp()) * 10**6
    history = pa.table(
        {
            "person": random.integers(0, 300, n_history).astype(str),
            "score": pa.array(random.integers(0, 1000, n_history), pa.int32()),
            "word": random.integers(0, 9, n_history).astype(str),
            "ts": pa.array(micros + random.permutation(n_history) * 60_000_000, INSTANT),
        }
    )
    rows = pa.table(
        {
            "who": random.integers(0, 320, n_rows).astype(str),
            "when": pa.array(micros + random.integers(0, n_history, n_rows) * 60_000_000, INSTANT),
            "n": np.arange(n_rows),
        }
    )
    path = tmp_path / "people.parquet"
    pq.write_table(history, path)
    view = replace(PEOPLE, ttl_s=86_400.0, source=replace(PEOPLE.source, location=str(path)))
    features = FeatureSet("test", 3, (view,), timestamp_column="when")
    ours = join(rows, features, file_store()).table
    with duckdb.connect() as connection:
        connection.register("spine", rows)
        connection.register("history", history)
        theirs = connection.sql(
            'SELECT CASE WHEN ts >= "when" - INTERVAL 1 DAY THEN score END::BIGINT AS score FROM spine '
            'ASOF LEFT JOIN history ON who = person AND "when" >= ts ORDER BY n'
        ).to_arrow_table()
    assert ours["score"].to_pylist() == theirs["score"].to_pylist()
    assert 0 < ours["score"].null_count < n_rows


# ── what cannot be joined ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ({"who": ["ann"]}, MissingColumnsError, "'when'"),
        ({"whom": ["ann"], "when": [START]}, MissingColumnsError, "'who' (did you mean 'whom'?)"),
        ({"who": ["ann"], "when": [1]}, DataError, "'when' is integer"),
        ({"who": ["ann"], "when": [START], "score": [1]}, DataError, "already have 'score'"),
        ({"who": [1.5], "when": [START]}, DataError, "'who' cannot be the key"),
    ],
)
def test_refuses_rows_that_do_not_fit(tmp_path, rows, error, words):
    world = people(tmp_path, person())
    with pytest.raises(error) as raised:
        join(pa.table(rows), world.features, file_store())
    assert words in f"{raised.value.message} {raised.value.hint}"


def test_needs_a_moment(tmp_path):
    world = people(tmp_path, person())
    with pytest.raises(SettingsError, match="timestamp_column is missing"):
        join(world.rows(), replace(world.features, timestamp_column=None), file_store())


def test_says_what_a_source_lacks(tmp_path):
    world = people(tmp_path, person())
    pq.write_table(world.history(PEOPLE).rename_columns({"score": "scores"}), tmp_path / "people.parquet")
    with pytest.raises(FeatureStoreError) as raised:
        scores(world)
    assert "no column 'score' (did you mean 'scores'?)" in raised.value.message
    (tmp_path / "people.parquet").write_text("no parquet")
    with pytest.raises(FeatureStoreError, match=r"[Pp]arquet"):
        scores(world)
    (tmp_path / "people.parquet").unlink()
    with pytest.raises(FeatureStoreError, match="No files found"):
        scores(world)


def test_refuses_a_source_of_another_store(tmp_path):
    source = Source("postgres", "people", "ts")
    view = View("v", (JoinKey("k", "k", "INT64"),), (Feature("f", "f", "f", "INT64"),), None, source)
    rows = pa.table({"k": [1], "when": pa.array([START], INSTANT)})
    with pytest.raises(FeatureStoreError, match="of the kind postgres, and the offline store is file"):
        join(rows, FeatureSet("test", 3, (view,), timestamp_column="when"), file_store())
