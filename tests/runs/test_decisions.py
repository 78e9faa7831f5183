"""Calibrated and decided trainings: the same on every surface, and what the report says of them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.batch.project import inside, predicted, score
from tests.http_server import serving
from tests.runs.test_reload import in_a_fresh_process
from tests.tables import KEY, recipe

from mmp.data import files
from mmp.errors import DataError, EmptySplitError, SettingsError
from mmp.evaluation.evaluate import requests
from mmp.evaluation.thresholds import TradeOff
from mmp.modeling import calibration
from mmp.modeling.single import Single
from mmp.modeling.target import Target
from mmp.pipelines.evaluate import evaluate
from mmp.pipelines.model import load_model
from mmp.pipelines.plan import plan
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

XGBOOST = {"n_estimators": 40, "max_depth": 5, "learning_rate": 0.5}
CASES = {
    "isotonic": ("xgboost.XGBClassifier", "text", XGBOOST, "{optimise: cost, costs: {fp: 1, fn: 7}}"),
    "sigmoid": ("lightgbm.LGBMClassifier", "text", {"n_estimators": 30}, "auto"),
    "beta": ("sklearn.linear_model.LogisticRegression", "text", {}, "{top_k: 0.1}"),
    "venn_abers": ("xgboost.XGBClassifier", "awkward", XGBOOST, "0.5"),
    "plain": ("xgboost.XGBClassifier", "text", XGBOOST, "{optimise: f1}"),
}
ROOT = Path(__file__).parents[2]
SPLIT = "  split: {train: 0.5, validation: 0.15, test: 0.15, calibration: 0.2}"
MORE = "positive_class: 'yes, gladly'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a table of two classes and one of three."""
    with inside(
        tmp_path_factory.mktemp("decided"), {case[1] for case in CASES.values()}, n_rows=800
    ) as folder:
        yield folder


@pytest.fixture(scope="module")
def runs(folder):
    """What each training gave."""
    return {name: run(folder, name) for name in CASES}


def written(folder, name, plots="true"):
    class_path, labels, values, threshold = CASES[name]
    calibration = "model.calibration={enabled: true, method: " + name + "}"
    lines = (
        SPLIT,
        f"evaluation: {{plots: {plots}, explain: {{enabled: false}}, threshold: {threshold}}}",
    )
    text = recipe(
        name, "classification", class_path, f"{labels}.csv", "label",
        entities=[f"'{KEY}'"], values=values, lines=lines,
    )  # fmt: skip
    if labels == "text":
        text = text.replace("target_column: label,", f"target_column: label, {MORE},")
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [] if name == "plain" else [calibration]


def run(folder, name, more=()):
    overrides = [*written(folder, name), *more]
    return train(load_recipe(str(folder / f"{name}.yaml"), overrides=overrides), load_config(None))


