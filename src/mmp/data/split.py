"""Which rows train, and which judge: the parts of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmp.data.buffers import values
from mmp.data.classes import Classes, classes
from mmp.data.names import require
from mmp.data.table import Splits
from mmp.errors import DataError, EmptySplitError, SettingsError
from mmp.lookup import did_you_mean
from mmp.settings.data import SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

    from mmp.data.table import Table
    from mmp.settings.data import Split

    Assignment = npt.NDArray[np.int8]

PARTS = ("train", "validation", "test", "calibration")
_IN_TIME = (0, 1, 3, 2)  # nothing is calibrated on what comes after the test
_NONE = -1
_MICROSECONDS = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6, "w": 7 * 86400 * 10**6}


def split(table: Table, settings: Split, *, task: str, target: str | None, seed: int) -> Splits:
    """Divide the rows of a table into train, validation, test and calibration.

    Parameters
    ----------
    table : Table
        Rows whose target is not null.
    settings : Split
        ``data.split`` of the recipe.
    task : str
        For classification a random split is stratified, and every part needs two classes or more.
    target : str or None
        The target column; None where the task has none.
    seed : int
        What random and group splits are drawn with.

    Returns
    -------
    Splits
        Disjoint positions, which cover the table but for the rows of an embargo (``gap``).

    Raises
    ------
    EmptySplitError
        Where a part would have no row, or only one class, or a class that train does not have.
    DataError
        Where the column that divides has nulls, or values that say nothing.
    """
    labels = classes(table.arrow.column(target)) if task == "classification" and target else None
    assignment = _STRATEGIES[settings.strategy](table, settings, labels, np.random.default_rng(seed))
    if labels is not None:
        _require_classes(assignment, labels)
    return Splits(*(np.flatnonzero(assignment == part) for part in range(len(PARTS))))


def apportion(n_rows: int, shares: Sequence[float]) -> npt.NDArray[np.int64]:
    """Divide a number of rows by shares; the largest remainders get the rows left over.

    Examples
    --------
    >>> apportion(10, [0.7, 0.15, 0.15]).tolist()
    [7, 2, 1]
    """
    weights = np.asarray(shares, np.float64)
    quotas = n_rows * weights / weights.sum()
    sizes: npt.NDArray[np.int64] = np.floor(quotas + 1e-9).astype(np.int64)
    by_remainder = np.argsort(sizes - quotas, kind="stable")
    sizes[by_remainder[: n_rows - sizes.sum()]] += 1
    return sizes


def _random(table: Table, settings: Split, labels: Classes | None, rng: np.random.Generator) -> Assignment:
    order = rng.permutation(table.n_rows)
    shares = _shares(settings)
    if labels is None:
        sizes = apportion(table.n_rows, shares)
        _require_sizes(sizes, shares, f"the table has {table.n_rows} rows")
        parts = _repeat(sizes)
    else:
        order = order[np.argsort(labels.codes[order], kind="stable")]
        parts = np.concatenate([_repeat(sizes) for sizes in _stratified(labels, shares)])
    assignment = np.empty(table.n_rows, np.int8)
    assignment[order] = parts
    return assignment


def _stratified(labels: Classes, shares: Sequence[float]) -> Iterable[npt.NDArray[np.int64]]:
    """Yield the sizes of the parts for each class, each part that wants rows getting one at least."""
    wanted = np.flatnonzero(shares)
    for code, n_rows in enumerate(labels.counts):
        if n_rows < len(wanted):
            raise EmptySplitError(
                f"Class {labels.label(code)!r} has {counted(n_rows, 'row')}, and the split has "
                f"{len(wanted)} parts that each need one.",
                hint="Leave its rows out, merge it with another class, or set a share of data.split to 0.",
            )
        sizes = apportion(int(n_rows), shares)
        for part in wanted[sizes[wanted] == 0]:
            sizes[sizes.argmax()] -= 1
            sizes[part] = 1
        yield sizes


def _temporal(table: Table, settings: Split, labels: Classes | None, rng: np.random.Generator) -> Assignment:
    name, times = times_of(table, settings)
    order = np.argsort(times, kind="stable")
    times = times[order]
    shares = [_shares(settings)[part] for part in _IN_TIME]
    parts = [part for part, share in zip(_IN_TIME, shares, strict=True) if share]
    shares = [share for share in shares if share]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(times)) + 1, [len(times)]])

    ends = ends_of(edges, apportion(len(times), shares), name)
    start = _after_gap(settings.gap, times, ends[0], table.spec(name).kind)
    if start > ends[0]:
        later = np.concatenate([[start], edges[edges > start]])
        ends[1:] = ends_of(later, apportion(len(times) - start, shares[1:]), name)
    assignment = np.full(len(times), _NONE, np.int8)
    for part, begin, end in zip(parts, [0, start, *ends[1:-1]], ends, strict=True):
        assignment[order[begin:end]] = part
    return assignment


def times_of(table: Table, settings: Split) -> tuple[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]:
    """Return the name and the values of the column that orders the rows."""
    name = dividing_column(table, settings, "temporal_column")
    spec = table.spec(name)
    if spec.kind in ("text", "boolean"):
        raise DataError(
            f"Column {name!r} is {spec.kind} and has no order in time.",
            hint="A temporal split needs times (ISO 8601 is read as such) or numbers.",
        )
    return name, values(table.arrow.column(name).chunk(0))


def ends_of(edges: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.int64]:
    """Return where each part ends: the nearest change of time that leaves no part empty."""
    if len(edges) <= len(sizes):
        raise EmptySplitError(
            f"Column {name!r} has {counted(len(edges) - 1, 'time')} for {len(sizes)} parts of the split.",
            hint="Rows of one time stay together; set shares of data.split to 0, or shorten its gap.",
        )
    wished = edges[0] + np.cumsum(sizes)
    after = np.searchsorted(edges, wished)
    before = np.maximum(after - 1, 0)
    nearest = np.where(wished - edges[before] <= edges[after] - wished, before, after)
    n_parts = len(sizes)
    for part in range(n_parts):
        lowest = nearest[part - 1] + 1 if part else 1
        highest = len(edges) - n_parts + part
        nearest[part] = np.clip(nearest[part], lowest, highest)
    ends: npt.NDArray[np.int64] = edges[nearest]
    return ends


def _after_gap(gap: str | int | None, times: npt.NDArray[np.generic], end: int, kind: str) -> int:
    """Return the first row past the embargo that follows the last row of train."""
    if gap is None or end >= len(times):
        return int(end)
    if isinstance(gap, int):
        return int(min(end + gap, len(times)))
    past = times[end - 1] + span_of(gap, kind)
    return max(int(end), int(np.searchsorted(times, past)))


def span_of(gap: str, kind: str) -> int:
    """Return a span of time in microseconds, as a column of times counts."""
    span = SPAN.fullmatch(gap)
    if span is None or kind != "timestamp":
        raise SettingsError(
            f"data.split.gap: {gap!r} is no span of time that fits the temporal column.",
            hint="Write a number of rows, or a span such as 90s, 30m, 12h, 7d or 2w for a column of times.",
        )
    return int(span[1]) * _MICROSECONDS[span[2]]


def _group(table: Table, settings: Split, labels: Classes | None, rng: np.random.Generator) -> Assignment:
    name = dividing_column(table, settings, "group_column")
    groups = classes(table.arrow.column(name))
    shares = np.asarray(_shares(settings))
    wanted = np.flatnonzero(shares).tolist()
    if len(groups) < len(wanted):
        raise EmptySplitError(
            f"Column {name!r} has {counted(len(groups), 'group')} for {len(wanted)} parts of the split.",
            hint="Rows of one group stay together; set shares of data.split to 0.",
        )
    order = rng.permutation(len(groups))
    order = order[np.argsort(-groups.counts[order], kind="stable")]
    part_of = np.empty(len(groups), np.int8)
    part_of[order] = fill(groups.counts[order].tolist(), {part: float(shares[part]) for part in wanted})
    return part_of[groups.codes]


def fill(sizes: Sequence[int], shares: dict[int, float]) -> list[int]:
    """Give each group, the largest first, to the part that it leaves the least full."""
    filled = dict.fromkeys(shares, 0)
    parts = []
    for position, size in enumerate(sizes):
        empty = [part for part, n_rows in filled.items() if not n_rows]
        candidates = empty if len(sizes) - position <= len(empty) else shares
        part = min(candidates, key=lambda part: (filled[part] + size) / shares[part])
        filled[part] += size
        parts.append(part)
    return parts


def _predefined(
    table: Table, settings: Split, labels: Classes | None, rng: np.random.Generator
) -> Assignment:
    name = dividing_column(table, settings, "split_column")
    found = classes(table.arrow.column(name))
    names = [str(found.label(code)) for code in range(len(found))]
    unknown = next((value for value in names if value not in PARTS), None)
    if unknown is not None:
        guess = did_you_mean(unknown, PARTS)
        raise DataError(
            f"Column {name!r} has the value {unknown!r}, which is no part of a split"
            f"{f' ({guess})' if guess else ''}.",
            hint=f"Its values are {', '.join(PARTS)}.",
        )
    missing = [part for part in ("train", "test") if part not in names]
    if missing:
        raise EmptySplitError(
            f"Column {name!r} marks no row as {missing[0]}.", hint="A run needs rows to train and to test on."
        )
    return np.array([PARTS.index(value) for value in names], np.int8)[found.codes]


def _held_out(table: Table, settings: Split, labels: Classes | None, rng: np.random.Generator) -> Assignment:
    """Hold out what folds are not made of, in the way that they are divided; the rest is train."""
    way = "temporal" if settings.temporal_column else "group" if settings.group_column else "random"
    shares = {"train": settings.train + settings.validation, "validation": 0.0}
    return _STRATEGIES[way](table, settings.model_copy(update={"strategy": way, **shares}), labels, rng)


_STRATEGIES: dict[str, Callable[[Table, Split, Classes | None, np.random.Generator], Assignment]] = {
    "random": _random,
    "temporal": _temporal,
    "group": _group,
    "predefined": _predefined,
    "cross_validation": _held_out,
}


def _shares(settings: Split) -> list[float]:
    return [getattr(settings, part) for part in PARTS]


def _repeat(sizes: npt.NDArray[np.int64]) -> Assignment:
    return np.repeat(np.arange(len(PARTS), dtype=np.int8), sizes)


def dividing_column(table: Table, settings: Split, key: str) -> str:
    """Return the column that divides, which is there and has no nulls."""
    name = getattr(settings, key)
    if name is None:
        raise SettingsError(
            f"data.split.strategy {settings.strategy} needs data.split.{key}.",
            hint=f"Write data.split.{key}: <column>.",
        )
    require([name], table.names, table.source)
    n_null = table.arrow.column(name).null_count
    if n_null:
        raise DataError(
            f"Column {name!r} divides the rows and is missing in {n_null} of them.",
            hint="Fill it or leave those rows out.",
        )
    return str(name)


def _require_sizes(sizes: npt.NDArray[np.int64], shares: Sequence[float], because: str) -> None:
    for part, size, share in zip(PARTS, sizes, shares, strict=True):
        if share and not size:
            raise EmptySplitError(
                f"The {part} part (share {share:g}) would have no row: {because}.",
                hint="Use more rows, a larger share, or a share of 0.",
            )


def _require_classes(assignment: Assignment, labels: Classes) -> None:
    """Refuse a part with one class only, and a class that train does not have."""
    counts = np.stack(
        [np.bincount(labels.codes[assignment == part], minlength=len(labels)) for part in range(len(PARTS))]
    )
    for part, in_part in zip(PARTS, counts, strict=True):
        if np.count_nonzero(in_part) == 1:
            label = labels.label(int(in_part.argmax()))
            raise EmptySplitError(
                f"The {part} part has only the class {label!r} ({counted(in_part.sum(), 'row')}).",
                hint="Change the shares or the strategy of data.split: two classes are needed in every part.",
            )
        unseen = np.flatnonzero((in_part > 0) & (counts[0] == 0))
        if len(unseen):
            raise EmptySplitError(
                f"Class {labels.label(int(unseen[0]))!r} is in the {part} part and not in train.",
                hint="Change the shares or the strategy of data.split, or leave the rows of that class out.",
            )


def counted(n: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
