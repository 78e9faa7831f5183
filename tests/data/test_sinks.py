"""Tables as outputs: each row once, at once, whatever dies on the way."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from contextlib import closing

import psycopg
import pyarrow as pa
import pytest

from mmp.data.sinks import TableWriter, column_types
from mmp.errors import DataError, SettingsError
from mmp.settings.adapters import TableOutput

pytestmark = pytest.mark.infra
TABLE = 'out."odd'
ROWS = pa.table(
    {
        "key": pa.array([9007199254740993, 2, 3]),
        "who's": pa.array(["a", None, "ü\t\\N"]).dictionary_encode(),
        "p": [0.1, None, float("inf")],
        "at": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None, None], pa.timestamp("us", "UTC")),
        "day": pa.array([None, dt.date(2024, 1, 1), None], pa.date32()),
        "yes": [True, False, None],
        "classes": pa.array([["x", "y"], [], None], pa.list_(pa.string())),
    }
)


@pytest.fixture
def connection(postgres):
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as opened:
        opened.execute("DROP SCHEMA IF EXISTS out CASCADE; CREATE SCHEMA out")
        yield opened


def output(postgres, mode, table=TABLE, **more):
    return TableOutput(connection_uri=postgres.uri, table=table, mode=mode, **more)


def write(postgres, mode, rows, key, keys=("key",), finish=True):
    with TableWriter(output(postgres, mode), rows.schema, key=key, keys=keys) as writer:
        for n, batch in enumerate(rows.to_batches(2)):
            writer.write(str(n), [batch])
        if finish:
            writer.finish()
        return writer.n_rows


def rows_of(connection, columns="*"):
    return connection.execute(f'SELECT {columns} FROM out."""odd" ORDER BY key DESC').fetchall()


def leftovers(connection):
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'out' ORDER BY 1"
    ).fetchall()
    return {name for (name,) in found} - {'"odd', "mmp_writes"}


def test_a_table_is_made_with_its_types_and_values(postgres, connection):
    assert write(postgres, "replace", ROWS, "k") == 3
    assert rows_of(connection)[0] == (
        9007199254740993, "a", 0.1, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None, True, ["x", "y"],
    )  # fmt: skip
    assert rows_of(connection, '"who\'s"')[1] == ("ü\t\\N",)
    assert not leftovers(connection)


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_the_same_write_again_changes_nothing(postgres, connection, mode):
    write(postgres, mode, ROWS, "k")
    before = connection.execute('SELECT ctid, * FROM out."""odd"').fetchall()
    with TableWriter(output(postgres, mode), ROWS.schema, key="k", keys=["key"]) as writer:
        assert writer.is_finished
        assert writer.write("0", []) == 2
        assert writer.finish() == 3
    assert connection.execute('SELECT ctid, * FROM out."""odd"').fetchall() == before


def test_another_write(postgres, connection):
    write(postgres, "append", ROWS, "first")
    changed = ROWS.slice(1).set_column(2, "p", pa.array([7.0, 8.0]))
    write(postgres, "append", changed, "second")
    assert [row[0] for row in rows_of(connection, "p")] == [0.1, float("inf"), 8.0, None, 7.0]
    write(postgres, "replace", ROWS, "third")
    assert len(rows_of(connection)) == 3
    connection.execute('ALTER TABLE out."""odd" ADD PRIMARY KEY (key)')
    write(postgres, "upsert", changed, "fourth")
    assert rows_of(connection, "key, p") == [(9007199254740993, 0.1), (3, 8.0), (2, 7.0)]
    assert not leftovers(connection)


def test_rights_survive_a_replacement(postgres, connection):
    write(postgres, "replace", ROWS, "first")
    connection.execute(
        'GRANT SELECT ON out."""odd" TO mlpipeline_reader; GRANT SELECT ON out."""odd" TO PUBLIC'
    )
    rights = "SELECT grantee, privilege_type FROM information_schema.table_privileges WHERE table_name = '\"odd' ORDER BY 1, 2"
    before = connection.execute(rights).fetchall()
    write(postgres, "replace", ROWS, "second")
    assert connection.execute(rights).fetchall() == before


def test_nothing_is_in_place_before_the_end(postgres, connection):
    write(postgres, "replace", ROWS, "k", finish=False)
    assert connection.execute('SELECT to_regclass(\'out."""odd"\')').fetchone() == (None,)
    with TableWriter(output(postgres, "replace"), ROWS.schema, key="k") as writer:
        assert writer.parts == {"0": 2, "1": 1}
        assert writer.write("1", []) == 1
        assert writer.finish() == 3
    assert len(rows_of(connection)) == 3


def test_a_part_that_fails_leaves_nothing(postgres, connection):
    def broken():
        yield ROWS.to_batches()[0]
        raise RuntimeError("no more")

    with TableWriter(output(postgres, "replace"), ROWS.schema, key="k") as writer:
        with pytest.raises((RuntimeError, DataError)):
            writer.write("0", broken())
        assert not writer.parts
        writer.write("0", ROWS.to_batches())
        writer.finish()
    assert len(rows_of(connection)) == 3


