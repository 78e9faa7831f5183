"""Scaling numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mmp.modeling.columns import as_float
from mmp.modeling.ops import Affine
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.training import Training


class _StandardScaler(StepSettings, Protocol):
    @property
    def with_mean(self) -> bool: ...

    @property
    def with_std(self) -> bool: ...


def standard_scaler(step: _StandardScaler, names: Sequence[str], training: Training) -> Fitted:
    """Shift to mean 0 and scale to deviation 1, as scikit-learn's `StandardScaler` does.

    Constant columns are shifted only.
    """
    require_kinds(step, names, training, NUMBERS)
    ops = []
    for name in names:
        column = training[name]
        values = as_float(column)
        mean, deviation = _moments(values if column.valid is None else values[column.valid])
        ops.append(
            Affine(name, (name,), mean if step.with_mean else 0.0, deviation if step.with_std else 1.0)
        )
    return Fitted(tuple(ops))


def _moments(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, 1 where the values vary by no more than rounding does."""
    if not len(values):
        return 0.0, 1.0
    mean, variance = float(np.mean(values)), float(np.var(values))
    rounding = len(values) * np.finfo(np.float64).eps
    constant = variance <= rounding * variance + (rounding * mean) ** 2
    return mean, 1.0 if constant else float(np.sqrt(variance))
