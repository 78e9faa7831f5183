"""Every row of the catalog, trained from a recipe on a table as users have them; a new row is tested unasked."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pytest
from tests.runs.test_reload import FRESH
from tests.tables import KEY, recipe, write_mixed

from mmp.catalog.models import MODELS
from mmp.data import files
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

ROWS = list(MODELS.values())
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
TABLES = {"classification": "awkward", "regression": "value"}
N_ROWS = 160
PLAIN = ("evaluation: {plots: false, explain: {enabled: false}}",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    for task, labels in TABLES.items():
        write_mixed(folder / f"{task}.csv", labels, n_rows=N_ROWS)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """Train every row on three classes or on numbers, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = {}
        for row in ROWS:
            rounds = row.rounds_param or ("n_estimators" if "n_estimators" in row.parameters else None)
            values = {rounds: 5} if rounds else {}
            more = {"entities": [KEY], "values": values, "lines": PLAIN}
            text = recipe(row.name, row.task, row.class_path, f"{row.task}.csv", "label", **more)
            (folder / "r.yaml").write_text(text)
            made[row.name] = train(load_recipe("r.yaml"), load_config()).run_id
    return made


@pytest.fixture(scope="module")
def bundles(folder, runs):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {name: load_model(run, load_config().value).bundle for name, run in runs.items()}


@pytest.fixture(scope="module")
def fresh(folder, runs):
    """Predict through MLflow in processes of their own."""
    answers = {}
    for task in TABLES:
        asked = [runs[row.name] for row in ROWS if row.task == task]
        command = [sys.executable, "-c", FRESH, f"{task}.csv", *asked]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
        answers |= json.loads(done.stdout)
    return answers


def table_of(folder, row):
    return files.read(str(folder / f"{row.task}.csv")).arrow


@every_row
def test_it_answers_the_same_in_a_fresh_process(row, folder, runs, bundles, fresh):
    assert fresh[runs[row.name]] == bundles[row.name].predict(table_of(folder, row)).records()


@every_row
def test_labels_are_the_users(row, folder, bundles):
    answers = {record["prediction"] for record in bundles[row.name].predict(table_of(folder, row)).records()}
    if row.task == "classification":
        assert answers <= {"<=50K", ">50K", "n/a?"}
    else:
        assert {type(answer) for answer in answers} == {float}


@every_row
def test_the_order_of_columns_and_the_number_of_rows_do_not_matter(row, folder, bundles):
    table = table_of(folder, row)
    expected = bundles[row.name].predict(table).records()
    turned = table.select(table.column_names[::-1])
    assert bundles[row.name].predict(turned).records() == expected
    for start in (0, 7, 100):
        (alone,) = bundles[row.name].predict(table.slice(start, 1)).records()
        assert alone == expected[start]


@every_row
def test_unseen_categories_and_rows_of_nulls_get_an_answer(row, folder, bundles):
    table = table_of(folder, row).slice(0, 4)
    position = table.column_names.index("city")
    unseen = table.set_column(position, "city", pa.chunked_array([["Ürümqi"] * 4]))
    known = set(bundles[row.name].predict(table).records()[0])
    for rows in (unseen, [dict.fromkeys(table.column_names)]):
        assert all(set(record) >= known - {KEY} for record in bundles[row.name].predict(rows).records())
