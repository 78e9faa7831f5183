"""Tuned trainings: the best trial is the model, trials are runs below it, and one seed is one study."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.tables import KEY, NO_PICTURES, recipe, write_mixed

from mmp.settings.load import load_config
from mmp.tracking.run import PARENT, TRIAL
from mmp.tracking.stores import connect

CASES = [
    ("xgboost.XGBClassifier", "awkward", "f1", {"n_estimators": 60}),
    ("lightgbm.LGBMClassifier", "text", "log_loss", {"n_estimators": 12}),
    ("catboost.CatBoostClassifier", "text", "roc_auc", {"iterations": 12}),
    ("sklearn.ensemble.HistGradientBoostingClassifier", "awkward", "roc_auc", {"max_iter": 12}),
    ("sklearn.linear_model.LogisticRegression", "text", "f1", {}),
    ("sklearn.neighbors.KNeighborsClassifier", "numbers", "log_loss", {}),
    ("xgboost.XGBRegressor", "value", "rmse", {"n_estimators": 12}),
    ("sklearn.linear_model.Lasso", "value", "rmse", {}),
    ("sklearn.svm.SVR", "value", "rmse", {}),
    ("sklearn.ensemble.RandomForestRegressor", "value", "r2", {"n_estimators": 10}),
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(class_path, labels, metric, fixed=None, *, n_trials=5, lines=(), **settings):
        write_mixed(tmp_path / "table.csv", labels)
        task = "regression" if labels == "value" else "classification"
        settings = {
            "tuning_enabled": True, "optimization_metric": metric, "n_trials": n_trials, "fixed": fixed or {}
        } | settings  # fmt: skip
        text = recipe("r", task, class_path, "table.csv", "label", entities=[KEY], lines=lines)
        text = text.replace("hyperparameters: {values: {}}", f"hyperparameters: {json.dumps(settings)}")
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return ("train", "-r", "r.yaml", "--json", "-q")

    return write


def trials_of(folder, run_id):
    (path,) = folder.glob(f"mlruns/artifacts/*/{run_id}/artifacts/tuning/trials.parquet")
    return pq.read_table(io.BytesIO(path.read_bytes())).to_pylist()


def children_of(run_id):
    with connect(load_config().value.mlflow) as store:
        return sorted(store.search(tags={PARENT: run_id}), key=lambda run: int(run.tags["mmp.trial"]))


@pytest.mark.parametrize(("class_path", "labels", "metric", "fixed"), CASES, ids=[case[0] for case in CASES])
def test_the_model_is_the_best_trial(class_path, labels, metric, fixed, project, tmp_path, mmp):
    outcome = mmp(*project(class_path, labels, metric, fixed))
    assert outcome.code == 0, outcome.err
    result = outcome.json
    trials = trials_of(tmp_path, result["run_id"])
    scores = [trial[metric] for trial in trials if trial["state"] == "complete"]
    assert len(trials) == 5
    assert all(np.isfinite(scores))
    assert len(set(scores)) > 1
    pick = min if metric in {"rmse", "log_loss"} else max
    assert trials[0][metric] == scores[0]
    # refitted, it says of the validation rows what the trial said: the same numbers
    assert result["metrics"]["validation"][metric] == pick(scores)

    children = children_of(result["run_id"])
    assert [run.metrics.get(metric) for run in children] == [trial[metric] for trial in trials]
    assert {run.tags["mmp.kind"] for run in children} == {TRIAL}
    with connect(load_config().value.mlflow) as store:
        run = store.get_run(result["run_id"])
    best = children[int(run.params["tuning.best_trial"])]
    assert best.params.items() <= run.params.items()
    assert fixed.items() <= {name: int(run.params[name]) for name in fixed}.items()


def test_trials_are_no_trainings(project, mmp):
    result = mmp(*project("xgboost.XGBClassifier", "text", "f1", {"n_estimators": 5}, n_trials=3)).json
    rows = mmp("runs", "--json").json["runs"]
    assert [row["run_id"] for row in rows] == [result["run_id"]]
    for name in ("latest", "best"):
        answer = mmp("predict", "--run-id", name, "-i", "table.csv", "--json").json
        assert len(answer["predictions"]) == 240


def test_a_seed_is_a_study(project, tmp_path, mmp):
    words = project("xgboost.XGBClassifier", "text", "roc_auc", {"n_estimators": 8}, n_trials=12)
    runs = [mmp(*words, "--set", f"evaluation.random_state={seed}").json for seed in (5, 5, 6)]
    one, again, other = (
        [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]
        for trials in (trials_of(tmp_path, run["run_id"]) for run in runs)
    )
    assert one == again
    assert runs[0]["metrics"] == runs[1]["metrics"]
    assert one != other


def test_any_key_of_the_steps_is_searched(project, tmp_path, mmp):
    steps = """preprocessor:
  steps:
    - {type: datetime_features}
    - {type: simple_imputer, columns: numeric, strategy: mean}
    - {type: catboost_encoder, columns: [city, zip, product code, 등급], sigma: 0.0}
    - {type: standard_scaler}"""
    tunable = {
        "preprocessor.steps[1].strategy": {"type": "categorical", "range": ["mean", "median"]},
        "preprocessor.steps[2].sigma": {"type": "float", "range": [0.0, 0.5]},
        "model.class_weight": {"type": "categorical", "range": ["balanced", None]},
        "C": {"type": "float", "range": [0.001, 10], "log": True},
    }
    words = project(
        "sklearn.linear_model.LogisticRegression",
        "text",
        "log_loss",
        n_trials=12,
        tunable=tunable,
        lines=[steps, NO_PICTURES],
    )
    outcome = mmp(*words)
    assert outcome.code == 0, outcome.err
    trials = trials_of(tmp_path, outcome.json["run_id"])
    assert {trial["param.preprocessor.steps[1].strategy"] for trial in trials} == {None, "mean", "median"}
    assert {trial["param.model.class_weight"] for trial in trials} == {None, "balanced"}
    best = min(trial["log_loss"] for trial in trials)
    assert outcome.json["metrics"]["validation"]["log_loss"] == best
    (path,) = tmp_path.glob(f"mlruns/artifacts/*/{outcome.json['run_id']}/artifacts/model/bundle.json")
    assert "standard_scaler" not in path.read_text()  # ops, not steps: what was searched is fitted into them
    assert mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").code == 0


def test_what_fails_is_told_and_the_rest_goes_on(project, tmp_path, mmp):
    tunable = {
        "bootstrap_type": {"type": "categorical", "range": ["Bernoulli", "Bayesian"]},
        "subsample": {"type": "float", "range": [0.5, 1.0]},
    }
    words = project(
        "catboost.CatBoostClassifier", "text", "f1", {"iterations": 5}, n_trials=8, tunable=tunable
    )
    outcome = mmp(*words)
    assert outcome.code == 0, outcome.err
    trials = trials_of(tmp_path, outcome.json["run_id"])
    failed = [trial for trial in trials if trial["state"] == "failed"]
    assert failed
    assert {trial["param.bootstrap_type"] for trial in failed} == {"Bayesian"}
    assert all(
        "subsample" in trial["error"].lower() or "bayesian" in trial["error"].lower() for trial in failed
    )
    states = [run.status for run in children_of(outcome.json["run_id"])]
    assert states.count("FAILED") == len(failed)
    refused = mmp(*words, "--set", "model.hyperparameters.fixed={bootstrap_type: Wrong, iterations: 5}", "--set",
                  "model.hyperparameters.tunable={depth: {type: int, range: [2, 4]}}", "--set",
                  "model.hyperparameters.n_trials=2")  # fmt: skip
    assert (refused.code, refused.error["code"]) == (4, "training")
    assert "None of the 2 trials" in refused.error["message"]


def test_a_metric_without_a_value_is_refused_before_any_fit(project, mmp):
    words = project("sklearn.linear_model.Ridge", "value", "mape")
    table = Path("table.csv")
    header, *lines = table.read_text(encoding="utf-8").splitlines()
    zeros = [f"{line.rpartition(',')[0]},0" for line in lines[:60]]
    table.write_text("\n".join([header, *zeros, *lines[60:]]), encoding="utf-8")
    refused = mmp(*words)
    assert refused.code == 3
    assert "mape" in refused.error["message"]


def test_early_stopping_inside_trials(project, tmp_path, mmp):
    words = project("lightgbm.LGBMClassifier", "text", "log_loss", {"n_estimators": 400}, n_trials=4)
    outcome = mmp(*words, "--set", "model.early_stopping.rounds=5")
    assert outcome.code == 0, outcome.err
    scores = [t["log_loss"] for t in trials_of(tmp_path, outcome.json["run_id"]) if t["log_loss"] is not None]
    assert outcome.json["metrics"]["validation"]["log_loss"] == min(scores)


def test_the_pictures_and_the_progress(project, tmp_path, mmp):
    drawn = ["evaluation: {plots: true, explain: {enabled: false}}"]
    words = project("xgboost.XGBClassifier", "text", "f1", {"n_estimators": 5}, n_trials=8, lines=drawn)
    outcome = mmp(*words[:3])
    assert "tune       8 trials" in outcome.err
    (folder,) = tmp_path.glob("mlruns/artifacts/*/*/artifacts/tuning")
    found = {path.name: path.read_bytes()[:4] for path in folder.iterdir()}
    assert found.keys() == {"trials.parquet", "history.png", "importance.png", "slices.png"}
    assert {magic for name, magic in found.items() if name.endswith("png")} == {b"\x89PNG"}


def test_n_jobs_share_the_trials(project, tmp_path, mmp):
    words = project("xgboost.XGBRegressor", "value", "rmse", {"n_estimators": 10}, n_trials=9, n_jobs=3)
    outcome = mmp(*words)
    assert outcome.code == 0, outcome.err
    trials = trials_of(tmp_path, outcome.json["run_id"])
    assert [trial["number"] for trial in trials] == list(range(9))
    assert outcome.json["metrics"]["validation"]["rmse"] == min(t["rmse"] for t in trials if t["rmse"])
