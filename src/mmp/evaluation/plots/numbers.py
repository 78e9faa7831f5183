"""Pictures of predicted numbers: residuals, and predicted against true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mmp.evaluation.plots.canvas import (
    BLUE,
    DARK_BLUE,
    GREY,
    LIGHT_BLUE,
    RED,
    SMALL,
    dress,
    figure,
    legend,
    readable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmp.evaluation.metrics import Errors

    Floats = npt.NDArray[np.float64]

_POINTS: Final = 3_000  # more are drawn as density
_FEW: Final = 500
_TAILS: Final = (0.25, 2.5, 97.5, 99.75)  # percentiles between which an axis ends
_FAR: Final = 6  # interquartile ranges
_HEAVY: Final = 30  # how many times the median the 99.5th percentile is where a logarithm helps


@dataclass(frozen=True, eq=False)
class Measured:
    """Predicted numbers and what they are about.

    Parameters
    ----------
    rows : Errors
        Truth and predictions.
    target : str
        The column that is predicted.
    split : str
        Where the rows are from.
    """

    rows: Errors
    target: str
    split: str

    def title(self, what: str) -> str:
        """Return a title that says of how many rows it is."""
        return f"{what} · {self.split}, {len(self.rows.truth):,} rows"

    @property
    def name(self) -> str:
        """The target's name, fit to be drawn."""
        return readable([self.target])[0]


def pictures(measured: Measured) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture."""
    yield "predicted_vs_true", predicted_vs_true(measured)
    yield "residuals", residuals(measured)


def predicted_vs_true(measured: Measured) -> Figure:
    """Draw each prediction over the truth; on the line they are the same."""
    truth, predicted = measured.rows.truth, measured.rows.predicted
    made = figure(6.0, 5.6)
    axes = made.subplots()
    dress(
        axes,
        title=measured.title("Predicted against true"),
        x=f"true {measured.name}",
        y=f"predicted {measured.name}",
    )
    logarithmic = is_heavy(truth) and bool((predicted > 0).all())
    low, high = frame(np.concatenate((truth, predicted)), logarithmic=logarithmic)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    inside = within(truth, low, high) & within(predicted, low, high)
    scale = "log" if logarithmic else "linear"
    handle, label = _cloud(axes, truth[inside], predicted[inside], scales=(scale, scale), bar=True)
    line = axes.plot([low, high], [low, high], color=RED, linestyle="--", linewidth=1.5)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    legend(axes, [*handle, *line], [*label, "predicted = true"], loc="upper left")
    _note(axes, int(np.count_nonzero(~inside)))
    return made


def residuals(measured: Measured) -> Figure:
    """Draw how far each prediction is off, over the prediction, and how often."""
    rows = measured.rows
    off = rows.truth - rows.predicted
    made = figure(7.4, 4.8)
    left, right = made.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    dress(left, title=measured.title("Residuals"), x=f"predicted {measured.name}", y="true minus predicted")
    logarithmic = is_heavy(rows.predicted)
    if logarithmic:
        left.set_xscale("log")
    x, y = frame(rows.predicted, logarithmic=logarithmic), frame(off)
    inside = within(rows.predicted, *x) & within(off, *y)
    _cloud(left, rows.predicted[inside], off[inside], scales=("log" if logarithmic else "linear", "linear"))
    left.axhline(0, color=RED, linestyle="--", linewidth=1.5)
    left.set_xlim(*x)
    left.set_ylim(*y)
    dress(right, x="rows")
    right.hist(off[within(off, *y)], bins=50, range=y, orientation="horizontal", color=BLUE, alpha=0.85)
    right.axhline(0, color=RED, linestyle="--", linewidth=1.5)
    median = float(np.median(off))
    right.axhline(median, color=GREY, linewidth=1.5)
    right.set_title(f"median {median:.2g}", fontsize=SMALL, color=GREY, loc="right")
    right.locator_params(axis="x", nbins=2)
    right.xaxis.set_major_formatter("{x:,.0f}")
    _note(left, int(np.count_nonzero(~inside)))
    return made


def frame(values: Floats, *, logarithmic: bool = False) -> tuple[float, float]:
    """Return the ends of an axis: all values, or nearly all where a few lie far out."""
    if logarithmic:
        low, high = frame(np.log10(values))
        return float(10**low), float(10**high)
    lowest, highest = float(values.min()), float(values.max())
    outer_low, inner_low, inner_high, outer_high = np.percentile(values, _TAILS).tolist()
    first, third = np.percentile(values, (25, 75)).tolist()
    far = _FAR * (third - first)
    low = max(outer_low, min(inner_low, first - far))
    high = min(outer_high, max(inner_high, third + far))
    room = (high - low) or abs(high) or 1.0
    if highest - high <= room / 2:
        high = highest
    if low - lowest <= room / 2:
        low = lowest
    margin = 0.03 * ((high - low) or room)
    return low - margin, high + margin


def is_heavy(values: Floats) -> bool:
    """Tell whether positive values lie so wide that only a logarithm shows them."""
    if values.min() <= 0:
        return False
    return bool(np.percentile(values, 99.5) > _HEAVY * np.median(values))


def within(values: Floats, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Return where values are inside the ends."""
    return np.asarray((values >= low) & (values <= high))


def _cloud(
    axes: Axes, x: Floats, y: Floats, *, scales: tuple[str, str], bar: bool = False
) -> tuple[list[Any], list[str]]:
    """Draw points, or where there are too many to tell apart, how many there are where."""
    if len(x) <= _POINTS:
        size, alpha = (14, 0.6) if len(x) <= _FEW else (8, 0.35)
        return [axes.scatter(x, y, s=size, alpha=alpha, color=BLUE, linewidths=0)], ["a row"]
    shades = LinearSegmentedColormap.from_list("few to many", [LIGHT_BLUE, BLUE, DARK_BLUE])
    scale: dict[str, Any] = dict(zip(("xscale", "yscale"), scales, strict=True))
    cells = axes.hexbin(x, y, gridsize=55, bins="log", mincnt=1, cmap=shades, linewidths=0.1, **scale)
    if bar:
        made = axes.figure.colorbar(cells, ax=axes, shrink=0.7, pad=0.02, format="{x:,.0f}")
        made.set_label("rows", fontsize=SMALL)
        made.ax.tick_params(labelsize=SMALL)
        made.outline.set_visible(False)
    return [], []


def _note(axes: Axes, n_outside: int) -> None:
    if n_outside:
        words = f"{n_outside:,} {'row lies' if n_outside == 1 else 'rows lie'} outside"
        box = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5}
        axes.text(
            0.99, 0.015, words, transform=axes.transAxes, ha="right", fontsize=SMALL, color=GREY, bbox=box
        )
