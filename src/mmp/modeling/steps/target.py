"""Numbers from categories by the mean of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmp.modeling.columns import Column
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds
from mmp.modeling.steps.encode import Categories
from mmp.modeling.steps.folds import folds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.ops import Op
    from mmp.modeling.target import Target
    from mmp.modeling.training import Training

    Floats = npt.NDArray[np.float64]

_PRIOR_ROWS = 1


class _CatboostEncoder(StepSettings, Protocol):
    @property
    def sigma(self) -> float | None: ...


class _TargetEncoder(StepSettings, Protocol):
    @property
    def smooth(self) -> float | str: ...

    @property
    def cv(self) -> int: ...


def target_encoder(step: _TargetEncoder, names: Sequence[str], training: Training) -> Fitted:
    """Replace categories by the smoothed mean of the target, as scikit-learn's `TargetEncoder` does.

    A training row gets the mean over the other folds, so that no row sees its own target; every
    other row gets the mean over all training rows. Missing is a category of its own where training
    had missing values; unseen categories get the overall mean. With more than two classes there is a
    column for each.

    References
    ----------
    Micci-Barreca (2001), A preprocessing scheme for high-cardinality categorical attributes, SIGKDD
    Explorations 3 (1); equations 5 to 7.
    """
    require_kinds(step, names, training, ("text", *NUMBERS))
    folds = folds_of(training.target, step.cv, training.seed, step=step.type)
    smooth = None if isinstance(step.smooth, str) else float(step.smooth)
    ops: list[Op] = []
    out_of_fold: dict[str, Column] = {}
    for name in names:
        targets = target_names(name, training)
        categories = Categories.of(training[name])
        cells = folds * np.int64(categories.n_levels) + categories.codes
        encoded, overall = [], []
        for target, outcome in zip(targets, outcomes_of(training.target), strict=True):
            means = _Means(
                _Sums.of(cells, outcome, (step.cv, categories.n_levels)),
                _Sums.of(folds, outcome, (step.cv, 1)),
                smooth,
            )
            out_of_fold[target] = Column("float", means.out_of_fold().ravel()[cells])
            encoded.append(means.of_levels(_EVERY_FOLD))
            overall.append(means.overall(_EVERY_FOLD))
        known = np.column_stack(encoded)
        missing = known[-1] if categories.has_missing else overall
        ops.append(categories.lookup(name, targets, known[: categories.n_known], overall, missing))
    dropped = tuple(names) if len(outcomes_of(training.target)) > 1 else ()
    return Fitted(tuple(ops), dropped, out_of_fold)


def catboost_encoder(step: _CatboostEncoder, names: Sequence[str], training: Training) -> Fitted:
    """Replace categories by the mean of the target over earlier rows, as category_encoders does.

    A training row gets the mean over the rows before it that have its category, the overall mean
    counted as one row more, times a noise of mean 1 and deviation `sigma`; every other row gets the
    mean over all training rows. Missing is a category of its own where training had missing values;
    unseen categories, and those of a single row, get the overall mean. With more than two classes
    there is a column for each.

    References
    ----------
    Prokhorenkova et al. (2018), CatBoost: unbiased boosting with categorical features, NeurIPS.
    """
    require_kinds(step, names, training, ("text", *NUMBERS))
    noise = np.random.RandomState(training.seed)
    ops: list[Op] = []
    out_of_fold: dict[str, Column] = {}
    for name in names:
        targets = target_names(name, training)
        categories = Categories.of(training[name])
        encoded, overall = [], []
        for target, outcome in zip(targets, outcomes_of(training.target), strict=True):
            mean = float(outcome.mean())
            before = _means_before(categories.codes, outcome, mean)
            if step.sigma:
                before = before * noise.normal(1.0, step.sigma, len(before))
            out_of_fold[target] = Column("float", before)
            encoded.append(_means_of_levels(categories, outcome, mean))
            overall.append(mean)
        known = np.column_stack(encoded)
        missing = known[-1] if categories.has_missing else overall
        ops.append(categories.lookup(name, targets, known[: categories.n_known], overall, missing))
    dropped = tuple(names) if len(outcomes_of(training.target)) > 1 else ()
    return Fitted(tuple(ops), dropped, out_of_fold)


def _means_before(codes: npt.NDArray[Any], outcome: Floats, mean: float) -> Floats:
    """Return each row's mean over the rows before it that have its level."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)[np.unique(codes)]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    centred = outcome[order] - mean  # so that little is lost where one running sum is taken from another
    running = np.cumsum(centred) - centred
    rows = np.arange(len(codes)) - starts
    means = np.empty(len(codes))
    means[order] = mean + (running - running[starts]) / (rows + _PRIOR_ROWS)
    return means


