"""The formulas, in NumPy; scikit-learn is their oracle in the tests.

A formula takes what all formulas of its task share, `Decisions` or `Errors`, whose parts are
computed when the first metric asks for them. A formula of a metric that has a value for each
class takes the position of the class too, and gives NaN where the class has no value.

Means and counts are of each row once, or of many resamples at a time; then the value is one for
each of them. So sums over classes go down the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.evaluation.ranked import Ranked, ratio
from mmp.evaluation.reliability import N_BINS, bins, levels
from mmp.evaluation.resamples import ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    import numpy.typing as npt

    from mmp.evaluation.ranked import Areas
    from mmp.evaluation.resamples import Draw

    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[Any]
    Decided: TypeAlias = "Decisions | Tally"
    ClassFormula = Callable[[Any, int], Floats]


class UndefinedMetricError(Exception):
    """A metric without a value on these rows; the text is the reason, for the end of a sentence."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of rows by class down the last axis, of as many ways to decide as the others say.

    Parameters
    ----------
    actual, given, hits : ndarray of shape (…, n_classes)
        Rows of each class, rows that were given it, and rows of it that were.
    costs : tuple of float
        What a row costs that is given each class wrongly; 1 where there are none.
    """

    actual: Counts
    given: Counts
    hits: Counts
    costs: tuple[float, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.actual.shape[-1])


@dataclass(frozen=True)
class Decisions:
    """True and decided classes with the probabilities behind them, and the counts of both.

    Parameters
    ----------
    truth, decided : ndarray of int, shape (n_rows,)
        Positions of classes.
    probabilities : ndarray of shape (n_rows, n_classes)
        One column a class.
    costs : tuple of float
        What a row costs that is given each class wrongly; 1 where there are none.
    draw : Draw
        How often each row counts.
    contained : ndarray of bool, shape (n_rows, n_classes), or None
        Which classes are in the row's prediction set.
    """

    truth: npt.NDArray[np.integer]
    decided: npt.NDArray[np.integer]
    probabilities: Floats
    costs: tuple[float, ...] = ()
    draw: Draw = ONCE
    contained: npt.NDArray[np.bool_] | None = None
    _areas: dict[int, Areas] = field(default_factory=dict, init=False, repr=False)

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
        return self.draw.counts(self.truth, self.n_classes)

    @cached_property
    def given(self) -> Counts:
        """Rows that were given each class."""
        return self.draw.counts(self.decided, self.n_classes)

    @cached_property
    def hits(self) -> Counts:
        """Rows of each class that were given it."""
        none = self.n_classes
        right = np.where(self.truth == self.decided, self.truth, none)
        return self.draw.counts(right, none + 1)[..., :none]

    @cached_property
    def true_probability(self) -> Floats:
        """The probability that each row's own class was given."""
        return np.take_along_axis(self.probabilities, self.truth[:, np.newaxis], axis=1)[:, 0]

    @cached_property
    def surprises(self) -> Floats:
        """The negative logarithm of each row's `true_probability`, kept finite."""
        tiny = np.finfo(np.float64).eps
        return np.asarray(-np.log(np.clip(self.true_probability, tiny, 1 - tiny)))

    @cached_property
    def squares(self) -> Floats:
        """The squared distance of each row's probabilities from its own class; of two classes, of one."""
        squares = np.zeros(self.n_rows)
        for code in range(self.n_classes):
            squares += np.square(self.probabilities[:, code] - (self.truth == code))
        return squares / (2 if self.n_classes == 2 else 1)

    @cached_property
    def best_squares(self) -> Floats:
        """The `squares` of what isotonic regression on these rows would make of the probabilities."""
        return self._squares(levels)

    @cached_property
    def base_squares(self) -> Floats:
        """The `squares` of the shares of the classes, said of every row."""
        return self._squares(lambda _, is_hit: np.asarray(is_hit.mean()))

    def _squares(self, said: Callable[[Floats, npt.NDArray[np.bool_]], Floats]) -> Floats:
        squares = np.zeros(self.n_rows)
        for code in (1,) if self.n_classes == 2 else range(self.n_classes):
            is_hit = self.truth == code
            squares += np.square(said(self.probabilities[:, code], is_hit) - is_hit)
        return squares

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return the mean of the rows' values."""
        return self.draw.mean(values)

    def take(self, positions: npt.NDArray[np.int64]) -> Decisions:
        """Return some of the rows, each once."""
        contained = None if self.contained is None else self.contained[positions]
        return Decisions(
            self.truth[positions],
            self.decided[positions],
            self.probabilities[positions],
            self.costs,
            contained=contained,
        )

    def areas(self, code: int) -> Areas:
        """Return the areas under the curves of one class against the rest, ranked once for both."""
        if code not in self._areas:
            ranked = Ranked.by(self.probabilities[:, code], self.truth == code)
            self._areas[code] = self.draw.areas(ranked)
        return self._areas[code]


