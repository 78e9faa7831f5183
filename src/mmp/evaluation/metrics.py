"""The formulas, in NumPy; scikit-learn is their oracle in the tests.

A formula takes what all formulas of its task share, `Decisions` or `Errors`, whose parts are
computed when the first metric asks for them. A formula of a metric that has a value for each
class takes the position of the class too, and gives NaN where the class has no value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int64]
    ClassFormula = Callable[["Decisions", int], float]


class UndefinedMetricError(Exception):
    """A metric without a value on these rows; the text is the reason, for the end of a sentence."""


@dataclass(frozen=True)
class Decisions:
    """True and decided classes with the probabilities behind them, and the counts of both.

    Parameters
    ----------
    truth, decided : ndarray of int, shape (n_rows,)
        Positions of classes.
    probabilities : ndarray of shape (n_rows, n_classes)
        One column a class.
    """

    truth: npt.NDArray[np.integer]
    decided: npt.NDArray[np.integer]
    probabilities: Floats
    _areas: dict[int, Areas] = field(default_factory=dict, repr=False)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    @property
    def n_classes(self) -> int:
        """Number of classes, those that do not occur included."""
        return int(self.probabilities.shape[1])

    @cached_property
    def actual(self) -> Counts:
        """Rows of each class."""
        return np.bincount(self.truth, minlength=self.n_classes)

    @cached_property
    def given(self) -> Counts:
        """Rows that were given each class."""
        return np.bincount(self.decided, minlength=self.n_classes)

    @cached_property
    def hits(self) -> Counts:
        """Rows of each class that were given it."""
        return np.bincount(self.truth[self.truth == self.decided], minlength=self.n_classes)

    @cached_property
    def true_probability(self) -> Floats:
        """The probability that each row's own class was given."""
        return np.take_along_axis(self.probabilities, self.truth[:, np.newaxis], axis=1)[:, 0]

    def areas(self, code: int) -> Areas:
        """Return the areas under the curves of one class against the rest, ranked once for both."""
        if code not in self._areas:
            self._areas[code] = _areas(self.probabilities[:, code], self.truth == code)
        return self._areas[code]


@dataclass(frozen=True, slots=True)
class Areas:
    """What a ranking by score is worth; NaN where there is no row of the class, or no other.

    Parameters
    ----------
    roc : float
        Under hits over misses, rows of equal score joined by a straight line.
    precision_recall : float
        Under precision over recall, as steps.
    """

    roc: float
    precision_recall: float


def _areas(scores: Floats, is_hit: npt.NDArray[np.bool_]) -> Areas:
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(is_hit[order])[ends]  # in the rows that score at least as high
    misses = ends + 1 - hits
    gained = np.diff(hits, prepend=0)
    doubled = (np.diff(misses, prepend=0) * (2 * hits - gained)).sum()
    precisions = hits / (ends + 1)
    return Areas(_ratio(doubled, 2 * hits[-1] * misses[-1]), _ratio((gained * precisions).sum(), hits[-1]))


def accuracy(rows: Decisions) -> float:
    """Return the share of rows whose class is right."""
    return float(rows.hits.sum() / rows.n_rows)


def balanced_accuracy(rows: Decisions) -> float:
    """Return the mean recall of the classes that occur."""
    occurs = rows.actual > 0
    return float(np.mean(rows.hits[occurs] / rows.actual[occurs]))


def precision(rows: Decisions, code: int) -> float:
    """Return the share of the rows given the class that are of it; 0 where no row was given it."""
    return float(rows.hits[code] / max(rows.given[code], 1))


def recall(rows: Decisions, code: int) -> float:
    """Return the share of the rows of the class that were given it."""
    return _ratio(rows.hits[code], rows.actual[code])


def f1(rows: Decisions, code: int) -> float:
    """Return the harmonic mean of precision and recall."""
    return _ratio(2 * rows.hits[code], rows.actual[code] + rows.given[code])


def roc_auc(rows: Decisions, code: int) -> float:
    """Return the chance that a row of the class scores above another row, ties counting half.

    References
    ----------
    Fawcett, T. (2006). An introduction to ROC analysis. Pattern Recognition Letters, 27(8).
    """
    return rows.areas(code).roc


def average_precision(rows: Decisions, code: int) -> float:
    """Return the area under precision over recall, as steps without interpolation."""
    return rows.areas(code).precision_recall


def log_loss(rows: Decisions) -> float:
    """Return the mean negative logarithm of the true class's probability.

    A probability of 0 counts as the smallest difference from 1 that a float can hold, as in
    scikit-learn, so that one sure and wrong row is costly but not infinitely so.
    """
    tiny = np.finfo(np.float64).eps
    return float(-np.log(np.clip(rows.true_probability, tiny, 1 - tiny)).mean())