@pytest.fixture
def project(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def bundle_of(runs, name):
    return load_model(runs[name].run_id, load_config(None).value).bundle


def artifacts(project, result):
    (folder,) = project.glob(f"mlruns/artifacts/*/{result.run_id}/artifacts")
    return folder


def test_the_decision_is_a_part_of_every_prediction(case, runs, project, tmp_path):
    run_id, table = runs[case].run_id, f"{CASES[case][1]}.csv"
    bundle, expected = bundle_of(runs, case), predicted(table, run_id)
    if bundle.positive is not None:
        yes = bundle.classes[bundle.positive]
        assert [row["prediction"] == yes for row in expected] == [
            row["probability"] >= bundle.threshold for row in expected
        ]
        assert bundle.threshold != 0.5
    rows, single = files.read(table).arrow.to_pylist(), Single(bundle)
    for row, answer in list(zip(rows, expected, strict=True))[:60]:
        assert {KEY: answer[KEY], **single.predict(row)} == answer
    score(run_id, data=table, output=str(tmp_path / "a.parquet"), part_rows=64)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == expected


def test_mlflow_decides_the_same(runs, project):
    answers = in_a_fresh_process(project, "text.csv", [runs["isotonic"].run_id, runs["plain"].run_id])
    for name in ("isotonic", "plain"):
        assert answers[runs[name].run_id] == predicted("text.csv", runs[name].run_id)


def test_the_server_decides_the_same_and_says_how(runs, project):
    expected = predicted("text.csv", runs["isotonic"].run_id)[:20]
    lines = files.read("text.csv").arrow.slice(0, 20).to_pylist()
    rows = json.loads(
        json.dumps([{k: v for k, v in row.items() if k != "label"} for row in lines], default=str)
    )
    with serving(project, "--run-id", runs["isotonic"].run_id) as server:
        together = server.post("/predict/batch", {"samples": rows}).json["predictions"]
        alone = [server.post("/predict", row).json for row in rows]
        info = server.get("/model/info").json
    for many, one, row in zip(together, alone, expected, strict=True):
        assert many["prediction"] == one["prediction"] == row["prediction"]
        assert many["probability"] == one["probability"] == row["probability"]
    assert info["calibration"] == "isotonic"
    assert info["threshold"] == bundle_of(runs, "isotonic").threshold
    assert info["decision"]["costs"] == {"fp": 1.0, "fn": 7.0}
    assert info["decision"]["rows"] == "validation"


def test_metrics_are_of_the_calibrated_model_and_the_others_stand_beside(runs, project):
    for name in ("isotonic", "sigmoid", "beta", "venn_abers"):
        metrics = runs[name].metrics
        scores = {"roc_auc", "average_precision", "log_loss", "brier", "ece", "brier_reliability"}
        assert scores <= metrics["uncalibrated"].keys() <= metrics["test"].keys()
        assert "accuracy" not in metrics["uncalibrated"]
        parts = {key: metrics["test"][f"brier_{key}"] for key in ("reliability", "resolution", "uncertainty")}
        assert parts["reliability"] - parts["resolution"] + parts["uncertainty"] == pytest.approx(
            metrics["test"]["brier"]
        )
        logged = load_model(runs[name].run_id, load_config(None).value).run.metrics
        assert logged["uncalibrated_ece"] == metrics["uncalibrated"]["ece"]
        assert logged["ece"] == metrics["test"]["ece"]
        assert artifacts(project, runs[name]).joinpath("plots/reliability.png").exists()
    assert "uncalibrated" not in runs["plain"].metrics
    assert "ece" not in runs["plain"].metrics["test"]
    # trees this deep are sure of what they do not know
    assert (
        runs["isotonic"].metrics["test"]["log_loss"] != runs["isotonic"].metrics["uncalibrated"]["log_loss"]
    )


def test_a_threshold_is_the_best_of_the_validation_rows(runs, project):
    bundle, result = bundle_of(runs, "isotonic"), runs["isotonic"]
    folder = artifacts(project, result)
    chosen = json.loads((folder / "decision/decision.json").read_text())
    with (folder / "decision/thresholds.csv").open() as file:
        table = [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(file)]
    assert chosen["threshold"] == bundle.threshold
    assert chosen["value"] == pytest.approx(result.metrics["validation"]["cost"])
    assert chosen["value"] == min(row["cost"] for row in table)
    assert [row for row in table if row["threshold"] == bundle.threshold]
    with Image.open(folder / "decision/thresholds.png") as image:
        assert image.width > 800
    written_there = load_model(result.run_id, load_config(None).value).run.params
    assert float(written_there["decision.threshold"]) == bundle.threshold


def test_costs_go_along_to_new_data(runs, project):
    found = evaluate(runs["isotonic"].run_id, load_config(None).value, data="text.csv")
    bundle, rows = bundle_of(runs, "isotonic"), predicted("text.csv", runs["isotonic"].run_id)
    yes = bundle.classes[bundle.positive]
    truth = [row["label"] == yes for row in files.read("text.csv").arrow.to_pylist()]
    given = [row["prediction"] == yes for row in rows]
    wrong = [7 if actual else 1 for actual, said in zip(truth, given, strict=True) if actual != said]
    assert found.metrics["cost"] == pytest.approx(sum(wrong) / len(rows))
    assert {"ece", "brier_reliability"} <= found.metrics.keys()
    assert found.logged["cost"] == runs["isotonic"].metrics["test"]["cost"]


def test_a_capacity_is_a_share_of_validation(runs, project):
    facts = bundle_of(runs, "beta").decision
    assert facts["top_k"] == 0.1
    assert facts["selected"] == int(0.1 * facts["n_rows"])


def test_folds_choose_by_what_they_had_not_seen(folder, project):
    split = "data.split={strategy: cross_validation, folds: 4, train: 0.6, validation: 0, test: 0.2, calibration: 0.2}"
    result = run(folder, "isotonic", [split])
    bundle = load_model(result.run_id, load_config(None).value).bundle
    assert bundle.decision["rows"] == "out-of-fold"
    (path,) = project.glob(f"mlruns/artifacts/*/{result.run_id}/artifacts/folds/predictions.parquet")
    told = pq.read_table(path).to_pydict()
    said = np.array(told["probability"])
    calibrated = bundle.model.calibration.many(np.stack((1 - said, said), axis=1))[:, bundle.positive]
    yes = np.array(told["target"]) == bundle.classes[bundle.positive]
    tries = [*np.unique(calibrated), 1.1]
    costs = [((calibrated >= t) & ~yes).mean() + 7 * ((calibrated < t) & yes).mean() for t in tries]
    assert bundle.decision["value"] == pytest.approx(min(costs))
    assert "cost_mean" in result.metrics["cv"]
    # each fold is decided by a threshold of its own, which the others chose
    fold, decided = np.array(told["fold"]), np.array(told["prediction"]) == bundle.classes[bundle.positive]
    for number in range(4):
        mine = fold == number
        target = Target("classification", yes[~mine].astype(np.int32), bundle.classes, 1, (7.0, 1.0))
        others = TradeOff.of(target, np.stack((1 - said, said), axis=1)[~mine])
        (cost,) = requests(["cost"], task="classification", classes=bundle.classes)
        assert (decided[mine] == (said[mine] >= others.thresholds[others.best(cost)])).all()


def test_room_for_some_rows_of_all_is_room_for_fewer_of_a_fold(folder, project):
    split = "data.split={strategy: cross_validation, folds: 4, train: 0.8, validation: 0, test: 0.2}"
    result = run(folder, "plain", [split, "evaluation.threshold={top_k: 64}", "evaluation.plots=false"])
    (path,) = project.glob(f"mlruns/artifacts/*/{result.run_id}/artifacts/folds/predictions.parquet")
    told = pq.read_table(path).to_pydict()
    bundle = load_model(result.run_id, load_config(None).value).bundle
    assert bundle.decision["selected"] == 64
    given = np.array(told["prediction"]) == bundle.classes[bundle.positive]
    by_fold = np.bincount(np.array(told["fold"])[given])
    assert by_fold.sum() == pytest.approx(64, abs=12)
    assert by_fold.max() < 32


def test_trials_are_compared_by_thresholds_that_others_chose(folder, project):
    tuned = "model.hyperparameters={tuning_enabled: true, n_trials: 3, optimization_metric: cost}"
    result = run(folder, "isotonic", [tuned, "evaluation.plots=false"])
    table = pq.read_table(artifacts(project, result) / "tuning/trials.parquet").to_pydict()
    assert all(0 <= cost <= 7 for cost in table["cost"])
    assert len(set(table["cost"])) > 1


def test_the_command_shows_what_was_before(runs, project, mmp):
    shown = mmp("train", "-r", "isotonic.yaml", "--set", "model.calibration={enabled: true, method: beta}")
    assert shown.code == 0, shown.err
    header, *lines = (line for line in shown.out.splitlines() if line)
    assert header.split()[:4] == ["metric", "train", "validation", "test"]
    assert header.endswith("uncalibrated")
    first = {line.split()[0] for line in lines}
    assert {"ece", "cost", "brier_reliability"} <= first
    assert "calibrate" in shown.err
    assert "positive from" in shown.err


def test_plan_says_what_will_be_done(folder, project):
    overrides = written(folder, "isotonic")
    planned = plan(load_recipe(str(folder / "isotonic.yaml"), overrides=overrides), load_config(None))
    assert planned.calibration == "isotonic on 160 calibration rows"
    assert planned.threshold == "by cost (fp 1, fn 7) on 121 validation rows"
    written(folder, "plain")
    planned = plan(load_recipe(str(folder / "plain.yaml")), load_config(None))
    assert (planned.calibration, planned.threshold) == (None, "by f1 on 121 validation rows")


def test_the_example(tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(ROOT)
    (tmp_path / "c.yaml").write_text(
        f"mlflow: {{tracking_uri: {tmp_path}/mlruns}}\nlogging: {{base_path: {tmp_path}/logs}}\n"
    )
    result = mmp(
        "train",
        "-c",
        tmp_path / "c.yaml",
        "-r",
        "recipes/models/classification/lightgbm_costs.yaml",
        "--json",
    ).json
    assert result["metrics"]["test"]["recall"] > 0.95
    assert {"decision/thresholds.png", "plots/reliability.png"} <= set(result["artifacts"])
    (path,) = tmp_path.glob("mlruns/**/thresholds.csv")
    with path.open() as file:
        costs = {float(row["threshold"]): float(row["cost"]) for row in csv.DictReader(file)}
    (path,) = tmp_path.glob("mlruns/**/decision.json")
    chosen = json.loads(path.read_text())
    assert chosen["threshold"] < 0.2
    nearest = min(costs, key=lambda threshold: abs(threshold - 0.5))
    assert costs[chosen["threshold"]] < costs[nearest] / 2


@pytest.mark.parametrize("threshold", ["auto", "0.3", "{top_k: 5}", "{optimise: cost, costs: {fn: 2}}"])
def test_a_threshold_of_three_classes_is_one_sentence(threshold, folder, project):
    with pytest.raises(SettingsError, match=r"decides between two classes, and 'label' has 3\."):
        run(folder, "venn_abers", [f"evaluation.threshold={threshold}"])


def marked(folder, parts):
    """Write the table with a column that says which part each row is of, and return that column."""
    with (folder / "text.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    of_rows = [parts[place % len(parts)] for place in range(len(rows))]
    with (folder / "marked.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "part"])
        writer.writeheader()
        writer.writerows({**row, "part": part} for row, part in zip(rows, of_rows, strict=True))
    return np.array(of_rows)


MARKED = ["data.split={strategy: predefined, split_column: part}", "data.loader.source_uri=marked.csv"]


@pytest.mark.parametrize("name", ["isotonic", "sigmoid", "beta"])
def test_each_part_has_one_use(name, folder, project):
    """The curve is that of the calibration rows, and the threshold that of the validation rows, of no others."""
    part = marked(folder, ("train", "train", "test", "calibration", "validation"))
    bundle = load_model(run(folder, name, MARKED).run_id, load_config(None).value).bundle
    table = files.read("marked.csv").arrow
    yes = np.array([label == bundle.classes[bundle.positive] for label in table.column("label").to_pylist()])
    inside = dataclasses.replace(bundle, model=bundle.model.inside).output(table)
    here = part == "calibration"
    curve = calibration.fit(name, inside[here], yes[here].astype(int))
    assert curve.many(inside).tobytes() == bundle.output(table).tobytes()
    here = part == "validation"
    target = Target("classification", yes[here].astype(np.int32), bundle.classes, 1, (7.0, 1.0))
    trade_off = TradeOff.of(target, bundle.output(table)[here])
    (metric,) = requests(
        [bundle.decision.get("optimise", "cost")], task="classification", classes=bundle.classes
    )
    if name == "beta":
        assert bundle.threshold == trade_off.thresholds[trade_off.within(int(0.1 * here.sum()))]
    else:
        assert bundle.threshold == trade_off.thresholds[trade_off.best(metric)]


def test_a_class_that_calibration_hardly_has_is_told_of(folder, project):
    rare = [
        "model.calibration.enabled=true",
        "data.split={train: 0.9, validation: 0, test: 0.05, calibration: 0.05}",
    ]
    told = [
        finding.message
        for finding in run(folder, "venn_abers", rare).warnings
        if finding.check == "calibration"
    ]
    assert told
    assert all("calibration rows, and is calibrated by these" in message for message in told)


@pytest.mark.parametrize(
    ("part", "key"), [("calibration", "model.calibration"), ("validation", "evaluation.threshold")]
)
def test_parts_that_a_column_does_not_mark(part, key, folder, project):
    marked(folder, [name for name in ("train", "train", "test", "calibration", "validation") if name != part])
    with pytest.raises(EmptySplitError) as error:
        run(folder, "isotonic", MARKED)
    assert error.value.message == f"{key} needs {part} rows, and there are none."
    assert part in error.value.hint


def test_a_threshold_that_tells_nothing_apart_is_told_of(folder, project):
    told = {
        finding.message for finding in run(folder, "plain", ["evaluation.threshold={top_k: 0.001}"]).warnings
    }
    assert "The threshold makes no validation row positive." in told
    told = {
        finding.message
        for finding in run(folder, "plain", ["evaluation.threshold={optimise: recall}"]).warnings
    }
    assert not any("validation row positive" in message for message in told)


def test_what_has_no_value_at_any_threshold(folder, project):
    with pytest.raises(DataError, match="No threshold has a value of"):
        run(folder, "plain", ["evaluation.threshold={optimise: tests.runs.test_decisions.nothing}"])


def nothing(truth, prediction):
    return float("nan")
