"""The example in recipes/ does what its comments say."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tuned_recipe(tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(ROOT)
    (tmp_path / "config.yaml").write_text(
        f"mlflow: {{tracking_uri: {tmp_path}/mlruns}}\nlogging: {{base_path: {tmp_path}/logs}}\n"
    )
    words = (
        "-c",
        tmp_path / "config.yaml",
        "-r",
        "recipes/models/classification/xgboost_tuned.yaml",
        "--json",
    )
    planned = mmp("plan", *words).json
    assert (planned["search"]["trials"], planned["search"]["metric"]) == (20, "log_loss")
    assert planned["folds"] == [103, 103, 102, 102, 102]
    result = mmp("train", *words, "--set", "model.hyperparameters.n_trials=6").json
    assert result["metrics"]["cv"]["roc_auc_mean"] > 0.98
    assert {"folds/predictions.parquet", "tuning/trials.parquet", "tuning/history.png"} <= set(
        result["artifacts"]
    )
