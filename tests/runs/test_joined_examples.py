"""The examples of several models in recipes/ do what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"mlflow: {{tracking_uri: {tmp_path}/mlruns}}\nlogging: {{base_path: {tmp_path}/logs}}\n"
    )
    return lambda name: ("train", "-c", config, "-r", f"recipes/models/{name}.yaml", "--json")


def test_an_ensemble(words, mmp):
    result = mmp(*words("classification/ensemble")).json
    assert result["metrics"]["test"]["roc_auc"] > 0.98
    assert {"ensemble/members.json", "explain/importance.json"} <= set(result["artifacts"])


def test_a_preset(words, mmp):
    result = mmp(*words("regression/preset"), "--set", "model.time_limit_s=8").json
    assert 40 < result["metrics"]["out_of_fold"]["rmse"] < 60
    assert {"ensemble/members.json", "ensemble/recipe.yaml", "plots/importance.png"} <= set(
        result["artifacts"]
    )
