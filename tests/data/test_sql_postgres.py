"""PostgreSQL as a source: exact types, bounded time, and what is said when it is gone."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from contextlib import closing

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.commands import finish, start
from tests.servers import new_home

from mmp.data import files, sql
from mmp.data.template import render
from mmp.errors import MissingColumnsError, SourceError
from mmp.settings.adapters import Database

pytestmark = pytest.mark.infra
UTC = dt.UTC


def database(uri, **more):
    return Database(connection_uri=uri, **more)


def ask(uri, text, *, read=None, timeout=60, **values):
    query = render(text, values, "postgresql", source="q.sql")
    return sql.read(query, database(uri, query_timeout=timeout), **(read or {}))


@pytest.fixture
def without_adbc(monkeypatch):
    there = sql.is_installed
    monkeypatch.setattr(
        sql, "is_installed", lambda package: package != "adbc_driver_postgresql" and there(package)
    )


@pytest.fixture(params=["adbc", "psycopg"])
def driver(request):
    if request.param == "psycopg":
        request.getfixturevalue("without_adbc")


@pytest.fixture
def connection(postgres):
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as opened:
        yield opened


def backends(connection, name):
    found = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND state = 'active'", [name]
    )
    return [pid for (pid,) in found]


def wait_for(condition):
    """Look until something holds; the test's own time limit is the only other end."""
    beat = threading.Event()
    for _ in range(1000):
        if found := condition():
            return found
        beat.wait(0.01)
    raise AssertionError("it never came")


# ── types ───────────────────────────────────────────────────────────────────


def test_every_type_is_exact(postgres, driver):
    table = ask(
        postgres.uri,
        """SELECT * FROM (VALUES
            (9007199254740993::bigint, 1::smallint, 2::int, 1.5::float8, 0.1::real, 12.34::numeric(10,2),
             true, 'ü'::text, 'ab'::varchar(9), 'x'::char(3), 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid,
             '2024-01-02 03:04:05.678901+09'::timestamptz, '2024-01-02 03:04:05'::timestamp, '2024-01-02'::date,
             NULL::int),
            (NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
        ) t(big, small, n, f, r, num, b, t, v, c, u, tz, ts, d, gone)""",
    )
    kinds = {spec.name: spec.kind for spec in table.specs}
    assert kinds == {
        "big": "integer", "small": "integer", "n": "integer", "f": "float", "r": "float", "num": "float",
        "b": "boolean", "t": "text", "v": "text", "c": "text", "u": "text", "tz": "timestamp", "ts": "timestamp",
        "d": "timestamp", "gone": "integer",
    }  # fmt: skip
    first, second = table.arrow.to_pylist()
    assert first == {
        "big": 9007199254740993, "small": 1, "n": 2, "f": 1.5, "r": pytest.approx(0.1), "num": 12.34, "b": True,
        "t": "ü", "v": "ab", "c": "x  ", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "tz": dt.datetime(2024, 1, 1, 18, 4, 5, 678901, UTC), "ts": dt.datetime(2024, 1, 2, 3, 4, 5, 0, UTC),
        "d": dt.datetime(2024, 1, 2, tzinfo=UTC), "gone": None,
    }  # fmt: skip
    assert set(second.values()) == {None}


def test_an_enum_is_text(postgres, driver, connection):
    connection.execute("DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('low', 'high')")
    table = ask(postgres.uri, "SELECT 'low'::mood AS m WHERE 'low'::mood = '{{ m }}'", m="low")
    assert table.arrow.to_pylist() == [{"m": "low"}]


def test_what_no_table_holds_is_named_with_the_cast(postgres):
    with pytest.raises(SourceError) as error:
        ask(
            postgres.uri,
            """SELECT ARRAY[1] AS a, '{}'::jsonb AS "J", '\\x00'::bytea AS b, interval '1 day' AS i, 1::oid AS o,
            1::money AS m, '12:00'::time AS t, point '1,2' AS p, ROW(1, 2) AS r, 1 AS fine""",
        )
    for named in ("'a' (_int4)", "'J' (jsonb)", "'b' (bytea)", "'i' (interval)", "'o' (oid)", "'m' (money)", "'t' (time)", "'p' (point)", "'r' (record)"):  # fmt: skip
        assert named in error.value.message
    assert "'fine'" not in error.value.message
    assert 'a::text, "J"::text' in error.value.hint


