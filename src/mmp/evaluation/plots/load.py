"""The picture of a server under load: how long answers take at each rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mmp.evaluation.plots.canvas import BLUE, GREY, RED, SKY, SMALL, dress, figure, legend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure


def latencies(rates: Sequence[float], took: Mapping[str, Sequence[float]], *, promise_ms: float) -> Figure:
    """Draw percentiles of latency over the rate, and the promise as a line.

    Parameters
    ----------
    rates : sequence of float
        Requests a second, rising.
    took : mapping of str to sequence of float
        Milliseconds at each rate by what they are; infinite ones are marked at the upper edge.
    promise_ms : float
        What the 99th percentile may be.

    Returns
    -------
    Figure
        Both axes are logarithmic.
    """
    made = figure(7.0, 4.4)
    axes = made.subplots()
    finite = [value for values in took.values() for value in values if math.isfinite(value)]
    top = 2 * max([promise_ms, *finite])
    handles = []
    for (_, values), color in zip(took.items(), (SKY, BLUE), strict=False):
        shown = [min(value, top) for value in values]
        handles += axes.plot(rates, shown, color=color, marker="o", markersize=4, linewidth=1.6)
        lost = [(rate, top) for rate, value in zip(rates, values, strict=True) if not math.isfinite(value)]
        if lost:
            axes.plot(*zip(*lost, strict=True), color=color, marker="x", markersize=9, linestyle="none")
    axes.axhline(promise_ms, color=RED, linewidth=1.2, linestyle="--")
    axes.annotate(
        f"{promise_ms:g} ms", (1, promise_ms), xycoords=("axes fraction", "data"), xytext=(-2, 3),
        textcoords="offset points", ha="right", fontsize=SMALL, color=RED,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=1.3 * top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    dress(axes, title="Latency from the scheduled time", x="requests per second", y="milliseconds")
    legend(axes, handles, list(took), loc="upper left")
    if any(not math.isfinite(value) for values in took.values() for value in values):
        made.text(0.99, 0.01, "x: not answered", ha="right", fontsize=SMALL, color=GREY)
    return made
