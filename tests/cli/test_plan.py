"""`mmp plan` says what `mmp train` then does, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tables import recipe, write_mixed

from mmp.catalog.models import MODELS
from mmp.settings.load import load_config
from mmp.tracking.stores import connect


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "t.csv", n_rows=160)


def planned(mmp, class_path, *words, values=None):
    Path("r.yaml").write_text(
        recipe(
            "r", "classification", class_path, "t.csv", "label", entities=["customer id"], values=values or {}
        )
    )
    return mmp("plan", "-r", "r.yaml", *words)


PLAIN = ("--set", "evaluation.plots=false", "--set", "evaluation.explain={enabled: false}")
CLASSIFIERS = [row for row in MODELS.values() if row.task == "classification"]


@pytest.mark.parametrize("class_path", {row.engine: row.class_path for row in CLASSIFIERS}.values())
def test_a_plan_is_what_a_training_does(class_path, mmp):
    plan = planned(mmp, class_path, "--json").json
    assert not Path("mlruns").exists()
    trained = mmp("train", "-r", "r.yaml", *PLAIN, "--json")
    assert trained.code == 0, trained.out
    with connect(load_config().value.mlflow) as store:
        run = store.get_run(trained.json["run_id"])
    known = {p["name"]: p["value"] for p in plan["parameters"] if p["origin"] != "library"}
    assert {name: run.params[name] for name in known} == {name: str(value) for name, value in known.items()}
    assert (plan["n_rows"], sum(plan["splits"].values())) == (160, 160)
    assert plan["model"] == class_path
    assert plan["writes"]["experiment"] == trained.json["experiment"]
    roles = {column["name"]: column["role"] for column in plan["columns"]}
    assert (roles["label"], roles["customer id"], roles["city"]) == ("target", "entity", "feature")
    assert sum(bool(column["becomes"]) for column in plan["columns"]) == 11


def test_where_each_parameter_comes_from(mmp):
    plan = planned(mmp, "xgboost.XGBClassifier", "--json", values={"eta": 0.3}).json
    found = {p["name"]: (p["value"], p["origin"]) for p in plan["parameters"]}
    assert found["learning_rate"] == (0.3, "recipe")
    assert found["subsample"] == (MODELS["xgboost.XGBClassifier"].defaults["subsample"], "catalog")
    few = MODELS["xgboost.XGBClassifier"].cases["few_rows"]
    assert found["max_depth"] == (few["max_depth"], "catalog")
    assert found["random_state"] == (42, "mmp")
    assert found["max_bin"] == (None, "library")
    assert found.keys() >= MODELS["xgboost.XGBClassifier"].parameters
    plan = planned(mmp, "sklearn.linear_model.LogisticRegression", "--json", "--set",
                   "model.hyperparameters.defaults=library").json  # fmt: skip
    found = {p["name"]: (p["value"], p["origin"]) for p in plan["parameters"]}
    assert (found["max_iter"], found["C"]) == ((100, "library"), (1.0, "library"))


def test_the_text_says_the_same(mmp):
    text = planned(mmp, "sklearn.linear_model.LogisticRegression").out
    for words in (
        "160 from t.csv",
        "train 112, validation 25, test 23",
        "one_hot_encoder",
        "(chosen)",
        "max_iter",
        "r_<UTC",
    ):
        assert words in text
    refused = mmp("plan", "-r", "r.yaml", "--set", "data.data_interface.target_column=gone", "--json")
    assert (refused.code, refused.error["code"]) == (3, "missing_columns")


def test_what_is_left_out_is_said(mmp):
    lines = Path("t.csv").read_text().splitlines()
    Path("t.csv").write_text("\n".join([f"{lines[0]},same", *(f"{line},1" for line in lines[1:])]) + "\n")
    plan = planned(mmp, "lightgbm.LGBMClassifier", "--json").json
    assert next(c["role"] for c in plan["columns"] if c["name"] == "same") == "left out"
    assert [f["column"] for f in plan["findings"] if f["check"] == "constant"] == ["same"]
