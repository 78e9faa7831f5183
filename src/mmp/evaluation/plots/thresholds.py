"""A picture of a threshold: what others would come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.evaluation.plots.canvas import COLORS, GREY, INK, dress, framed, legend, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Table = Mapping[str, npt.NDArray[Any]]

_COUNTED = ("threshold", "selected")
_SHARE = "share positive"


def trade_off(table: Table, threshold: float, *, title: str) -> Figure:
    """Draw metrics over thresholds, and the share of rows that are positive; what has another unit beside.

    Parameters
    ----------
    table : mapping of str to ndarray
        ``threshold``, ``selected`` and metrics by name, a value a threshold, the lowest last.
    threshold : float
        The one that was chosen.
    title : str
        Where the rows are from.
    """
    n_rows = max(int(table["selected"][-1]), 1)
    shares = {name: values for name, values in table.items() if name not in _COUNTED and _is_share(values)}
    others = {name: values for name, values in table.items() if name not in (*_COUNTED, *shares)}
    made = framed(6.6 if not others else 11.0, 4.6)
    panels = made.subplots(1, 2 if others else 1, squeeze=False)[0]
    _panel(panels[0], table, {**shares, _SHARE: table["selected"] / n_rows}, threshold, title=title)
    panels[0].set_ylim(min(-0.02, *(np.nanmin(values) for values in shares.values())), 1.02)
    if others:
        _panel(panels[1], table, others, threshold, title="")
    return made


def _panel(axes: Axes, table: Table, lines: Table, threshold: float, *, title: str) -> None:
    dress(axes, title=title, x="threshold", y=next(iter(lines)) if len(lines) == 1 else "")
    handles: list[Any] = []
    for color, (name, values) in zip(COLORS, lines.items(), strict=False):
        color, style = (GREY, ":") if name == _SHARE else (color, "-")  # noqa: PLW2901
        handles += axes.plot(table["threshold"], values, linewidth=2, color=color, linestyle=style)
    labels = readable(lines)
    handles.append(axes.axvline(threshold, color=INK, linewidth=1.4))
    labels.append(f"chosen, {threshold:.4g}")
    handles.append(axes.axvline(0.5, color=GREY, linewidth=1.2, linestyle="--"))
    labels.append("the more probable class, 0.5")
    axes.set_xlim(-0.01, 1.01)
    legend(axes, handles, labels, loc="best")


def _is_share(values: npt.NDArray[Any]) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known) == 0 or (known.min() >= -1 and known.max() <= 1))
