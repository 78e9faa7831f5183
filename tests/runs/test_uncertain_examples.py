"""The examples in recipes/ do what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(tmp_path, monkeypatch, mmp):
    """Train an example; return its test metrics, artifacts and answer to its own example."""
    monkeypatch.chdir(ROOT)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"mlflow: {{tracking_uri: {tmp_path}/mlruns}}\nlogging: {{base_path: {tmp_path}/logs}}\n"
    )

    def train(name):
        result = mmp("train", "-c", config, "-r", f"recipes/models/{name}.yaml", "--json").json
        rows = mmp("predict", "-c", config, "--run-id", "latest", "--input", "src/mmp/templates/data/"
                   + ("diabetes.csv" if "regression" in name else "cancer.csv"), "--json").json  # fmt: skip
        return result["metrics"]["test"], result["artifacts"], rows["predictions"]

    return train


def test_bounds(trained):
    metrics, artifacts, rows = trained("regression/lightgbm_intervals")
    assert metrics["interval_coverage"] > 0.65
    assert {"plots/intervals.png"} <= set(artifacts)
    widths = [row["upper"] - row["lower"] for row in rows]
    assert max(widths) > 1.5 * min(widths)


def test_quantiles(trained):
    metrics, artifacts, rows = trained("regression/quantiles")
    assert metrics["pinball_loss_p90"] < metrics["pinball_loss_p50"]
    assert {"plots/quantiles.png"} <= set(artifacts)
    assert all(row["pred_p10"] <= row["prediction"] == row["pred_p50"] <= row["pred_p90"] for row in rows)


def test_sets(trained):
    metrics, artifacts, rows = trained("classification/lightgbm_sets")
    assert metrics["set_coverage"] > 0.94
    assert {"plots/prediction_sets.png"} <= set(artifacts)
    assert {len(row["prediction_set"]) for row in rows} == {1, 2}
