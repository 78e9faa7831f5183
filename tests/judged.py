"""Trainings with a registry, and what they keep of their judgement."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tables import KEY, recipe

from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe
from mmp.tracking.stores import connect

CONFIG = "mlflow: {registered_model_name: churn}\n"
"""What the working directory has as ``config.yaml``."""


def trained(labels="text", *, table="table.csv", class_path=None, target="label", lines=(), **values):
    task = "regression" if labels == "value" else "classification"
    class_path = (
        class_path or f"sklearn.linear_model.{'Ridge' if task == 'regression' else 'LogisticRegression'}"
    )
    text = recipe("r", task, class_path, table, target, entities=[KEY], values=values, lines=lines)
    Path("r.yaml").write_text(text, encoding="utf-8")
    return train(load_recipe("r.yaml"), load_config("config.yaml"))


def logged(run_id):
    with connect(load_config("config.yaml").value.mlflow) as store:
        return store.get_run(run_id)


def content(folder, run_id, name):
    (path,) = folder.glob(f"mlruns/artifacts/*/{run_id}/artifacts/evaluation/{name}")
    return json.loads(path.read_text(encoding="utf-8"))


def crown(run_id, alias="champion"):
    with connect(load_config("config.yaml").value.mlflow) as store:
        version = store.register("churn", run_id)
        store.set_alias("churn", alias, str(version))
