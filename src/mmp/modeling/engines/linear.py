"""Linear models: fitted by scikit-learn, kept as plain numbers.

What a fitted linear model is, is a table of coefficients. Kept as that it loads without scikit-learn,
and it predicts a row the same to the bit whatever stands beside it, which a matrix product of BLAS
does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.modeling.engines import sklearn
from mmp.modeling.engines.base import FitJob, Model, both_classes
from mmp.modeling.state import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import numpy.typing as npt

_FILE = "model.npz"
_ARRAYS = ("coefficients", "intercepts", "center")
_BLOCK = 8192  # rows whose columns stay in the cache


@dataclass(frozen=True, eq=False)
class LinearModel(Model):
    """Coefficients of shape (n_outputs, n_features), intercepts of shape (n_outputs,), the mean row.

    Several classes share one softmax, unless each has a sigmoid of its own (`one_vs_rest`).
    """

    engine = "linear"
    coefficients: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    intercepts: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    center: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    one_vs_rest: bool = False

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        blocks = range(0, len(values), _BLOCK)
        scores = np.concatenate([self._scores(values[start : start + _BLOCK]) for start in blocks], axis=1)
        if not self.n_classes:
            return np.asarray(scores[0])
        if len(scores) == 1:
            return both_classes(np.exp(_log_sigmoid(scores[0])))
        return _softmax(_log_sigmoid(scores) if self.one_vs_rest else scores)

    def _scores(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Add feature by feature, so that every row goes through the same operations."""
        scores = np.repeat(self.intercepts[:, None], len(values), axis=1)
        for column, weights in zip(np.ascontiguousarray(values.T), self.coefficients.T, strict=True):
            scores += weights[:, None] * column
        return scores

    def scores(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the linear scores."""
        return self._scores(values).T

    def contributions(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what each feature adds by being other than in the mean training row."""
        parts = self.coefficients * (values - self.center)[:, None, :]
        base = self.intercepts + self.coefficients @ self.center
        return np.concatenate((parts, np.tile(base[:, None], (len(values), 1, 1))), axis=2)

    def _save(self, folder: Path) -> dict[str, Any]:
        write_arrays(folder / _FILE, {name: getattr(self, name) for name in _ARRAYS})
        return {"one_vs_rest": self.one_vs_rest}


def fit(job: FitJob) -> LinearModel:
    """Fit the estimator and keep its coefficients."""
    estimator, unit = sklearn.fitted(job)
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, np.float64)) * unit.one
    intercepts = np.zeros(len(coefficients)) + np.asarray(estimator.intercept_, np.float64)
    intercepts = intercepts * unit.one + unit.zero
    n_classes = job.target.n_classes
    two_left = len(coefficients) == 1
    if n_classes and len(estimator.classes_) < n_classes:
        coefficients, intercepts = _widened(coefficients, intercepts, estimator.classes_, n_classes)
    with np.errstate(over="ignore"):
        center = job.train.values.mean(axis=0, dtype=np.float64)
    return LinearModel(
        n_classes,
        coefficients.shape[1],
        job.threads,
        coefficients=coefficients,
        intercepts=intercepts,
        center=center,
        one_vs_rest=job.row.one_vs_rest and not two_left,
    )


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> LinearModel:
    """Read the coefficients."""
    arrays = read_arrays(folder / _FILE)
    return LinearModel(
        meta["n_classes"],
        meta["n_features"],
        n_threads,
        one_vs_rest=meta["one_vs_rest"],
        coefficients=arrays["coefficients"],
        intercepts=arrays["intercepts"],
        center=arrays["center"],
    )


def errors() -> tuple[type[Exception], ...]:
    """Return what scikit-learn raises."""
    return sklearn.errors()


def _widened(
    coefficients: npt.NDArray[np.float64],
    intercepts: npt.NDArray[np.float64],
    present: npt.NDArray[np.int64],
    n_classes: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give classes without training rows an output of their own, whose probability is 0."""
    if len(coefficients) == 1:  # the second class against the first
        coefficients = np.concatenate((np.zeros_like(coefficients), coefficients))
        intercepts = np.concatenate(([0.0], intercepts))
    wide = np.zeros((n_classes, coefficients.shape[1])), np.full(n_classes, -np.inf)
    wide[0][present], wide[1][present] = coefficients, intercepts
    return wide


def _log_sigmoid(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -np.logaddexp(0.0, -scores)


def _softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return probabilities of shape (n_rows, n_classes) from scores of shape (n_classes, n_rows)."""
    powers = np.exp(scores - scores.max(axis=0))
    total = np.zeros(scores.shape[1])
    for power in powers:
        total += power
    return np.ascontiguousarray((powers / total).T)