@pytest.mark.parametrize("moment", ["'infinity'::timestamptz", "'-infinity'::timestamp", "'infinity'::date", "'0044-03-15 BC'::date"])  # fmt: skip
def test_a_time_beyond_time_is_refused(postgres, moment):
    with pytest.raises(SourceError, match="column 't' holds infinity, or a time beyond"):
        ask(postgres.uri, f"SELECT {moment} AS t")


CELLS = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False),
        "b": st.none() | st.booleans(),
        "t": st.none()
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
        "at": st.none()
        | st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(UTC)),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=1, max_size=20))
def test_the_same_rows_are_the_same_table_from_a_file(postgres, tmp_path, rows):
    schema = pa.schema([("n", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()), ("t", pa.string()), ("at", pa.timestamp("us", "UTC"))])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "t.parquet")
    with closing(psycopg.connect(postgres.uri)) as connection, connection.transaction():
        connection.execute("DROP TABLE IF EXISTS same; CREATE TABLE same (i serial, n bigint, f float8, b boolean, t text, at timestamptz)")  # fmt: skip
        connection.cursor().executemany("INSERT INTO same (n, f, b, t, at) VALUES (%(n)s, %(f)s, %(b)s, %(t)s, %(at)s)", rows)  # fmt: skip
    from_query = ask(postgres.uri, "SELECT n, f, b, t, at FROM same ORDER BY i")
    from_file = files.read(str(tmp_path / "t.parquet"))
    assert from_query.specs == from_file.specs
    assert from_query.arrow.equals(from_file.arrow)


# ── parameters ──────────────────────────────────────────────────────────────


def test_values_have_the_types_of_literals(postgres, driver):
    table = ask(
        postgres.uri,
        """SELECT pg_typeof({{ n }})::text AS n, pg_typeof({{ big }})::text AS big, pg_typeof({{ f }})::text AS f,
        pg_typeof({{ b }})::text AS b, '{{ t }}' AS t, date '2024-01-30' + {{ n }} AS d,
        timestamptz '2024-01-02' >= '{{ day }}' AS later, 9007199254740993 = {{ exact }} AS exact,
        'a' IN {{ words }} AS known, round(2.345, {{ n }}) AS rounded""",
        n=1, big=2**40, f=0.1, b=True, t="x' UNION SELECT 1 --", day="2024-01-01T00:00:00+00:00",
        exact=9007199254740993, words=["a", "b"],
    )  # fmt: skip
    (row,) = table.arrow.to_pylist()
    assert row == {
        "n": "integer", "big": "bigint", "f": "numeric", "b": "boolean", "t": "x' UNION SELECT 1 --",
        "d": dt.datetime(2024, 1, 31, tzinfo=UTC), "later": True, "exact": True, "known": True, "rounded": 2.3,
    }  # fmt: skip


def test_a_value_that_the_server_cannot_read_is_its_error(postgres):
    with pytest.raises(SourceError, match=r"q\.sql: invalid input syntax for type date"):
        ask(postgres.uri, "SELECT 1 AS a WHERE current_date > '{{ day }}'", day="1' OR '1'='1")


# ── it only reads ───────────────────────────────────────────────────────────


def test_nothing_is_written_whatever_the_query_calls(postgres, driver, connection):
    connection.execute(
        "DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (n int); CREATE SEQUENCE IF NOT EXISTS counter"
    )
    connection.execute("CREATE OR REPLACE FUNCTION sly() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ledger VALUES (1); RETURN 1; END $$")  # fmt: skip
    for call in ("sly()", "nextval('counter')", "set_config('transaction_read_only', 'off', true)"):
        with pytest.raises(SourceError, match=r"read-only|read-write"):
            ask(postgres.uri, f"SELECT {call} AS a")
    assert connection.execute("SELECT count(*) FROM ledger").fetchone() == (0,)


