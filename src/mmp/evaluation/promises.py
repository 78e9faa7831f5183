"""What bounds, quantiles and sets of classes are worth: how often they hold, and how much they say.

A share of rows that are covered is neither good nor bad by itself: it is to be what was promised.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from mmp.evaluation.metrics import UndefinedMetricError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.evaluation.metrics import Decisions, Errors

    Floats = npt.NDArray[np.float64]


def interval_coverage(rows: Errors) -> Floats:
    """Return the share of rows whose truth is between the bounds, or on one of them.

    Where a model of quantiles has no bounds, its lowest and highest quantile are taken for them.

    Raises
    ------
    UndefinedMetricError
        Where the model has neither; so for the width.
    """
    lower, upper = _bounds(rows)
    return rows.mean((lower <= rows.truth) & (rows.truth <= upper))


def interval_width(rows: Errors) -> Floats:
    """Return how far apart the bounds are on average, in the unit of the target."""
    lower, upper = _bounds(rows)
    return rows.mean(upper - lower)


def pinball_loss(rows: Errors, quantile: str) -> Floats:
    """Return the loss that a quantile is fitted by, and is the least for the true one.

    Parameters
    ----------
    rows : Errors
        Truth and output.
    quantile : str
        In percent, such as ``p99.5``; empty for the mean over all that the model has.

    Raises
    ------
    UndefinedMetricError
        Where the model has no such quantile; so for the coverage.

    References
    ----------
    Koenker, R. and Bassett, G. (1978). Regression quantiles. Econometrica 46.
    """
    wanted = [quantile] if quantile else _quantiles(rows)
    if not wanted:
        raise UndefinedMetricError("the model has no quantiles")
    losses = [rows.mean(_pinball(rows.truth - _column(rows, name), _level(name))) for name in wanted]
    return np.asarray(np.mean(losses, axis=0))


def coverage_rate(rows: Errors, quantile: str) -> Floats:
    """Return the share of rows whose truth is at most a quantile."""
    if not quantile:
        raise UndefinedMetricError("it is of one quantile, such as coverage_rate_p90")
    return rows.mean(rows.truth <= _column(rows, quantile))


def set_coverage(rows: Decisions) -> Floats:
    """Return the share of rows whose class is in their set.

    Raises
    ------
    UndefinedMetricError
        Where the model has no sets; so for the size.
    """
    inside = np.take_along_axis(_contained(rows), rows.truth[:, np.newaxis], axis=1)[:, 0]
    return rows.mean(inside)


def set_size(rows: Decisions) -> Floats:
    """Return how many classes are in a set on average."""
    return rows.mean(_contained(rows).sum(axis=1))


def _pinball(above: Floats, level: float) -> Floats:
    return np.maximum(level * above, (level - 1) * above)


def _level(quantile: str) -> float:
    return float(Decimal(quantile[1:]) / 100)


def _bounds(rows: Errors) -> tuple[Floats, Floats]:
    if "lower" in rows.beside and "upper" in rows.beside:
        return rows.beside["lower"], rows.beside["upper"]
    rising = _quantiles(rows)
    if len(rising) < 2:
        raise UndefinedMetricError("the model has no bounds, which evaluation.intervals asks for")
    return _column(rows, rising[0]), _column(rows, rising[-1])


def _quantiles(rows: Errors) -> list[str]:
    return [name.removeprefix("pred_") for name in rows.beside if name.startswith("pred_p")]


def _column(rows: Errors, quantile: str) -> Floats:
    if f"pred_{quantile}" not in rows.beside:
        has = ", ".join(_quantiles(rows)) or "none"
        raise UndefinedMetricError(f"the model has no quantile {quantile}; it has {has}")
    return rows.beside[f"pred_{quantile}"]


def _contained(rows: Decisions) -> npt.NDArray[np.bool_]:
    if rows.contained is None:
        raise UndefinedMetricError("the model has no prediction sets, which evaluation.intervals asks for")
    return rows.contained
