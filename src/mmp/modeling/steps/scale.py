"""Scaling numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mmp.modeling.columns import as_float
from mmp.modeling.ops import Affine, Clip
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.columns import Column
    from mmp.modeling.ops import Op
    from mmp.modeling.training import Training


class _StandardScaler(StepSettings, Protocol):
    @property
    def with_mean(self) -> bool: ...

    @property
    def with_std(self) -> bool: ...


class _MinMaxScaler(StepSettings, Protocol):
    @property
    def feature_range(self) -> tuple[float, float]: ...

    @property
    def clip(self) -> bool: ...


class _RobustScaler(StepSettings, Protocol):
    @property
    def with_centering(self) -> bool: ...

    @property
    def with_scaling(self) -> bool: ...

    @property
    def quantile_range(self) -> tuple[float, float]: ...


def standard_scaler(step: _StandardScaler, names: Sequence[str], training: Training) -> Fitted:
    """Shift to mean 0 and scale to deviation 1, as scikit-learn's `StandardScaler` does.

    Constant columns are shifted only.
    """
    require_kinds(step, names, training, NUMBERS)
    ops = []
    for name in names:
        mean, deviation = _moments(_present(training[name]))
        ops.append(_affine(name, mean if step.with_mean else 0.0, deviation if step.with_std else 1.0))
    return Fitted(tuple(ops))


def min_max_scaler(step: _MinMaxScaler, names: Sequence[str], training: Training) -> Fitted:
    """Scale the range of the training rows to `feature_range`, as scikit-learn's `MinMaxScaler` does.

    With `clip` a value outside that range moves to its end.
    """
    require_kinds(step, names, training, NUMBERS)
    lowest, highest = step.feature_range
    ops: list[Op] = []
    for name in names:
        values = _present(training[name])
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        scale = _unless_zero(high - low) / (highest - lowest)
        ops.append(_affine(name, low - lowest * scale, scale))
        if step.clip:
            ops.append(Clip(name, (name,), lowest, highest))
    return Fitted(tuple(ops))


def robust_scaler(step: _RobustScaler, names: Sequence[str], training: Training) -> Fitted:
    """Shift to median 0 and scale to quantile range 1, as scikit-learn's `RobustScaler` does."""
    require_kinds(step, names, training, NUMBERS)
    ops = []
    for name in names:
        values = _present(training[name])
        wanted = (step.quantile_range[0], 50, step.quantile_range[1])
        low, median, high = np.percentile(values, wanted).tolist() if len(values) else (0.0, 0.0, 1.0)
        spread = _unless_zero(high - low) if step.with_scaling else 1.0
        ops.append(_affine(name, median if step.with_centering else 0.0, spread))
    return Fitted(tuple(ops))


def _affine(name: str, shift: float, scale: float) -> Affine:
    """Return the op, with finite numbers also where a range of extremes has none."""
    return Affine(name, (name,), float(np.nan_to_num(shift)), float(np.nan_to_num(scale)))


def _present(column: Column) -> npt.NDArray[np.float64]:
    values = as_float(column)
    return values if column.valid is None else values[column.valid]


def _unless_zero(spread: float) -> float:
    """Return 1 where the values vary by no more than rounding does."""
    return 1.0 if spread < 10 * np.finfo(np.float64).eps else spread


def _moments(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, 1 where the values vary by no more than rounding does."""
    if not len(values):
        return 0.0, 1.0
    mean, variance = float(np.mean(values)), float(np.var(values))
    rounding = len(values) * np.finfo(np.float64).eps
    constant = variance <= rounding * variance + (rounding * mean) ** 2
    return mean, 1.0 if constant else float(np.sqrt(variance))
