"""How far a metric may be off by the luck of which rows it was computed on: 95 % intervals.

============================== ===================================================================
metric                         interval
============================== ===================================================================
decisions (f1, mcc, …), means  percentiles of a thousand resamples of the rows; of more than a
(log_loss, rmse, r2, …)        thousand rows, of random blocks of them
roc_auc, average_precision     the same, to first order: each row keeps its part in the area
median_ae                      exact, between two ordered errors; nothing is drawn
a function of your own         percentiles of as many true resamples as `OWN_ROWS` rows allow
max_error                      none: the largest error of other rows is not in these
============================== ===================================================================

Where rows come in groups that the split keeps together, groups are drawn instead of rows.

None stands where all resamples agree, such as a recall of 1: that says that there are too few rows to
see an error, not that there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from mmp.errors import Finding, TrainingError
from mmp.evaluation import own
from mmp.evaluation.evaluate import requests, value_of
from mmp.evaluation.metrics import Errors, UndefinedMetricError
from mmp.evaluation.resamples import Resamples

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from mmp.catalog.metrics import Metric
    from mmp.evaluation.metrics import Decisions
    from mmp.modeling.target import Target

    Floats = npt.NDArray[np.float64]
    Groups = npt.NDArray[np.int64]

LEVEL: Final = 0.95
OWN_ROWS: Final = 2_000_000
"""Rows that a function of the user's own is given, in all resamples together."""

_FEWEST_OWN, _MOST_OWN = 100, 500
_Z: Final = 1.959964  # of the normal distribution, 97.5 %
_ROUNDING: Final = 1e-12
_NOT_BY_RESAMPLES: Final = frozenset({"median_ae", "max_error"})


class Interval(NamedTuple):
    """Where a metric lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Resampled:
    """What a model says of rows, and of resamples of them.

    Parameters
    ----------
    target : Target
        The truth.
    rows : Decisions or Errors
        The truth and the model's output, each row once.
    draw : Resamples
        How often each row is in each resample.
    seed : int
        What they are drawn with.
    groups : ndarray of int64, shape (n_rows,), or None
        The group of each row, where groups are drawn as a whole.
    """

    target: Target
    rows: Decisions | Errors
    draw: Resamples
    seed: int
    groups: Groups | None = None
    _values: dict[str, Floats] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, target: Target, rows: Decisions | Errors, *, seed: int, groups: Groups | None = None
    ) -> Resampled:
        """Draw resamples of rows, which `mmp.evaluation.evaluate.rows_of` gives."""
        return cls(target, rows, Resamples.draw(len(target), seed=seed, groups=groups), seed, groups)

    def of_another(self, rows: Decisions | Errors) -> Resampled:
        """Return what another model says of the same rows, and of the same resamples of them."""
        return replace(self, rows=rows)

    def take(self, positions: npt.NDArray[np.int64]) -> Resampled:
        """Return some of the rows, and resamples of these."""
        groups = None if self.groups is None else np.unique(self.groups[positions], return_inverse=True)[1]
        return self.of(self.target.take(positions), self.rows.take(positions), seed=self.seed, groups=groups)

    def drawn_once(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the positions of one more resample, row by row."""
        n_rows = len(self.target)
        if self.groups is None:
            return rng.integers(n_rows, size=n_rows)
        n_groups = int(self.groups.max()) + 1
        times = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        return np.repeat(np.arange(n_rows), times[self.groups])

    def value(self, metric: Metric) -> float:
        """Return the value of a metric.

        Raises
        ------
        UndefinedMetricError
            It has none on these rows.
        TrainingError
            It is a function of the user's own, which fails.
        """
        if metric.needs == "own":
            return own.value(metric.formula, self.rows, self.target)
        value = float(value_of(metric, self.rows, self.target))
        if not math.isfinite(value):
            raise UndefinedMetricError("not every class that it is about is in these rows")
        return value

    def values(self, metric: Metric) -> Floats | None:
        """Return the value on each resample, None where these say nothing of it or it is the user's own."""
        if metric.needs == "own" or metric.name in _NOT_BY_RESAMPLES:
            return None
        if metric.name not in self._values:
            self._values[metric.name] = value_of(metric, self._drawn, self.target)
        return self._values[metric.name]

    @cached_property
    def _drawn(self) -> Decisions | Errors:
        return replace(self.rows, draw=self.draw)


