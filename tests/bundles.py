"""Models for tests, trained on a table of every kind of column, through the code that users run."""

from __future__ import annotations

import csv
import datetime as dt

import numpy as np

from mmp.catalog.models import row_for
from mmp.data import files
from mmp.modeling import baseline, columns, golden, pipeline, target
from mmp.modeling.bundle import Bundle
from mmp.modeling.fit import fit_model
from mmp.settings.steps import STEP_MODELS

CLASS_PATHS = {
    ("classification", "xgboost"): "xgboost.XGBClassifier",
    ("classification", "lightgbm"): "lightgbm.LGBMClassifier",
    ("classification", "catboost"): "catboost.CatBoostClassifier",
    ("classification", "linear"): "sklearn.linear_model.LogisticRegression",
    ("classification", "sklearn"): "sklearn.ensemble.RandomForestClassifier",
    ("regression", "xgboost"): "xgboost.XGBRegressor",
    ("regression", "lightgbm"): "lightgbm.LGBMRegressor",
    ("regression", "catboost"): "catboost.CatBoostRegressor",
    ("regression", "linear"): "sklearn.linear_model.LinearRegression",
    ("regression", "sklearn"): "sklearn.ensemble.RandomForestRegressor",
}
SMALL = {
    "xgboost": {"n_estimators": 5, "max_depth": 3},
    "lightgbm": {"n_estimators": 5, "num_leaves": 5},
    "catboost": {"iterations": 5, "depth": 3},
    "linear": {},
    "sklearn": {"n_estimators": 5, "max_depth": 4},
}
LABELS = {
    "text": lambda score: np.where(score > 0.6, "yes", "no"),
    "integer": lambda score: (score > 0.6).astype(int),
    "boolean": lambda score: score > 0.6,
    "three": lambda score: np.select([score > 0.8, score > 0.3], [">50K", "<=50K"], "ünknown"),
    "numbers": lambda score: np.select([score > 0.8, score > 0.3], [30, 20], 10),
    "value": lambda score: score * 100,
}


def write_csv(path, *, labels="text", n_rows=200, seed=7):
    """Write a table with nulls in every column but the key and the target."""
    rng = np.random.default_rng(seed)
    age, score = rng.integers(18, 90, n_rows), rng.random(n_rows)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(hours=int(hours)) for hours in rng.integers(0, 9000, n_rows)]
    cells = {
        "user id": [9_007_199_254_740_993 + row for row in range(n_rows)],
        "age": age,
        "income [€]": np.round(score * 5_000 + age, 2),
        "active?": rng.random(n_rows) > 0.5,
        "zip": [f"{number:05d}" for number in rng.integers(1000, 1030, n_rows)],
        "city": rng.choice(["Köln", "New York", "St. John's", "東京"], n_rows),
        "day": [moment.date().isoformat() for moment in moments],
        "seen at": [moment.isoformat() for moment in moments],
        "nothing": [""] * n_rows,
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*cells, "label"])
        gone = rng.random((n_rows, len(cells))) < 0.08
        gone[:, 0] = False
        for row, label in enumerate(LABELS[labels](score + age / 1000)):
            writer.writerow([*("" if gone[row, c] else cells[n][row] for c, n in enumerate(cells)), label])
    return path


def train(
    path, *, engine="xgboost", task="classification", entities=("user id",), label="label", seed=3, steps=None
):
    """Train a small model on a file, all of its rows."""
    table = files.read(str(path))
    specs = [spec for spec in table.specs if spec.name not in {label, *entities}]
    typed = columns.from_table(table, table.specs)
    wanted, _ = target.encode(typed[label], name=label, task=task)
    row = row_for(CLASS_PATHS[task, engine], task)
    specs = [spec for spec in specs if not typed[spec.name].missing().all()]
    chosen = _steps(row) if steps is None else steps
    fitted, matrix = pipeline.fit(
        chosen,
        typed,
        specs,
        wanted,
        seed=seed,
        dtype=row.matrix_dtype,
        native_categories=row.native_categories,
    )
    model = fit_model(row, SMALL[engine], matrix, wanted).model
    bundle = Bundle(
        task=task,
        recipe_name="small",
        class_path=row.class_path,
        target=table.spec(label),
        entities=tuple(table.spec(name) for name in entities),
        pipeline=fitted,
        model=model,
        classes=wanted.classes,
        positive=wanted.positive,
        baseline=baseline.baseline(typed, fitted.inputs, wanted, model.predict(matrix.values)),
        parameters=SMALL[engine],
    )
    return golden.with_examples(bundle, typed, seed=seed)


def _steps(row):
    types = ["datetime_features"]
    if not row.native_categories:
        types += ["simple_imputer", "one_hot_encoder"]
    return [STEP_MODELS[kind](type=kind) for kind in types]
