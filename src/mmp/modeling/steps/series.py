"""Filling missing values from the rows before and after, in ordered series.

A series is the training rows of one entity in the order of their times; rows of the same time stay in
the order of the table. A row without a key is of no series and is left as it is. What remains for every
other row is the value that each series ended with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from mmp.errors import DataError, Finding, MissingExtraError, SettingsError
from mmp.lookup import install_line
from mmp.modeling.columns import Column, as_float
from mmp.modeling.ops import Fill, Pair, Recall, Same
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds
from mmp.modeling.steps.encode import Categories

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from mmp.modeling.ops import Op
    from mmp.modeling.training import Series, Training

    Places = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_NOWHERE: Final = -1


class _Limited(StepSettings, Protocol):
    @property
    def limit(self) -> int | None: ...


class _Interpolation(_Limited, Protocol):
    @property
    def method(self) -> str: ...

    @property
    def order(self) -> int: ...


def forward_fill(step: _Limited, names: Sequence[str], training: Training) -> Fitted:
    """Fill with the last value before, as pandas' grouped `ffill` does.

    Every other row gets the value that its series ended with.
    """
    ordered = _Ordered.of(step, training)
    filled = {}
    for name in names:
        column, gaps = training[name], ordered.gaps(training[name])
        filled[name] = column.take(ordered.moved(gaps.missing & gaps.reach_back(step.limit), gaps.before))
    kept = {name: training[name].take(ordered.last(training[name], step.limit)) for name in names}
    return ordered.fitted(filled, kept)


def backward_fill(step: _Limited, names: Sequence[str], training: Training) -> Fitted:
    """Fill with the next value after, as pandas' grouped `bfill` does; other rows have none after them."""
    ordered = _Ordered.of(step, training)
    filled, findings = {}, []
    for name in names:
        column, gaps = training[name], ordered.gaps(training[name])
        filled[name] = column.take(ordered.moved(gaps.missing & gaps.reach_on(step.limit), gaps.after))
        if column.has_missing():
            message = (
                f"{name!r} is filled backward on the training rows only: at prediction no later value is "
                "known, and a missing one stays missing"
            )
            findings.append(Finding(step.type, "warn", message, name))
    ops = tuple(Same(name, (name,)) for name in names)
    return Fitted(ops, out_of_fold=filled, findings=tuple(findings))


def interpolation(step: _Interpolation, names: Sequence[str], training: Training) -> Fitted:
    """Fill between two known values by their times, as pandas' `interpolate` does on an index of times.

    After the last known value, and for every other row, that value is held. A spline goes through the
    known values, as a polynomial does: pandas smooths it by a strength that depends on the unit.
    """
    if step.columns is None:
        names = [name for name in names if training.kind(name) in NUMBERS]
    require_kinds(step, names, training, NUMBERS)
    ordered = _Ordered.of(step, training)
    filled, kept = {}, {}
    for name in names:
        column = training[name]
        numbers = Column("float", as_float(column), column.valid)
        filled[name] = _interpolated(step, numbers, ordered)
        kept[name] = numbers.take(ordered.last(numbers, step.limit))
    return ordered.fitted(filled, kept)


def _interpolated(step: _Interpolation, column: Column, ordered: _Ordered) -> Column:
    gaps, in_order = ordered.gaps(column), column.values[ordered.rows]
    fill = gaps.missing & gaps.reach_back(step.limit)
    between = np.flatnonzero(fill & (gaps.after != _NOWHERE))
    made = in_order[gaps.before]  # held, where nothing is known after
    if len(between):
        made[between] = _METHODS[step.method](step, ordered, gaps, in_order, between)
    values = column.values.copy()
    values[ordered.rows[fill]] = made[fill]
    return Column("float", values, ~np.isnan(values))


def _linear(_: _Interpolation, ordered: _Ordered, gaps: _Gaps, values: Floats, between: Places) -> Floats:
    before, after = gaps.before[between], gaps.after[between]
    span = ordered.times[after] - ordered.times[before]
    share = (ordered.times[between] - ordered.times[before]) / np.where(span > 0, span, 1)
    return np.asarray(values[before] * (1 - share) + values[after] * share)


