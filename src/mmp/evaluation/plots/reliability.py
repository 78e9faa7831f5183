"""A picture of probabilities: how often they come true, before and after calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmp.evaluation.metrics import ece
from mmp.evaluation.plots.canvas import BLUE, GREY, LIGHT_BLUE, ORANGE, dress, framed, legend
from mmp.evaluation.reliability import diagram

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

    from mmp.evaluation.metrics import Decisions
    from mmp.evaluation.plots.classes import Judged

    Floats = npt.NDArray[np.float64]

_HISTOGRAM_BINS = 20


class Line(NamedTuple):
    """Probabilities, and whether what they are of came."""

    probabilities: Floats
    came: npt.NDArray[np.bool_]
    label: str


def reliability(judged: Judged, before: Decisions | None = None) -> Figure:
    """Draw how often probabilities come true over what they say, in bins of as many rows.

    Parameters
    ----------
    judged : Judged
        The rows. Of more than two classes, each row counts once for every class.
    before : Decisions or None
        The same rows before calibration, where there is one.
    """
    lines = [_line(judged.rows, judged.positive, "as they are" if before is None else "calibrated")]
    if before is not None:
        lines.insert(0, _line(before, judged.positive, "before calibration"))
    made = framed(6.0, 6.4)
    axes, below = made.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    dress(axes, title=judged.title("Reliability"), y="share that came true")
    handles: list[Any] = axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2)
    colors = [BLUE] if before is None else [ORANGE, BLUE]
    for color, line in zip(colors, lines, strict=True):
        bins = diagram(line.probabilities, line.came)
        handles += axes.plot(bins.said, bins.came, color=color, marker="o", markersize=5, linewidth=1.8)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    legend(axes, handles, ["as often as said", *(line.label for line in lines)], loc="upper left")
    dress(below, x="probability", y="rows" if judged.positive is not None else "rows x classes", grid="none")
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1).tolist()
    below.hist(np.clip(lines[-1].probabilities, 0, 1), edges, color=LIGHT_BLUE)
    below.yaxis.get_major_locator().set_params(nbins=2)
    return made


def _line(rows: Decisions, positive: int | None, words: str) -> Line:
    codes = range(rows.n_classes) if positive is None else [positive]
    apart = float(np.mean([ece(rows, code) for code in codes]))
    probabilities = rows.probabilities[:, codes].ravel()
    came = (rows.truth[:, None] == np.array(codes)).ravel()
    return Line(probabilities, came, f"{words}, ece {apart:.4f}")
