"""Bounds, quantiles and sets of classes: the same to the bit on every surface, and what they promise."""

from __future__ import annotations

import csv
import json
import math

import jsonschema
import pyarrow.parquet as pq
import pytest
from tests.batch.project import inside, predicted, score
from tests.http_server import serving
from tests.runs.test_reload import in_a_fresh_process
from tests.tables import KEY, recipe

from mmp.catalog.quantiles import CLASS_PATH
from mmp.data import files
from mmp.errors import DataError, SettingsError
from mmp.modeling.single import Single
from mmp.pipelines.evaluate import evaluate
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

XGBOOST = {"n_estimators": 12, "max_depth": 3}
SPLIT = "  split: {train: 0.5, validation: 0.1, test: 0.1, calibration: 0.3}"
CASES = {
    "split": ("xgboost.XGBRegressor", "value", XGBOOST, "{method: split, coverage: 0.8}", ""),
    "normalised": ("lightgbm.LGBMRegressor", "value", {"n_estimators": 12}, "{method: normalised}", ""),
    "quantile": ("xgboost.XGBRegressor", "value", XGBOOST, "{method: quantile, coverage: 0.8}", ""),
    "linear": ("sklearn.linear_model.LinearRegression", "value", {}, "{method: quantile, coverage: 0.8}", ""),
    "both": (
        CLASS_PATH,
        "value",
        {"base": "catboost.CatBoostRegressor", "quantiles": "[0.995, 0.5]", "iterations": 12},
        "{coverage: 0.75}",
        "",
    ),
    "two": ("xgboost.XGBClassifier", "text", XGBOOST, "{coverage: 0.95}", "threshold: 0.2, "),
    "three": ("xgboost.XGBClassifier", "awkward", XGBOOST, "{coverage: 0.9}", ""),
    "numbers": ("sklearn.linear_model.LogisticRegression", "numbers", {}, "{}", ""),
}
EXTRA = {
    "split": ["lower", "upper"],
    "normalised": ["lower", "upper"],
    "quantile": ["lower", "upper"],
    "linear": ["lower", "upper"],
    "both": ["pred_p50", "pred_p99.5", "lower", "upper"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a run of each case."""
    with inside(
        tmp_path_factory.mktemp("uncertain"), {case[1] for case in CASES.values()}, n_rows=400
    ) as folder:
        yield folder


@pytest.fixture(scope="module")
def runs(folder):
    """What each training gave."""
    return {name: run(folder, name) for name in CASES}


def run(folder, name, more=()):
    class_path, labels, values, intervals, evaluation = CASES[name]
    task = "regression" if labels == "value" else "classification"
    lines = (
        SPLIT,
        f"evaluation: {{plots: false, {evaluation}explain: {{enabled: false}}, intervals: {intervals}}}",
    )
    text = recipe(
        name, task, class_path, f"{labels}.csv", "label", entities=[f"'{KEY}'"], values=values, lines=lines
    )
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return train(load_recipe(str(folder / f"{name}.yaml"), overrides=more), load_config(None))


@pytest.fixture
def project(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def table_of(name):
    return f"{CASES[name][1]}.csv"


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def test_columns_bounds_and_sets(case, runs, project):
    rows = predicted(table_of(case), runs[case].run_id)
    if case in EXTRA:
        assert list(rows[0]) == [KEY, "prediction", *EXTRA[case]]
        for row in rows:
            assert row["lower"] <= row["prediction"] <= row["upper"]
            assert all(map(math.isfinite, list(row.values())[1:]))
            if case == "both":
                assert row["prediction"] == row["pred_p50"] <= row["pred_p99.5"]
    else:
        bundle = load_model(runs[case].run_id, load_config(None).value).bundle
        assert list(rows[0])[-1] == "prediction_set"
        for row in rows:
            assert row["prediction"] in row["prediction_set"]
            assert row["prediction_set"] == [
                label for label in bundle.classes if label in row["prediction_set"]
            ]
        assert len({len(row["prediction_set"]) for row in rows}) > 1


def test_one_row_is_one_of_many_and_a_batch_holds_the_same(case, runs, project, tmp_path):
    run_id, table = runs[case].run_id, table_of(case)
    expected = predicted(table, run_id)
    bundle = load_model(run_id, load_config(None).value).bundle
    rows = files.read(table).arrow.to_pylist()
    single = Single(bundle)
    for row, answer in list(zip(rows, expected, strict=True))[:80]:
        assert {KEY: answer[KEY], **single.predict(row)} == answer
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        score(run_id, data=table, output=str(tmp_path / name), part_rows=64)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == expected
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == expected
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    for name in set(expected[0]) & {"lower", "upper", "pred_p99.5", "prediction_set"}:
        assert [json.loads(row[name]) for row in cells] == [row[name] for row in expected]


def test_mlflow_gives_the_same(runs, project):
    for labels in sorted({case[1] for case in CASES.values()}):
        names = [name for name, case in CASES.items() if case[1] == labels]
        answers = in_a_fresh_process(project, f"{labels}.csv", [runs[name].run_id for name in names])
        for name in names:
            assert answers[runs[name].run_id] == predicted(f"{labels}.csv", runs[name].run_id)


@pytest.mark.parametrize("name", ["both", "three"])
def test_the_server_gives_the_same_as_its_documents_say(name, runs, project):
    expected = predicted(table_of(name), runs[name].run_id)[:12]
    lines = files.read(table_of(name)).arrow.slice(0, 12).to_pylist()
    rows = [{key: value for key, value in row.items() if key != "label"} for row in lines]
    rows = json.loads(json.dumps(rows, default=str))
    with serving(project, "--run-id", runs[name].run_id) as server:
        together = server.post("/predict/batch", {"samples": rows}).json["predictions"]
        alone = [server.post("/predict", row).json for row in rows]
        document = server.get("/model/schema").json["prediction"]
        info = server.get("/model/info").json
        named = info["model_name"]
        v2 = server.post(
            f"/v2/models/{named}/infer",
            {
                "inputs": [
                    {"name": key, "shape": [12], "datatype": "BYTES", "data": [row[key] for row in rows]}
                    for key in rows[0]
                ]
            },
        ).json
    for answer, one, row in zip(together, alone, expected, strict=True):
        jsonschema.Draft202012Validator(document).validate(answer)
        assert {key: one[key] for key in answer} == answer
        flat = {**answer, **answer.get("interval", {})}
        for key in row.keys() & {"prediction", "lower", "upper", "pred_p50", "pred_p99.5", "prediction_set"}:
            assert flat[key] == row[key]
        assert ("interval" in answer) == (name == "both")
    assert info["coverage"] == (0.75 if name == "both" else 0.9)
    tensors = {tensor["name"]: tensor["data"] for tensor in v2["outputs"]}
    for key in tensors.keys() & expected[0].keys():
        data = [json.loads(cell) for cell in tensors[key]] if key == "prediction_set" else tensors[key]
        assert data == [row[key] for row in expected]
    assert tensors.keys() >= {"prediction", *(EXTRA.get(name, ["prediction_set"]))}


def test_what_is_promised_is_measured_and_kept(case, runs, project):
    metrics = runs[case].metrics["test"]
    if case in EXTRA:
        assert metrics["interval_width"] > 0
        # the rows of calibration are no more likely than others to be missed, within what 40 rows tell
        assert metrics["interval_coverage"] > 0.6
    else:
        assert 1 <= metrics["set_size"] <= 3
        assert metrics["set_coverage"] > 0.75
    logged = load_model(runs[case].run_id, load_config(None).value).run.metrics
    assert logged["promised_coverage"] == float(CASES[case][3].partition("coverage: ")[2].strip("} ") or 0.9)
    if case == "both":
        assert {"pinball_loss", "pinball_loss_p99.5", "coverage_rate_p50"} <= metrics.keys()


def test_too_few_rows_for_a_promise(folder, project):
    with pytest.raises(DataError, match=r"needs 999 calibration rows or more; there are 120"):
        run(folder, "split", ["evaluation.intervals.coverage=0.999"])


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("three", "evaluation.intervals.method=normalised", "for prediction sets write split"),
        (
            "split",
            "data.split={train: 0.8, test: 0.2, validation: 0, calibration: 0}",
            "write `calibration: 0.1`",
        ),
        ("split", "evaluation.metrics=[pinball_loss_p50]", "the model has no quantiles"),
        ("both", "evaluation.metrics=[coverage_rate_p10]", "the model has the quantiles p50, p99.5"),
        ("both", "evaluation.intervals.method=normalised", None),
        ("both", "model.hyperparameters.values={quantiles: [0.5, 1.5]}", "1.5 does not"),
        ("both", "model.hyperparameters.values={base: xgboost.XGBRegresor}", "did you mean"),
        ("both", "model.hyperparameters.values={objective: MAE}", "mmp sets this itself"),
        ("both", "model.hyperparameters.optimization_metric=coverage_rate_p50", "tune on pinball_loss"),
    ],
)
def test_settings_that_cannot_be(name, override, words, runs, folder, project):
    if words is None:
        assert run(folder, name, [override]).metrics
        return
    with pytest.raises(SettingsError) as error:
        run(folder, name, [override])
    assert words in str(error.value)


def test_quantiles_are_tuned_on_their_loss_and_judged_on_folds(folder, project):
    more = ("model.hyperparameters.tuning_enabled=true", "model.hyperparameters.n_trials=3")
    folds = "data.split={strategy: cross_validation, folds: 3, train: 0.6, validation: 0, test: 0.1, calibration: 0.3}"
    for overrides in (more, (*more, folds)):
        result = run(folder, "both", overrides)
        store = load_model(result.run_id, load_config(None).value).run
        assert store.params["tuning.metric"] == "pinball_loss"
    assert result.metrics["cv"]["pinball_loss_p99.5_mean"] > 0
    assert not any(name.startswith(("set_", "lower")) for name in result.metrics["cv"])
    (made,) = folder.glob(f"mlruns/artifacts/*/{result.run_id}/artifacts/folds/predictions.parquet")
    rows = pq.read_table(made).to_pylist()
    assert all(row["prediction"] == row["pred_p50"] <= row["pred_p99.5"] for row in rows)


def test_metrics_of_bounds_are_of_the_last_model_not_of_folds(folder, project):
    folds = "data.split={strategy: cross_validation, folds: 3, train: 0.6, validation: 0, test: 0.1, calibration: 0.3}"
    result = run(folder, "split", [folds, "evaluation.metrics=[rmse, interval_coverage]"])
    assert result.metrics["test"].keys() == {"rmse", "interval_coverage", "interval_width"}
    assert result.metrics["cv"].keys() == {"rmse_mean", "rmse_se"}


def test_bounds_hold_for_slices_and_for_a_table_given_later(runs, folder, project):
    result = run(folder, "normalised", ["evaluation.slices=[city]"])
    (made,) = folder.glob(f"mlruns/artifacts/*/{result.run_id}/artifacts/evaluation/slices.json")
    slices = json.loads(made.read_text())["asked"]
    assert slices
    assert all(0 <= one["metrics"]["interval_coverage"]["value"] <= 1 for one in slices)
    given = evaluate(result.run_id, load_config(None).value, data=table_of("normalised")).metrics
    assert 0.5 < given["interval_coverage"] <= 1
    given = evaluate(runs["three"].run_id, load_config(None).value, data=table_of("three")).metrics
    assert 1 <= given["set_size"] <= 3
