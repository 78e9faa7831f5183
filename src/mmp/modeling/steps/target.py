"""Numbers from categories by the mean of the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmp.errors import DataError
from mmp.modeling.columns import Column
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds
from mmp.modeling.steps.encode import Categories
from mmp.modeling.steps.folds import shuffled_folds, stratified_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.ops import Op
    from mmp.modeling.target import Target
    from mmp.modeling.training import Training

    Floats = npt.NDArray[np.float64]


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
    folds = _folds(training.target, step.cv, training.seed)
    smooth = None if isinstance(step.smooth, str) else float(step.smooth)
    ops: list[Op] = []
    out_of_fold: dict[str, Column] = {}
    for name in names:
        targets = _target_names(name, training)
        categories = Categories.of(training[name])
        cells = folds * np.int64(categories.n_levels) + categories.codes
        encoded, overall = [], []
        for target, outcome in zip(targets, _outcomes(training.target), strict=True):
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
    dropped = tuple(names) if len(_outcomes(training.target)) > 1 else ()
    return Fitted(tuple(ops), dropped, out_of_fold)


def _folds(target: Target, n_folds: int, seed: int) -> npt.NDArray[np.int32]:
    if len(target) < n_folds:
        raise DataError(
            f"The target encoder needs {n_folds} rows for its {n_folds} folds; training has {len(target)}.",
            hint="Give it more rows, or fewer folds with cv.",
        )
    if target.kind == "classification":
        return stratified_folds(target.values, n_folds, seed)
    return shuffled_folds(len(target), n_folds, seed)


def _outcomes(target: Target) -> list[Floats]:
    """Return what is averaged: the number, whether the second of two classes came, or whether each did."""
    if target.kind == "regression":
        return [target.values]
    codes = range(target.n_classes) if target.n_classes > 2 else [1]
    return [(target.values == code).astype(np.float64) for code in codes]


def _target_names(name: str, training: Training) -> tuple[str, ...]:
    classes = training.target.classes
    if len(classes) <= 2:
        return (name,)
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
