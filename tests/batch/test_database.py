"""Queries as inputs and tables as outputs, in a real PostgreSQL that may go away."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from tests.batch.project import score
from tests.commands import call, finish, start
from tests.servers import new_home
from tests.tables import recipe

from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

pytestmark = pytest.mark.infra

TABLE = """
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop;
CREATE TABLE shop.customers AS SELECT
    9007199254740993 + i AS "Customer id", lpad(i::text, 6, '0') AS code, (i * 7919 % 1000) / 10.0 AS spent,
    CASE WHEN i % 11 > 0 THEN 'city ' || i % 17 END AS city, i % 5 AS visits, (i * 7919 % 1000 > 600)::int AS stays
FROM generate_series(1, {rows}) i;
"""
QUERY = 'SELECT * FROM shop.customers WHERE visits < {{ visits }} ORDER BY "Customer id"'
CONFIG = """\
mlflow: {{tracking_uri: ./mlruns}}
data_source: {{adapter_type: sql, config: {{connection_uri: '{uri}'}}}}
"""
OUTPUT = """\
output:
  inference: {{adapter_type: sql, config: {{connection_uri: '{uri}', table: 'out."odd table', mode: {mode}}}}}
"""
ENTITIES = ["'Customer id'", "code"]


def project(folder, uri, rows):
    """Fill a database, and train a model on a query to it."""
    fill(uri, rows)
    for mode in ("replace", "append", "upsert"):
        (folder / f"{mode}.yaml").write_text(CONFIG.format(uri=uri) + OUTPUT.format(uri=uri, mode=mode))
    (folder / "files.yaml").write_text(CONFIG.format(uri=uri))
    (folder / "rows.sql.j2").write_text(QUERY)
    values = {"n_estimators": 8, "max_depth": 3}
    model, source = "xgboost.XGBClassifier", "rows.sql.j2"
    text = recipe("stays", "classification", model, source, "stays", entities=ENTITIES, values=values)
    (folder / "r.yaml").write_text(text)
    train(load_recipe("r.yaml"), load_config("files.yaml"), parameters={"visits": 3})


def fill(uri, rows):
    with closing(psycopg.connect(uri, autocommit=True)) as connection:
        connection.execute(TABLE.format(rows=rows))
        connection.execute("DROP SCHEMA IF EXISTS out CASCADE; CREATE SCHEMA out")


@pytest.fixture(scope="module")
def folder(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        project(folder, postgres.uri, 3000)
    return folder


@pytest.fixture
def connection(folder, postgres, monkeypatch):
    monkeypatch.chdir(folder)
    fill(postgres.uri, 3000)
    with closing(psycopg.connect(postgres.uri, autocommit=True)) as opened:
        yield opened


@pytest.fixture
def config(monkeypatch):
    return lambda name: monkeypatch.setenv("MMP_CONFIG", f"{name}.yaml")


def rows_of(connection):
    return connection.execute('SELECT * FROM out."""odd table" ORDER BY 1').fetchall()


def rows_in(path):
    return [tuple(row.values()) for row in pq.read_table(path).to_pylist()]


def has_begun():
    """Tell whether a part is done."""
    return any(b"\n" in path.read_bytes() for path in Path(".mmp/batch").glob("*/parts.jsonl"))


def test_the_query_of_the_training_is_asked_again(connection, config, tmp_path):
    config("files")
    score(output=str(tmp_path / "a.parquet"))
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names[:4] == ["Customer id", "code", "prediction", "probability"]
    assert table.num_rows == 1800
    assert table.column("code")[0].as_py() == "000001"
    assert table.column("Customer id")[0].as_py() == 9007199254740994
    assert score(output=str(tmp_path / "b.parquet"), parameters={"visits": 1}).rows == 600


