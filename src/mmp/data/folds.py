"""Cross-validation: the rows that are not held out, divided so that each is judged by a model new to it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mmp.data.classes import Classes, classes
from mmp.data.split import counted, dividing_column, ends_of, fill, span_of, times_of
from mmp.data.table import Splits, Table, take
from mmp.errors import EmptySplitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from mmp.settings.data import Split

    Positions = npt.NDArray[np.int64]


def folds(
    table: Table,
    settings: Split,
    rest: Positions,
    *,
    task: str,
    target: str | None,
    seed: int,
    every_class: bool = True,
) -> tuple[Splits, ...]:
    """Divide the rows that nothing else has into folds.

    Each row of `rest` judges once. Folds hold groups together where there is a `group_column`; with a
    `temporal_column` they follow on each other and each is judged by what was learned from those before
    it, so that the rows before the first judge none; else they are drawn, for classification by class.

    Parameters
    ----------
    table : Table
        All rows.
    settings : Split
        ``data.split`` of the recipe.
    rest : ndarray of int64
        Positions to divide, ascending.
    task : str
        For classification, folds are alike in their classes.
    target : str or None
        The target column.
    seed : int
        What rows and groups are drawn with.
    every_class : bool
        Whether every model has to see every class.

    Returns
    -------
    tuple of Splits
        ``train`` and ``validation`` of each fold, positions in `table`.

    Raises
    ------
    EmptySplitError
        There are too few rows, groups or times, or a model would not see a class.
    DataError
        The column that divides has nulls, or values that say nothing.
    """
    part = take(table, rest)
    labels = classes(part.arrow.column(target)) if task == "classification" and target else None
    if part.n_rows < settings.folds:
        raise EmptySplitError(
            f"There are {counted(part.n_rows, 'row')} for {settings.folds} folds.",
            hint="Use more rows, or fewer data.split.folds.",
        )
    if settings.temporal_column is not None:
        divided = _in_time(part, settings)
    else:
        divided = _apart(_numbers(part, settings, labels, np.random.default_rng(seed)), settings.folds)
    made = []
    for number, (train, validation) in enumerate(divided):
        _require_rows(number, train)
        if labels is not None and every_class:
            _require_classes(number, labels, train)
        made.append(Splits(rest[train], rest[validation]))
    return tuple(made)


def _numbers(
    table: Table, settings: Split, labels: Classes | None, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the fold in which each row judges."""
    if settings.group_column is not None:
        return _grouped(table, settings, rng)
    order = rng.permutation(table.n_rows)
    if labels is not None:
        order = order[np.argsort(labels.codes[order], kind="stable")]
    numbers = np.empty(table.n_rows, np.int64)
    numbers[order] = np.arange(table.n_rows) % settings.folds
    return numbers


def _grouped(table: Table, settings: Split, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    name = dividing_column(table, settings, "group_column")
    groups = classes(table.arrow.column(name))
    if len(groups) < settings.folds:
        raise EmptySplitError(
            f"Column {name!r} has {counted(len(groups), 'group')} for {settings.folds} folds.",
            hint="Rows of one group stay together; use fewer data.split.folds.",
        )
    order = rng.permutation(len(groups))
    order = order[np.argsort(-groups.counts[order], kind="stable")]
    fold_of = np.empty(len(groups), np.int64)
    fold_of[order] = fill(groups.counts[order].tolist(), dict.fromkeys(range(settings.folds), 1.0))
    return fold_of[groups.codes]


def _apart(numbers: npt.NDArray[np.int64], n_folds: int) -> Iterator[tuple[Positions, Positions]]:
    for fold in range(n_folds):
        yield np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)


def _in_time(table: Table, settings: Split) -> Iterator[tuple[Positions, Positions]]:
    """Yield expanding windows: one part more than folds, and each but the first is judged by those before."""
    name, times = times_of(table, settings)
    order = np.argsort(times, kind="stable")
    times = times[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(times)) + 1, [len(times)]])
    n_parts = settings.folds + 1
    ends = ends_of(edges, np.diff(np.arange(n_parts + 1) * len(times) // n_parts), name)
    for begin, end in pairwise(ends.tolist()):
        last = _before_gap(settings.gap, times, begin, table.spec(name).kind)
        yield np.sort(order[:last]), np.sort(order[begin:end])


def _before_gap(gap: str | int | None, times: npt.NDArray[np.generic], begin: int, kind: str) -> int:
    """Return behind which row the embargo before the first row that judges begins."""
    if gap is None:
        return begin
    if isinstance(gap, int):
        return max(begin - gap, 0)
    latest = times[begin] - span_of(gap, kind)
    return min(begin, int(np.searchsorted(times, latest, side="right")))


def _require_rows(number: int, train: Positions) -> None:
    if not len(train):
        raise EmptySplitError(
            f"Nothing is left to learn from before fold {number + 1}.",
            hint="Shorten data.split.gap, or use fewer data.split.folds.",
        )


def _require_classes(number: int, labels: Classes, train: Positions) -> None:
    unseen = np.flatnonzero(np.bincount(labels.codes[train], minlength=len(labels)) == 0)
    if len(unseen):
        label, n_rows = labels.label(int(unseen[0])), int(labels.counts[unseen[0]])
        raise EmptySplitError(
            f"Class {label!r} ({counted(n_rows, 'row')}) is not among the rows that fold {number + 1} "
            "learns from.",
            hint="Use fewer data.split.folds, another way to divide, or leave the rows of that class out.",
        )
