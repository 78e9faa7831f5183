"""What a run shows of its model, and what `mmp explain` says of it afterwards."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.commands import call
from tests.tables import KEY, NO_PICTURES, recipe, write_mixed

MODELS = {
    "text": ("classification", "xgboost.XGBClassifier", {"n_estimators": 5}),
    "awkward": ("classification", "sklearn.linear_model.LogisticRegression", {}),
    "value": ("regression", "catboost.CatBoostRegressor", {"iterations": 5}),
}
CURVES = {"confusion", "roc", "precision_recall", "lift", "reliability"}
OFF = ["--set", "evaluation.plots=false"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for labels, (task, class_path, values) in MODELS.items():
        write_mixed(folder / f"{labels}.csv", labels)
        text = recipe(labels, task, class_path, f"{labels}.csv", "label", entities=[KEY], values=values)
        (folder / f"{labels}.yaml").write_text(
            text.replace(NO_PICTURES, "evaluation: {explain: {max_rows: 20}}")
        )
    return folder


@pytest.fixture(scope="module")
def trained(project):
    known = {}

    def train(labels):
        if labels not in known:
            known[labels] = call(
                "train", "-r", f"{labels}.yaml", "--json", cwd=project, env={"OMP_NUM_THREADS": "1"}
            )
            assert known[labels].code == 0, known[labels].err
        return known[labels].json

    return train


def artifacts(project, result):
    (folder,) = project.glob(f"mlruns/**/{result['run_id']}/artifacts")
    return folder


@pytest.mark.parametrize("labels", MODELS)
def test_a_run_has_its_pictures_and_its_values(labels, project, trained):
    result = trained(labels)
    assert "explain" in result["timings_s"]
    folder = artifacts(project, result)
    names = {path.stem for path in folder.glob("plots/*.png")}
    judged = {"predicted_vs_true", "residuals"} if labels == "value" else CURVES
    assert names == judged | {"importance", "shap_bar", "shap_beeswarm"}
    for path in folder.glob("plots/*.png"):
        with Image.open(path) as image:
            image.verify()
    table = pq.read_table(folder / "explain" / "shap_values.parquet")
    n_scores = 3 if labels == "awkward" else 1
    assert table.num_rows == 20 * n_scores
    summary = json.loads((folder / "explain" / "importance.json").read_text(encoding="utf-8"))
    assert {line["column"] for line in summary["columns"]} <= set(table.column_names)
    assert summary["columns"][0]["column"] in {"age (years)", "income [€]"}


@pytest.mark.parametrize("labels", MODELS)
def test_one_row_adds_up_to_what_is_predicted(labels, project, trained):
    trained(labels)
    run = call("runs", "--json", "--experiment", "mmp", cwd=project).json["runs"]
    run_id = next(row["run_id"] for row in run if row["name"].startswith(f"{labels}_"))
    one = call("explain", "--run-id", run_id, "-d", f"{labels}.csv", "--row", "7", "--json", cwd=project)
    assert one.code == 0, one.err
    found = one.json
    assert found["row"]["position"] == 7
    assert found["n_rows"] == 1
    parts = [line["shap"] for line in found["columns"]]
    prediction = found["row"]["prediction"]
    if labels == "awkward":
        scores = np.array([found["row"]["score"][label] for label in found["of"]])
        sums = [found["row"]["base"][c] + sum(part[c] for part in parts) for c in found["of"]]
        np.testing.assert_allclose(sums, scores)
        assert found["of"][int(scores.argmax())] == prediction["prediction"]
    else:
        total = found["row"]["base"] + sum(parts)
        assert total == pytest.approx(found["row"]["score"])
        says = 1 / (1 + np.exp(-total)) if labels == "text" else total
        assert says == pytest.approx(
            prediction["probability" if labels == "text" else "prediction"], abs=1e-5
        )
    with (project / f"{labels}.csv").open(encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[7]
    values = {line["column"]: line["value"] for line in found["columns"]}
    assert str(values["city"] or "") == row["city"]


def test_a_table_has_a_line_for_each_column(project, trained):
    run_id = trained("awkward")["run_id"]
    outcome = call("explain", "--run-id", run_id, "-d", "awkward.csv", cwd=project)
    assert outcome.code == 0, outcome.err
    header, *lines = outcome.out.splitlines()
    assert header.split() == ["column", "mean", "|SHAP|", "<=50K", ">50K", "n/a?"]
    assert len(lines) == 11
    assert "score" in outcome.err


@pytest.mark.parametrize("row", ["-1", "240"])
def test_a_row_that_is_not_there_is_named(row, project, trained):
    run_id = trained("text")["run_id"]
    outcome = call("explain", "--run-id", run_id, "-d", "text.csv", "--row", row, "--json", cwd=project)
    assert outcome.code == 3
    assert outcome.error["hint"] == "Rows are counted from 0 to 239."


WATCHED = """
import sys
from mmp.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted(set(name.partition('.')[0] for name in sys.modules)), file=sys.stderr)
"""


def test_nothing_is_imported_for_what_is_off(project):
    words = ["train", "-r", "text.yaml", *OFF, "--set", "evaluation.explain.enabled=false"]
    outcome = call(*words, program=("-c", WATCHED), cwd=project)
    assert outcome.code == 0, outcome.err
    assert not set(outcome.err.splitlines()[-1].split()) & {"matplotlib", "shap", "PIL"}


def test_explaining_without_drawing_needs_no_matplotlib(project):
    outcome = call("train", "-r", "text.yaml", *OFF, program=("-c", WATCHED), cwd=project)
    assert "SHAP values of 20 test rows" in outcome.err
    assert not set(outcome.err.splitlines()[-1].split()) & {"matplotlib", "shap", "sklearn", "pandas"}


def test_pictures_that_cannot_be_drawn_are_a_warning_with_the_line(project):
    code = (
        "import sys; from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *more: None if name == 'matplotlib' else find(name, *more)\n"
        "from mmp.cli.main import main; main(sys.argv[1:])"
    )
    outcome = call("train", "-r", "text.yaml", program=("-c", code), cwd=project)
    assert outcome.code == 0, outcome.err
    assert "No plots were drawn: the package 'matplotlib' is not installed." in outcome.err
    assert "pip install matplotlib" in outcome.err
    assert "SHAP values of 20 test rows" in outcome.err
