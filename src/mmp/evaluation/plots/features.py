"""Pictures of columns: what the model loses without each, and what each has in its predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mmp.evaluation.plots.canvas import (
    BLUE,
    COLORS,
    GREY,
    INK,
    PALE,
    RED,
    SMALL,
    TITLE,
    dress,
    framed,
    legend,
    name_rows,
    readable,
)
from mmp.modeling.columns import as_float

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmp.evaluation.explain import Explanation
    from mmp.modeling.columns import Column, Columns

    Floats = npt.NDArray[np.float64]

MOST_COLUMNS: Final = 20
_SWARMED: Final = 10  # columns of a beeswarm
_PANELS: Final = 3
_POINTS: Final = 400  # of one column


def importance(losses: Mapping[str, float], *, metric: str, split: str) -> Figure:
    """Draw how much worse a metric gets when one column is shuffled.

    Parameters
    ----------
    losses : mapping of str to float
        By column.
    metric, split : str
        Of what, where.
    """
    ranked = sorted(losses.items(), key=lambda item: -item[1])[:MOST_COLUMNS]
    labels = readable(name for name, _ in ranked)
    made = framed(6.8, _height(len(ranked)), labels=labels)
    axes = made.subplots()
    dress(axes, title=f"Importance · {split}", x=f"what {metric} loses when the column is shuffled", grid="x")
    values = np.array([loss for _, loss in ranked])
    for color, chosen in ((BLUE, values > 0), (GREY, values <= 0)):
        _bars(axes, np.where(chosen, values, 0), np.zeros(len(values)), color)
    axes.axvline(0, color=INK, linewidth=0.8)
    name_rows(axes, labels)
    _note_left(axes, len(losses) - len(ranked))
    return made


def pictures(explanation: Explanation, columns: Columns, *, target: str) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture of SHAP values.

    Parameters
    ----------
    explanation : Explanation
        The values.
    columns : mapping of str to Column
        The same rows' columns, which give the points of the beeswarm their colour.
    target : str
        What is predicted.
    """
    yield "shap_bar", shap_bar(explanation, target=target)
    yield "shap_beeswarm", shap_beeswarm(explanation, columns, target=target)


def shap_bar(explanation: Explanation, *, target: str) -> Figure:
    """Draw the mean absolute part of each column, class by class."""
    order = _order(explanation)[:MOST_COLUMNS]
    strength = explanation.strength[:, order]
    labels = readable(explanation.columns[place] for place in order)
    made = framed(6.8, _height(len(order)) + (0.3 if len(strength) > 1 else 0), labels=labels)
    axes = made.subplots()
    n_rows = len(explanation.rows)
    dress(
        axes,
        title=f"SHAP values · {n_rows:,} rows",
        x=f"mean |SHAP value|, {_unit(explanation, target)}",
        grid="x",
    )
    names, heights = _stacked(explanation, strength)
    left, handles = np.zeros(len(order)), []
    colors = (*COLORS[:-1], GREY) if len(strength) > len(COLORS) else COLORS
    for color, height in zip(colors, heights, strict=False):
        handles.append(_bars(axes, height, left, color))
        left = left + height
    name_rows(axes, labels)
    n_left = len(explanation.columns) - len(order)
    _note_left(axes, n_left)
    if len(heights) > 1:
        legend(axes, handles, names, loc="lower right", bbox_to_anchor=(1, 0.05 if n_left else 0))
    return made


