"""Leaving out what has missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mmp.errors import DataError, Finding
from mmp.modeling.steps.base import Fitted, StepSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmp.modeling.training import Training


class _DropMissing(StepSettings, Protocol):
    @property
    def axis(self) -> str: ...

    @property
    def threshold(self) -> float: ...


def drop_missing(step: _DropMissing, names: Sequence[str], training: Training) -> Fitted:
    """Leave out training rows, or columns, of which more than `threshold` is missing.

    Rows are left out of the training rows only: every other row goes through. A column that is left
    out is asked of no request.
    """
    if not names:
        return Fitted(())
    return (_without_columns if step.axis == "columns" else _without_rows)(step, names, training)


def _without_columns(step: _DropMissing, names: Sequence[str], training: Training) -> Fitted:
    shares = {name: float(training[name].missing().mean()) for name in names}
    dropped = tuple(name for name, share in shares.items() if share > step.threshold)
    findings = tuple(
        Finding(
            step.type,
            "info",
            f"{name!r} is missing in {shares[name]:.1%} of the training rows, and left out",
            name,
        )
        for name in dropped
    )
    return Fitted((), dropped, findings=findings)


def _without_rows(step: _DropMissing, names: Sequence[str], training: Training) -> Fitted:
    gaps = np.zeros(len(training.target), np.int64)
    for name in names:
        gaps += training[name].missing()
    rows = np.flatnonzero(gaps / len(names) <= step.threshold)
    if not len(rows):
        raise DataError(
            f"The step {step.type} leaves no training row.",
            hint="Raise its threshold, name fewer columns, or fill missing values instead.",
        )
    n_dropped = len(gaps) - len(rows)
    if not n_dropped:
        return Fitted(())
    message = (
        f"{n_dropped:,} of {len(gaps):,} training rows ({n_dropped / len(gaps):.1%}) are left out for their "
        "missing values; in every other split, and at prediction, such rows go through"
    )
    return Fitted((), rows=rows, findings=(Finding(step.type, "warn", message),))
