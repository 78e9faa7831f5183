"""Two models on the same rows: by how much one is better, and whether that may be the luck of the rows.

Both are computed on the same resamples, so what is hard about a row is hard for both: the interval is that
of the difference (a paired bootstrap). A difference whose interval leaves out 0 is one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from mmp.catalog.metrics import parse
from mmp.errors import TrainingError
from mmp.evaluation.confidence import Interval, percentiles
from mmp.evaluation.evaluate import requests
from mmp.evaluation.metrics import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from mmp.catalog.metrics import Metric
    from mmp.evaluation.confidence import Resampled
    from mmp.modeling.target import Target

    Verdict = Literal["better", "worse", "undecided"]

LOSSES: Final = {"classification": "log_loss", "regression": "rmse"}
"""What decides which of two models is better, whatever else is compared: a proper loss, by task."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two models.

    Parameters
    ----------
    ours, theirs, difference : float
        Its values, and the first less the second.
    interval : Interval or None
        Of the difference, where resamples say something of the metric.
    """

    ours: float
    theirs: float
    difference: float
    interval: Interval | None

    def as_dict(self) -> dict[str, float | None]:
        """Return a JSON object."""
        low, high = self.interval or (None, None)
        return {
            "model": self.ours, "other": self.theirs, "difference": self.difference, "low": low, "high": high,
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A model against another.

    Parameters
    ----------
    other : str
        What the other is, after "than".
    loss : str
        The metric that decides.
    n_rows : int
        The rows of both.
    metrics : mapping of str to Difference
        By name, `loss` among them.
    remark : str
        What is to be known of the comparison.
    """

    other: str
    loss: str
    n_rows: int
    metrics: Mapping[str, Difference]
    remark: str = ""

    @property
    def verdict(self) -> Verdict:
        """Which of them has the lower loss, as far as the rows can tell."""
        low, high = self.metrics[self.loss].interval or (0.0, 0.0)
        return "better" if high < 0 else "worse" if low > 0 else "undecided"

    @property
    def sentence(self) -> str:
        """Say it in one sentence."""
        found = self.metrics[self.loss]
        words = {"better": "better", "worse": "worse", "undecided": "not clearly better or worse"}
        apart = f"difference {found.difference:+.4f}"
        if found.interval is not None:
            apart += f", 95 % {found.interval.low:+.4f} to {found.interval.high:+.4f}"
        remark = f"; {self.remark}" if self.remark else ""
        return (
            f"{words[self.verdict]} than {self.other}: {self.loss} {found.ours:.4f} against "
            f"{found.theirs:.4f} ({apart}){remark}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        written = asdict(self) | {"verdict": self.verdict, "sentence": self.sentence}
        return written | {"metrics": {name: found.as_dict() for name, found in self.metrics.items()}}


def compare(
    ours: Resampled, theirs: Resampled, names: Iterable[str], *, other: str, remark: str = ""
) -> Comparison:
    """Compare two models on the same resamples.

    Parameters
    ----------
    ours, theirs : Resampled
        What they say of the same rows; the second is made of the first by `Resampled.of_another`.
    names : iterable of str
        What to compare beside the loss that decides; a metric without a value for both is left out.
    other, remark : str
        As of `Comparison`.

    Examples
    --------
    >>> from mmp.evaluation.confidence import Resampled
    >>> from mmp.evaluation.evaluate import rows_of
    >>> from mmp.modeling.target import Target
    >>> target = Target("regression", np.arange(50.0))
    >>> ours = Resampled.of(target, rows_of(target, np.arange(50.0) + 1), seed=0)
    >>> theirs = ours.of_another(rows_of(target, np.full(50, 25.0)))
    >>> compare(ours, theirs, ["r2"], other="the mean").verdict
    'better'
    """
    loss = LOSSES[ours.target.kind]
    wanted = requests((*names, loss), task=ours.target.kind, classes=ours.target.classes)
    found = {metric.name: _difference(ours, theirs, metric) for metric in wanted}
    known = {name: difference for name, difference in found.items() if difference is not None}
    return Comparison(other, loss, len(ours.target), known, remark)


def trivial(training: Target, n_rows: int) -> npt.NDArray[np.float64]:
    """Return what a model says that has learned nothing but the classes' shares, or the mean.

    Examples
    --------
    >>> from mmp.modeling.target import Target
    >>> trivial(Target("classification", np.array([0, 1, 1, 1]), ("a", "b"), 1), 2).tolist()
    [[0.25, 0.75], [0.25, 0.75]]
    """
    if training.kind == "regression":
        return np.full(n_rows, training.values.mean())
    shares = np.bincount(training.values, minlength=training.n_classes) / len(training)
    return np.tile(shares, (n_rows, 1))


def main_metrics(names: Iterable[str], task: str) -> list[str]:
    """Return the names without the variants by class and by average.

    Examples
    --------
    >>> main_metrics(["f1", "f1_macro", "log_loss"], "classification")
    ['f1', 'log_loss']
    """
    found = {name: parse(name, task) for name in names}
    return [name for name, metric in found.items() if not metric.variant or metric.needs == "promises"]


def _difference(ours: Resampled, theirs: Resampled, metric: Metric) -> Difference | None:
    try:
        mine, other = ours.value(metric), theirs.value(metric)
    except (UndefinedMetricError, TrainingError):
        return None
    of_mine, of_other = ours.values(metric), theirs.values(metric)
    interval = None if of_mine is None or of_other is None else percentiles(of_mine - of_other)
    return Difference(mine, other, mine - other, interval)
