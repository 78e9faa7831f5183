"""Pictures of a study: how its best came about, which parameters had a say, and where the good values lie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullLocator

from mmp.evaluation.plots.canvas import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    SMALL,
    dress,
    framed,
    legend,
    name_rows,
    readable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmp.catalog.row import Space
    from mmp.modeling.tuning import Study, Trial

_MOST_SLICES: Final = 12
_COLUMNS: Final = 3


def pictures(study: Study) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture of a study.

    Parameters
    ----------
    study : Study
        At least one of its trials is complete.
    """
    yield "history", history(study)
    if study.importance:
        yield "importance", importance(study)
    if study.search.space:
        yield "slices", slices(study)


def history(study: Study) -> Figure:
    """Draw the score of each trial, and the best so far."""
    metric, complete = study.search.metric, _complete(study)
    numbers = np.array([trial.number for trial in complete])
    scores = np.array([trial.score for trial in complete])
    best = (np.maximum if study.search.greater_is_better else np.minimum).accumulate(scores)
    made = framed(6.8, 3.6)
    axes = made.subplots()
    dress(axes, title=f"{len(study.trials)} trials", x="trial", y=readable([metric])[0])
    points = axes.scatter(numbers, scores, s=18, color=BLUE, alpha=0.7, linewidths=0)
    (line,) = axes.plot(numbers, best, color=ORANGE, drawstyle="steps-post")
    handles, labels = [points, line], ["complete", "best so far"]
    for state, marker in (("pruned", "v"), ("failed", "x")):
        others = [trial.number for trial in study.trials if trial.state == state]
        if others:
            # they have no score: at the lower edge
            floor = np.full(len(others), 0.02)
            handles.append(
                axes.scatter(
                    others, floor, s=18, marker=marker, color=GREY if state == "pruned" else RED,
                    transform=axes.get_xaxis_transform(), linewidths=1,
                )
            )  # fmt: skip
            labels.append(state)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(-0.5, study.trials[-1].number + 0.5)
    legend(axes, handles, labels, loc="best")
    return made


def importance(study: Study) -> Figure:
    """Draw the share that each parameter has in the differences between scores."""
    labels = readable(study.importance)
    made = framed(6.8, 1.3 + 0.3 * max(len(labels), 3), labels=labels)
    axes = made.subplots()
    dress(
        axes,
        title="Importance of parameters",
        x=f"share of the differences in {readable([study.search.metric])[0]}",
        grid="x",
    )
    axes.barh(np.arange(len(labels)), list(study.importance.values()), height=0.7, color=BLUE)
    name_rows(axes, labels)
    return made


def slices(study: Study) -> Figure:
    """Draw the scores over the values of each parameter, the most important first."""
    ranked = [*study.importance, *(name for name in study.search.space if name not in study.importance)]
    names, complete = ranked[:_MOST_SLICES], _complete(study)
    n_rows = -(-len(names) // _COLUMNS)
    n_columns = min(len(names), _COLUMNS)
    made = framed(0.8 + 2.6 * n_columns, 1.0 + 2.4 * n_rows)
    made.subplots_adjust(hspace=0.45)
    grid = made.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for axes, name, label in zip(grid, names, readable(names), strict=False):
        dress(axes, x=label)
        _slice(axes, [trial for trial in complete if name in trial.params], name, study.search.space[name])
    for axes in grid[::n_columns]:
        axes.set_ylabel(readable([study.search.metric])[0], fontsize=SMALL + 1)
    for axes in np.delete(grid, np.s_[::n_columns]):
        axes.tick_params(labelleft=False)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    return made


def _slice(axes: Axes, trials: Sequence[Trial], name: str, space: Space) -> None:
    values: list[Any] = [trial.params[name] for trial in trials]
    if space.type == "categorical":
        words = [str(value) if isinstance(value, str) else json.dumps(value) for value in values]
        known = sorted(set(words))
        values = [known.index(word) for word in words]
        axes.set_xticks(range(len(known)), readable(known, longest=12))
        axes.set_xlim(-0.5, len(known) - 0.5)
    else:
        low, high = space.range
        if space.log:
            axes.set_xscale("log")
            # powers as formulas, and ticks between them, cost more than all the rest
            axes.xaxis.set_major_locator(LogLocator(numticks=4))
            axes.xaxis.set_major_formatter(LogFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            edge = (high / low) ** 0.04
            axes.set_xlim(low / edge, high * edge)
        else:
            axes.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    shades, scores = np.array([(trial.number, trial.score or 0) for trial in trials]).reshape(-1, 2).T
    axes.scatter(values, scores, s=14, c=shades, cmap="Blues", vmin=-10, linewidths=0)


def _complete(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.score is not None]
