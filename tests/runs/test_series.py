"""Steps of ordered series through a training run: what predicts is the last value of the entity."""

from __future__ import annotations

import csv
import datetime as dt
import json
import warnings

import numpy as np
import pytest
from tests.tables import recipe

from mmp.catalog.steps import STEPS
from mmp.data import files
from mmp.errors import DataError, MissingColumnsError
from mmp.modeling.golden import UNSEEN
from mmp.pipelines.explain import explain
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

N_ROWS, BIG = 240, 9_007_199_254_740_993
SERIES = [row.type for row in STEPS.values() if row.of_series]
FEATURES = ("pressure", "state")


def write(path, *, key):
    """Write measurements of eight sensors in no order; pressure and state have gaps."""
    rng = np.random.default_rng(11)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sensor", "site", "at", *FEATURES, "load"])
        for hour in rng.permutation(N_ROWS).tolist():
            sensor = hour % 8
            pressure = round(sensor + rng.random(), 3)
            gone = rng.random(2) < 0.3
            writer.writerow(
                [
                    key(sensor), "north" if sensor % 2 else "south",
                    (start + dt.timedelta(hours=hour)).isoformat(),
                    "" if gone[0] else pressure, "" if gone[1] else ["idle", "busy"][sensor % 2],
                    round(10 * pressure + sensor, 3),
                ]
            )  # fmt: skip
    return path


KEYS = {
    "integer": lambda sensor: BIG + sensor,
    "small": lambda sensor: sensor,
    "text": lambda sensor: f"{sensor:03d}",
}


def recipe_file(folder, *steps, entities=("sensor",), path="xgboost.XGBRegressor", lines=()):
    made = recipe("sensors", "regression", path, "table.csv", "load", entities=entities, lines=(
        "  split: {strategy: temporal, temporal_column: at}",
        "preprocessor:", "  steps:", *(f"    - {step}" for step in steps), *lines,
    )).replace("{target_column: load", "{target_column: load, timestamp_column: at, feature_columns: [pressure, state]")  # fmt: skip
    (folder / "recipe.yaml").write_text(made, encoding="utf-8")
    return load_recipe("recipe.yaml")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "table.csv", key=KEYS["integer"])
    return tmp_path


def ends(path, names=("sensor",)):
    """Return the last known values of each entity among the training rows, by pandas."""
    import pandas as pd

    table = pd.read_csv(path, dtype={"sensor": str}).sort_values("at")
    training = table.head(round(N_ROWS * 0.7))
    return training.groupby(list(names))[list(FEATURES)].last()


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_value_is_the_last_of_the_entity(key, project, mmp):
    write(project / "table.csv", key=KEYS[key])
    recipe_file(project, "{type: forward_fill}")
    trained = mmp("train", "-r", "recipe.yaml", "--json")
    assert trained.code == 0
    run_id = trained.json["run_id"]
    expected = ends("table.csv")
    assert len(expected) == 8

    def predict(rows):
        answered = mmp("predict", "--run-id", run_id, "-i", json.dumps(rows), "--json")
        assert answered.code == 0, answered.error
        return [row["prediction"] for row in answered.json["predictions"]]

    sensors = [name if key == "text" else int(name) for name in expected.index]
    asked = [{"sensor": sensor, "pressure": None, "state": None} for sensor in sensors]
    told = [
        {"sensor": "999" if key == "text" else 99, **dict(zip(FEATURES, values, strict=True))}
        for values in expected.to_numpy().tolist()
    ]
    answers = predict(asked)
    assert answers == predict(told)
    assert len(set(answers)) > 3
    assert [predict([row])[0] for row in asked[:3]] == answers[:3]
    unknown = predict([{**asked[0], "sensor": None}, {**asked[0], "sensor": told[0]["sensor"]}])
    assert unknown[0] == unknown[1] != answers[0]

    bundle = load_model(run_id, load_config().value).bundle
    assert [spec.name for spec in bundle.inputs] == ["sensor", *bundle.baseline["features"]]
    rows = files.read("table.csv", texts=["sensor"] if key == "text" else []).arrow
    whole = bundle.predict(rows).records()
    assert [bundle.predict(rows.slice(position, 1)).records()[0] for position in (0, 99)] == [
        whole[0],
        whole[99],
    ]
    assert mmp("predict", "--run-id", run_id, "-i", "table.csv", "--json").json["predictions"] == whole


