"""Pictures of decisions: confusion, ROC, precision and recall, gain and lift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.evaluation.curves import Ranking
from mmp.evaluation.metrics import confusion
from mmp.evaluation.plots.canvas import (
    BLUE,
    COLORS,
    GREY,
    INK,
    LABEL,
    LONGEST,
    PALE,
    SMALL,
    TITLE,
    dress,
    figure,
    framed,
    legend,
    readable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mmp.evaluation.curves import Line
    from mmp.evaluation.metrics import Decisions

MOST_CLASSES: Final = 20  # of a confusion matrix; the rest are drawn as one
_COUNTED: Final = 8  # up to here there is room for counts in the cells
_SHOWN: Final = 0.05  # of a class's rows: smaller shares are left to the colour where there is no room
_NAMED_LINES: Final = 6


@dataclass(frozen=True, eq=False)
class Judged:
    """Decisions and what they are about.

    Parameters
    ----------
    rows : Decisions
        Truth and decisions.
    classes : sequence
        The labels.
    positive : int or None
        The class that the curves are of, for two classes.
    split : str
        Where the rows are from.
    threshold : float
        Probability that decides for the positive class.
    """

    rows: Decisions
    classes: Sequence[object]
    positive: int | None
    split: str
    threshold: float = 0.5

    def title(self, what: str) -> str:
        """Return a title that says of how many rows it is."""
        return f"{what} · {self.split}, {self.rows.n_rows:,} rows"

    @cached_property
    def rankings(self) -> list[tuple[int, str, Ranking]]:
        """Code, name and ranking of each class that is in some rows and not in all."""
        codes = range(self.rows.n_classes) if self.positive is None else [self.positive]
        labels = readable(self.classes)
        scores, truth = self.rows.probabilities, self.rows.truth
        return [
            (code, labels[code], Ranking.of(scores[:, code], truth == code))
            for code in codes
            if 0 < self.rows.actual[code] < self.rows.n_rows
        ]

    def curves(self, area: str) -> list[tuple[str, Ranking, float]]:
        """Return name, ranking and area under a curve of each class in `rankings`."""
        return [
            (name, ranking, getattr(self.rows.areas(code), area)) for code, name, ranking in self.rankings
        ]


def pictures(judged: Judged) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each picture that the rows allow."""
    yield "confusion", confusion_matrix(judged)
    if judged.rankings:
        yield "roc", roc(judged)
        yield "precision_recall", precision_recall(judged)
        yield "lift", lift(judged)


def confusion_matrix(judged: Judged) -> Figure:
    """Draw which class is taken for which, and how many rows of each class are right."""
    counts, labels = merged(judged)
    n = len(labels)
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    side = 4.4 + 0.12 * n
    made = figure(side + 2.0, side)
    left, right = made.subplots(1, 2, sharey=True, width_ratios=[2.4 + 0.08 * n, 1])
    left.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    dress(left, title=judged.title("Confusion matrix"), x="predicted", y="true", grid="none")
    if _fit_across(labels):
        left.set_xticks(range(n), labels)
    else:
        left.set_xticks(range(n), labels, rotation=45, ha="right", rotation_mode="anchor")
    left.set_yticks(range(n), labels)
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    _write_cells(left, counts, shares)
    _accuracies(right, np.diag(shares).tolist(), totals.tolist())
    return made


