"""Pictures of how sure a model is: whether bounds, quantiles and sets hold what they promise, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.evaluation.metrics import Errors
from mmp.evaluation.plots.canvas import (
    BLUE,
    LIGHT_BLUE,
    ORANGE,
    SMALL,
    dress,
    figure,
    framed,
    legend,
    name_rows,
    readable,
)
from mmp.evaluation.plots.numbers import is_heavy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmp.evaluation.metrics import Decisions
    from mmp.modeling.uncertainty import Uncertainty

    Floats = npt.NDArray[np.float64]

_BINS: Final = 10
_FEWEST: Final = 20  # rows that say something of a share
_MOST_CLASSES: Final = 20
_Z: Final = 1.959964  # of the normal distribution, 97.5 %


@dataclass(frozen=True, eq=False)
class Promised:
    """What a model said of rows and how sure it was, and the truth.

    Parameters
    ----------
    rows : Errors or Decisions
        Truth and output.
    says : Uncertainty
        What the output says beyond the answer.
    coverage : float or None
        The share that is promised, of bounds or sets.
    target : str
        The column that is predicted.
    classes : sequence
        Its classes.
    split : str
        Where the rows are from.
    """

    rows: Errors | Decisions
    says: Uncertainty
    coverage: float | None
    target: str
    classes: Sequence[object]
    split: str

    def title(self, what: str) -> str:
        """Return a title that says of how many rows it is."""
        return f"{what} · {self.split}, {len(self.rows.truth):,} rows"


def pictures(promised: Promised) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture that there is something for."""
    rows = promised.rows
    if isinstance(rows, Errors):
        if "lower" in rows.beside and len(rows.truth) >= _FEWEST:
            yield "intervals", intervals(promised, rows)
        if promised.says.quantiles:
            yield "quantiles", quantiles(promised, rows)
    elif rows.contained is not None:
        yield "prediction_sets", sets(promised, rows, rows.contained)


def intervals(promised: Promised, rows: Errors) -> Figure:
    """Draw how many truths are between their bounds, and how far these are apart, by predicted value."""
    lower, upper = rows.beside["lower"], rows.beside["upper"]
    inside, width = (lower <= rows.truth) & (rows.truth <= upper), upper - lower
    n_bins = min(_BINS, len(rows.truth) // (_FEWEST // 2))
    bins = np.array_split(np.argsort(rows.predicted, kind="stable"), n_bins)
    middles = np.array([np.median(rows.predicted[each]) for each in bins])
    made = figure(7.4, 5.6)
    above, below = made.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    dress(above, title=promised.title("Coverage of the intervals"), y="between the bounds, %")
    dots = _shares(above, middles, [inside[each] for each in bins])
    line = _promise(above, promised)
    legend(above, [dots, *line], ["of a tenth of the rows, 95 %", "promised"], loc="lower left", ncols=2)
    name = readable([promised.target])[0]
    dress(below, x=f"predicted {name}", y="width")
    low, middle, high = np.array([np.percentile(width[each], (10, 50, 90)) for each in bins]).T
    band = below.fill_between(middles, low, high, color=LIGHT_BLUE, linewidth=0)
    median = below.plot(middles, middle, color=BLUE, marker="o", markersize=4, linewidth=1.5)
    legend(below, [*median, band], ["median", "8 of 10 rows"], loc="lower left", ncols=2)
    below.set_ylim(0, 1.15 * float(high.max()) or 1)
    if is_heavy(rows.predicted):
        below.set_xscale("log")
    return made


def quantiles(promised: Promised, rows: Errors) -> Figure:
    """Draw how many truths are at most each quantile, beside how many ought to be."""
    names = promised.says.quantiles
    below = [rows.truth <= rows.beside[f"pred_{name}"] for name in names]
    places, levels = np.arange(len(names)), [float(name[1:]) for name in names]
    made = framed(7.4, 1.6 + 0.34 * max(len(names), 2), labels=names, right=0.25, top=0.8)
    axes = made.subplots()
    dress(axes, title=promised.title("Quantiles"), x="rows at most at the quantile, %", grid="x")
    ticks = axes.scatter(levels, places, marker="|", s=260, color=ORANGE, linewidths=2)
    middles, ends = _ends(below)
    dots = axes.errorbar(middles, places, xerr=ends, fmt="o", color=BLUE, markersize=5, linewidth=1.5)
    names_of = ["measured, 95 %", "promised"]
    legend(axes, [dots, ticks], names_of, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    axes.set_xlim(-2, 102)
    name_rows(axes, list(names))
    return made


def sets(promised: Promised, rows: Decisions, contained: npt.NDArray[np.bool_]) -> Figure:
    """Draw how many classes are in a set, and how often the true one is, by class."""
    sizes, inside = contained.sum(axis=1), contained[np.arange(rows.n_rows), rows.truth]
    made = figure(8.4, 4.6)
    left, right = made.subplots(1, 2, width_ratios=[2, 3])
    dress(left, title=promised.title("Prediction sets"), x="classes in the set", y="rows, %", grid="y")
    counts = np.bincount(sizes)[1:]
    left.bar(np.arange(1, len(counts) + 1), 100 * counts / len(sizes), color=BLUE, width=0.7)
    left.xaxis.get_major_locator().set_params(integer=True)
    common = np.argsort(-np.bincount(rows.truth, minlength=rows.n_classes), kind="stable")[:_MOST_CLASSES]
    shown = [code for code in sorted(common.tolist()) if (rows.truth == code).any()]
    labels = readable((promised.classes[code] for code in shown), longest=18)
    dress(right, y="true class in the set, %", grid="y")
    dots = _shares(right, np.arange(len(shown)), [inside[rows.truth == code] for code in shown])
    legend(right, [dots, *_promise(right, promised)], ["by class, 95 %", "promised of all"], loc="lower left")
    right.set_xticks(range(len(shown)), labels, rotation=45 if len(shown) > 4 else 0, fontsize=SMALL)
    right.set_xlim(-0.6, len(shown) - 0.4)
    return made


def _shares(axes: Axes, places: npt.NDArray[Any], groups: Sequence[npt.NDArray[np.bool_]]) -> object:
    middles, ends = _ends(groups)
    dots = axes.errorbar(places, middles, yerr=ends, fmt="o", color=BLUE, markersize=5, linewidth=1.5)
    low = float((middles - ends[0]).min())
    axes.set_ylim(min(max(0.0, low - 12), 60), 102)
    return dots


def _promise(axes: Axes, promised: Promised) -> list[object]:
    assert promised.coverage is not None
    return [axes.axhline(100 * promised.coverage, color=ORANGE, linestyle="--", linewidth=1.5)]


def _ends(groups: Sequence[npt.NDArray[np.bool_]]) -> tuple[Floats, Floats]:
    """Return shares in percent, and how far their intervals go down and up.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
    """
    counts = np.array([len(each) for each in groups], np.float64)
    shares = np.array([each.mean() for each in groups])
    middle = (shares + _Z**2 / (2 * counts)) / (1 + _Z**2 / counts)
    half = _Z / (1 + _Z**2 / counts) * np.sqrt(shares * (1 - shares) / counts + _Z**2 / (4 * counts**2))
    ends = np.stack((shares - (middle - half), middle + half - shares))
    return 100 * shares, 100 * np.maximum(ends, 0)
