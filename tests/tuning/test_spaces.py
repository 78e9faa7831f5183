"""Every row of the catalog has a space, and the library takes what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from mmp.catalog.models import MODELS
from mmp.catalog.row import Space
from mmp.modeling.fit import FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

ROWS = pytest.mark.parametrize("row", MODELS.values(), ids=[row.name for row in MODELS.values()])
RNG = np.random.default_rng(3)
VALUES = RNG.normal(size=(120, 4))
SCORE = VALUES[:, 0] - VALUES[:, 1] + 0.3 * RNG.normal(size=120)
TARGETS = {
    "classification": Target(
        "classification", np.digitize(SCORE, [-0.5, 0.5]).astype(np.int32), ("a", "b", "c")
    ),
    "regression": Target("regression", SCORE * 10),
}


def corners(row):
    """Both ends of every range at once, and one set from within."""
    rng = np.random.default_rng(0)
    for draw in (lambda one: one.range[0], lambda one: one.range[-1], lambda one: within(one, rng)):
        values = {name: draw(one) for name, one in row.search_space.items()}
        if row.rounds_param in values:
            values[row.rounds_param] = min(values[row.rounds_param], 5)
        yield values


def within(one: Space, rng):
    if one.type == "categorical":
        return one.range[rng.integers(len(one.range))]
    middle = (one.range[0] + one.range[1]) / 2
    return int(middle) if one.type == "int" else middle


@ROWS
def test_a_space_is_of_hyperparameters_that_the_row_has(row):
    assert row.search_space
    assert row.search_space.keys() <= row.parameters
    for one in row.search_space.values():
        assert one.type in {"int", "float", "categorical"}
        assert len(one.range) == 2 or one.type == "categorical"
        if one.type != "categorical":
            assert one.range[0] < one.range[1]
            assert not one.log or one.range[0] > 0


@ROWS
def test_a_library_takes_what_is_drawn(row):
    matrix = Matrix(VALUES.astype(row.matrix_dtype), ("w", "x", "y", "z"))
    for values in corners(row):
        model = fit_model(row, values, matrix, TARGETS[row.task], options=FitOptions(threads=1)).model
        assert np.isfinite(model.predict(matrix.values)).all()


@ROWS
def test_the_defaults_lie_within_their_space(row):
    """Else trial 0 teaches nothing of what the others are compared with."""
    for name, one in row.search_space.items():
        default = row.defaults.get(name)
        if default is None or (one.type != "categorical" and isinstance(default, str)):
            continue
        if one.type == "categorical":
            assert default in one.range
        else:
            assert one.range[0] <= default <= one.range[1], name