def merged(judged: Judged) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the confusion matrix and its labels; of many classes the most frequent, and the rest as one."""
    rows = judged.rows
    if rows.n_classes <= MOST_CLASSES:
        longest = LONGEST if rows.n_classes <= _COUNTED else LONGEST - 8
        return confusion(rows.truth, rows.decided, n_classes=rows.n_classes), readable(
            judged.classes, longest
        )
    kept = np.sort(np.argsort(-rows.actual, kind="stable")[: MOST_CLASSES - 1])
    place = np.full(rows.n_classes, len(kept))
    place[kept] = np.arange(len(kept))
    counts = confusion(place[rows.truth], place[rows.decided], n_classes=MOST_CLASSES)
    # a class of the rest that was taken for another of the rest is no hit
    rest = ~np.isin(rows.truth, kept)
    counts[-1, -1] = np.count_nonzero(rest & (rows.truth == rows.decided))
    names = [*(judged.classes[code] for code in kept), f"{rows.n_classes - len(kept)} others"]
    labels = readable(names, LONGEST - 8)
    return counts, labels


def _fit_across(labels: Sequence[str]) -> bool:
    return len(labels) * max(len(label) for label in labels) <= 40


def _write_cells(axes: Axes, counts: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> None:
    few = len(counts) <= _COUNTED
    for (down, across), count in np.ndenumerate(counts):
        share = float(shares[down, across])
        if not count or (share < _SHOWN and not few):
            continue
        words = f"{percent(share)}\n{count:,}" if few else percent(share).removesuffix(" %")
        color = "white" if share > 0.55 else INK
        size = LABEL if few else SMALL - 1
        axes.text(across, down, words, ha="center", va="center", color=color, fontsize=size)


def _accuracies(axes: Axes, accuracies: list[float], totals: list[int]) -> None:
    dress(axes, x="accuracy by class", grid="none")
    axes.barh(range(len(totals)), accuracies, color=BLUE, height=0.62)
    wrong = [1 - share for share in accuracies]
    axes.barh(range(len(totals)), wrong, left=accuracies, color=PALE, height=0.62)
    axes.set_xlim(0, 1.9)
    axes.set_xticks([])
    axes.tick_params(length=0, labelleft=False)
    axes.spines[:].set_visible(False)
    for row, (share, total) in enumerate(zip(accuracies, totals, strict=True)):
        words = f"{percent(share)} of {total:,}" if total else "no rows"
        axes.text(1.06, row, words, va="center", fontsize=SMALL - 1, color=INK)


def percent(share: float) -> str:
    """Return a share as it is read: no digits that say nothing, and never 0 % of something.

    Examples
    --------
    >>> percent(0.123), percent(0.004), percent(0.9996), percent(1.0)
    ('12 %', '<1 %', '>99 %', '100 %')
    """
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def roc(judged: Judged) -> Figure:
    """Draw hits over false alarms."""
    made = framed(6.0, 5.6)
    axes = made.subplots()
    dress(axes, title=judged.title("ROC"), x="false positive rate", y="true positive rate")
    named = [
        (f"{name}, area {area:.3f}", ranking.roc(), area) for name, ranking, area in judged.curves("roc")
    ]
    handles, labels = _lines(axes, named)
    handles += axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2)
    labels.append("by chance, area 0.5")
    if judged.positive is not None:
        handles.append(_decision(axes, judged, "roc"))
        labels.append(f"decided at {judged.threshold:g}")
    _unit_square(axes)
    legend(axes, handles, labels, loc="lower right")
    return made


def precision_recall(judged: Judged) -> Figure:
    """Draw how many of the chosen are right over how many of the right are chosen."""
    made = framed(6.0, 5.6)
    axes = made.subplots()
    dress(axes, title=judged.title("Precision and recall"), x="recall", y="precision")
    curves = judged.curves("precision_recall")
    named = [
        (f"{name}, average {area:.3f}", ranking.precision_recall(), area) for name, ranking, area in curves
    ]
    handles, labels = _lines(axes, named, drawstyle="steps-pre")
    if len(curves) == 1:
        share = curves[0][1].share
        handles += axes.plot([0, 1], [share, share], color=GREY, linestyle="--", linewidth=1.2)
        labels.append(f"by chance, {percent(share)}")
    if judged.positive is not None:
        handles.append(_decision(axes, judged, "precision_recall"))
        labels.append(f"decided at {judged.threshold:g}")
    _unit_square(axes)
    legend(axes, handles, labels, loc="lower left")
    return made


def lift(judged: Judged) -> Figure:
    """Draw what is found when only the rows that score highest are looked at."""
    made = framed(8.2, 4.4)
    left, right = made.subplots(1, 2)
    made.suptitle(judged.title("Gain and lift"), fontsize=TITLE, color=INK, x=0.01, ha="left")
    curves = judged.curves("roc")
    dress(left, x="share of rows taken, highest score first", y="share of the class found")
    handles, labels = _lines(left, [(name, ranking.gain(), area) for name, ranking, area in curves])
    handles += left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2)
    labels.append("by chance")
    if len(curves) == 1:
        handles += left.plot([0, curves[0][1].share, 1], [0, 1, 1], color=GREY, linestyle=":", linewidth=1.2)
        labels.append("at best")
    _unit_square(left)
    legend(left, handles, labels, loc="lower right")
    dress(right, x="share of rows taken", y="times as many as by chance")
    _lines(right, [(name, ranking.lift(), area) for name, ranking, area in curves])
    right.axhline(1, color=GREY, linestyle="--", linewidth=1.2)
    right.set_xlim(0, 1)
    right.set_ylim(bottom=0)
    return made


def _lines(axes: Axes, named: Sequence[tuple[str, Line, float]], **style: Any) -> tuple[list[Any], list[str]]:
    """Draw a line each; of many, those of the smallest area have a name and a colour."""
    by_area = sorted(range(len(named)), key=lambda place: named[place][2])
    chosen = sorted(by_area[:_NAMED_LINES] if len(named) <= _NAMED_LINES else by_area[: _NAMED_LINES - 1])
    others = [place for place in range(len(named)) if place not in chosen]
    handles, labels = [], []
    for place in others:
        (grey,) = axes.plot(*named[place][1], color=PALE, linewidth=1.2, **style)
    for color, place in zip(COLORS, chosen, strict=False):
        handles += axes.plot(*named[place][1], color=color, linewidth=2, solid_joinstyle="round", **style)
        labels.append(named[place][0])
    if others:
        handles.append(grey)
        labels.append(f"{len(others)} classes above these")
    return handles, labels


def _decision(axes: Axes, judged: Judged, curve: str) -> Any:
    """Mark where the threshold cuts the curve."""
    rows, code = judged.rows, judged.positive
    assert code is not None
    hits, given, actual = (int(counts[code]) for counts in (rows.hits, rows.given, rows.actual))
    recall, false_alarms, precision = (
        hits / actual,
        (given - hits) / (rows.n_rows - actual),
        hits / max(given, 1),
    )
    point = (false_alarms, recall) if curve == "roc" else (recall, precision)
    return axes.plot(*point, marker="o", markersize=8, color=INK, linestyle="none", zorder=5)[0]


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