def shap_beeswarm(explanation: Explanation, columns: Columns, *, target: str) -> Figure:
    """Draw the part of each column in each row, coloured by the column's value."""
    panels = np.argsort(-explanation.strength.sum(axis=1), kind="stable")[:_PANELS]
    order = _order(explanation)[: _SWARMED if len(panels) == 1 else _SWARMED // 2]
    labels = readable(explanation.columns[place] for place in order)
    height = 1.0 + len(panels) * (0.35 + 0.34 * max(len(order), 3))
    made = framed(7.0, height, labels=labels, right=0.95, top=0.7 if len(panels) > 1 else 0.42)
    made.suptitle(
        f"SHAP values · {len(explanation.rows):,} rows",
        fontsize=TITLE, color=INK, x=0.02, y=1 - 0.1 / height, ha="left",
    )  # fmt: skip
    grid = made.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    drawn = _sample(len(explanation.rows))
    for axes, score in zip(grid, panels, strict=True):
        dress(axes, grid="x")
        if len(panels) > 1:
            axes.set_title(
                readable([explanation.classes[score]])[0], fontsize=SMALL + 1, loc="left", color=INK
            )
        axes.axvline(0, color=INK, linewidth=0.8)
        swarms = [
            _swarm(explanation.values[drawn, score, place], columns[explanation.columns[place]].take(drawn))
            for place in order
        ]
        points = _scatter(axes, *zip(*swarms, strict=True))
        name_rows(axes, labels)
    grid[-1].set_xlabel(f"SHAP value, {_unit(explanation, target)}", fontsize=SMALL + 1)
    _value_bar(made, points)
    return made


def _height(n_rows: int) -> float:
    return 1.3 + 0.3 * max(n_rows, 3)


def _order(explanation: Explanation) -> npt.NDArray[np.intp]:
    return np.argsort(-explanation.strength.mean(axis=0), kind="stable")


def _bars(axes: Axes, heights: Floats, left: Floats, color: str) -> Any:
    """Draw a bar for each row as one shape."""
    rows = np.arange(len(heights))
    edges = np.stack((rows - 0.35, rows + 0.35), axis=1).ravel()
    ends, starts = (np.repeat(numbers, 2)[:-1] for numbers in (left + heights, left))
    ends[1::2] = np.nan
    return axes.stairs(ends, edges, baseline=starts, orientation="horizontal", fill=True, color=color)


def _note_left(axes: Axes, n_left: int) -> None:
    if n_left:
        axes.text(
            0.99,
            0.02,
            f"and {n_left} weaker",
            transform=axes.transAxes,
            ha="right",
            fontsize=SMALL,
            color=GREY,
        )


def _unit(explanation: Explanation, target: str) -> str:
    """Say what the values are parts of."""
    if not explanation.classes:
        name = readable([target])[0]
        return name if explanation.unit == "value" else f"{name} before the link function"
    of = readable(explanation.classes)[0] if len(explanation.classes) == 1 else "the class"
    return f"{explanation.unit} of {of}"


def _stacked(explanation: Explanation, strength: Floats) -> tuple[list[str], list[Floats]]:
    """Return the names and the heights of the bars' pieces; of many classes the weak ones as one."""
    labels = readable(explanation.classes) if len(strength) > 1 else [""]
    if len(strength) <= len(COLORS):
        return labels, list(strength)
    ranked = np.argsort(-strength.sum(axis=1), kind="stable")
    kept, rest = ranked[: len(COLORS) - 1], ranked[len(COLORS) - 1 :]
    return [*(labels[k] for k in kept), f"{len(rest)} others"], [*strength[kept], strength[rest].sum(axis=0)]


def _sample(n_rows: int) -> npt.NDArray[np.int64]:
    if n_rows <= _POINTS:
        return np.arange(n_rows)
    return np.linspace(0, n_rows - 1, _POINTS).astype(np.int64)


def _swarm(parts: Floats, column: Column) -> tuple[Floats, Floats, Floats]:
    """Return where the points of a column are, across and off its row, and their shades."""
    return parts, 0.38 * spread(parts), shades(column)


def _scatter(axes: Axes, parts: Sequence[Floats], off: Sequence[Floats], colors: Sequence[Floats]) -> object:
    x, shade = np.concatenate(parts), np.concatenate(colors)
    y = np.concatenate([row + heights for row, heights in enumerate(off)])
    plain = np.isnan(shade)
    axes.scatter(x[plain], y[plain], s=7, color=GREY, alpha=0.7, linewidths=0)
    known = ~plain
    return axes.scatter(
        x[known], y[known], s=7, c=shade[known], cmap=_colormap(), vmin=0, vmax=1, linewidths=0
    )


def spread(parts: Floats, n_bins: int = 80) -> Floats:
    """Return how far up or down, from -1 to 1, each point moves so that those of a value lie side by side."""
    width = np.ptp(parts)
    if not width:
        return np.linspace(-1, 1, len(parts)) if len(parts) > 1 else np.zeros(len(parts))
    bins = ((parts - parts.min()) / width * (n_bins - 1)).astype(np.int64)
    order = np.argsort(bins, kind="stable")
    starts = np.searchsorted(bins[order], np.arange(n_bins))
    place = np.empty(len(parts))
    place[order] = np.arange(len(parts)) - starts[bins[order]]
    most = np.bincount(bins).max()
    side = np.where(place % 2, 1, -1)
    return np.asarray(side * ((place + 1) // 2) * 2 / max(most, 12))


def shades(column: Column) -> Floats:
    """Return a column's values as ranks from 0 to 1; NaN for text, which has none, and where missing."""
    if column.kind == "text":
        return np.full(len(column), np.nan)
    numbers = as_float(column)
    known = ~np.isnan(numbers)
    ranks = np.full(len(numbers), np.nan)
    ordered = np.sort(numbers[known])
    if len(ordered):
        low, high = (np.searchsorted(ordered, numbers[known], side=side) for side in ("left", "right"))
        ranks[known] = (low + high) / 2 / len(ordered)
    return ranks


def _colormap() -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list("low to high", [BLUE, PALE, RED])


def _value_bar(made: Figure, points: Any) -> None:
    width, height = made.get_size_inches().tolist()
    tall = min(2.2, height / 2)
    place = (1 - 0.85 / width, 0.5 - tall / 2 / height, 0.12 / width, tall / height)
    bar = made.colorbar(points, cax=made.add_axes(place), ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"], fontsize=SMALL)
    bar.set_label("value (grey: text or missing)", fontsize=SMALL - 0.5, color=INK, labelpad=0)
    bar.outline.set_visible(False)