def test_a_query_gives_what_its_rows_in_a_file_give(connection, config, tmp_path):
    config("files")
    score(data="rows.sql.j2", parameters={"visits": 9}, output=str(tmp_path / "a.parquet"), part_rows=700)
    copied = connection.execute(QUERY.replace("{{ visits }}", "9")).fetchall()
    names = ("Customer id", "code", "spent", "city", "visits", "stays")
    lines = [",".join(names), *(",".join("" if v is None else str(v) for v in row) for row in copied)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    score(data=str(tmp_path / "rows.csv"), output=str(tmp_path / "b.parquet"), part_rows=700)
    assert rows_in(tmp_path / "a.parquet") == rows_in(tmp_path / "b.parquet")


@pytest.mark.parametrize("mode", ["replace", "append", "upsert"])
def test_a_table_gets_every_row_once(connection, config, tmp_path, mode):
    config(mode)
    first = score(part_rows=500)
    assert (first.rows, first.output) == (1800, 'table out."odd table')
    expected = rows_of(connection)
    again = score(part_rows=500)
    assert not again.is_new
    assert rows_of(connection) == expected
    score(output=str(tmp_path / "same.parquet"))
    assert expected == rows_in(tmp_path / "same.parquet")
    types = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'out' "
        "AND table_name = '\"odd table' ORDER BY ordinal_position"
    ).fetchall()
    assert types[:4] == [
        ("Customer id", "bigint"), ("code", "text"), ("prediction", "bigint"), ("probability", "double precision"),
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "rows"), [("replace", 600), ("append", 2400), ("upsert", 1800)])
def test_other_rows_are_added_as_the_mode_says(connection, config, mode, rows):
    config(mode)
    score()
    score(parameters={"visits": 1})
    assert len(rows_of(connection)) == rows


def test_a_killed_batch_goes_on_with_the_rows_that_it_began_with(connection, config, tmp_path, folder):
    config("append")
    command = ("batch-inference", "--run-id", "latest", "--part-rows", "20", "--json")
    process = start(*command, cwd=folder)
    while process.poll() is None and not has_begun():
        pass
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert process.returncode == -signal.SIGKILL
    connection.execute("UPDATE shop.customers SET spent = 0")
    last = call(*command, cwd=folder)
    assert last.code == 0, last.err
    assert last.json["resumed_parts"] > 0
    written = rows_of(connection)
    connection.execute(TABLE.format(rows=3000))
    config("files")
    score(output=str(tmp_path / "same.parquet"))
    assert written == rows_in(tmp_path / "same.parquet")
    assert not list(Path(".mmp/batch").iterdir())


def test_another_input_leaves_nothing_of_the_one_before(connection, config, folder):
    config("replace")
    command = ("batch-inference", "--run-id", "latest", "--part-rows", "20", "--json", "-d", "rows.csv")
    header = "Customer id,code,spent,city,visits\n"
    lines = [f"{n},c{n},{n / 7},city {n % 5},{n % 4}\n" for n in range(4000)]
    Path("rows.csv").write_text(header + "".join(lines))
    process = start(*command, cwd=folder)
    while process.poll() is None and not has_begun():
        pass
    process.send_signal(signal.SIGKILL)
    finish(process)
    Path("rows.csv").write_text(header + "".join(lines[:30]))
    last = call(*command, cwd=folder)
    assert last.code == 0, last.err
    assert "the input changed; it starts over" in last.err
    assert (last.json["rows"], last.json["resumed_parts"]) == (30, 0)
    assert len(rows_of(connection)) == 30
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'out'").fetchall()
    assert {name for (name,) in tables} == {'"odd table', "mmp_writes"}
    runs = connection.execute("SELECT count(DISTINCT run) FROM out.mmp_writes").fetchone()
    assert runs == (1,)