def accuracy(rows: Decided) -> Floats:
    """Return the share of rows whose class is right."""
    return ratio(rows.hits.sum(axis=-1), rows.actual.sum(axis=-1))


def balanced_accuracy(rows: Decided) -> Floats:
    """Return the mean recall of the classes that occur."""
    recalls = np.nan_to_num(ratio(rows.hits, rows.actual))
    return ratio(recalls.sum(axis=-1), (rows.actual > 0).sum(axis=-1))


def precision(rows: Decided, code: int) -> Floats:
    """Return the share of the rows given the class that are of it; 0 where no row was given it."""
    return ratio(rows.hits[..., code], np.maximum(rows.given[..., code], 1))


def recall(rows: Decided, code: int) -> Floats:
    """Return the share of the rows of the class that were given it."""
    return ratio(rows.hits[..., code], rows.actual[..., code])


def f1(rows: Decided, code: int) -> Floats:
    """Return the harmonic mean of precision and recall."""
    return ratio(2 * rows.hits[..., code], rows.actual[..., code] + rows.given[..., code])


def roc_auc(rows: Decisions, code: int) -> Floats:
    """Return the chance that a row of the class scores above another row, ties counting half.

    References
    ----------
    Fawcett, T. (2006). An introduction to ROC analysis. Pattern Recognition Letters, 27(8).
    """
    return rows.areas(code).roc


def average_precision(rows: Decisions, code: int) -> Floats:
    """Return the area under precision over recall, as steps without interpolation."""
    return rows.areas(code).precision_recall


def log_loss(rows: Decisions) -> Floats:
    """Return the mean negative logarithm of the true class's probability.

    A probability of 0 counts as the smallest difference from 1 that a float can hold, as in
    scikit-learn, so that one sure and wrong row is costly but not infinitely so.
    """
    return rows.mean(rows.surprises)


def brier(rows: Decisions) -> Floats:
    """Return the mean squared error of the probabilities.

    Of one probability for two classes (range 0 to 1), summed over the classes for more (0 to 2).

    References
    ----------
    Brier, G. W. (1950). Verification of forecasts expressed in terms of probability.
    """
    return rows.mean(rows.squares)


def brier_reliability(rows: Decisions) -> Floats:
    """Return the part of the Brier score that calibration could take away; 0 where probabilities come true.

    That is what isotonic regression on these rows would gain: no bins have to be chosen, and of few rows
    some of it is chance. ``brier = brier_reliability - brier_resolution + brier_uncertainty``.

    References
    ----------
    Murphy, A. H. (1973). A new vector partition of the probability score. Journal of Applied Meteorology.
    Dimitriadis, T., Gneiting, T. and Jordan, A. (2021). Stable reliability diagrams for probabilistic
    classifiers. PNAS 118.
    """
    return rows.mean(rows.squares - rows.best_squares)


def brier_resolution(rows: Decisions) -> Floats:
    """Return how much better than the shares of the classes the probabilities are, were they calibrated."""
    return rows.mean(rows.base_squares - rows.best_squares)


def brier_uncertainty(rows: Decisions) -> Floats:
    """Return the Brier score of the shares of the classes, whatever the model says."""
    return rows.mean(rows.base_squares)


def ece(rows: Decisions, code: int) -> Floats:
    """Return how far the probabilities of a class are from how often they come true: mean over ten bins.

    Bins have equally many rows, see `mmp.evaluation.reliability.bins`.

    References
    ----------
    Naeini, M. P., Cooper, G. and Hauskrecht, M. (2015). Obtaining well calibrated probabilities using
    Bayesian binning. AAAI.
    """
    probabilities = rows.probabilities[:, code]
    place, apart = bins(probabilities), probabilities - (rows.truth == code)
    return np.asarray(sum(np.abs(rows.mean(np.where(place == one, apart, 0))) for one in range(N_BINS)))


def cost(rows: Decided) -> Floats:
    """Return what a decision costs on average, by the class that was given wrongly."""
    wrong = rows.given - rows.hits
    return ratio((wrong * (rows.costs or 1)).sum(axis=-1), rows.actual.sum(axis=-1))


