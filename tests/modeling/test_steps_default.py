"""The steps a recipe without steps gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmp.catalog.models import MODELS, row_for
from mmp.data.table import ColumnSpec
from mmp.modeling import pipeline
from mmp.modeling.build import NATIVE_LEVELS, ONE_HOT_CELLS, default_steps
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target

ROWS = 400
CELLS = {
    "n": ("integer", [None if row % 9 == 0 else row for row in range(ROWS)]),
    "x": ("float", [row / 7 for row in range(ROWS)]),
    "b": ("boolean", [row % 3 == 0 for row in range(ROWS)]),
    "few": ("text", [None if row % 11 == 0 else f"level {row % 5}" for row in range(ROWS)]),
    "many": ("text", [f"level {row % 100}" for row in range(ROWS)]),
    "w": ("timestamp", [row * 7 * 10**11 for row in range(ROWS)]),
}
SPECS = [ColumnSpec(name, kind) for name, (kind, _) in CELLS.items()]
COLUMNS = {name: column_of(*cells) for name, cells in CELLS.items()}
TARGET = Target("classification", np.arange(ROWS, dtype=np.int32) % 2, (0, 1), 1)


def chosen(model):
    return [(step.type, step.columns) for step in default_steps(SPECS, COLUMNS, model=model)]


@pytest.mark.parametrize("engine", ["xgboost", "lightgbm", "catboost"])
def test_boosters_do_the_most_for_themselves(engine):
    model = next(row for row in MODELS.values() if row.engine == engine)
    assert chosen(model) == [("datetime_features", "datetime"), ("target_encoder", ("many",))]


def test_others_get_numbers_without_holes():
    model = row_for("sklearn.ensemble.BaggingClassifier", "classification")
    assert chosen(model) == [
        ("datetime_features", "datetime"),
        ("simple_imputer", "numeric"),
        ("target_encoder", ("many",)),
        ("one_hot_encoder", ("few",)),
        *([("standard_scaler", "numeric")] if model.scale else []),
    ]


def test_no_more_than_the_table_needs():
    model = row_for("sklearn.ensemble.BaggingClassifier", "classification")
    assert [step.type for step in default_steps(SPECS[3:4], COLUMNS, model=model)] == ["one_hot_encoder"]
    assert default_steps(SPECS[:3], COLUMNS, model=next(iter(MODELS.values()))) == ()


def test_a_model_that_shrinks_takes_long_text_as_it_is_while_there_is_room():
    model = row_for("sklearn.linear_model.Ridge", "regression")
    assert ("one_hot_encoder", ("few", "many")) in chosen(model)
    n_rows, n_levels = ONE_HOT_CELLS // 100 + 1, 100
    codes = column_of("text", [f"level {level}" for level in range(n_levels)])
    long = replace(codes, values=np.tile(codes.values, n_rows // n_levels + 1)[:n_rows])
    spec = ColumnSpec("long", "text")
    (encoder, *_) = (step.type for step in default_steps([spec], {"long": long}, model=model))
    assert encoder == "target_encoder"


@pytest.mark.parametrize("path", [*MODELS, "some.library.Model"])
def test_the_matrix_is_what_the_model_takes(path):
    model = row_for(path, "classification")
    steps = default_steps(SPECS, COLUMNS, model=model)
    fitted, trained = pipeline.fit(
        steps,
        COLUMNS,
        SPECS,
        TARGET,
        seed=1,
        dtype=model.matrix_dtype,
        native_categories=model.native_categories,
    )
    row = fitted.row(dict.fromkeys(CELLS))
    if not model.handles_nulls:
        assert np.isfinite(trained.values).all()
        assert np.isfinite(row).all()
    assert all(levels <= NATIVE_LEVELS for levels in trained.categorical.values())
