"""The same seed gives the same model, another seed another; and a run is found by what it is called."""

from __future__ import annotations

import json

import pytest
from tests.tables import KEY, recipe, write_mixed

from mmp.settings.load import load_config
from mmp.tracking.stores import connect

LIBRARIES = {
    "xgboost.XGBClassifier": {"n_estimators": 8, "subsample": 0.7},
    "lightgbm.LGBMClassifier": {"n_estimators": 8, "subsample": 0.7, "subsample_freq": 1},
    "catboost.CatBoostClassifier": {"iterations": 8},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 8},
    "sklearn.linear_model.LogisticRegression": {},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv")

    def write(name, class_path, *lines, **values):
        text = recipe(
            name,
            "classification",
            class_path,
            "table.csv",
            "label",
            entities=[KEY],
            values=values,
            lines=lines,
        )
        (tmp_path / f"{name}.yaml").write_text(text)
        return f"{name}.yaml"

    return write


def model_files(folder, run_id):
    """What the manifest says about the files that predict."""
    (path,) = folder.glob(f"mlruns/artifacts/*/{run_id}/artifacts/model/mmp_manifest.json")
    files = json.loads(path.read_text())["files"]
    return {
        name: digest
        for name, digest in files.items()
        if name.startswith(("estimator", "golden")) or name in {"state.npz", "bundle.json", "baseline.json"}
    }


@pytest.mark.parametrize("class_path", LIBRARIES)
def test_one_seed_is_one_model(class_path, project, tmp_path, mmp):
    project("r", class_path, **LIBRARIES[class_path])
    seeds = [11, 11, 12]
    words = ("train", "-r", "r.yaml", "--json", "--set")
    results = [mmp(*words, f"evaluation.random_state={seed}").json for seed in seeds]
    answers = [
        mmp("predict", "--run-id", result["run_id"], "-i", "table.csv", "--json").json["predictions"]
        for result in results
    ]
    files = [model_files(tmp_path, result["run_id"]) for result in results]
    assert len(files[0]) >= 6
    assert (answers[0], results[0]["metrics"], files[0]) == (answers[1], results[1]["metrics"], files[1])
    assert answers[0] != answers[2]
    assert results[0]["metrics"] != results[2]["metrics"]


REGISTERING = """\
mlflow: {tracking_uri: ./mlruns, registered_model_name: churn}
"""


def test_a_run_is_found_by_what_it_is_called(project, tmp_path, mmp):
    (tmp_path / "config.yaml").write_text(REGISTERING)
    with_config = ("-c", "config.yaml")
    project("weak", "xgboost.XGBClassifier", n_estimators=1, max_depth=1)
    project("strong", "xgboost.XGBClassifier", n_estimators=80)
    first = mmp("train", "-r", "strong.yaml", "--json", *with_config)
    last = mmp("train", "-r", "weak.yaml", "--json", *with_config)
    assert first.json["metrics"]["test"]["roc_auc"] > last.json["metrics"]["test"]["roc_auc"]
    assert "version 1 of churn" in first.err
    assert "version 2 of churn" in last.err
    strong, weak = first.json["run_id"], last.json["run_id"]

    store = connect(load_config("config.yaml").value.mlflow)
    store.set_alias("churn", "champion", "1")
    store.close()
    for name, run_id in {
        "latest": weak,
        "best": strong,
        "champion": strong,
        "churn@champion": strong,
        weak[:7]: weak,
        strong: strong,
    }.items():
        answer = mmp("predict", "--run-id", name, "-i", "table.csv", "--json", *with_config)
        assert answer.json["run_id"] == run_id, name
        evaluated = mmp("evaluate", "--run-id", name, "-d", "table.csv", "--json", *with_config)
        assert evaluated.json["run_id"] == run_id, name

    for name in ("loser", "churn@loser", "nobody@champion", "ffffffff"):
        refused = mmp("predict", "--run-id", name, "-i", "table.csv", "--json", *with_config)
        assert (refused.code, refused.error["code"]) == (6, "run_not_found"), name
        assert weak[:8] in refused.error["hint"]


def test_the_leaderboard(project, mmp):
    project("weak", "xgboost.XGBClassifier", n_estimators=1, max_depth=1)
    project("strong", "xgboost.XGBClassifier", "tracking: {experiment: other}", n_estimators=80)
    strong = mmp("train", "-r", "strong.yaml", "--json").json
    weak = mmp("train", "-r", "weak.yaml", "--json").json
    newest = mmp("runs", "--json").json["runs"]
    assert [row["run_id"] for row in newest] == [weak["run_id"], strong["run_id"]]
    best = mmp("runs", "--sort", "roc_auc", "--json").json["runs"]
    assert [row["run_id"] for row in best] == [strong["run_id"], weak["run_id"]]
    assert best[0]["metrics"]["roc_auc"] == strong["metrics"]["test"]["roc_auc"]
    smallest = mmp("runs", "--sort", "log_loss", "--limit", "1", "--json").json["runs"]
    assert [row["run_id"] for row in smallest] == [strong["run_id"]]
    assert [row["name"][:4] for row in mmp("runs", "--experiment", "mmp", "--json").json["runs"]] == ["weak"]
    lines = mmp("runs").out.splitlines()
    assert lines[0].split()[:2] == ["run", "name"]
    assert lines[1].startswith(weak["run_id"][:8])


def test_evaluating_the_training_file_agrees_with_the_run(project, tmp_path, mmp):
    """On a predefined split, the rows of the test part are a file of their own."""
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    parts = ["part", *["train", "train", "train", "validation", "test"] * 48]
    table = [f"{line},{part}" for line, part in zip(lines, parts, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    held_out = [table[0], *(line for line in table if line.endswith(",test"))]
    (tmp_path / "held_out.csv").write_text("\n".join(held_out) + "\n", encoding="utf-8")
    project("r", "xgboost.XGBClassifier", n_estimators=10)
    split = ("--set", "data.split.strategy=predefined", "--set", "data.split.split_column=part")
    trained = mmp("train", "-r", "r.yaml", "--json", *split)
    assert trained.code == 0, trained.out
    words = ("evaluate", "--run-id", "latest", "-d", "held_out.csv", "-o", "out/report.json", "--json")
    evaluated = mmp(*words).json
    assert evaluated["n_rows"] == 48
    assert evaluated["metrics"] == pytest.approx(trained.json["metrics"]["test"], rel=1e-12)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == evaluated