def mcc(rows: Decided) -> Floats:
    """Return Matthews' correlation coefficient; 0 where the true or the decided class is constant.

    References
    ----------
    Gorodkin, J. (2004). Comparing two K-category assignments by a K-category correlation coefficient.
    """
    actual, given, n_rows = rows.actual, rows.given, rows.actual.sum(axis=-1)
    agreement = n_rows * rows.hits.sum(axis=-1) - (actual * given).sum(axis=-1)
    # not the root of the product, which outgrows 64 bits
    spread = np.sqrt(n_rows**2 - np.square(actual).sum(axis=-1)) * np.sqrt(
        n_rows**2 - np.square(given).sum(axis=-1)
    )
    return np.nan_to_num(ratio(agreement, spread))


def macro(formula: ClassFormula, rows: Decided, *, occurring: bool) -> Floats:
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
    values = _of_classes(formula, rows)
    if not occurring:
        return np.asarray(values.mean(axis=-1))
    there = rows.actual + rows.given > 0
    return ratio(np.where(there, np.nan_to_num(values), 0).sum(axis=-1), there.sum(axis=-1))


def weighted(formula: ClassFormula, rows: Decided) -> Floats:
    """Return the mean of a metric over the classes, weighted with their rows."""
    values = np.where(rows.actual > 0, _of_classes(formula, rows), 0)
    return ratio((values * rows.actual).sum(axis=-1), rows.actual.sum(axis=-1))


def _of_classes(formula: ClassFormula, rows: Decided) -> Floats:
    return np.stack([formula(rows, code) for code in range(rows.n_classes)], axis=-1)


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
    draw : Draw
        How often each row counts.
    beside : mapping of str to ndarray of shape (n_rows,)
        What else the model says of each row, by the name of the column.
    """

    truth: Floats
    predicted: Floats
    draw: Draw = ONCE
    beside: Mapping[str, Floats] = field(default_factory=dict)

    @cached_property
    def absolute(self) -> Floats:
        """Distance of each prediction from the truth."""
        return np.abs(self.truth - self.predicted)

    @cached_property
    def squares(self) -> Floats:
        """The squared distances."""
        return np.square(self.absolute)

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return the mean of the rows' values."""
        return self.draw.mean(values)

    def take(self, positions: npt.NDArray[np.int64]) -> Errors:
        """Return some of the rows, each once."""
        beside = {name: values[positions] for name, values in self.beside.items()}
        return Errors(self.truth[positions], self.predicted[positions], beside=beside)


def mae(rows: Errors) -> Floats:
    """Return the mean absolute error."""
    return rows.mean(rows.absolute)


def mse(rows: Errors) -> Floats:
    """Return the mean squared error."""
    return rows.mean(rows.squares)


def rmse(rows: Errors) -> Floats:
    """Return the root of the mean squared error."""
    return np.sqrt(rows.mean(rows.squares))


def r2(rows: Errors) -> Floats:
    """Return the share of the target's variance that the predictions explain.

    Raises
    ------
    UndefinedMetricError
        Where the target does not vary.
    """
    if rows.truth.min() == rows.truth.max():
        raise UndefinedMetricError("the target has the same value in every row")
    apart = rows.truth - rows.truth.mean()
    variance = rows.mean(np.square(apart)) - np.square(rows.mean(apart))
    return 1 - ratio(rows.mean(rows.squares), variance)


def mape(rows: Errors) -> Floats:
    """Return the mean absolute error as a fraction of the target.

    Raises
    ------
    UndefinedMetricError
        Where a target is 0.
    """
    zeros = len(rows.truth) - np.count_nonzero(rows.truth)
    if zeros:
        raise UndefinedMetricError(f"the target is 0 in {zeros} {'row' if zeros == 1 else 'rows'}")
    return rows.mean(rows.absolute / np.abs(rows.truth))


def smape(rows: Errors) -> Floats:
    """Return the mean absolute error as a fraction of the mean of target and prediction.

    The range is 0 to 2; a row in which both are 0 counts 0.
    """
    sizes = np.abs(rows.truth) + np.abs(rows.predicted)
    return rows.mean(2 * np.divide(rows.absolute, sizes, out=np.zeros_like(sizes), where=sizes > 0))


def median_ae(rows: Errors) -> Floats:
    """Return the median absolute error."""
    return np.asarray(np.median(rows.absolute))


def max_error(rows: Errors) -> Floats:
    """Return the largest absolute error."""
    return np.asarray(rows.absolute.max())
