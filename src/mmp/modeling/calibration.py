"""Calibration: from the probabilities that a classifier gives to those that come true.

Fitted on rows that the classifier was not fitted on. A curve maps a probability to another and never turns
two of them around:

============== ===================================================================================
method         curve
============== ===================================================================================
``sigmoid``    Platt's: a logistic regression on the log-odds, two parameters
``beta``       Kull's: a logistic regression on ln p and -ln(1 - p), three parameters
``isotonic``   the rising steps that fit best, joined by straight lines as in scikit-learn; the outermost
               are as near to 0 and 1 as their rows allow by Laplace's rule, not nearer
``venn_abers`` the two isotonic fits with the row itself, as a hit and as none, made one probability
============== ===================================================================================

Two classes share one curve, of the second. Of more, each has one against the rest, and the rows are divided
by their sums, which are above 0: no curve that was fitted says 0, which no number of rows shows. A class
that the rows to fit on do not have keeps its probabilities. Slopes are fitted to Platt's targets, a little
off 0 and 1, so that they are finite where the classes are apart.

References
----------
Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers.
Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate multiclass probability
estimates. KDD.
Kull, M., Silva Filho, T. and Flach, P. (2017). Beta calibration: a well-founded and easily implemented
improvement on logistic calibration for binary classifiers. AISTATS.
Vovk, V. and Petej, I. (2014). Venn-Abers predictors. UAI.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.modeling.engines.base import both_classes
from mmp.modeling.isotonic import Groups, blocks, bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Arrays = Mapping[str, npt.NDArray[Any]]

_TINY: Final = float(np.finfo(np.float64).eps)
_FAR: Final = 700.0  # a score whose exponential is still a number
_ROUNDS: Final = 100
_CONVERGED: Final = 1e-10  # of the loss of a row: the step that follows it is the last


class Curve(ABC):
    """A map of probabilities that does not fall, the same to the bit for one and for many."""

    @abstractmethod
    def many(self, p: Floats) -> Floats:
        """Map an array; what is no number stays none."""

    @abstractmethod
    def one(self, p: float) -> float:
        """Map one probability in plain Python."""


@dataclass(frozen=True, eq=False)
class Logistic(Curve):
    """The logistic of a · ln p - b · ln(1 - p) + c.

    Parameters
    ----------
    parameters : ndarray of shape (5,)
        ``a``, ``b``, ``c``, and between which probabilities the logarithms are taken.
    """

    parameters: Floats

    def many(self, p: Floats) -> Floats:
        """Map an array."""
        a, b, c, low, high = self._parameters
        p = np.clip(p, low, high)
        score = a * np.log(p) - b * np.log(1 - p) + c
        return np.asarray(1 / (1 + np.exp(-np.clip(score, -_FAR, _FAR))))

    def one(self, p: float) -> float:
        """Map one probability."""
        a, b, c, low, high = self._parameters
        p = min(max(p, low), high)
        # NumPy's functions, whose last bit need not be that of the C library
        score = a * float(np.log(p)) - b * float(np.log(1 - p)) + c
        return 1 / (1 + float(np.exp(-min(max(score, -_FAR), _FAR))))

    @cached_property
    def _parameters(self) -> tuple[float, float, float, float, float]:
        a, b, c, low, high = self.parameters.tolist()
        return a, b, c, low, high


@dataclass(frozen=True, eq=False)
class Line(Curve):
    """Straight lines from knot to knot, the first of which is at 0 and the last at 1."""

    x: Floats
    y: Floats

    def many(self, p: Floats) -> Floats:
        """Map an array."""
        x, y = self.x, self.y
        p = np.clip(p, 0.0, 1.0)
        at = np.minimum(np.searchsorted(x, p, side="right") - 1, len(x) - 2)
        share = (p - x[at]) / (x[at + 1] - x[at])
        return np.asarray(np.minimum(y[at] + share * (y[at + 1] - y[at]), y[at + 1]))

    def one(self, p: float) -> float:
        """Map one probability."""
        x, y = self._knots
        p = min(max(p, 0.0), 1.0)
        at = min(bisect_right(x, p) - 1, len(x) - 2)
        share = (p - x[at]) / (x[at + 1] - x[at])
        return min(y[at] + share * (y[at + 1] - y[at]), y[at + 1])

    @cached_property
    def _knots(self) -> tuple[list[float], list[float]]:
        return self.x.tolist(), self.y.tolist()


@dataclass(frozen=True, eq=False)
class Stairs(Curve):
    """A level below the first score, at it, between it and the second, and so on: one more than twice."""

    x: Floats
    y: Floats

    def many(self, p: Floats) -> Floats:
        """Map an array."""
        below = np.searchsorted(self.x, p, side="left")
        levels = self.y[below + np.searchsorted(self.x, p, side="right")]
        return np.where(np.isnan(p), p, levels)

    def one(self, p: float) -> float:
        """Map one probability."""
        x, y = self._steps
        return y[bisect_left(x, p) + bisect_right(x, p)] if p == p else p  # noqa: PLR0124 - NaN

    @cached_property
    def _steps(self) -> tuple[list[float], list[float]]:
        return self.x.tolist(), self.y.tolist()


_KINDS: Final[dict[str, type[Curve]]] = {"logistic": Logistic, "line": Line, "stairs": Stairs}
_AS_IT_IS: Final = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Curves, and how several of them are put together.

    Parameters
    ----------
    method : str
        How they were fitted.
    curves : tuple of Curve
        One, of the second of two classes, or one a class.
    """

    method: str
    curves: tuple[Curve, ...]

    def many(self, probabilities: Floats) -> Floats:
        """Calibrate rows.

        Parameters
        ----------
        probabilities : ndarray of shape (n_rows, n_classes)
            As the classifier gives them.

        Returns
        -------
        ndarray of the same shape
            Each row sums to 1.
        """
        if len(self.curves) == 1:
            return both_classes(self.curves[0].many(probabilities[:, 1]))
        columns = [curve.many(column) for curve, column in zip(self.curves, probabilities.T, strict=True)]
        total = np.zeros(len(probabilities))
        for column in columns:
            total += column
        return np.asarray(np.stack(columns, axis=1) / total[:, None])

    def one(self, probabilities: list[float]) -> list[float]:
        """Calibrate one row as `many` does, in plain Python."""
        if len(self.curves) == 1:
            second = self.curves[0].one(probabilities[1])
            return [1 - second, second]
        values = [curve.one(p) for curve, p in zip(self.curves, probabilities, strict=True)]
        total = 0.0
        for value in values:  # `sum` compensates from Python 3.12 on, and NumPy does not
            total += value
        return [value / total for value in values]

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what `restored` takes: facts for JSON, and arrays."""
        names = {kind: name for name, kind in _KINDS.items()}
        arrays = {
            f"{position}.{one.name}": getattr(curve, one.name)
            for position, curve in enumerate(self.curves)
            for one in fields(curve)  # type: ignore[arg-type]  # every kind of curve is a dataclass
        }
        return {"method": self.method, "curves": [names[type(curve)] for curve in self.curves]}, arrays

    @classmethod
    def restored(cls, meta: Mapping[str, Any], arrays: Arrays) -> Calibration:
        """Make what `state` was of."""
        curves = []
        for position, kind in enumerate(meta["curves"]):
            own = f"{position}."
            parts = {name.removeprefix(own): array for name, array in arrays.items() if name.startswith(own)}
            curves.append(_KINDS[kind](**parts))
        return cls(meta["method"], tuple(curves))


def fit(method: str, probabilities: Floats, truth: npt.NDArray[np.integer]) -> Calibration:
    """Fit a calibration.

    Parameters
    ----------
    method : {"sigmoid", "beta", "isotonic", "venn_abers"}
        The kind of curves.
    probabilities : ndarray of shape (n_rows, n_classes)
        What the classifier says of rows that it was not fitted on.
    truth : ndarray of int, shape (n_rows,)
        Their classes, as positions.

    Examples
    --------
    >>> sure = np.array([0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    >>> calibration = fit("isotonic", np.stack((1 - sure, sure), axis=1), np.array([1, 1, 1, 0, 0, 0]))
    >>> calibration.one([0.1, 0.9])
    [0.25, 0.75]
    """
    n_classes = probabilities.shape[1]
    codes: Sequence[int] = (1,) if n_classes == 2 else range(n_classes)
    return Calibration(method, tuple(_curve(method, probabilities[:, code], truth == code) for code in codes))


def _curve(method: str, p: Floats, is_hit: npt.NDArray[np.bool_]) -> Curve:
    if is_hit.all() or not is_hit.any():
        return _AS_IT_IS
    return _FITS[method](p, is_hit)


# -- logistic ------------------------------------------------------------------------------------------


def _sigmoid(p: Floats, is_hit: npt.NDArray[np.bool_]) -> Logistic:
    low, high = _range(p)
    p = np.clip(p, low, high)
    slope, intercept = _rising((np.log(p) - np.log(1 - p))[:, None], is_hit)
    return Logistic(np.array([slope, slope, intercept, low, high]))


def _beta(p: Floats, is_hit: npt.NDArray[np.bool_]) -> Logistic:
    low, high = _range(p)
    p = np.clip(p, low, high)
    slopes = _rising(np.stack((np.log(p), -np.log(1 - p)), axis=1), is_hit)
    return Logistic(np.array([*slopes, low, high]))


def _range(p: Floats) -> tuple[float, float]:
    """Return what stands for 0 and for 1, whose logarithms would outweigh all others.

    That is half of what the others are from them: a forest says 0 where another tree might have said 1 %.
    """
    between = p[(p > _TINY) & (p < 1 - _TINY)]
    if not len(between):
        return _TINY, 1 - _TINY
    low = float(between.min()) / 2 if (p <= _TINY).any() else _TINY
    high = 1 - (1 - float(between.max())) / 2 if (p >= 1 - _TINY).any() else 1 - _TINY
    return low, high


def _rising(features: Floats, is_hit: npt.NDArray[np.bool_]) -> Floats:
    """Return the slopes, none of them negative, and the intercept of the most likely logistic regression.

    Where the best of all has a negative slope, the best on the border is it: the loss is convex.
    """
    n_hits, n_rows = int(np.count_nonzero(is_hit)), len(is_hit)
    targets = np.where(is_hit, (n_hits + 1) / (n_hits + 2), 1 / (n_rows - n_hits + 2))
    n_slopes = features.shape[1]
    found = []
    for size in range(n_slopes, -1, -1):
        for kept in combinations(range(n_slopes), size):
            places = [*kept, n_slopes]
            design = np.column_stack((features, np.ones(n_rows)))[:, places]
            weights = np.zeros(n_slopes + 1)
            weights[places] = _newton(design, targets)
            if (weights[:-1] >= 0).all():
                found.append((_loss(design, weights[places], targets), weights))
        if found:
            break
    return min(found, key=lambda one: one[0])[1]


def _newton(design: Floats, targets: Floats) -> Floats:
    """Return the weights of the most likely logistic regression, by Newton's method with shorter steps."""
    weights = np.zeros(design.shape[1])
    loss = _loss(design, weights, targets)
    for _ in range(_ROUNDS):
        p = np.exp(-np.logaddexp(0.0, -_scores(design, weights)))
        gradient = (design * (p - targets)[:, None]).sum(axis=0)
        weighted = design * (p * (1 - p))[:, None]
        hessian = np.stack([(weighted * column[:, None]).sum(axis=0) for column in design.T])
        step: Floats = np.linalg.lstsq(hessian, gradient)[0]
        promised = step @ gradient
        while (shorter := _loss(design, weights - step, targets)) > loss * (1 + _TINY * len(design)):
            step = step / 2
        weights, loss = weights - step, shorter
        if promised <= _CONVERGED * len(design):
            break
    return weights


def _scores(design: Floats, weights: Floats) -> Floats:
    return np.asarray((design * weights).sum(axis=1))


def _loss(design: Floats, weights: Floats, targets: Floats) -> float:
    scores = _scores(design, weights)
    return float((np.logaddexp(0.0, scores) - targets * scores).sum())


# -- isotonic ------------------------------------------------------------------------------------------


def _isotonic(p: Floats, is_hit: npt.NDArray[np.bool_]) -> Line:
    groups = Groups.of(np.clip(p, 0.0, 1.0), is_hit)
    starts = blocks(groups)
    levels = _levels(np.add.reduceat(groups.hits, starts), np.add.reduceat(groups.rows, starts))
    last = np.append(starts[1:], len(groups.scores)) - 1
    x = np.stack((groups.scores[starts], groups.scores[last]), axis=1).ravel()
    x, y = np.concatenate(([0.0], x, [1.0])), np.concatenate((levels[:1], np.repeat(levels, 2), levels[-1:]))
    first = np.append(True, x[1:] > x[:-1])
    return Line(x[first], y[first])


def _levels(hits: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Floats:
    """Return the share of hits of each step; of the outermost, if it is 0 or 1, by Laplace's rule.

    Of n rows without a hit, the next may be one: by 1 / (n + 2), but no more than on the next step.
    """
    levels: Floats = hits / rows
    by_rule = (hits + 1) / (rows + 2)
    if hits[0] == 0:
        levels[0] = min([by_rule[0], *levels[1:2]])
    if hits[-1] == rows[-1]:
        levels[-1] = max([by_rule[-1], *levels[-2:-1]])
    return levels


def _venn_abers(p: Floats, is_hit: npt.NDArray[np.bool_]) -> Stairs:
    groups = Groups.of(p, is_hit)
    lower, upper = bounds(groups)
    # below, at and above each score; at a score both fits are of it, between two of its neighbours
    lower, upper = np.append(0.0, np.repeat(lower, 2)), np.append(np.repeat(upper, 2), 1.0)
    levels = upper / (1 - lower + upper)
    same = (levels[:-2:2] == levels[1:-1:2]) & (levels[1:-1:2] == levels[2::2])
    return Stairs(groups.scores[~same], np.append(levels[:1], levels[1:].reshape(-1, 2)[~same].ravel()))


_FITS: Final[dict[str, Callable[[Floats, npt.NDArray[np.bool_]], Curve]]] = {
    "sigmoid": _sigmoid,
    "beta": _beta,
    "isotonic": _isotonic,
    "venn_abers": _venn_abers,
}