def _zero(_: _Interpolation, __: _Ordered, gaps: _Gaps, values: Floats, between: Places) -> Floats:
    return values[gaps.before[between]]


def _nearest(_: _Interpolation, ordered: _Ordered, gaps: _Gaps, values: Floats, between: Places) -> Floats:
    before, after, times = gaps.before[between], gaps.after[between], ordered.times
    is_first_nearer = times[between] - times[before] <= times[after] - times[between]
    return np.where(is_first_nearer, values[before], values[after])


def _curve(step: _Interpolation, ordered: _Ordered, gaps: _Gaps, values: Floats, between: Places) -> Floats:
    """Lay a spline through each series that has gaps; of a lower degree where it has too few values."""
    make_interp_spline, made = _scipy(step), np.empty(len(between))
    first = ordered.first[between]
    edges = np.flatnonzero(np.diff(first, prepend=_NOWHERE, append=_NOWHERE))
    for start, end in pairwise(edges):
        series = slice(first[start], ordered.end[between[start]])
        known = np.flatnonzero(~gaps.missing[series]) + series.start
        known = known[np.append(np.diff(ordered.times[known]) > 0, True)]  # the last one of each time
        origin, scale = ordered.times[known[0]], np.ptp(ordered.times[known]) or 1.0
        places = (ordered.times[known] - origin) / scale
        wanted = (ordered.times[between[start:end]] - origin) / scale
        made[start:end] = make_interp_spline(places, values[known], k=min(step.order, len(known) - 1))(wanted)
    return made


def _scipy(step: _Interpolation) -> Callable[..., Any]:
    try:
        from scipy.interpolate import make_interp_spline
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The step {step.type} needs the package 'scipy' for {step.method}, which is not installed.",
            hint=install_line("scipy"),
        ) from error
    found: Callable[..., Any] = make_interp_spline
    return found


