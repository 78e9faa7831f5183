"""The threshold that does best on some rows: exact, over all that make a difference between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mmp.evaluation import own
from mmp.evaluation.curves import Ranking
from mmp.evaluation.evaluate import rows_of, value_of
from mmp.evaluation.metrics import Tally, UndefinedMetricError
from mmp.modeling.decision import ARGMAX_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from mmp.catalog.metrics import Metric
    from mmp.modeling.target import Target

    Floats = npt.NDArray[np.float64]

MOST_OWN: Final = 1000
"""Thresholds that a function of the user's own is tried at, evenly spaced by rank."""


@dataclass(frozen=True, eq=False)
class TradeOff:
    """What the rows are decided for at each threshold, the highest first: at it, no row is positive.

    Parameters
    ----------
    target : Target
        The truth, of two classes.
    output : ndarray of shape (n_rows, 2)
        The probabilities.
    thresholds : ndarray of shape (n_thresholds,)
        One between any two scores, in the middle of them, and one beyond each end.
    tally : Tally
        Counts at each threshold.
    """

    target: Target
    output: Floats
    thresholds: Floats
    tally: Tally

    @classmethod
    def of(cls, target: Target, output: Floats) -> TradeOff:
        """Decide the rows at every threshold.

        Examples
        --------
        >>> from mmp.modeling.target import Target
        >>> target = Target("classification", np.array([1, 0, 1]), ("no", "yes"), 1)
        >>> trade_off = TradeOff.of(target, np.array([[0.2, 0.8], [0.6, 0.4], [0.6, 0.4]]))
        >>> trade_off.thresholds.round(2).tolist(), trade_off.selected.tolist()
        ([0.9, 0.6, 0.2], [0, 1, 3])
        """
        positive = target.positive
        assert positive is not None
        is_hit = target.values == positive
        ranking = Ranking.of(output[:, positive], is_hit)
        taken, hits = ranking.taken.astype(np.int64), ranking.hits.astype(np.int64)
        scores = np.unique(output[:, positive])[::-1]
        thresholds = _between(np.append(1.0, scores), np.append(scores, 0.0))
        if thresholds[0] <= scores[0]:  # which is 1
            thresholds[0] = np.nextafter(1.0, 2.0)
        # 0.5 is the more probable class, and of two as probable the first
        thresholds[thresholds == ARGMAX_THRESHOLD] = np.nextafter(ARGMAX_THRESHOLD, 0)
        divides = thresholds > np.append(scores, -1.0)
        of_class = [taken - hits, hits]
        given = [len(is_hit) - taken, taken]
        right = [int(np.count_nonzero(~is_hit)) - of_class[0], hits]
        if positive == 0:
            given, right = given[::-1], right[::-1]
        tally = Tally(
            np.bincount(target.values, minlength=2),
            np.stack(given, axis=1)[divides],
            np.stack(right, axis=1)[divides],
            target.costs,
        )
        return cls(target, output, thresholds[divides], tally)

    @property
    def selected(self) -> npt.NDArray[np.int64]:
        """How many rows are positive at each threshold."""
        return np.asarray(self.tally.given[:, self.target.positive])

    def values(self, metric: Metric) -> Floats:
        """Return a metric at each threshold, NaN where it has no value or was not tried."""
        if metric.needs != "own":
            return np.broadcast_to(value_of(metric, self.tally, self.target), self.thresholds.shape)
        values = np.full(len(self.thresholds), np.nan)
        for place in np.unique(np.linspace(0, len(values) - 1, MOST_OWN).round().astype(int)).tolist():
            rows = rows_of(self.target, self.output, threshold=float(self.thresholds[place]))
            try:
                values[place] = own.value(metric.formula, rows, self.target)
            except UndefinedMetricError:
                continue
        return values

    def best(self, metric: Metric) -> int | None:
        """Return the place of the best threshold, of equals the nearest to 0.5; None without a value."""
        values = self.values(metric) * (1 if metric.greater_is_better else -1)
        if np.isnan(values).all():
            return None
        best = np.flatnonzero(values == np.nanmax(values))
        return int(best[np.abs(self.thresholds[best] - ARGMAX_THRESHOLD).argmin()])

    def within(self, n_rows: int) -> int:
        """Return the place of the lowest threshold at which at most so many rows are positive."""
        return int(np.searchsorted(self.selected, n_rows, side="right")) - 1


def crossed(choose: Callable[[Target, Floats], float], target: Target, output: Floats) -> Floats:
    """Return a threshold for each row, chosen on rows that it does not decide: every other one.

    Parameters
    ----------
    choose : callable
        Chooses on some rows.
    target, output
        All rows.
    """
    thresholds = np.empty(len(target))
    places = np.arange(len(target))
    for mine, others in ((places[::2], places[1::2]), (places[1::2], places[::2])):
        known = others if len(others) else mine
        thresholds[mine] = choose(target.take(known), output[known])
    return thresholds


def _between(upper: Floats, lower: Floats) -> Floats:
    """Return what lies in the middle, or the upper number where there is nothing between."""
    middle = lower + (upper - lower) / 2
    return np.where(middle > lower, middle, upper)
