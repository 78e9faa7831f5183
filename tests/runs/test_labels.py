"""Labels that no name of MLflow's could be: as weights, as metrics, and as what a run writes down."""

from __future__ import annotations

import pytest
from tests.tables import recipe

from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe
from mmp.tracking.stores import connect

ROWS = "a,label\n" + "".join(f"{n * 7 % 50},{'<=50K' if n % 3 else '>50K €'}\n" for n in range(90))


@pytest.mark.parametrize("weights", ["{'<=50K': 2.5, '>50K €': 1}", "balanced"])
def test_weights_by_label_are_one_parameter(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(ROWS, "utf-8")
    text = recipe(
        "odd", "classification", "xgboost.XGBClassifier", "t.csv", "label", values={"n_estimators": 4}
    ).replace("model:", f"model:\n  class_weight: {weights}")
    text = text.replace("evaluation: {", "evaluation: {metrics: ['f1_<=50K', 'recall_*'], ")
    (tmp_path / "r.yaml").write_text(text, "utf-8")
    result = train(load_recipe("r.yaml"), load_config())
    assert set(result.metrics["test"]) == {"f1_50K_0", "recall_50K_0", "recall_50K_1"}
    with connect(load_config().value.mlflow) as store:
        params = store.get_run(result.run_id).params
    written = params.pop("model.class_weight")
    assert all(word in written for word in (["<=50K", "2.5", ">50K €"] if "{" in weights else ["balanced"]))
    assert not [name for name in params if "50K" in name]