_METHODS: Final = {
    "linear": _linear, "zero": _zero, "nearest": _nearest, "polynomial": _curve, "spline": _curve,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Gaps:
    """Where the known values next to each row of a series are; -1 where there is none.

    All of it counts rows in the order of `_Ordered`.
    """

    missing: npt.NDArray[np.bool_]
    before: Places
    after: Places

    def reach_back(self, limit: int | None) -> npt.NDArray[np.bool_]:
        """Tell where a value before is near enough."""
        distance = np.arange(len(self.before)) - self.before
        return np.asarray((self.before != _NOWHERE) & (limit is None or distance <= limit))

    def reach_on(self, limit: int | None) -> npt.NDArray[np.bool_]:
        """Tell where a value after is near enough."""
        distance = self.after - np.arange(len(self.after))
        return np.asarray((self.after != _NOWHERE) & (limit is None or distance <= limit))


@dataclass(frozen=True, eq=False)
class _Ordered:
    """The training rows, series by series, each in the order of time.

    Parameters
    ----------
    n_rows : int
        Of the training rows.
    rows : ndarray of int64
        Positions of those that are of a series, in order.
    times : ndarray of float64
        When they happened.
    first, end : ndarray of int64
        For each of them where its series begins, and where the next one does.
    keys : tuple of Op
        What finds the series of a row, into the last one's target; none where all rows are one series.
    """

    n_rows: int
    rows: Places
    times: Floats
    first: Places
    end: Places
    keys: tuple[Op, ...]

    @classmethod
    def of(cls, step: StepSettings, training: Training) -> _Ordered:
        series = training.series
        if series is None:
            raise SettingsError(
                f"The step {step.type} is for ordered series.",
                hint="Write data.data_interface.timestamp_column and data.split.strategy: temporal.",
            )
        times = _times(step, series, training)
        keys, numbers = _numbered(series, training)
        order = np.lexsort((times, numbers))
        order = order[np.searchsorted(numbers[order], 0) :]
        numbers = numbers[order]
        first = np.searchsorted(numbers, numbers)
        end = np.searchsorted(numbers, numbers, side="right")
        return cls(len(times), order, times[order].astype(np.float64), first, end, tuple(keys))

    @cached_property
    def _ends(self) -> Places:
        return np.asarray(np.unique(self.end) - 1)

    def gaps(self, column: Column) -> _Gaps:
        """Find what is known next to each row."""
        missing = column.missing()[self.rows]
        places = np.arange(len(missing))
        before = np.maximum.accumulate(np.where(missing, _NOWHERE, places))
        after = np.minimum.accumulate(np.where(missing, len(missing), places)[::-1])[::-1]
        return _Gaps(
            missing,
            np.where(before >= self.first, before, _NOWHERE),
            np.where(after < self.end, after, _NOWHERE),
        )

    def moved(self, fill: npt.NDArray[np.bool_], places: Places) -> Places:
        """Return which row each training row takes its value from."""
        sources = np.arange(self.n_rows)
        sources[self.rows[fill]] = self.rows[places[fill]]
        return sources

    def last(self, column: Column, limit: int | None) -> Places:
        """Return the row that each series' next one would be filled from: a missing one where none would."""
        before, ends = self.gaps(column).before[self._ends], self._ends
        is_near = (before != _NOWHERE) & (limit is None or ends + 1 - before <= limit)
        return self.rows[np.where(is_near, before, ends)]

    def fitted(self, filled: dict[str, Column], kept: dict[str, Column]) -> Fitted:
        """Return what training rows become, and the ops for all others."""
        if not self.keys:
            return Fitted(tuple(_fill(name, kept[name]) for name in filled), out_of_fold=filled)
        helpers = tuple(target for op in self.keys for target in op.targets)
        ops = (_recall(name, helpers[-1], kept[name]) for name in filled)
        return Fitted((*self.keys, *ops), dropped=helpers, out_of_fold=filled)


def _times(step: StepSettings, series: Series, training: Training) -> npt.NDArray[Any]:
    name, column = series.time.name, training.leaves[series.time.name]
    if column.kind in {"text", "boolean"}:
        raise DataError(
            f"The step {step.type} orders rows by '{name}', which is {column.kind} and has no order in time.",
            hint="Name a column of times (ISO 8601 is read as such) or numbers as timestamp_column.",
        )
    if column.has_missing():
        raise DataError(
            f"The step {step.type} orders rows by '{name}', which is missing in "
            f"{int(column.missing().sum()):,} training rows.",
            hint="Leave those rows out of the source, or mend them.",
        )
    return column.values


def _numbered(series: Series, training: Training) -> tuple[list[Op], Places]:
    """Return what finds the series of any row, and the number of each training row's; -1 for none."""
    ops: list[Op] = []
    numbers = np.zeros(len(training.target), np.int64)
    for position, spec in enumerate(series.keys):
        categories = Categories.of(training.leaves[spec.name])
        target = training.new_name(f"series of {spec.name}")
        known = np.arange(categories.n_known, dtype=np.float64)
        ops.append(categories.lookup(spec.name, (target,), known, np.nan, np.nan))
        codes = np.where(categories.codes < categories.n_known, categories.codes, _NOWHERE)
        if position:
            pair = training.new_name(f"{ops[-2].targets[0]} and {spec.name}")
            codes = np.where((numbers >= 0) & (codes >= 0), numbers * categories.n_known + codes, _NOWHERE)
            pairs = np.unique(codes[codes >= 0])
            ops.append(Pair((ops[-2].targets[0], target), (pair,), categories.n_known, pairs))
            codes = np.where(codes >= 0, np.searchsorted(pairs, codes), _NOWHERE)
        numbers = codes.astype(np.int64)
    return ops, numbers


def _fill(name: str, kept: Column) -> Op:
    """Return the op of a table that is one series."""
    (cell,) = kept.to_list() or [None]
    return Same(name, (name,)) if cell is None else Fill(name, (name,), cell)


def _recall(name: str, series: str, kept: Column) -> Op:
    known = ~kept.missing()
    if kept.kind != "text":
        values = np.where(known, kept.values, np.zeros(1, kept.values.dtype))
        return Recall((name, series), (name,), (), values, known)
    categories = Categories.of(kept)
    codes = np.where(known, categories.codes, _NOWHERE).astype(np.int32)
    return Recall((name, series), (name,), categories.texts, codes, known)