def brier(rows: Decisions) -> float:
    """Return the mean squared error of the probabilities.

    Of one probability for two classes (range 0 to 1), summed over the classes for more (0 to 2).

    References
    ----------
    Brier, G. W. (1950). Verification of forecasts expressed in terms of probability.
    """
    total = sum(
        np.square(rows.probabilities[:, code] - (rows.truth == code)).sum() for code in range(rows.n_classes)
    )
    return float(total / rows.n_rows / (2 if rows.n_classes == 2 else 1))


def mcc(rows: Decisions) -> float:
    """Return Matthews' correlation coefficient; 0 where the true or the decided class is constant.

    References
    ----------
    Gorodkin, J. (2004). Comparing two K-category assignments by a K-category correlation coefficient.
    """
    actual, given = rows.actual.tolist(), rows.given.tolist()  # int: the products outgrow 64 bits
    agreement = rows.n_rows * int(rows.hits.sum()) - _dot(actual, given)
    spread = (rows.n_rows**2 - _dot(actual, actual)) * (rows.n_rows**2 - _dot(given, given))
    return agreement / math.sqrt(spread) if spread else 0.0


def macro(formula: ClassFormula, rows: Decisions, *, occurring: bool) -> float:
    """Return the plain mean of a metric over the classes.

    Parameters
    ----------
    formula : callable
        The metric of one class.
    rows : Decisions
        Its rows.
    occurring : bool
        Whether to leave out classes that neither occur nor were decided for, and to count 0 for
        one that was only decided for: scikit-learn's convention for metrics of decisions.
    """
    if not occurring:
        return float(np.mean([formula(rows, code) for code in range(rows.n_classes)]))
    codes = np.flatnonzero(rows.actual + rows.given)
    return float(np.mean(np.nan_to_num([formula(rows, int(code)) for code in codes])))


def weighted(formula: ClassFormula, rows: Decisions) -> float:
    """Return the mean of a metric over the classes, weighted with their rows."""
    codes = np.flatnonzero(rows.actual)
    return float(np.average([formula(rows, int(code)) for code in codes], weights=rows.actual[codes]))


def confusion(truth: npt.NDArray[np.integer], decided: npt.NDArray[np.integer], *, n_classes: int) -> Counts:
    """Count the rows of each class (down) that were given each class (across).

    Examples
    --------
    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), n_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = truth.astype(np.int64) * n_classes + decided
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


@dataclass(frozen=True)
class Errors:
    """True and predicted numbers, and how far they are apart.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n_rows,)
        Finite numbers.
    """

    truth: Floats
    predicted: Floats

    @cached_property
    def absolute(self) -> Floats:
        """Distance of each prediction from the truth."""
        return np.abs(self.truth - self.predicted)

    @cached_property
    def mean_square(self) -> float:
        """Mean of the squared distances."""
        return float(np.square(self.absolute).mean())


def mae(rows: Errors) -> float:
    """Return the mean absolute error."""
    return float(rows.absolute.mean())


def mse(rows: Errors) -> float:
    """Return the mean squared error."""
    return rows.mean_square


def rmse(rows: Errors) -> float:
    """Return the root of the mean squared error."""
    return math.sqrt(rows.mean_square)


def r2(rows: Errors) -> float:
    """Return the share of the target's variance that the predictions explain.

    Raises
    ------
    UndefinedMetricError
        Where the target does not vary.
    """
    if rows.truth.min() == rows.truth.max():
        raise UndefinedMetricError("the target has the same value in every row")
    return float(1 - rows.mean_square / rows.truth.var())


def mape(rows: Errors) -> float:
    """Return the mean absolute error as a fraction of the target.

    Raises
    ------
    UndefinedMetricError
        Where a target is 0.
    """
    zeros = len(rows.truth) - np.count_nonzero(rows.truth)
    if zeros:
        raise UndefinedMetricError(f"the target is 0 in {zeros} {'row' if zeros == 1 else 'rows'}")
    return float((rows.absolute / np.abs(rows.truth)).mean())


def smape(rows: Errors) -> float:
    """Return the mean absolute error as a fraction of the mean of target and prediction.

    The range is 0 to 2; a row in which both are 0 counts 0.
    """
    sizes = np.abs(rows.truth) + np.abs(rows.predicted)
    return float(2 * np.divide(rows.absolute, sizes, out=np.zeros_like(sizes), where=sizes > 0).mean())


def median_ae(rows: Errors) -> float:
    """Return the median absolute error."""
    return float(np.median(rows.absolute))


def max_error(rows: Errors) -> float:
    """Return the largest absolute error."""
    return float(rows.absolute.max())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _dot(left: list[int], right: list[int]) -> int:
    return sum(a * b for a, b in zip(left, right, strict=True))