def test_a_table_that_is_no_output_is_replaced_only_when_asked_to(connection, folder):
    made = (folder / "replace.yaml").read_text().replace("'out.\"odd table'", "shop.customers")
    (folder / "onto.yaml").write_text(made)
    command = ("batch-inference", "--run-id", "latest", "-c", "onto.yaml", "--json")
    refused = call(*command, cwd=folder)
    assert refused.code == 2, refused.err
    assert "shop.customers is there already" in refused.error["message"]
    assert "--restart" in refused.error["hint"]
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'shop'").fetchall()
    assert {name for (name,) in tables} == {"customers", "mmp_writes"}
    assert connection.execute("SELECT count(*) FROM shop.customers").fetchone() == (3000,)
    assert call(*command, "--restart", cwd=folder).code == 0
    assert connection.execute("SELECT count(*) FROM shop.customers").fetchone() == (1800,)
    # from now on it is one, and the mode says what becomes of its rows
    lines = [f"{n},c{n},{n},x,{n % 4}\n" for n in range(20)]
    Path("few.csv").write_text("Customer id,code,spent,city,visits\n" + "".join(lines))
    assert call(*command, "-d", "few.csv", cwd=folder).code == 0
    assert connection.execute("SELECT count(*) FROM shop.customers").fetchone() == (20,)


def test_rejected_rows_of_a_table_go_to_a_file(connection, config, folder):
    Path("rows.csv").write_text("Customer id,code,spent,city,visits\n1,a,2.5,x,1\n2,b,much,x,1\n3,c,,x,1\n")
    made = (folder / "replace.yaml").read_text().replace("inference: {", "inference: {on_bad_row: reject, ")
    (folder / "rejecting.yaml").write_text(made)
    config("rejecting")
    result = score(data="rows.csv")
    assert (result.rows, result.rejected) == (2, 1)
    assert [row[0] for row in rows_of(connection)] == [1, 3]
    assert '"row": 1' in Path(result.rejected_output).read_text()


def test_a_database_that_goes_away_is_a_sentence_and_comes_back(tmp_path, monkeypatch):
    home = new_home()
    try:
        home.up("postgres")
        monkeypatch.chdir(tmp_path)
        project(tmp_path, home.postgres.uri, 60_000)
        monkeypatch.setenv("MMP_CONFIG", "append.yaml")
        command = ("batch-inference", "--run-id", "latest", "--part-rows", "500", "--json")
        process = start(*command, cwd=tmp_path)
        while process.poll() is None and not has_begun():
            pass
        home.run("native.py", "down")
        ended = finish(process)
        assert ended.code == 3, ended.err
        assert "again" in ended.error["hint"] or "Check that the database runs" in ended.error["hint"]
        home.up("postgres")
        last = call(*command, cwd=tmp_path)
        assert last.code == 0, last.err
        assert last.json["resumed_parts"] > 0
        with closing(psycopg.connect(home.postgres.uri, autocommit=True)) as connection:
            written = rows_of(connection)
        monkeypatch.setenv("MMP_CONFIG", "files.yaml")
        score(output="same.parquet")
        assert written == rows_in("same.parquet")
    finally:
        home.close()


@pytest.mark.parametrize("target", ["stays", "city"])
def test_sets_of_classes_are_arrays(target, connection, config, tmp_path):
    lines = (
        "  split: {train: 0.6, validation: 0.1, test: 0.1, calibration: 0.2}",
        "evaluation: {plots: false, explain: {enabled: false}, intervals: {coverage: 0.95}}",
    )
    text = recipe(
        "sets", "classification", "xgboost.XGBClassifier", "rows.sql.j2", target,
        entities=ENTITIES, values={"n_estimators": 8, "max_depth": 3}, lines=lines,
    )  # fmt: skip
    Path("sets.yaml").write_text(text)
    run = train(load_recipe("sets.yaml"), load_config("files.yaml"), parameters={"visits": 3})
    config("files")
    score(run.run_id, output=str(tmp_path / "sets.parquet"))
    config("replace")
    score(run.run_id)
    rows = rows_of(connection)
    assert rows == sorted(rows_in(tmp_path / "sets.parquet"))
    assert all(row[2] in row[-1] for row in rows)
