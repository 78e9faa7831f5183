"""The examples of docs/extending.md, run as they stand."""

from __future__ import annotations

import csv
import inspect
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from tests.docs.blocks import blocks, shell

from mmp.evaluation.metrics import Decisions
from mmp.lookup import resolve

PAGE = "docs/extending.md"
BLOCKS = blocks(PAGE)


def customers(path, n_rows=300):
    rng = np.random.default_rng(3)
    age, visits, income = (
        rng.integers(18, 90, n_rows),
        rng.integers(0, 40, n_rows),
        rng.lognormal(8, 1, n_rows),
    )
    churned = np.where(age / 90 + visits / 40 + rng.random(n_rows) > 1.5, "yes", "no")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "age", "visits", "income", "city", "churned"])
        for row in range(n_rows):
            gap = "" if row % 11 == 0 else f"{income[row]:.2f}"
            writer.writerow([1000 + row, age[row], visits[row], gap, "ABC"[row % 3], churned[row]])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    customers(folder / "data/customers.csv")
    for block in BLOCKS:
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("commands", [block.text for block in BLOCKS if not block.language])
def test_the_commands_run(commands, project, tmp_path_factory):
    done = shell(commands, project, tmp_path_factory.getbasetemp() / "bin")
    if "shop.profit" in commands:
        assert "shop.profit" in done.stdout
        assert "steps_" in done.stdout


def test_what_is_not_trusted_is_refused_with_the_line_that_allows_it(project, tmp_path):
    recipe = (project / "recipes/centroid.yaml").read_text()
    (project / "recipes/strange.yaml").write_text(recipe.partition("package:")[0])
    refused = subprocess.run(
        [sys.executable, "-m", "mmp", "train", "-r", "recipes/strange.yaml"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "shop.SoftCentroid" in refused.stderr
    assert "trust" in refused.stderr


def rows_of_tables():
    found = {}
    for block in BLOCKS:
        if block.language == "python" and not block.file:
            exec(compile(block.text, PAGE, "exec"), found)
    return found


def test_the_row_of_a_model_names_the_parameters_of_its_class():
    row = rows_of_tables()["row"]
    assert row.names | row.reserved == set(inspect.signature(resolve(row.class_path)).parameters) - {"copy_X"}
    assert row.defaults.keys() | row.search_space.keys() <= row.parameters


def test_the_formula_of_a_metric_is_right():
    rng = np.random.default_rng(0)
    truth, decided = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    rows = Decisions(truth, decided, np.eye(3)[decided])
    assert rows_of_tables()["kappa"](rows) == pytest.approx(cohen_kappa_score(truth, decided))
    assert rows_of_tables()["metric"].name == "kappa"