def intervals(
    resampled: Resampled, names: Iterable[str], *, findings: list[Finding] | None = None
) -> dict[str, Interval]:
    """Compute the interval of each metric that has one.

    Parameters
    ----------
    resampled : Resampled
        The rows.
    names : iterable of str
        Metrics that have a value on these rows.
    findings : list of Finding, optional
        Takes a note where a metric of the user's own has none.

    Returns
    -------
    dict of str to Interval
        By the names that the values have.

    Examples
    --------
    >>> from mmp.evaluation.evaluate import rows_of
    >>> from mmp.modeling.target import Target
    >>> target = Target("regression", np.arange(100.0))
    >>> rows = rows_of(target, np.arange(100.0) + np.tile([1, 3], 50))
    >>> low, high = intervals(Resampled.of(target, rows, seed=1), ["mae"])["mae"]
    >>> 1.7 < low < 1.9 < 2.1 < high < 2.3
    True
    """
    target = resampled.target
    found: dict[str, Interval | None] = {}
    for metric in requests(tuple(names), task=target.kind, classes=target.classes):
        if metric.needs != "own":
            found[metric.name] = _of_formula(metric, resampled)
            continue
        try:
            found[metric.name] = _of_own(metric, resampled)
        except UndefinedMetricError as reason:
            if findings is not None:
                findings.append(Finding("confidence", "info", f"{metric.name} has no interval: {reason}."))
    return {name: interval for name, interval in found.items() if interval is not None}


def percentiles(values: Floats) -> Interval | None:
    """Return the interval that holds 95 % of the values; None where they say nothing.

    Parameters
    ----------
    values : ndarray of shape (n_resamples,)
        NaN where there is none, such as the recall of a class of which no row was drawn.

    Examples
    --------
    >>> [round(end) for end in percentiles(np.arange(1001.0))]
    [25, 975]
    >>> percentiles(np.ones(1000)) is None
    True
    """
    ordered = np.sort(values[np.isfinite(values)])
    if not len(ordered) or ordered[-1] - ordered[0] <= _ROUNDING * abs(ordered[0]):
        return None
    tail = (1 - LEVEL) / 2 * (len(ordered) - 1)
    places = np.array([tail, len(ordered) - 1 - tail])
    low, high = np.interp(places, np.arange(len(ordered)), ordered).tolist()
    return Interval(low, high)


def by_name(found: Mapping[str, Interval]) -> dict[str, float]:
    """Return the ends under the names that they are logged by.

    Examples
    --------
    >>> by_name({"mae": Interval(1.5, 2.5)})
    {'mae_ci_low': 1.5, 'mae_ci_high': 2.5}
    """
    ends = (("low", 0), ("high", 1))
    return {f"{name}_ci_{end}": interval[at] for name, interval in found.items() for end, at in ends}


def _of_formula(metric: Metric, resampled: Resampled) -> Interval | None:
    if metric.name == "median_ae" and isinstance(resampled.rows, Errors):
        # groups are no independent values
        return _of_median(resampled.rows.absolute) if resampled.groups is None else None
    values = resampled.values(metric)
    return None if values is None else percentiles(values)


def _of_median(values: Floats) -> Interval | None:
    """Return the ordered values between which the median lies, whatever they are distributed like."""
    n_rows = len(values)
    half = _Z * math.sqrt(n_rows) / 2
    first, last = math.floor(n_rows / 2 - half) - 1, math.ceil(n_rows / 2 + half)
    if first < 0:
        return None
    ordered = np.partition(values, (first, last))
    low, high = ordered[[first, last]].tolist()
    return Interval(low, high) if low < high else None


def _of_own(metric: Metric, resampled: Resampled) -> Interval | None:
    """Return the interval of a function that nothing is known of.

    Raises
    ------
    UndefinedMetricError
        It would take too long, or has no value on some rows that were drawn.
    """
    n_rows = len(resampled.target)
    times = min(_MOST_OWN, OWN_ROWS // n_rows)
    if times < _FEWEST_OWN:
        raise UndefinedMetricError(f"it would have to be called with {n_rows:,} rows {_FEWEST_OWN} times")
    rng, values = np.random.default_rng(resampled.seed), np.empty(times)
    for time in range(times):
        drawn = resampled.rows.take(resampled.drawn_once(rng))
        try:
            values[time] = own.value(metric.formula, drawn, resampled.target)
        except (TrainingError, UndefinedMetricError) as error:
            reason = str(error).removesuffix(".")
            raise UndefinedMetricError(f"it has no value on rows drawn from these: {reason}") from error
    return percentiles(values)