def test_mlflow_predicts_by_the_key_too(project):
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on being imported
        import mlflow.pyfunc

    result = train(recipe_file(project, "{type: forward_fill}"), load_config())
    bundle = load_model(result.run_id, load_config().value).bundle
    (folder,) = project.glob("mlruns/**/MLmodel")
    model = mlflow.pyfunc.load_model(str(folder.parent), suppress_warnings=True)
    inputs = model.metadata.signature.inputs
    assert inputs.required_input_names() == ["sensor", "pressure", "state"]
    rows = [{"sensor": BIG + n, "pressure": None, "state": None} for n in range(8)]
    frame = pd.DataFrame(rows, dtype=object)
    assert model.predict(frame).to_dict("records") == bundle.predict(rows).records()
    with pytest.raises(DataError, match="stands for several integers"):
        bundle.output([{"sensor": float(BIG), "pressure": None, "state": None}])
    with pytest.raises(MissingColumnsError, match="'sensor' is missing"):
        bundle.predict([{"pressure": 1.0, "state": None}])


@pytest.mark.parametrize("key", KEYS)
def test_golden_rows_recall_known_and_unknown_entities(key, project):
    write(project / "table.csv", key=KEYS[key])
    result = train(recipe_file(project, "{type: forward_fill}"), load_config())
    bundle = load_model(result.run_id, load_config().value).bundle
    keys = [row["sensor"] for row in bundle.examples]
    known = {KEYS[key](sensor) for sensor in range(8)}
    assert known & set(keys)
    assert not set(keys) <= known
    assert "sensor" not in bundle.baseline["features"]
    assert UNSEEN in {row["state"] for row in bundle.examples}


@pytest.mark.parametrize("path", ["xgboost.XGBRegressor", "sklearn.neighbors.KNeighborsRegressor"])
@pytest.mark.parametrize("entities", [("sensor",), ("sensor", "site"), ()])
@pytest.mark.parametrize("kind", SERIES)
def test_every_surface_takes_a_step_of_series(kind, entities, path, project, mmp):
    steps = [
        f"{{type: {kind}, columns: [pressure], limit: 2}}",
        "{type: simple_imputer, strategy: most_frequent}",
        "{type: one_hot_encoder}",
    ]
    lines = ("evaluation: {plots: true, explain: {enabled: true, max_rows: 20}}",)
    result = train(recipe_file(project, *steps, entities=entities, path=path, lines=lines), load_config())
    told = [finding for finding in result.warnings if finding.check == kind]
    assert bool(told) == (kind == "backward_fill")
    assert not [finding for finding in result.warnings if finding.check == "explain"]

    read = set(entities) if kind != "backward_fill" else set()
    bundle = load_model(result.run_id, load_config().value).bundle
    assert {spec.name for spec in bundle.pipeline.keys} == read
    config = load_config().value
    explained = explain(result.run_id, config, data="table.csv", row=3)
    assert {part["column"] for part in explained.columns} == {spec.name for spec in bundle.pipeline.inputs}
    evaluated = mmp("evaluate", "--run-id", result.run_id, "-d", "table.csv", "--json")
    assert evaluated.code == 0
    rows = files.read("table.csv").arrow
    whole = bundle.predict(rows).records()
    assert bundle.predict(rows.slice(5, 1)).records() == whole[5:6]
    assert mmp("plan", "-r", "recipe.yaml", "--json").code == 0
