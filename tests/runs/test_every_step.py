"""Every step through a training run, and guests through the model's files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from tests.tables import KEY, recipe, write_mixed

from mmp.catalog.steps import STEPS
from mmp.data import files
from mmp.errors import ArtifactError
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

COLUMNS = {"categorical": "[city, product code]", "datetime": "datetime"}
MODEL = ("xgboost.XGBClassifier", {"n_estimators": 3})


def recipe_file(folder, *steps, more=()):
    lines = ("preprocessor:", "  steps:", *(f"    - {step}" for step in steps), *more)
    path, values = MODEL
    text = recipe(
        "steps", "classification", path, "table.csv", "label", entities=[KEY], values=values, lines=lines
    )
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return load_recipe("recipe.yaml")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv", "text", n_rows=160)
    return tmp_path


def answers_again(result, rows, **config):
    """Return what the logged model says of rows, after asking it for each row alone."""
    bundle = load_model(result.run_id, load_config(**config).value).bundle
    expected = bundle.predict(rows).records()
    for position in (0, 7):
        assert bundle.predict(rows.slice(position, 1)).records() == expected[position : position + 1]
    return bundle, expected


@pytest.mark.parametrize("kind", [row.type for row in STEPS.values() if not row.of_series])
def test_a_step_in_a_run(kind, project):
    columns = COLUMNS.get(STEPS[kind].fits, '["age (years)", "share <0.5"]')
    rest = () if kind == "datetime_features" else ("{type: datetime_features}",)
    result = train(recipe_file(project, f"{{type: {kind}, columns: {columns}}}", *rest), load_config())
    rows = files.read("table.csv").arrow
    bundle, expected = answers_again(result, rows)
    assert len(expected) == 160
    assert all(0 <= row["probability"] <= 1 for row in expected)
    told = [finding for finding in result.warnings if finding.check == "drop_missing"]
    assert bool(told) == (kind == "drop_missing")
    assert bundle.inputs


def test_guests_go_with_the_model(project):
    steps = [
        "{type: datetime_features}",
        '{type: sklearn.preprocessing.PowerTransformer, columns: ["age (years)", "income [€]"]}',
        "{type: sklearn.preprocessing.OrdinalEncoder, columns: city, handle_unknown: use_encoded_value, unknown_value: -1}",
    ]
    result = train(recipe_file(project, *steps), load_config())
    assert sum("it is slower" in finding.message for finding in result.warnings) == 2
    saved = [name for name in result.artifacts if "/transformers/" in name]
    assert len(saved) == 2
    assert all(name.endswith(".skops") for name in saved)
    answers_again(result, files.read("table.csv").arrow)


def test_a_guest_that_was_changed_is_not_loaded(project):
    guest = '{type: sklearn.preprocessing.PowerTransformer, columns: "age (years)"}'
    result = train(recipe_file(project, "{type: datetime_features}", guest), load_config())
    (saved,) = project.glob("mlruns/**/transformers/*.skops")
    saved.write_bytes(saved.read_bytes().replace(b"yeo", b"yow"))
    with pytest.raises(ArtifactError, match=r"transformer\.skops"):
        load_model(result.run_id, load_config().value)
    saved.unlink()
    with pytest.raises(ArtifactError, match=r"transformer\.skops"):
        load_model(result.run_id, load_config().value)


OWN = """
import numpy as np
from mmp.modeling.columns import as_float
from mmp.modeling.ops import Clip
from mmp.modeling.steps.base import NUMBERS, Fitted, require_kinds

class Shrink:
    def __init__(self, by=2.0):
        self.by = by

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X / self.by

def clip(step, names, training):
    "Move what lies beyond two quantiles of the training rows to them."
    require_kinds(step, names, training, NUMBERS)
    ops = []
    for name in names:
        low, high = np.nanquantile(as_float(training[name]), [step.lower, step.upper])
        ops.append(Clip(name, (name,), float(low), float(high)))
    return Fitted(tuple(ops))
"""


@pytest.fixture
def own(project, monkeypatch):
    (project / "own_steps.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(project))
    yield project
    sys.modules.pop("own_steps", None)


def test_a_function_of_ones_own_is_ops_in_the_model(own):
    step = '{type: own_steps.clip, columns: "age (years)", lower: 0.1, upper: 0.9}'
    result = train(recipe_file(own, step, "{type: datetime_features}"), load_config())
    sys.modules.pop("own_steps")
    (own / "own_steps.py").unlink()
    bundle, _ = answers_again(result, files.read("table.csv").arrow)
    (clip,) = (op for op in bundle.pipeline.ops if op.name == "clip")
    assert 18 < clip.lower < clip.upper < 90


def test_a_transformer_of_ones_own_needs_the_word_twice(own, mmp):
    step = '{type: own_steps.Shrink, columns: "age (years)", by: 4}'
    recipe_file(own, step, "{type: datetime_features}")
    refused = mmp("train", "-r", "recipe.yaml", "--json")
    assert refused.code == 2
    assert "it holds own_steps.Shrink" in refused.error["message"]
    assert "package: {trust: [own_steps.Shrink]}" in refused.error["hint"]

    made = recipe_file(own, step, "{type: datetime_features}", more=("package: {trust: [own_steps.Shrink]}",))
    result = train(made, load_config())
    refused = mmp("predict", "--run-id", result.run_id, "-i", "table.csv", "--json")
    assert "not trusted: own_steps.Shrink" in refused.error["message"]
    (own / "trusting.yaml").write_text("trust: [own_steps.Shrink]\n")
    accepted = mmp("predict", "-c", "trusting.yaml", "--run-id", result.run_id, "-i", "table.csv", "--json")
    assert accepted.code == 0
    assert len(accepted.json["predictions"]) == 160


def test_rows_that_are_dropped_do_not_weigh(project):
    step = '{type: drop_missing, columns: ["age (years)", "income [€]", "city"]}'
    more = ("evaluation: {metrics: [accuracy]}",)
    made = recipe_file(project, step, "{type: datetime_features}", more=more)
    result = train(made, load_config())
    (finding,) = (finding for finding in result.warnings if finding.check == "drop_missing")
    assert "such rows go through" in finding.message
    assert np.isfinite(result.metrics["test"]["accuracy"])
