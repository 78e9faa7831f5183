"""Ensembles trained, logged, reloaded and asked again, in every way that rows are divided."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.tables import KEY, NO_PICTURES, write_mixed

from mmp.pipelines import ensemble
from mmp.settings.load import load_config
from mmp.tracking.run import PARENT
from mmp.tracking.stores import connect

SMALL = {
    "xgboost": {"class_path": "xgboost.XGB{}", "hyperparameters": {"values": {"n_estimators": 15}}},
    "linear": {"class_path": "sklearn.linear_model.{}"},
    "forest": {
        "class_path": "sklearn.ensemble.RandomForest{}",
        "hyperparameters": {"values": {"n_estimators": 15, "min_samples_leaf": 3}},
    },
    "catboost": {"class_path": "catboost.CatBoost{}", "hyperparameters": {"values": {"iterations": 15}}},
    "tree": {
        "class_path": "sklearn.tree.DecisionTree{}",
        "hyperparameters": {"values": {"min_samples_leaf": 1}},
    },
}


def member(name, task, **more):
    ending = {"classification": "Classifier", "regression": "Regressor"}[task]
    if name == "linear":
        ending = {"classification": "LogisticRegression", "regression": "Ridge"}[task]
    return {**SMALL[name], "class_path": SMALL[name]["class_path"].format(ending), **more}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(names=("xgboost", "linear", "forest"), method="stacking", labels="text", **more):
        if not (tmp_path / "table.csv").exists():
            write_mixed(tmp_path / "table.csv", labels)
        task = "regression" if labels == "value" else "classification"
        members = [member(name, task) if isinstance(name, str) else name for name in names]
        model = {"ensemble": {"method": method, "members": members}, **more.pop("model", {})}
        interface = {"target_column": "label", "entity_columns": [KEY]}
        if labels == "text":
            interface["positive_class"] = "yes, gladly"
        data = {"loader": {"source_uri": "table.csv"}, "data_interface": interface, **more.pop("data", {})}
        lines = [] if "evaluation" in more else [NO_PICTURES]
        lines += ["name: r", f"task_choice: {task}", f"model: {json.dumps(model)}"]
        lines += [
            f"data: {json.dumps(data)}",
            *(f"{key}: {json.dumps(value)}" for key, value in more.items()),
        ]
        (tmp_path / "r.yaml").write_text("\n".join(lines), encoding="utf-8")
        return ("train", "-r", "r.yaml", "--json", "-q")

    return write


@pytest.fixture
def artifact(tmp_path):
    def read(run_id, path):
        (found,) = tmp_path.glob(f"mlruns/artifacts/*/{run_id}/artifacts/{path}")
        return found.read_bytes()

    return read


def logged(run_id):
    with connect(load_config().value.mlflow) as store:
        return store.get_run(run_id)


@pytest.mark.parametrize("labels", ["text", "awkward", "value"])
@pytest.mark.parametrize("method", ["voting", "stacking", "greedy"])
def test_an_ensemble_is_a_model_like_any_other(method, labels, project, artifact, mmp):
    outcome = mmp(*project(method=method, labels=labels))
    assert outcome.code == 0, outcome.err
    result = outcome.json
    primary = "rmse" if labels == "value" else "roc_auc"
    members = json.loads(artifact(result["run_id"], "ensemble/members.json"))
    weights = [one["weight"] for one in members]
    assert len(members) == 3
    assert min(weights) >= 0
    if method == "voting":
        assert weights == pytest.approx([1 / 3] * 3)
    run = logged(result["run_id"])
    for number, one in enumerate(members):
        assert run.metrics[f"member_{number}_out_of_fold_{primary}"] == one["out_of_fold"][primary]
    alone = [one["out_of_fold"][primary] for one in members]
    together = result["metrics"]["out_of_fold"][primary]
    assert together <= max(alone) if labels == "value" else together >= min(alone)

    again = mmp("evaluate", "--run-id", "latest", "-d", "table.csv", "--json")
    assert again.code == 0, again.err
    answers = mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").json["predictions"]
    assert len(answers) == 240
    if labels != "value":
        shares = [sum(v for k, v in a.items() if k.startswith("probability_")) for a in answers]
        assert np.allclose(shares, 1)


def test_one_seed_is_one_model(project, artifact, mmp):
    words = project(("xgboost", "forest", "linear"), "greedy")
    first, second = (mmp(*words).json for _ in range(2))
    assert first["metrics"] == second["metrics"]
    one, two = (
        [{**one, "seconds": 0} for one in json.loads(artifact(run["run_id"], "ensemble/members.json"))]
        for run in (first, second)
    )
    assert one == two


def test_folds_that_are_fitted_at_once_say_the_same(project, monkeypatch, mmp):
    words = project(("xgboost", "linear", "catboost"))
    alone = mmp(*words).json["metrics"]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert mmp(*words).json["metrics"] == alone


@pytest.mark.parametrize("method", ["stacking", "greedy"])
def test_who_learns_by_heart_is_not_believed(method, project, artifact, tmp_path, mmp):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    label = np.where(x[:, 0] + 2.5 * rng.normal(size=600) > 0, '"yes, gladly"', "no")
    rows = [",".join([KEY, *"wxyz", "label"])]
    rows += [f"{k}," + ",".join(map(str, v)) + f",{c}" for k, (v, c) in enumerate(zip(x, label, strict=True))]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    result = mmp(*project(("tree", "linear"), method)).json
    tree, linear = json.loads(artifact(result["run_id"], "ensemble/members.json"))
    assert linear["weight"] > 4 * tree["weight"]
    assert tree["out_of_fold"]["roc_auc"] < 0.7  # of the rows that it was fitted on it would be 1


def test_a_rare_class_may_be_absent_from_a_fold(project, tmp_path, mmp):
    write_mixed(tmp_path / "table.csv", "awkward")
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    rare = [line.rsplit(",", 1)[0] + ",once" for line in lines[1:2]]
    (tmp_path / "table.csv").write_text("\n".join([*lines, *rare]), encoding="utf-8")
    words = project(
        ("xgboost", "linear", "forest", "catboost"), labels="awkward",
        data={"split": {"train": 1, "validation": 0, "test": 0}},
    )  # fmt: skip
    outcome = mmp(*words)
    assert outcome.code == 0, outcome.err
    answers = mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").json["predictions"]
    assert "probability_once" in answers[0]


def test_cross_validation_judges_the_whole_by_weights_of_the_other_folds(project, artifact, mmp):
    split = {"strategy": "cross_validation", "folds": 3, "train": 0.8, "validation": 0, "test": 0.2}
    result = mmp(*project(data={"split": split})).json
    assert {"roc_auc_mean", "roc_auc_se"} <= result["metrics"]["cv"].keys()
    told = pq.read_table(io.BytesIO(artifact(result["run_id"], "folds/predictions.parquet")))
    assert told.num_rows == 192
    assert set(told["fold"].to_pylist()) == {0, 1, 2}
    assert result["metrics"]["out_of_fold"]["roc_auc"] > 0.5


@pytest.mark.parametrize(
    "split",
    [
        {"strategy": "temporal", "temporal_column": "seen at"},
        {"strategy": "group", "group_column": "zip"},
        {"strategy": "random", "folds": 2},
    ],
    ids=lambda split: split["strategy"],
)
def test_folds_are_divided_as_the_table_is(split, project, tmp_path, mmp):
    write_mixed(tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text(encoding="utf-8")
    head, *rows = text.splitlines()
    column = head.split(",").index("seen at"), head.split(",").index("zip")
    kept = [row for row in rows if all(row.split(",")[place] for place in column)]
    (tmp_path / "table.csv").write_text("\n".join([head, *kept]), encoding="utf-8")
    outcome = mmp(*project(("xgboost", "linear"), data={"split": split}))
    assert outcome.code == 0, outcome.err
    assert np.isfinite(outcome.json["metrics"]["out_of_fold"]["log_loss"])


@pytest.mark.parametrize("validation", [0, 0.2])
def test_members_stop_early_on_validation_or_on_their_folds(validation, project, mmp):
    stopping = {"early_stopping": {"rounds": 5}, "hyperparameters": {"values": {"n_estimators": 400}}}
    boosted = member("xgboost", "classification", **stopping)
    split = {"train": 0.8 - validation, "validation": validation, "test": 0.2}
    outcome = mmp(*project((boosted, "linear"), "voting", data={"split": split}))
    assert outcome.code == 0, outcome.err
    run = logged(outcome.json["run_id"])
    rounds = int(run.params["member_0.n_estimators"])
    assert rounds == 400 if validation else rounds < 400


def test_trials_of_a_member_are_runs_below_the_training(project, artifact, mmp):
    search = {"tuning_enabled": True, "n_trials": 3, "optimization_metric": "log_loss"}
    tuned = member("xgboost", "classification", hyperparameters={**search, "fixed": {"n_estimators": 10}})
    result = mmp(*project((tuned, "linear", tuned))).json
    with connect(load_config().value.mlflow) as store:
        names = sorted(run.name for run in store.search(tags={PARENT: result["run_id"]}))
    assert len(names) == 6
    assert sum("_member_0_trial_" in name for name in names) == 3
    assert (
        pq.read_table(io.BytesIO(artifact(result["run_id"], "tuning/member_2/trials.parquet"))).num_rows == 3
    )
    assert logged(result["run_id"]).params["tuning.member_0.trials"] == "3"


def test_a_step_that_leaves_out_rows_leaves_them_out_of_every_member(project, mmp):
    steps = [
        {"type": "drop_missing", "columns": ["income [€]"]},
        {"type": "datetime_features"},
        {"type": "simple_imputer", "columns": "numeric"},
        {"type": "ordinal_encoder"},
    ]
    outcome = mmp(*project(("xgboost", "forest"), "greedy", preprocessor={"steps": steps}))
    assert outcome.code == 0, outcome.err
    assert mmp("evaluate", "--run-id", "latest", "-d", "table.csv", "--json").code == 0


def test_members_that_there_is_no_time_left_for_are_left_out(project, artifact, monkeypatch, mmp):
    monkeypatch.setitem(ensemble.finish.__kwdefaults__, "ends_at", 0.0)  # long ago
    result = mmp(*project(("linear", "xgboost", "forest"), "greedy")).json
    members = json.loads(artifact(result["run_id"], "ensemble/members.json"))
    weights = [one["weight"] for one in members]
    assert sorted(weights) == [0, 0, 1]
    (kept,) = [one for one in members if one["weight"] == 1]
    assert kept["test"]["log_loss"] == result["metrics"]["test"]["log_loss"]
    told = [one["message"] for one in result["warnings"] if "on all rows: it is left out" in one["message"]]
    assert told
    assert mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").code == 0


def test_class_weights_reach_members_and_weights(project, mmp):
    plain, balanced = (
        mmp(*project(("xgboost", "linear"), model={"class_weight": weight})).json["metrics"]["test"]
        for weight in (None, {"yes, gladly": 20, "no": 1})
    )
    assert balanced["recall"] > plain["recall"]


def test_validate_and_plan_say_what_members_there_are(project, mmp):
    project(("xgboost", "xgboost", "linear"))
    assert "stacking ensemble of 3" in mmp("validate", "-r", "r.yaml").out
    planned = mmp("plan", "-r", "r.yaml", "--json").json
    assert [one["name"] for one in planned["members"]] == [
        "XGBClassifier 1", "XGBClassifier 2", "LogisticRegression",
    ]  # fmt: skip
    assert planned["members"][0]["parameters"]
    assert planned["parameters"] == []
    text = mmp("plan", "-r", "r.yaml").out
    assert "member LogisticRegression: sklearn.linear_model.LogisticRegression" in text
    assert "standard_scaler" in text


@pytest.mark.parametrize("labels", ["text", "value"])
def test_it_is_explained(labels, project, mmp):
    assert mmp(*project(("xgboost", "linear"), labels=labels)).code == 0
    outcome = mmp("explain", "--run-id", "latest", "-d", "table.csv", "--json")
    assert outcome.code == 0, outcome.err


PARTS = {"train": 0.5, "validation": 0.15, "test": 0.15, "calibration": 0.2}


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "beta", "venn_abers"])
def test_what_members_say_together_is_calibrated_and_decided(method, project, mmp):
    outcome = mmp(
        *project(
            model={"calibration": {"enabled": True, "method": method}}, data={"split": PARTS},
            evaluation={"threshold": {"optimise": "f1"}, "plots": False, "explain": {"enabled": False}},
        )
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    answers = mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").json["predictions"]
    assert all(0 <= answer["probability"] <= 1 for answer in answers)
    assert mmp("evaluate", "--run-id", "latest", "-d", "table.csv", "--json").code == 0


@pytest.mark.parametrize("method", ["split", "normalised", "quantile"])
def test_an_ensemble_has_bounds_that_fit_nothing_again(method, project, mmp):
    intervals = {"method": method, "coverage": 0.8}
    evaluation = {"intervals": intervals, "plots": False, "explain": {"enabled": False}}
    outcome = mmp(*project(labels="value", data={"split": PARTS}, evaluation=evaluation))
    if method != "split":
        assert outcome.code == 2
        assert "write split" in outcome.json["error"]["message"]
        return
    assert outcome.code == 0, outcome.err
    answers = mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").json["predictions"]
    assert all(answer["lower"] <= answer["prediction"] <= answer["upper"] for answer in answers)


def test_an_ensemble_has_sets(project, mmp):
    outcome = mmp(
        *project(
            labels="awkward", data={"split": PARTS},
            evaluation={"intervals": {"coverage": 0.8}, "plots": False, "explain": {"enabled": False}},
        )
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    answers = mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").json["predictions"]
    assert all(answer["prediction"] in answer["prediction_set"] for answer in answers)
