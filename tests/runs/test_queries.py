"""A training whose table is a query: what is read, what is refused before, and what the run keeps of it."""

from __future__ import annotations

import csv
import json
import sqlite3

import pytest
from tests.tables import recipe, write_mixed

CONFIG = """
environment: {{name: q}}
mlflow: {{tracking_uri: "sqlite:///mlruns/mlflow.db"}}
data_source: {{adapter_type: sql, config: {{connection_uri: "{uri}"}}}}
"""
FEATURES = '"age (years)" AS age, "income [€]" AS income, city, label'


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    with sqlite3.connect("shop.db") as connection:
        typed = [f'"{name}" REAL' if "age" in name or "income" in name else f'"{name}"' for name in header]
        connection.execute(f"CREATE TABLE people ({', '.join(typed)})")
        cells = [[cell or None for cell in row] for row in rows]
        connection.executemany(f"INSERT INTO people VALUES ({', '.join('?' * len(header))})", cells)
    connection.close()
    (tmp_path / "c.yaml").write_text(CONFIG.format(uri="sqlite:///shop.db"))
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql/people.sql.j2").write_text(
        f"SELECT {FEATURES} FROM people\nWHERE income > {{{{ least }}}}"
        "{% if cities is defined %} AND city IN {{ cities }}{% endif %}"
    )
    (tmp_path / "r.yaml").write_text(
        recipe(
            "people",
            "classification",
            "xgboost.XGBClassifier",
            "sql/people.sql.j2",
            "label",
            values={"n_estimators": 5},
        )
    )
    return tmp_path


def test_a_query_trains_and_the_run_can_ask_it_again(project, mmp):
    trained = mmp("train", "-c", "c.yaml", "-r", "r.yaml", "-p", '{"least": 1000}', "--json")
    assert trained.code == 0, trained.err
    (kept,) = project.glob("mlruns/**/query.json")
    query = json.loads(kept.read_text())
    assert query["statement"].endswith("WHERE income > ?1")
    assert (query["parameters"], query["values"]) == ({"least": 1000}, [1000])
    assert query["template"] == (project / "sql/people.sql.j2").read_text()
    run = trained.json["run_id"]
    assert trained.json["source"] == "sql/people.sql.j2"
    values = '{"least": 2000, "cities": ["Köln", "東京"]}'
    again = mmp(
        "evaluate", "-c", "c.yaml", "--run-id", run, "-d", "sql/people.sql.j2", "-p", values, "--json"
    )
    assert again.code == 0, again.err
    with sqlite3.connect("shop.db") as connection:
        where = "\"income [€]\" > 2000 AND city IN ('Köln', '東京')"
        expected = connection.execute(f"SELECT count(*) FROM people WHERE {where}").fetchone()[0]
    connection.close()
    assert again.json["n_rows"] == expected
    predicted = mmp(
        "predict", "-c", "c.yaml", "--run-id", run, "--input", "sql/people.sql.j2", "-p", values, "--json"
    )
    assert len(predicted.json["predictions"]) == expected


def test_validate_renders_and_reads(project, mmp):
    words = ("validate", "-c", "c.yaml", "-r", "r.yaml")
    assert mmp(*words, "-p", '{"least": 1000}').code == 0
    assert mmp(*words, "--no-data", "-p", '{"least": 1000}').code == 0
    assert "'least' (line 2) has no value" in mmp(*words, "--no-data", "--json").error["message"]
    said = mmp(*words, "-p", '{"lest": 1000}', "--json")
    assert (said.code, said.error["hint"]) == (2, "Did you mean 'least'?")
    assert mmp(*words, "-p", "least=3", "--json").error["message"].startswith("-p is no JSON")
    twice = mmp(*words, "-p", '{"least": 1, "least": 2}', "--json").error["message"]
    assert twice == "-p is not clear: the key 'least' stands twice in one object."
    assert mmp(*words, "-p", "[1]", "--json").error["message"] == "-p is no JSON object."


def test_plan_shows_what_is_sent(project, mmp):
    words = ("plan", "-c", "c.yaml", "-r", "r.yaml", "-p", '{"least": 1000}')
    assert mmp(*words, "--json").json["query"]["values"] == [1000]
    assert "WHERE income > ?1" in mmp(*words).out


def test_a_file_is_a_file_under_any_config(project, mmp):
    (project / "select_from_users.csv").write_bytes((project / "t.csv").read_bytes())
    words = ("validate", "-c", "c.yaml", "-r", "r.yaml", "-d", "select_from_users.csv")
    assert mmp(*words).code == 0
    refused = mmp(*words, "-p", "{}", "--json")
    assert (refused.code, refused.error["message"]) == (
        2, "-p sets the variables of a query, and select_from_users.csv is none.",
    )  # fmt: skip


def test_a_query_needs_a_database(project, mmp):
    (project / "c.yaml").write_text("environment: {name: q}\n")
    refused = mmp("train", "-c", "c.yaml", "-r", "r.yaml", "-p", '{"least": 1}', "--json")
    assert refused.code == 2
    assert "A query needs a database" in refused.error["message"]
    assert not (project / "mlruns").exists()