# ── columns ─────────────────────────────────────────────────────────────────


def test_columns_are_chosen_and_missed_by_name(postgres):
    table = ask(postgres.uri, "SELECT 1 AS a, 2 AS b, 3 AS c", read={"columns": ["c", "a"]})
    assert table.names == ("c", "a")
    with pytest.raises(MissingColumnsError, match=r"'d' is not in q\.sql"):
        ask(postgres.uri, "SELECT 1 AS a", read={"columns": ["d"]})
    with pytest.raises(SourceError, match="more than one column of the same name: 'a'"):
        ask(postgres.uri, "SELECT 1 AS a, 2 AS a")
    with pytest.raises(SourceError, match=r"q\.sql has no rows"):
        ask(postgres.uri, "SELECT 1 AS a WHERE false")


def test_an_error_of_the_query_names_its_line(postgres, driver):
    with pytest.raises(SourceError) as error:
        ask(postgres.uri, "SELECT 1 AS a,\n  amout\nFROM (VALUES (1)) t(amount)")
    assert error.value.message == 'q.sql: column "amout" does not exist, line 2 of what was sent.'


# ── streaming ───────────────────────────────────────────────────────────────


def test_rows_come_in_batches_in_their_order(postgres):
    query = render("SELECT i FROM generate_series(1, 300000) i ORDER BY i", {}, "postgresql")
    with sql.stream(query, database(postgres.uri)) as rows:
        assert rows.schema.names == ["i"]
        seen = [batch.column(0) for batch in rows]
    assert rows.n_rows == 300_000
    assert len(seen) > 2
    assert pa.chunked_array(seen).to_pylist() == list(range(1, 300_001))


def test_whoever_stops_reading_stops_the_query(postgres, driver, connection):
    query = render("SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 100000000) i", {}, "postgresql")
    with sql.stream(query, database(postgres.uri), application="mmp stopped") as rows:
        next(iter(rows))
    wait_for(lambda: not backends(connection, "mmp stopped"))


# ── time and failure ────────────────────────────────────────────────────────


def test_the_server_ends_what_takes_too_long(postgres, driver):
    with pytest.raises(SourceError, match="took longer than it may") as error:
        ask(postgres.uri, "SELECT pg_sleep(60)::text AS a", timeout=1)
    assert "query_timeout" in error.value.hint


def test_a_watch_of_our_own_ends_what_the_server_does_not(postgres, driver, connection, monkeypatch):
    monkeypatch.setattr(sql, "_GRACE_S", -0.5)
    with pytest.raises(SourceError, match=r"no answer within 0\.5 s; the query was cancelled"):
        ask(postgres.uri, "SELECT pg_sleep(60)::text AS a", timeout=1, read={"application": "mmp watched"})
    wait_for(lambda: not backends(connection, "mmp watched"))


def test_a_server_that_hangs_is_left(postgres, connection, monkeypatch):
    monkeypatch.setattr(sql, "_GRACE_S", 0.5)
    monkeypatch.setattr("mmp.data.sql.pump._PATIENCE_S", 0.5)
    query = render("SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 10000000) i", {}, "postgresql")
    with sql.stream(query, database(postgres.uri, query_timeout=1), application="mmp frozen") as rows:
        batches = iter(rows)
        next(batches)
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'mmp frozen'")
        (pid,) = found.fetchone()
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(SourceError, match=r"no answer within 1\.5 s"):
                list(batches)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_connection_cut_before_the_first_row_is_opened_again(postgres, driver, connection):
    done = []
    query = "SELECT pg_sleep(0.5)::text AS a, 1 AS n"
    thread = threading.Thread(
        target=lambda: done.append(ask(postgres.uri, query, read={"application": "mmp again"}).n_rows)
    )
    thread.start()
    (pid,) = wait_for(lambda: backends(connection, "mmp again"))
    connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    thread.join(30)
    assert done == [1]


