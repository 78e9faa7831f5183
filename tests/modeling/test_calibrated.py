"""A calibrated model as a model: rows alone and among others, files, threads, explanations."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from tests import bundles

from mmp.evaluation.explain import explain
from mmp.modeling import calibration, columns, engines
from mmp.modeling.bundle import Bundle
from mmp.modeling.engines.calibrated import CalibratedModel
from mmp.modeling.single import Single
from mmp.tracking import artifacts

METHODS = ["sigmoid", "beta", "isotonic", "venn_abers"]


def calibrated(folder, *, method="isotonic", engine="xgboost", labels="text"):
    """Return a bundle of a small model, calibrated by what it says of rows drawn anew."""
    made = bundles.train(bundles.write_csv(folder / "t.csv", labels=labels), engine=engine)
    rng = np.random.default_rng(0)
    output = made.output(made.examples * 20)
    truth = rng.integers(0, len(made.classes), len(output))
    model = CalibratedModel.of(made.model, calibration.fit(method, output, truth))
    return dataclasses.replace(made, model=model)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labels", ["boolean", "three", "numbers"])
@pytest.mark.parametrize("engine", ["xgboost", "linear", "sklearn"])
def test_a_row_alone_is_the_row_among_others(tmp_path, engine, labels, method):
    bundle = calibrated(tmp_path, method=method, engine=engine, labels=labels)
    single = Single(bundle)
    records = bundle.predict(bundle.examples).records()
    keys = {spec.name for spec in bundle.entities}
    for row, expected in zip(bundle.examples, records, strict=True):
        assert single.predict(row) == {name: value for name, value in expected.items() if name not in keys}
    assert {record["prediction"] for record in records} <= set(bundle.classes)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_saved_as_numbers_and_loaded_to_the_bit(tmp_path, method):
    bundle = calibrated(tmp_path, method=method, labels="three")
    digest = artifacts.write(bundle, tmp_path / "model", run_id="r", recipe_digest="d")
    again = artifacts.load(tmp_path / "model", expected_digest=digest)
    assert isinstance(again.model, CalibratedModel)
    assert again.model.calibration.method == again.calibration == method
    assert again.output(bundle.examples).tobytes() == bundle.output(bundle.examples).tobytes()
    files = {str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*.*")}
    assert {"estimator/calibration.npz", "estimator/inside/model.ubj"} <= files
    assert not any(name.endswith(("pkl", "skops")) for name in files)
    assert artifacts.write(bundle, tmp_path / "same", run_id="r", recipe_digest="d") == digest


def test_what_is_inside_counts(tmp_path):
    model = calibrated(tmp_path, engine="lightgbm").model
    assert model.libraries == ("lightgbm",)
    assert model.explained is model.inside
    assert (model.with_threads(3).threads, model.with_threads(3).inside.threads) == (3, 3)
    assert engines.errors(model) == engines.errors(model.inside)
    fitted = np.array([[0.25, 0.75]])
    again = CalibratedModel.of(dataclasses.replace(model.inside, fitted=fitted), model.calibration)
    assert again.fitted.tolist() == model.calibration.many(fitted).tolist()


def test_it_is_explained_by_what_is_inside(tmp_path):
    bundle = calibrated(tmp_path)
    typed = columns.coerce(bundle.inputs, bundle.examples)
    rows = np.arange(len(bundle.examples))
    ours, _ = explain(bundle, typed, rows)
    plain, _ = explain(dataclasses.replace(bundle, model=bundle.model.inside), typed, rows)
    assert (ours.unit, plain.unit) == ("log-odds before calibration", "log-odds")
    assert ours.values.tobytes() == plain.values.tobytes()


def test_predicting_takes_no_trainer(tmp_path):
    bundle = calibrated(tmp_path, method="venn_abers")
    bundle.save(_empty(tmp_path / "model"))
    code = """
import sys
from pathlib import Path
from mmp.modeling.bundle import Bundle
from mmp.modeling.single import Single
bundle = Bundle.load(Path(sys.argv[1]))
Single(bundle).predict({spec.name: None for spec in bundle.inputs})
assert not {"sklearn", "scipy", "pandas", "xgboost"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")], check=True)
    assert Bundle.load(tmp_path / "model").calibration == "venn_abers"


def _empty(folder):
    folder.mkdir()
    return folder
