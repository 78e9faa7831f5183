"""The recipes of card fraud on the world of mmp-local-dev, with configs/dev.yaml as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.features.small_shop import RECIPE

ROOT = Path(__file__).parents[2]
RECIPES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.glob("recipes/**/*.yaml")
    if "type: feature_store" in path.read_text() and str(path.relative_to(ROOT)) != RECIPE
)
CONFIG = "configs/dev.yaml"
DAY = "recipes/sql/transactions_of_day.sql.j2"

pytestmark = pytest.mark.infra


@pytest.fixture
def world_here(world, monkeypatch, tmp_path):
    """The repository is the working directory, the world its infrastructure."""
    monkeypatch.chdir(ROOT)
    for name, value in world.values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))


def test_there_are_three():
    assert [path.stem for path in RECIPES] == ["fraud_catboost", "fraud_lightgbm", "fraud_xgboost"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_finds_fraud_by_its_features(recipe, world_here, mmp):
    trained = mmp("train", "-c", CONFIG, "-r", recipe, "--json")
    assert trained.code == 0, trained.out
    assert trained.json["metrics"]["test"]["roc_auc"] > 0.87
    run = trained.json["run_id"]
    equal = mmp("features", "parity", "-c", CONFIG, "--run-id", run, "--rows", 200, "--json")
    assert equal.code == 0, equal.out
    assert equal.json["predictions"]["n_rows"] == 200
    row = {key: value for key, value in trained.json["example"].items() if key != "transaction_id"}
    answer = mmp("predict", "-c", CONFIG, "--run-id", run, "-i", json.dumps(row), "--json")
    assert answer.code == 0, answer.out


def test_learns_little_without(world_here, mmp):
    keys = "[transaction_id, user_id, merchant_id, category_id]"
    without = mmp(
        "train", "-c", CONFIG, "-r", "recipes/models/classification/fraud_xgboost.yaml", "--json",
        "--set", "data.fetcher.type=pass_through", "--set", f"data.data_interface.entity_columns={keys}",
    )  # fmt: skip
    assert without.json["metrics"]["test"]["roc_auc"] < 0.75


def test_registers_and_lists_the_world(world_here, mmp):
    applied = mmp("features", "apply", "-c", CONFIG, "--repo", "mmp-local-dev/feast", "--json")
    listed = mmp("features", "list", "-c", CONFIG, "--json").json["views"]
    assert applied.json["views"] == [each["view"]["name"] for each in listed]
    assert sum(len(each["view"]["features"]) for each in listed) == 41
    # it was registered as it is, so the online store still has it
    assert all(each["materialized_until"] for each in listed)
    assert mmp("features", "parity", "-c", CONFIG, "--rows", 100).code == 0


def test_takes_days_as_parameters(world_here, mmp):
    recipe = "recipes/models/classification/fraud_lightgbm.yaml"
    whole = mmp("plan", "-c", CONFIG, "-r", recipe, "--json").json
    moments = mmp("train", "-c", CONFIG, "-r", recipe, "--json").json
    scored = mmp("predict", "-c", CONFIG, "--run-id", moments["run_id"], "-i", DAY, "--json").json[
        "predictions"
    ]
    assert 0 < len(scored) < 1000
    assert len({row["transaction_id"] for row in scored}) == len(scored)
    first = mmp("validate", "-c", CONFIG, "-r", recipe, "-p", '{"last_day": "1999-12-31"}', "--json")
    assert first.code == 3
    assert whole["n_rows"] == 50_000
