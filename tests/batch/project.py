"""A project with a trained model and a table to score, for the tests of batches."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from tests.tables import KEY, recipe, write_mixed

from mmp.pipelines.batch import batch_inference
from mmp.pipelines.predict import predict
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

MODELS = {
    "xgboost": ("xgboost.XGBClassifier", "awkward", {"n_estimators": 12, "max_depth": 3}),
    "lightgbm": ("lightgbm.LGBMClassifier", "text", {"n_estimators": 12, "num_leaves": 5}),
    "catboost": ("catboost.CatBoostRegressor", "value", {"iterations": 12, "depth": 3}),
    "linear": ("sklearn.linear_model.LogisticRegression", "numbers", {}),
    "sklearn": ("sklearn.ensemble.RandomForestRegressor", "value", {"n_estimators": 6, "max_depth": 4}),
}
CONFIG = "environment: {name: local}\nmlflow: {tracking_uri: ./mlruns}\nlogging: {base_path: ./logs}\n"


def make(folder, engine="xgboost", more=""):
    """Train a model in a folder, the working directory; return its run id."""
    class_path, labels, values = MODELS[engine]
    write_mixed(folder / "train.csv", labels)
    write_mixed(folder / "table.csv", labels, n_rows=500, seed=11)
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs/local.yaml").write_text(CONFIG + more)
    task = "regression" if labels == "value" else "classification"
    text = recipe(engine, task, class_path, "train.csv", "label", entities=[KEY], values=values)
    (folder / f"{engine}.yaml").write_text(text, encoding="utf-8")
    return train(load_recipe(str(folder / f"{engine}.yaml")), load_config(None)).run_id


def score(run_id="latest", **options):
    """Score as the command does."""
    return batch_inference(run_id, load_config(None).value, **options)


def predicted(path, run_id="latest"):
    """What `mmp predict` says of a file, as JSON writes it and Python reads it."""
    return json.loads(json.dumps(predict(run_id, load_config(None).value, str(path)).records))


@contextmanager
def inside(folder, kinds, *, n_rows):
    """Be in a project that has a table for each kind of labels."""
    (folder / "configs").mkdir()
    (folder / "configs/local.yaml").write_text(CONFIG)
    for labels in kinds:
        write_mixed(folder / f"{labels}.csv", labels, n_rows=n_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
