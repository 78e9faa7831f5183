"""Cross-validated trainings: what the folds say is what scikit-learn says of the same folds."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.tables import KEY, recipe, write_mixed

from mmp.settings.load import load_config
from mmp.tracking.stores import connect

SPLIT = "  split: {{strategy: cross_validation, folds: {folds}{more}}}"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(class_path, labels, *, folds=4, more="", n_rows=240, **values):
        write_mixed(tmp_path / "table.csv", labels, n_rows=n_rows)
        task = "regression" if labels == "value" else "classification"
        text = recipe("r", task, class_path, "table.csv", "label", entities=[KEY], values=values,
                      lines=[SPLIT.format(folds=folds, more=more)])  # fmt: skip
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return ("train", "-r", "r.yaml", "--json", "-q")

    return write


def predictions_of(folder, run_id):
    (path,) = folder.glob(f"mlruns/artifacts/*/{run_id}/artifacts/folds/predictions.parquet")
    table = pq.read_table(io.BytesIO(path.read_bytes()))
    return {name: np.array(table.column(name).to_pylist()) for name in table.column_names}


def assert_summary(metrics, name, values):
    assert metrics["cv"][f"{name}_mean"] == pytest.approx(np.mean(values))
    assert metrics["cv"][f"{name}_se"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)))


def test_the_folds_are_scikit_learns(tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 3)) * [1, 10, 100]
    truth = (values @ [1, 0.1, -0.01] + rng.normal(size=300) > 0).astype(int)
    rows = "".join(
        f"{a!r},{b!r},{c!r},{y}\n" for (a, b, c), y in zip(values.tolist(), truth.tolist(), strict=True)
    )
    (tmp_path / "t.csv").write_text("a,b,c,y\n" + rows)
    lines = [SPLIT.format(folds=5, more="")]
    text = recipe("r", "classification", "sklearn.linear_model.LogisticRegression", "t.csv", "y", lines=lines)
    (tmp_path / "r.yaml").write_text(text)
    result = mmp("train", "-r", "r.yaml", "--json", "-q").json
    told = predictions_of(tmp_path, result["run_id"])
    row = told["row"]
    assert (told["target"] == truth[row]).all()
    with connect(load_config().value.mlflow) as store:
        run = store.get_run(result["run_id"])
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=float(run.params.get("C", 1)), max_iter=1000)
    )
    theirs = cross_val_predict(
        model, values[row], truth[row], cv=PredefinedSplit(told["fold"]), method="predict_proba"
    )
    assert np.abs(told["probability_1"] - theirs[:, 1]).max() < 1e-3
    for name, score in (("roc_auc", roc_auc_score), ("log_loss", log_loss)):
        by_fold = [
            score(truth[row][told["fold"] == k], told["probability_1"][told["fold"] == k]) for k in range(5)
        ]
        assert_summary(result["metrics"], name, by_fold)
        assert run.metrics[f"cv_{name}_mean"] == pytest.approx(np.mean(by_fold))
        assert run.metrics[f"cv_{name}"] == pytest.approx(by_fold[-1])  # step by step, the last one


def test_every_row_of_the_rest_is_told_once_and_the_model_learns_from_all(project, tmp_path, mmp):
    outcome = mmp(*project("xgboost.XGBRegressor", "value", n_estimators=20))
    assert outcome.code == 0, outcome.err
    told = predictions_of(tmp_path, outcome.json["run_id"])
    assert len(np.unique(told["row"])) == len(told["row"]) == 204
    assert len(np.unique(told[KEY])) == 204
    rmse = [
        math.sqrt(
            mean_squared_error(told["target"][told["fold"] == k], told["prediction"][told["fold"] == k])
        )
        for k in range(4)
    ]
    assert_summary(outcome.json["metrics"], "rmse", rmse)
    assert outcome.json["metrics"].keys() == {"train", "test", "cv"}
    source = pyarrow.csv.read_csv(tmp_path / "table.csv")
    assert source.num_rows == 240


@pytest.mark.parametrize("labels", ["awkward", "numbers"])
def test_three_classes_keep_their_names(labels, project, tmp_path, mmp):
    outcome = mmp(*project("lightgbm.LGBMClassifier", labels, n_estimators=5))
    assert outcome.code == 0, outcome.err
    told = predictions_of(tmp_path, outcome.json["run_id"])
    known = {">50K", "<=50K", "n/a?"} if labels == "awkward" else {10, 20, 30}
    assert set(told["target"].tolist()) == known
    assert set(told["prediction"].tolist()) <= known
    sums = sum(values for name, values in told.items() if name.startswith("probability_"))
    assert np.allclose(sums, 1)


def test_the_final_model_goes_on_for_as_long_as_the_folds(project, mmp):
    outcome = mmp(*project("xgboost.XGBClassifier", "text", n_estimators=300, learning_rate=0.3),
                  "--set", "model.early_stopping.rounds=5")  # fmt: skip
    assert outcome.code == 0, outcome.err
    with connect(load_config().value.mlflow) as store:
        rounds = int(store.get_run(outcome.json["run_id"]).params["n_estimators"])
    assert 1 <= rounds < 300


def test_a_metric_without_a_value_on_a_fold_is_told(project, tmp_path, mmp):
    words = project("sklearn.linear_model.LogisticRegression", "text", more=", group_column: city")
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split(",")
    city = header.index("city")
    rows = []
    for number, line in enumerate(lines[1:]):
        cells = line.split(",")
        group = number % 5
        cells[city] = f"group {group}"
        # one group, whose rows fill a fold, has one class only
        label = '"yes, gladly"' if group and number % 2 else "no"
        rows.append(",".join([*cells[: len(header) - 1], label]))
    (tmp_path / "table.csv").write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    changes = ("--set", "data.split.test=0", "--set", "data.split.train=0.85", "--set", "data.split.folds=5")
    outcome = mmp(*words, *changes)
    assert outcome.code == 0, outcome.err
    warnings = [finding["message"] for finding in outcome.json["warnings"]]
    (without,) = set(re.findall(r"No roc_auc on the fold (\d) validation split: ", "".join(warnings)))
    assert "roc_auc_mean" in outcome.json["metrics"]["cv"]
    tuned = mmp(*words, *changes, "--set", "model.hyperparameters.tuning_enabled=true", "--set",
                "model.hyperparameters.n_trials=3")  # fmt: skip
    assert tuned.code == 0, tuned.err
    warnings = [finding["message"] for finding in tuned.json["warnings"]]
    (told,) = [message for message in warnings if "The trials are judged without it" in message]
    assert f"fold {without} validation split: " in told


def test_tuning_is_judged_by_the_folds(project, tmp_path, mmp):
    words = project("lightgbm.LGBMRegressor", "value", n_estimators=15)
    outcome = mmp(*words, "--set", "model.hyperparameters.tuning_enabled=true", "--set",
                  "model.hyperparameters.fixed={n_estimators: 15}", "--set",
                  "model.hyperparameters.n_trials=6", "--set", "model.hyperparameters.pruning=false")  # fmt: skip
    assert outcome.code == 0, outcome.err
    (path,) = tmp_path.glob("mlruns/artifacts/*/*/artifacts/tuning/trials.parquet")
    scores = [trial["rmse"] for trial in pq.read_table(io.BytesIO(path.read_bytes())).to_pylist()]
    assert outcome.json["metrics"]["cv"]["rmse_mean"] == pytest.approx(min(scores), rel=1e-12)


@pytest.mark.parametrize("way", ["group_column: city", "temporal_column: seen at, gap: 12h"])
def test_folds_of_groups_and_in_time(way, project, mmp):
    words = project("xgboost.XGBClassifier", "text", folds=3, more=f", {way}", n_estimators=5)
    # a null divides nothing
    checked = mmp("validate", "-r", "r.yaml")
    assert checked.code == 3
    assert "is missing in" in checked.err
    assert words