def _means_of_levels(categories: Categories, outcome: Floats, mean: float) -> Floats:
    rows = np.bincount(categories.codes, minlength=categories.n_levels)
    total = np.bincount(categories.codes, outcome, categories.n_levels)
    means: Floats = (total + mean * _PRIOR_ROWS) / (rows + _PRIOR_ROWS)
    return np.where(rows > 1, means, mean)


def outcomes_of(target: Target) -> list[Floats]:
    """Return what is averaged: the number, whether the second of two classes came, or whether each did."""
    if target.kind == "regression":
        return [target.values]
    codes = range(target.n_classes) if target.n_classes > 2 else [1]
    return [(target.values == code).astype(np.float64) for code in codes]


def target_names(name: str, training: Training, *, fresh: bool = False) -> tuple[str, ...]:
    """Return the columns that a statistic of the target is kept in: one, or one for each class.

    The one is the column itself, or a new one where it is to be `fresh`.
    """
    classes = training.target.classes
    if len(classes) <= 2:
        return (training.new_name(name) if fresh else name,)
    return tuple(training.new_name(f"{name}:{label}") for label in classes)


_EVERY_FOLD = slice(None)


@dataclass(frozen=True)
class _Sums:
    """Rows, sum of outcomes and sum of squared deviations from the mean, for each fold and level."""

    n: Floats
    total: Floats
    squares: Floats

    @classmethod
    def of(cls, cells: npt.NDArray[Any], outcome: Floats, shape: tuple[int, int]) -> _Sums:
        size = shape[0] * shape[1]
        n = np.bincount(cells, minlength=size).astype(np.float64)
        total: Floats = np.bincount(cells, outcome, size).astype(np.float64)
        mean = total / np.maximum(n, 1)
        squares: Floats = np.bincount(cells, (outcome - mean[cells]) ** 2, size).astype(np.float64)
        return cls(n.reshape(shape), total.reshape(shape), squares.reshape(shape))

    def over(self, folds: slice | npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Return rows, mean and sum of squares over some folds, without the cancellation of a subtraction.

        References
        ----------
        Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance, The American
        Statistician 37 (3).
        """
        n, total = self.n[folds], self.total[folds]
        rows = n.sum(axis=0)
        mean = total.sum(axis=0) / rows
        between = n * (total / np.maximum(n, 1) - mean) ** 2
        return rows, mean, (self.squares[folds] + between).sum(axis=0)


@dataclass(frozen=True)
class _Means:
    """Smoothed means of one outcome by level."""

    by_level: _Sums
    by_fold: _Sums
    smooth: float | None

    def overall(self, folds: slice | npt.NDArray[np.bool_]) -> float:
        """Return the mean over some folds."""
        return float(self.by_fold.over(folds)[1][0])

    def of_levels(self, folds: slice | npt.NDArray[np.bool_]) -> Floats:
        """Return the smoothed mean of each level over some folds, the overall mean where no row has it."""
        n, overall, squares = (part[0] for part in self.by_fold.over(folds))
        with np.errstate(invalid="ignore", divide="ignore"):
            rows, mean, within = self.by_level.over(folds)
            if self.smooth is None:
                spread = squares / n * rows
                weight = spread / (spread + within / rows)
            else:
                weight = rows / (rows + self.smooth)
            blend: Floats = weight * mean + (1 - weight) * overall
        blend[np.isnan(blend)] = overall
        return blend

    def out_of_fold(self) -> Floats:
        """Return, for each fold, the means over all others."""
        folds = np.arange(len(self.by_fold.n))
        return np.stack([self.of_levels(folds != fold) for fold in folds])
