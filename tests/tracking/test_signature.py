from __future__ import annotations

import datetime as dt
import json
import os
import warnings
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import yaml
from tests import bundles

from mmp.data.table import ColumnSpec
from mmp.modeling.columns import coerce
from mmp.tracking import artifacts, signature
from mmp.tracking.flavor import PyfuncWrapper, _frame_source

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, on being imported
    import mlflow.models
    import mlflow.pyfunc


@pytest.fixture(scope="module", params=["text", "integer", "boolean", "three", "numbers", "value"])
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    table = bundles.write_csv(folder / "table.csv", labels=request.param)
    task = "regression" if request.param == "value" else "classification"
    bundle = bundles.train(table, engine="xgboost", task=task)
    artifacts.write(bundle, folder / "model", run_id="run", recipe_digest="recipe")
    return bundle, folder / "model"


def test_mlflow_reads_the_model_file(written):
    bundle, folder = written
    model = mlflow.models.Model.load(str(folder))
    inputs = model.signature.inputs
    assert inputs.optional_input_names() == ["user id"]
    assert inputs.required_input_names() == [spec.name for spec in bundle.inputs]
    assert model.signature.outputs.input_names() == ["user id", *bundle.output_names]
    assert model.flavors["python_function"]["loader_module"] == "mmp.tracking.flavor"
    assert model.mlflow_version == mlflow.__version__
    assert model.run_id == "run"


def test_mlflow_loads_the_model_and_predicts_its_example(written):
    bundle, folder = written
    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    assert type(model._model_impl) is PyfuncWrapper
    example = model.input_example
    assert list(example.columns) == ["user id", *(spec.name for spec in bundle.inputs)]
    answers = model.predict(example)
    assert list(answers.columns) == ["user id", *bundle.output_names]
    assert answers.to_dict("records") == bundle.predict(bundle.examples[: len(example)]).records()
    model.metadata.signature.outputs  # noqa: B018 - parses
    mlflow.models.utils.validate_schema(answers, model.metadata.signature.outputs)


def test_mlflow_serves_the_example(written):
    bundle, folder = written
    served = mlflow.models.utils.load_serving_example(str(folder))
    with pytest.warns(FutureWarning, match="validate_serving_input"):
        answers = mlflow.models.utils.validate_serving_input(str(folder), served)
    assert answers.to_dict("records") == bundle.predict(bundle.examples[: len(answers)]).records()


def test_requirements_are_pinned_and_installed(written):
    _, folder = written
    pins = [
        line for line in (folder / "requirements.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert {pin.partition("==")[0] for pin in pins} >= {"numpy", "pandas", "pyarrow"}
    assert any(pin.startswith("xgboost") for pin in pins)
    assert any(pin.startswith("mlflow") for pin in pins)
    for pin in pins:
        name, _, version = pin.partition("==")
        assert metadata.version(name) == version
    conda = yaml.safe_load((folder / "conda.yaml").read_text())
    assert conda["dependencies"][-1]["pip"] == pins
    assert mlflow.pyfunc._get_pip_requirements_from_model_path(str(folder)) == pins
    env = yaml.safe_load((folder / "python_env.yaml").read_text())
    assert (
        env["python"]
        == yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]["python_version"]
    )


def test_nothing_asks_a_registry_for_mmp(written):
    """There the name belongs to another project, whose code would be run."""
    _, folder = written
    assert "mmp==" not in (folder / "conda.yaml").read_text()
    required = [
        line for line in (folder / "requirements.txt").read_text().splitlines() if line.startswith("mmp")
    ]
    assert required == []
    assert (folder / "requirements.txt").read_text().startswith("# mmp ")


def test_the_lock_lists_what_is_installed(written):
    _, folder = written
    lines = (folder / "environment.lock").read_text().splitlines()
    assert lines == sorted(lines, key=lambda line: line.split("=="))
    assert f"numpy=={np.__version__}" in lines


# For each kind of column: MLflow's own type for it, and a column that coercion reads and MLflow refuses.
WITNESSES = {
    "integer": ("long", [1, None], "float64"),
    "float": ("double", [1, 2], "int64"),
    "boolean": ("boolean", [0, 1], "int64"),
    "text": ("string", [123, 456], "int64"),
    "timestamp": ("datetime", ["2024-01-01", "2024-05-05"], "datetime64[ns, UTC]"),
}


@pytest.mark.parametrize(("kind", "witness"), WITNESSES.items())
def test_any_is_needed_for_every_kind(kind, witness):
    """Measured: when this fails, MLflow has become wider and the signature can say more."""
    typed, values, dtype = witness
    frame = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    coerce([ColumnSpec("x", kind)], _frame_source(frame))
    from mlflow.models.utils import _enforce_schema
    from mlflow.types.schema import Schema

    def schema(name):
        return Schema.from_json(json.dumps([{"type": name, "name": "x", "required": True}]))

    with pytest.raises(mlflow.MlflowException):
        _enforce_schema(frame, schema(typed))
    _enforce_schema(frame, schema(signature._INPUT_TYPE))


def test_dates_and_odd_names_survive_the_example(written):
    _, folder = written
    example = json.loads((folder / "input_example.json").read_bytes())
    assert "income [€]" in example["columns"]
    position = example["columns"].index("day")
    days = [row[position] for row in example["data"] if row[position]]
    assert days
    assert all(dt.datetime.fromisoformat(day).time() == dt.time(0) for day in days)
