"""The picture of slices: the loss on each, and on all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mmp.evaluation.plots.canvas import BLUE, GREY, ORANGE, SMALL, dress, framed, legend, name_rows, readable
from mmp.evaluation.slices import FEWEST_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from mmp.evaluation.slices import Search, Slice

_MOST: Final = 40
_LONGEST: Final = 48

_ABOVE: Final = 0.75
"""Inches over the rows."""

_TITLE: Final = 0.38
"""Inches of them that the title takes; what explains the colors stands over it."""


def picture(asked: Sequence[Sequence[Slice]], found: Search, *, loss: str) -> Figure:
    """Draw the loss on each slice with its interval, over a line for all rows.

    Parameters
    ----------
    asked : sequence of sequence of Slice
        Slices by column.
    found : Search
        The worst, which stand on top, and the loss of all rows.
    loss : str
        Its name.
    """
    named = [one for slices in asked for one in slices]
    drawn = [*found.worst, *named[: _MOST - len(found.worst)]]
    labels = readable((f"{one.name}, {one.n_rows:,}" for one in drawn), longest=_LONGEST)
    made = framed(8.4, 1.3 + 0.28 * max(len(drawn), 3), labels=labels, right=0.2, top=_ABOVE)
    axes = made.subplots()
    dress(axes, title=f"{loss} by slice · test, {found.n_rows:,} rows", x=f"{loss}, 95 %", grid="x")
    rows = np.arange(len(drawn))
    middle = np.array([one.loss for one in drawn])
    ends = np.array([[one.loss - one.low, one.high - one.loss] for one in drawn]).T
    worst, few = rows < len(found.worst), np.array([one.n_rows < FEWEST_ROWS for one in drawn])
    kinds = (
        ("worst, corrected for luck", ORANGE, worst),
        ("asked for", BLUE, ~worst & ~few),
        (f"fewer than {FEWEST_ROWS} rows", GREY, ~worst & few),
    )
    there = [(name, color, those) for name, color, those in kinds if those.any()]
    handles = [
        axes.errorbar(
            middle[those], rows[those], xerr=ends[:, those], fmt="o", color=color, markersize=5, linewidth=1.5
        )
        for _, color, those in there
    ]
    over_title = 1 + _TITLE / (made.get_figheight() * axes.get_position().height)
    legend(
        axes,
        handles,
        [name for name, _, _ in there],
        loc="lower right",
        bbox_to_anchor=(1, over_title),
        borderaxespad=0.2,
        ncols=3,
    )
    axes.axvline(found.loss, color=GREY, linestyle="--", linewidth=1.2)
    axes.text(found.loss, -0.62, " all rows", fontsize=SMALL, color=GREY, ha="left", va="top")
    name_rows(axes, labels)
    if len(named) > len(drawn) - len(found.worst):
        left = len(named) - (len(drawn) - len(found.worst))
        axes.text(
            0.99, 0.02, f"and {left} more", transform=axes.transAxes, ha="right", fontsize=SMALL, color=GREY
        )
    return made
