"""Steps on one column, and the cells to try them with."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from mmp.data.table import ColumnSpec
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target
from mmp.settings.steps import STEP_MODELS

quick = settings(max_examples=60, deadline=None, derandomize=True)

numbers = st.one_of(
    st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False),
    st.sampled_from([0.0, -0.0, 1e300, -1e300, 1e-300, 0.1]),
    st.none(),
)
integers = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, -(2**62)]), st.none())
texts = st.one_of(st.sampled_from(["a", "b", "B", "", "é", "a b", "10", "9"]), st.none()).map(
    lambda t: t or None
)
booleans = st.sampled_from([True, False, None])
CATEGORIES = {"text": texts, "integer": integers, "boolean": booleans, "float": numbers}


def step(kind, **parameters):
    return STEP_MODELS[kind](type=kind, **parameters)


def fit(steps, kind, cells, *, target=None, seed=0):
    target = target or Target("regression", np.zeros(len(cells)))
    columns, specs = {"x": column_of(kind, cells)}, [ColumnSpec("x", kind)]
    return pipeline.fit(steps, columns, specs, target, seed=seed, dtype="float64", native_categories=False)


def matrix(fitted, kind, cells):
    return fitted.matrix({"x": column_of(kind, cells)}).values


def as_objects(kind, cells):
    """Return the cells as pandas hands them to scikit-learn, missing ones as NaN."""
    rows = [[np.nan if cell is None else cell] for cell in cells]
    return np.array(rows, object if kind in {"text", "boolean"} else np.float64)


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0, equal_nan=True)


@st.composite
def train_and_test(draw, kind, least=1):
    cells = draw(st.lists(CATEGORIES[kind], min_size=least, max_size=30).filter(any_value))
    return cells, draw(st.lists(CATEGORIES[kind], min_size=1, max_size=10))


def any_value(cells):
    return any(cell is not None for cell in cells)


def exact(cells):
    """Leave out integers that scikit-learn, whose integers with nulls are floats, cannot tell apart."""
    return [cell if cell is None or abs(cell) < 2**53 else 3 for cell in cells]


def classes(codes):
    labels = tuple(range(max(2, int(max(codes)) + 1)))
    return Target("classification", np.array(codes, np.int32), labels)


@st.composite
def supervised(draw, kind, outcome):
    rows = draw(st.integers(15, 40))  # so that a class has a row for each fold
    cells = draw(st.lists(CATEGORIES[kind], min_size=rows, max_size=rows).filter(any_value))
    others = draw(st.lists(CATEGORIES[kind], min_size=1, max_size=10))
    if outcome == "regression":
        values = st.one_of(st.floats(-1e3, 1e3, allow_subnormal=False), st.just(0.1))
        return (
            cells,
            others,
            Target("regression", np.array(draw(st.lists(values, min_size=rows, max_size=rows)))),
        )
    n_classes = 2 if outcome == "binary" else 3
    codes = [*range(n_classes), *draw(st.lists(st.integers(0, n_classes - 1), min_size=rows, max_size=rows))]
    return cells, others, classes(codes[:rows])