def test_a_connection_cut_in_the_middle_says_how_far_it_came(postgres, connection):
    query = render(
        "SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 10000000) i",
        {},
        "postgresql",
        source="q.sql",
    )
    with sql.stream(query, database(postgres.uri), application="mmp cut") as rows:
        batches = iter(rows)
        next(batches)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mmp cut'"
        )
        with pytest.raises(SourceError, match=r"q\.sql: .* The read ended after [\d,]+ rows\.$"):
            list(batches)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_query_on_the_server(postgres, connection, tmp_path, number):
    (tmp_path / "q.sql").write_text("SELECT pg_sleep(120)::text AS a, 1 AS y")
    (tmp_path / "r.yaml").write_text(
        "name: slow\ntask_choice: regression\nmodel: {class_path: xgboost.XGBRegressor}\n"
        "data: {loader: {source_uri: q.sql}, data_interface: {target_column: y}}\n"
    )
    (tmp_path / "c.yaml").write_text(
        "mlflow: {tracking_uri: 'sqlite:///runs.db'}\n"
        "data_source: {adapter_type: postgresql, config: {connection_uri: '${TEST_DB}'}}\n"
    )
    process = start("train", "-c", "c.yaml", "-r", "r.yaml", cwd=tmp_path, env={"TEST_DB": postgres.uri})
    asked = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'mmp train %' AND state = 'active'"
    wait_for(lambda: connection.execute(asked).fetchall())
    process.send_signal(number)
    ended = finish(process, timeout=30)
    assert ended.code == 130, ended.err
    assert not connection.execute(asked).fetchall()
    assert postgres.password not in ended.out + ended.err


def test_a_failed_connection_says_where_and_why_but_no_password(postgres, driver, monkeypatch):
    monkeypatch.setattr(sql, "RETRY_S", 0.3)
    at = f"{postgres.host}:{postgres.port}"
    cases = {
        f"postgresql://{postgres.user}:hunter2@{at}/{postgres.db}": "password authentication failed",
        f"postgresql+psycopg2://{postgres.user}:{postgres.password}@{at}/nope": 'database "nope" does not exist',
        f"postgres://{postgres.user}:hunter2@{postgres.host}:1/{postgres.db}": "Connection refused",
        f"postgresql://{postgres.user}:hunter2@nowhere.invalid/{postgres.db}": "Name or service not known",
    }
    for uri, cause in cases.items():
        with pytest.raises(SourceError) as error:
            ask(uri, "SELECT 1 AS a")
        said = f"{error.value.message} {error.value.hint}"
        assert cause in said
        assert uri.rpartition("@")[2].partition("/")[0].partition(":")[0] in said
        assert "hunter2" not in said
        assert postgres.password not in said


def test_a_server_that_starts_is_waited_for_and_one_that_dies_is_told():
    home = new_home()
    try:
        home.up("postgres")
        uri = home.postgres.uri
        home.run("native.py", "down")
        thread = threading.Thread(target=home.up, args=("postgres",))
        thread.start()
        assert ask(uri, "SELECT 1 AS a").n_rows == 1
        thread.join()
        query = render(
            "SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 10000000) i", {}, "postgresql"
        )
        with sql.stream(query, database(uri)) as rows:
            batches = iter(rows)
            next(batches)
            (file,) = home.folder.rglob("postmaster.pid")
            pid = int(file.read_text().splitlines()[0])
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(SourceError, match=r"The read ended after [\d,]+ rows"):
                list(batches)
    finally:
        home.close()


def test_which_uris_are_understood():
    names = {
        "postgres://a:b@h/d": "postgresql://h:5432/d",
        "postgresql+psycopg2://a:b@h:1/d?sslmode=disable": "postgresql://h:1/d",
        "postgresql://a:b@[::1]:5/d": "postgresql://[::1]:5/d",
        "sqlite:////tmp/a.db": "sqlite:////tmp/a.db",
        "duckdb:///:memory:": "duckdb in memory",
    }
    for uri, name in names.items():
        assert sql.address(uri).name == name
        assert "a:b" not in repr(sql.address(uri))
