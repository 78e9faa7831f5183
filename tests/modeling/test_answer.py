"""A missing value that a model cannot take is one error that names it, whichever library it is."""

from __future__ import annotations

import numpy as np
import pytest

from mmp.catalog.models import MODELS, row_for
from mmp.errors import DataError
from mmp.modeling.answer import answer
from mmp.modeling.fit import FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

RNG = np.random.default_rng(3)
VALUES = RNG.normal(size=(120, 3))
NAMES = ("age", "fare [€]", "b")
TARGETS = {
    "classification": Target("classification", (VALUES[:, 0] > 0).astype(np.int32), ("no", "yes"), 1),
    "regression": Target("regression", VALUES @ [1.0, 2.0, 3.0]),
}
OUTSIDE = [
    row_for("sklearn.kernel_ridge.KernelRidge", "regression"),
    row_for("sklearn.naive_bayes.BernoulliNB", "classification"),
    row_for("sklearn.gaussian_process.GaussianProcessRegressor", "regression"),
]
cannot = pytest.mark.parametrize(
    "row", [*(row for row in MODELS.values() if not row.handles_nulls), *OUTSIDE], ids=lambda row: row.name
)
can = pytest.mark.parametrize(
    "row",
    [
        *(row for row in MODELS.values() if row.handles_nulls),
        row_for("sklearn.ensemble.BaggingClassifier", "classification"),
    ],
    ids=lambda row: row.name,
)


def matrix(*missing, dtype=np.float64):
    values = VALUES.astype(dtype)
    for cell in missing:
        values[cell] = np.nan
    return Matrix(values, NAMES)


def fitted(row, *missing):
    count = row.rounds_param or ("n_estimators" if "n_estimators" in row.parameters else None)
    train = matrix(*missing, dtype=row.matrix_dtype)
    options = FitOptions(threads=1)
    return fit_model(row, {count: 4} if count else {}, train, TARGETS[row.task], options=options).model


@cannot
def test_they_are_refused_where_the_model_is_fitted(row):
    with pytest.raises(DataError, match=r"takes no missing values") as caught:
        fitted(row, (4, 1), (9, 1), (2, 2))
    assert caught.value.message.startswith(row.name)
    assert "in 'fare [€]' (row 4 and 1 more), 'b' (row 2)." in caught.value.message
    assert "simple_imputer" in caught.value.hint


@cannot
def test_they_are_refused_where_it_predicts(row):
    model = fitted(row)
    assert np.isfinite(answer(model, matrix())).all()
    with pytest.raises(DataError, match=r"takes no missing values, and there are some in 'b' \(row 7\)\."):
        answer(model, matrix((7, 2)), where="new.csv")


@can
def test_a_model_that_takes_them_answers(row):
    model = fitted(row, (4, 1), (9, 1))
    assert np.isfinite(answer(model, matrix((7, 2), (0, 0), dtype=row.matrix_dtype))).all()


def test_a_row_without_a_finite_answer_is_named():
    model = fitted(row_for("sklearn.linear_model.LinearRegression", "regression"))
    huge = matrix()
    huge.values[3:5] = 1e308
    with pytest.raises(DataError, match=r"no finite answer for row 3 and 1 more\."):
        answer(model, huge)