KILLED = """
import sys, os, signal, pyarrow as pa
from mmp.data.sinks import TableWriter
from mmp.settings.adapters import TableOutput
rows = pa.table({"key": list(range(1000))})
def dying():
    yield from rows.to_batches(100)[:5]
    os.kill(os.getpid(), signal.SIGKILL)
writer = TableWriter(TableOutput(connection_uri=os.environ["TEST_DB"], table="out.killed", mode="append"), rows.schema, key="k")
writer.write("0", rows.to_batches(100))
writer.write("1", dying())
"""


def test_a_killed_writer_is_gone_on_with(postgres, connection):
    env = {**os.environ, "TEST_DB": postgres.uri}
    died = subprocess.run([sys.executable, "-c", KILLED], env=env, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    rows = pa.table({"key": list(range(1000))})
    # the server gives the lock back when it notices
    for _ in range(100):
        try:
            writer = TableWriter(output(postgres, "append", "out.killed"), rows.schema, key="k")
            break
        except DataError:
            continue
    with writer:
        assert writer.parts == {"0": 1000}
        writer.write("1", rows.to_batches())
        writer.finish()
    assert connection.execute("SELECT count(*) FROM out.killed").fetchone() == (2000,)


@pytest.mark.parametrize("has_parts", [True, False])
def test_what_another_key_left_unfinished_is_removed(postgres, connection, has_parts):
    write(postgres, "append", ROWS, "finished")
    write(postgres, "append", ROWS if has_parts else ROWS.slice(0, 0), "left", finish=False)
    with TableWriter(output(postgres, "append", "out.other"), ROWS.schema, key="left") as writer:
        writer.write("0", ROWS.to_batches())
    assert len(leftovers(connection)) == 2
    with TableWriter(output(postgres, "append"), ROWS.schema, key="finished") as writer:
        assert writer.is_finished
    assert len(leftovers(connection)) == 2, "nothing is written, and so nothing is removed"
    assert write(postgres, "append", ROWS, "new") == 3
    assert len(leftovers(connection)) == 1
    assert len(rows_of(connection)) == 6
    assert write(postgres, "append", ROWS, "finished") == 3
    assert len(rows_of(connection)) == 6, "what was finished is not written twice"
    with TableWriter(output(postgres, "append", "out.other"), ROWS.schema, key="left") as writer:
        assert writer.parts == {"0": 3}
        writer.finish()
    assert leftovers(connection) == {"other"}


def test_two_writers_of_one_table(postgres, connection):
    with (
        TableWriter(output(postgres, "append"), ROWS.schema, key="a"),
        pytest.raises(DataError, match="Another process is writing"),
    ):
        TableWriter(output(postgres, "append"), ROWS.schema, key="b")


def test_a_write_can_be_discarded(postgres, connection):
    write(postgres, "append", ROWS, "k", finish=False)
    with TableWriter(output(postgres, "append"), ROWS.schema, key="k") as writer:
        writer.discard()
        assert not writer.parts
        writer.write("0", ROWS.to_batches())
        writer.finish()
    assert len(rows_of(connection)) == 3


def test_what_does_not_fit_is_told(postgres, connection, monkeypatch):
    connection.execute('CREATE TABLE out."""odd" (key bigint NOT NULL)')
    with pytest.raises(DataError, match=r'table out\."odd: .*column .* does not exist'):
        write(postgres, "append", ROWS, "k")
    with pytest.raises(DataError, match="unique or exclusion constraint"):
        write(postgres, "upsert", ROWS.select(["key"]), "k2")
    assert rows_of(connection) == []
    for mode, rows in (("append", ROWS), ("upsert", ROWS.select(["key"]))):  # before the first row
        with pytest.raises(DataError, match=r"does not exist|unique or exclusion constraint") as caught:
            TableWriter(output(postgres, mode), rows.schema, key="k3", keys=["key"])
        assert mode == "append" or "unique index over the entity columns" in caught.value.hint
    assert not leftovers(connection)
    with pytest.raises(SettingsError, match="no column identifies a row"):
        write(postgres, "upsert", ROWS, "k", keys=())
    with pytest.raises(SettingsError, match="does not write to sqlite"):
        TableWriter(TableOutput(connection_uri="sqlite:///a.db", table="t"), ROWS.schema, key="k")
    wrong = postgres.uri.replace(postgres.password, "hunter2")
    with pytest.raises(DataError) as error:
        TableWriter(TableOutput(connection_uri=wrong, table="t"), ROWS.schema, key="k")
    assert "password authentication failed" in error.value.message
    assert "hunter2" not in error.value.message + error.value.hint
    with pytest.raises(DataError, match=r"Column 'x' has the type struct"):
        column_types(pa.schema([("x", pa.struct([("a", pa.int64())]))]))
