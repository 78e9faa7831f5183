"""A recipe over views of one entity and of two, by columns of other names."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.features.shop import START, write_repo

from mmp.features import registry
from mmp.pipelines.model import load_model
from mmp.settings.load import load_config

CONFIG = """
mlflow: {tracking_uri: ./mlruns}
feature_store:
  provider: feast
  feast_config:
    project: shop
    repo_path: shop
    registry: registry.db
    offline_store: {type: file}
    online_store: {type: sqlite, path: online.db}
"""
RECIPE = """
name: visits
task_choice: regression
model: {class_path: xgboost.XGBRegressor, hyperparameters: {values: {n_estimators: 5}}}
data:
  loader: {source_uri: spine.csv}
  fetcher:
    type: feature_store
    feature_views:
      users: {join_key: buyer, features: [age, score, city, premium, since]}
      visits: {join_key: "buyer, where", features: [n, city]}
    timestamp_column: at
  data_interface: {target_column: paid}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Views, their stores filled, and a spine whose keys have names of their own."""
    monkeypatch.chdir(tmp_path)
    write_repo(tmp_path / "shop")
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    store = load_config("config.yaml").value.feature_store
    registry.apply(store)
    registry.materialize(store, ["users", "visits"], until=START + dt.timedelta(days=1))
    rng = np.random.default_rng(0)
    lines = [
        f"{buyer},{where},{(START + dt.timedelta(days=float(day))).isoformat()},{paid:.2f}"
        for buyer, where, day, paid in zip(
            rng.choice([1, 2, 3, 12, 99], 200),
            rng.choice([3, 23], 200),
            rng.uniform(-1, 29, 200),
            rng.normal(size=200),
            strict=True,
        )
    ]
    (tmp_path / "spine.csv").write_text("\n".join(["buyer,where,at,paid", *lines]) + "\n")
    return tmp_path


def test_trains_on_composite_keys_and_names_that_two_views_have(folder, mmp):
    trained = mmp("train", "-c", "config.yaml", "-r", "recipe.yaml", "--json")
    assert trained.code == 0, trained.out
    told = [each["message"] for each in trained.json["warnings"] if each["check"] == "feature_name"]
    assert len(told) == 2
    bundle = load_model(trained.json["run_id"], load_config("config.yaml").value).bundle
    assert bundle.features.names == ("age", "score", "users__city", "premium", "since", "n", "visits__city")
    assert bundle.features.key_columns == ("buyer", "where")
    assert [spec.name for spec in bundle.request] == ["buyer", "where"]
    assert [spec.name for spec in bundle.entities] == ["buyer", "where"]


def test_answers_the_same_now_from_both_stores(folder, mmp):
    run = mmp("train", "-c", "config.yaml", "-r", "recipe.yaml", "--json").json["run_id"]
    rows = [{"buyer": buyer, "where": where} for buyer in (1, 12, 2, 99, None) for where in (23, 3, None)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    said = [
        mmp("predict", "-c", "config.yaml", "--run-id", run, "-i", given, "--json").json["predictions"]
        for given in (json.dumps(rows), "rows.parquet")
    ]
    assert said[0] == said[1]
    assert [{name: row[name] for name in ("buyer", "where")} for row in said[0]] == rows


def test_keys_are_read_as_what_the_store_has(folder, mmp):
    run = mmp("train", "-c", "config.yaml", "-r", "recipe.yaml", "--json").json["run_id"]
    said = [
        mmp(
            "predict",
            "-c",
            "config.yaml",
            "--run-id",
            run,
            "-i",
            json.dumps({"buyer": key, "where": 23}),
            "--json",
        )
        for key in (1, 1.0, "1", " 1 ")
    ]
    assert len({each.json["prediction"]["prediction"] for each in said}) == 1
    assert [each.json["prediction"]["buyer"] for each in said] == [1, 1.0, "1", " 1 "]
    refused = mmp(
        "predict", "-c", "config.yaml", "--run-id", run, "-i", '{"buyer": "ann", "where": 23}', "--json"
    )
    assert refused.code == 3
    assert refused.error["message"] == "Column 'buyer', row 0: 'ann' is not an integer."


def test_settings_that_cannot_be(folder, mmp):
    for change, code, words in (
        ("data.fetcher.feature_views.users.features=[agee]", 2, "has no feature 'agee'"),
        ("data.fetcher.feature_views.users.join_key=bayer", 3, "'bayer'"),
        ("data.fetcher.timestamp_column=paid", 2, "is the target"),
        ("data.fetcher.timestamp_column=where", 3, "needs timestamps"),
        ("data.data_interface.target_column=age", 2, "The target 'age' is one of the features"),
    ):
        refused = mmp("train", "-c", "config.yaml", "-r", "recipe.yaml", "--set", change, "--json")
        assert refused.code == code, (change, refused.out)
        assert words in refused.error["message"] + refused.error["hint"], change


def test_a_table_that_has_a_feature_already(folder, mmp):
    text = (folder / "spine.csv").read_text().replace("paid", "paid,age", 1).splitlines()
    (folder / "spine.csv").write_text("\n".join([text[0], *(f"{line},1" for line in text[1:])]) + "\n")
    refused = mmp("train", "-c", "config.yaml", "-r", "recipe.yaml", "--json")
    assert (refused.code, refused.error["message"]) == (
        3, "The rows already have 'age', which the feature store is to add.",
    )  # fmt: skip
