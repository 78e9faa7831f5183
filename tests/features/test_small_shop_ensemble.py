"""An ensemble with features of the store: trained, asked by keys alone, and scored point in time."""

from __future__ import annotations

import json

import pytest
from tests.features import small_shop
from tests.features.small_shop import CONFIG, ORDERS, RECIPE

ENSEMBLE = (
    "model={ensemble: {method: greedy, members: ["
    "{class_path: xgboost.XGBClassifier, hyperparameters: {values: {n_estimators: 20}}, "
    "early_stopping: {rounds: 5}}, {class_path: sklearn.linear_model.LogisticRegression}]}}"
)


@pytest.fixture
def shop(tmp_path):
    small_shop.build(tmp_path)
    with small_shop.inside(tmp_path, {}):
        small_shop.fill()
        yield tmp_path


def test_an_ensemble_takes_features_as_any_model_does(shop, mmp):
    outcome = mmp(
        "train", "-c", CONFIG, "-r", RECIPE, "--set", ENSEMBLE, "--set", "evaluation.plots=false",
        "--set", "evaluation.explain.enabled=false", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.json["metrics"]["out_of_fold"]["roc_auc"] > 0.6
    request = json.dumps(outcome.json["example"])
    asked = mmp("predict", "-c", CONFIG, "--run-id", "latest", "-i", request, "--json")
    assert asked.code == 0, asked.err
    assert 0 < asked.json["prediction"]["probability"] < 1
    scored = mmp("evaluate", "-c", CONFIG, "--run-id", "latest", "-d", ORDERS, "--json")
    assert scored.code == 0, scored.err
    assert scored.json["metrics"]["roc_auc"] > 0.6
