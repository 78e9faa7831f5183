"""SQLite and DuckDB as sources: opened read-only, one type a column, and the same table as from a file."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmp.data import files, sql
from mmp.data.template import render
from mmp.errors import SettingsError, SourceError
from mmp.settings.adapters import Database

UTC = dt.UTC
SLOW = {
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) AS n FROM c",
    "duckdb": "SELECT count(*) AS n FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3",
}


def make(dialect, path, *statements):
    connection = sqlite3.connect(path) if dialect == "sqlite" else duckdb.connect(str(path))
    with closing(connection):
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"{dialect}:///{path}"


def ask(uri, text, *, timeout=60, **values):
    query = render(text, values, uri.partition(":")[0], source="q.sql")
    return sql.read(query, Database(connection_uri=uri, query_timeout=timeout))


@pytest.fixture(params=["sqlite", "duckdb"])
def dialect(request):
    return request.param


@pytest.fixture
def shop(dialect, tmp_path):
    return make(
        dialect, tmp_path / "shop.db",
        "CREATE TABLE orders (id BIGINT, day TIMESTAMP, amount DOUBLE, paid BOOLEAN, word TEXT)",
        "INSERT INTO orders VALUES (9007199254740993, '2024-01-01 10:00:00', 1.5, true, 'a'), "
        "(2, '2024-02-01 00:00:00.5', NULL, false, NULL), (3, NULL, 3, NULL, 'ü')",
    )  # fmt: skip


def test_declared_types(shop):
    table = ask(shop, "SELECT * FROM orders ORDER BY amount")
    assert {spec.name: spec.kind for spec in table.specs} == {
        "id": "integer", "day": "timestamp", "amount": "float", "paid": "boolean", "word": "text",
    }  # fmt: skip
    by_id = {row["id"]: row for row in table.arrow.to_pylist()}
    assert by_id[9007199254740993]["day"] == dt.datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert by_id[2]["day"] == dt.datetime(2024, 2, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert (by_id[2]["paid"], by_id[3]["paid"], by_id[3]["word"]) == (False, None, "ü")


def test_values_are_bound(shop):
    table = ask(
        shop,
        "SELECT id FROM orders WHERE day >= '{{ day }}' AND id IN {{ ids }}",
        day="2024-01-15",
        ids=[2, 3],
    )
    assert table.arrow.to_pylist() == [{"id": 2}]
    with pytest.raises(SourceError, match="has no rows"):
        ask(shop, "SELECT id FROM orders WHERE word = '{{ word }}'", word="x' OR '1'='1")


def test_what_is_no_single_type_is_named(tmp_path):
    uri = make(
        "sqlite",
        tmp_path / "a.db",
        "CREATE TABLE t (a, b, c)",
        "INSERT INTO t VALUES (1, x'00', 1), ('x', x'01', 2.5)",
    )
    with pytest.raises(SourceError) as error:
        ask(uri, "SELECT a, b, c FROM t")
    assert "'a' (integer and text), 'b' (blob)." in error.value.message
    assert "CAST(a AS TEXT)" in error.value.hint
    assert ask(uri, "SELECT c FROM t").arrow.to_pylist() == [{"c": 1.0}, {"c": 2.5}]
    with pytest.raises(SourceError, match=r"'l' \(INTEGER\[\]\), 's' \(STRUCT\(a INTEGER\)\), 'b' \(BLOB\)"):
        ask("duckdb:///:memory:", "SELECT [1] AS l, {'a': 1} AS s, '\\x00'::blob AS b")


def test_a_type_holds_from_the_first_row_to_the_last(tmp_path):
    values = ", ".join("(NULL)" for _ in range(5000))
    uri = make(
        "sqlite",
        tmp_path / "a.db",
        "CREATE TABLE t (a)",
        f"INSERT INTO t VALUES {values}",
        "INSERT INTO t VALUES ('x')",
    )
    assert ask(uri, "SELECT a FROM t").arrow.column("a").null_count == 5000


CELLS = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "t": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
    }
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=1, max_size=20))
def test_the_same_rows_are_the_same_table_from_a_file(tmp_path, dialect, rows):
    schema = pa.schema([("n", pa.int64()), ("f", pa.float64()), ("t", pa.string())])
    # a column of SQLite without a value has no type, and Arrow calls that a column of floats
    rows = [{"n": 1, "f": 0.5, "t": "x"}, *rows]
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "t.parquet")
    path = tmp_path / "same.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path) if dialect == "sqlite" else duckdb.connect(str(path))
    with closing(connection):
        connection.execute("CREATE TABLE t (i INTEGER, n BIGINT, f DOUBLE, t TEXT)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)",
            [(i, row["n"], row["f"], row["t"]) for i, row in enumerate(rows)],
        )
        connection.commit()
    from_query = ask(f"{dialect}:///{path}", "SELECT n, f, t FROM t ORDER BY i")
    from_file = files.read(str(tmp_path / "t.parquet"))
    assert from_query.specs == from_file.specs
    assert from_query.arrow.equals(from_file.arrow)


def test_nothing_is_written(shop, dialect):
    before = ask(shop, "SELECT count(*) AS n FROM orders").arrow.to_pylist()
    query = render("SELECT 1 AS n", {}, dialect)
    for statement in (
        "DELETE FROM orders",
        "INSERT INTO orders VALUES (1, NULL, NULL, NULL, NULL)",
        "ATTACH ':memory:' AS x",
    ):
        sneaked = type(query)("q.sql", dialect, statement, {}, statement)
        with pytest.raises(SourceError):
            sql.read(sneaked, Database(connection_uri=shop))
    assert ask(shop, "SELECT count(*) AS n FROM orders").arrow.to_pylist() == before


def test_what_takes_too_long_is_stopped(shop, dialect, monkeypatch):
    monkeypatch.setattr(sql, "_GRACE_S", -0.5)
    with pytest.raises(SourceError, match=r"no answer within 0\.5 s"):
        ask(shop, SLOW[dialect], timeout=1)


def test_the_file_must_be_there(dialect, tmp_path):
    with pytest.raises(SourceError, match=r"none\.db"):
        ask(f"{dialect}:///{tmp_path}/none.db", "SELECT 1 AS a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["mysql://h/d", "shop.db", "sqlite://", "sqlite:///:memory:"])
def test_other_uris_are_refused(uri):
    with pytest.raises(SettingsError, match="connection_uri"):
        sql.address(uri)


def test_names_stand_once(shop):
    with pytest.raises(SourceError, match="more than one column of the same name: 'a'"):
        ask(shop, "SELECT 1 AS a, 2 AS a")


def test_a_mistake_in_the_query_is_told(shop):
    with pytest.raises(SourceError, match=r"q\.sql: .*amout"):
        ask(shop, "SELECT amout FROM orders")
