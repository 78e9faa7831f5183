"""Where a model does worse than elsewhere: its loss on the rows of one value, or of two at once.

Many slices are looked at, and the worst of many is bad by luck alone. So one is told only where the lower
end of its interval is above the loss of all rows, and the interval is so wide that of *all* slices that
might have been looked at none is told by luck, in 95 of 100 tables (Bonferroni; losses are skewed to the
right, which makes it rarer still). Two columns at once are told where that is worse than either by itself.

References
----------
Chung, Y. et al. (2019). Slice Finder: automated data slicing for model validation. ICDE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.modeling.columns import as_float

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from mmp.modeling.columns import Column

    Floats = npt.NDArray[np.float64]
    Groups = npt.NDArray[np.int64]

MISSING: Final = "(missing)"
MOST_VALUES: Final = 20
"""Values of a column that are slices of their own: the most frequent ones."""

FEWEST_ROWS: Final = 50
"""Rows that a slice needs to be told unasked; it also needs one in a hundred."""

_SMALLEST_SHARE = 0.01
_WITHIN: Final = 6  # integers that lie as close together are slices, others are divided at the quartiles
_QUARTILES: Final = (0.25, 0.5, 0.75)
_FEWEST_GROUPS: Final = 10
_PAIRED: Final = 5  # columns whose values are looked at two at a time: those that say most by themselves
_MOST_TOLD: Final = 3
_CHANCE: Final = 0.05
_Z: Final = 1.959964  # of the normal distribution, 97.5 %


@dataclass(frozen=True, eq=False)
class Cut:
    """Rows divided by the values of a column.

    Parameters
    ----------
    column : str
        Its name.
    labels : tuple of str
        The slices.
    codes : ndarray of int32, shape (n_rows,)
        The slice of each row; that of a rare value is no slice but one behind all of them.
    n_rare : int
        Values that are no slices.
    """

    column: str
    labels: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    n_rare: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows that have one value in a column, or two in two.

    Parameters
    ----------
    values : tuple of (str, str)
        Columns and the values that they have.
    n_rows : int
        How many there are.
    loss, low, high : float
        The mean loss, and the ends of its interval, corrected for the number of slices looked at.
    """

    values: tuple[tuple[str, str], ...]
    n_rows: int
    loss: float
    low: float
    high: float

    @property
    def name(self) -> str:
        """The slice in words."""
        return " and ".join(f"{column} = {label}" for column, label in self.values)


@dataclass(frozen=True)
class Search:
    """What a search for bad slices found.

    Parameters
    ----------
    loss : float
        The mean loss of all rows.
    n_rows, n_slices : int
        The rows, and how many slices of them might have been looked at.
    worst : tuple of Slice
        Those that are worse beyond luck, the worst first.
    """

    loss: float
    n_rows: int
    n_slices: int
    worst: tuple[Slice, ...]


def cut(name: str, column: Column) -> Cut:
    """Divide rows by a column: by its values, numbers and times at their quartiles; null is a value.

    Examples
    --------
    >>> from mmp.modeling.columns import Column
    >>> found = cut("age", Column("float", np.array([20.0, 35.0, 50.0, 65.0, np.nan])))
    >>> found.labels, found.codes.tolist()
    (('up to 20', '20 to 35', '35 to 50', 'above 50', '(missing)'), [0, 1, 2, 3, 4])
    """
    if column.kind == "text":
        return _by_word(name, column)
    if column.kind == "boolean":
        return _with_missing(name, ("false", "true"), column.values.astype(np.int32), column.missing())
    numbers = as_float(column)
    missing = np.isnan(numbers)
    known = numbers[~missing]
    if not len(known):
        return Cut(name, (MISSING,), np.zeros(len(numbers), np.int32))
    low, high = known.min(), known.max()
    if column.kind == "integer" and high - low < _WITHIN:
        labels = tuple(str(value) for value in range(int(low), int(high) + 1))
        return _with_missing(name, labels, np.where(missing, 0, numbers - low).astype(np.int32), missing)
    edges = np.unique(np.quantile(known, _QUARTILES, method="inverted_cdf"))
    codes = np.searchsorted(edges, numbers).astype(np.int32)
    return _with_missing(name, _ranges(edges, column.kind), codes, missing)


def search(cuts: Sequence[Cut], losses: Floats, groups: Groups | None = None) -> Search:
    """Look for slices on which the loss is higher than on all rows.

    Parameters
    ----------
    cuts : sequence of Cut
        The columns to look at.
    losses : ndarray of shape (n_rows,)
        Each row's loss; less is better.
    groups : ndarray of int64, shape (n_rows,), optional
        The group of each row, where those of a group are alike.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = rng.integers(0, 2, 2000).astype(np.int32)
    >>> found = search([Cut("region", ("north", "south"), codes)], rng.random(2000) + codes)
    >>> [slice.name for slice in found.worst]
    ['region = south']
    """
    n_slices = sum(len(one.labels) for one in cuts)
    n_slices += sum(len(one.labels) * len(other.labels) for one, other in combinations(cuts, 2))
    overall, n_rows = float(losses.mean()), len(losses)
    if n_rows < 2 * FEWEST_ROWS or not n_slices:
        return Search(overall, n_rows, n_slices, ())
    reach = _reach(_CHANCE / n_slices)
    fewest = max(FEWEST_ROWS, _SMALLEST_SHARE * n_rows)
    rows = _Rows(losses, groups, fewest)
    measured = [rows.measured(one.codes, len(one.labels)) for one in cuts]
    found = [
        _slice(((one.column, one.labels[place]),), those, place, reach)
        for one, those in zip(cuts, measured, strict=True)
        for place in np.flatnonzero(those.excess(overall) > reach).tolist()
    ]
    order = np.argsort([-those.excess(overall).max(initial=-np.inf) for those in measured], kind="stable")
    strongest = sorted(order[:_PAIRED].tolist())
    for one, other in combinations(strongest, 2):
        found += _pairs((cuts[one], cuts[other]), (measured[one], measured[other]), rows, reach)
    worst = sorted((slice_ for slice_ in found if slice_.low > overall), key=lambda slice_: -slice_.low)
    return Search(overall, n_rows, n_slices, tuple(worst[:_MOST_TOLD]))


def each(one: Cut, losses: Floats, groups: Groups | None = None) -> tuple[Slice, ...]:
    """Return every slice of a cut that has rows, however few, with its own 95 % interval.

    Examples
    --------
    >>> codes = np.array([0, 0, 0, 1], np.int32)
    >>> [(one.name, one.n_rows) for one in each(Cut("a", ("x", "y"), codes), np.arange(4.0))]
    [('a = x', 3), ('a = y', 1)]
    """
    those = _Rows(losses, groups, fewest=1).measured(one.codes, len(one.labels))
    there = np.flatnonzero(those.n_rows).tolist()
    return tuple(_slice(((one.column, one.labels[place]),), those, place, _Z) for place in there)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Rows, mean loss and its standard error of each slice of a cut; NaN where there are too few rows.

    The error is that of losses which vary no less than all do: few rows may have missed the rare ones.
    """

    n_rows: npt.NDArray[np.int64]
    loss: Floats
    error: Floats

    def excess(self, overall: float) -> Floats:
        """Return by how many standard errors each slice is worse; below all where nothing can be said."""
        known = self.error > 0
        apart = np.full(len(self.loss), -np.inf)
        return np.asarray(np.divide(self.loss - overall, self.error, out=apart, where=known))


@dataclass(frozen=True, eq=False)
class _Rows:
    """The losses of all rows, the groups they come in, and how few rows are too few."""

    losses: Floats
    groups: Groups | None
    fewest: float

    def measured(self, codes: npt.NDArray[Any], n_slices: int) -> _Measured:
        """Measure slices; rows of a code behind them are of none."""
        middle = self.losses.mean()
        apart = self.losses - middle
        counts = np.bincount(codes, minlength=n_slices)[:n_slices]
        size = np.where(counts >= self.fewest, counts, np.nan)
        means = np.bincount(codes, apart, minlength=n_slices)[:n_slices] / size
        if self.groups is None:
            squares = np.bincount(codes, apart * apart, minlength=n_slices)[:n_slices]
            variance = np.maximum(squares - size * means * means, 0) / np.maximum(size - 1, 1)
            return _Measured(counts, middle + means, np.sqrt(np.maximum(variance, apart.var()) / size))
        variance = self._of_groups(codes, apart, means, n_slices) / size
        least = np.square(np.bincount(self.groups, apart)).sum() / len(apart)
        return _Measured(counts, middle + means, np.sqrt(np.maximum(variance, least) / size))

    def _of_groups(self, codes: npt.NDArray[Any], apart: Floats, means: Floats, n_slices: int) -> Floats:
        """Return the sum of squares of what each group is apart from its slice; NaN where there are few."""
        assert self.groups is not None
        n_groups = int(self.groups.max()) + 1
        cells, place = np.unique(codes.astype(np.int64) * n_groups + self.groups, return_inverse=True)
        of_cells, n_rows = np.bincount(place, apart), np.bincount(place)
        slice_of = cells // n_groups
        known = slice_of < n_slices
        of_cells, n_rows, slice_of = of_cells[known], n_rows[known], slice_of[known]
        squares = np.bincount(slice_of, np.square(of_cells - means[slice_of] * n_rows), minlength=n_slices)
        enough = np.bincount(slice_of, minlength=n_slices) >= min(self.fewest, _FEWEST_GROUPS)
        return np.where(enough, squares, np.nan)


def _pairs(
    cuts: tuple[Cut, Cut], alone: tuple[_Measured, _Measured], rows: _Rows, reach: float
) -> Iterator[Slice]:
    """Yield slices of two columns that are worse than each of the two by itself."""
    one, other = cuts
    width = len(other.labels) + 1
    both = one.codes * np.int32(width) + other.codes
    those = rows.measured(both, len(one.labels) * width)
    for place in np.flatnonzero(those.error > 0).tolist():
        left, right = divmod(place, width)
        if right < len(other.labels):
            values = (one.column, one.labels[left]), (other.column, other.labels[right])
            found = _slice(values, those, place, reach)
            if found.low > max(alone[0].loss[left], alone[1].loss[right]):
                yield found


def _reach(chance: float) -> float:
    """Return how many standard errors a normal value is above its mean with a chance.

    Examples
    --------
    >>> round(_reach(0.025), 6)
    1.959964
    """
    # the standard library's own takes longer to import than all slices take
    low, high = 0.0, 40.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(middle / math.sqrt(2)) / 2 > chance else (low, middle)
    return high


def _slice(values: tuple[tuple[str, str], ...], those: _Measured, place: int, reach: float) -> Slice:
    loss, far = float(those.loss[place]), reach * float(those.error[place])
    return Slice(values, int(those.n_rows[place]), loss, loss - far, loss + far)


def _by_word(name: str, column: Column) -> Cut:
    # a missing value is -1 among the codes
    counts = np.bincount(column.values + 1, minlength=len(column.vocabulary) + 1)
    occurring = np.flatnonzero(counts)
    shown = occurring[np.argsort(-counts[occurring], kind="stable")][:MOST_VALUES]
    place = np.full(len(counts), len(shown), np.int32)
    place[shown] = np.arange(len(shown))
    none = MISSING if MISSING not in column.vocabulary else f"({MISSING})"
    labels = tuple(none if code == 0 else column.vocabulary[code - 1] for code in shown.tolist())
    return Cut(name, labels, place[column.values + 1], len(occurring) - len(shown))


def _with_missing(
    name: str,
    labels: tuple[str, ...],
    codes: npt.NDArray[np.int32],
    missing: npt.NDArray[np.bool_],
) -> Cut:
    if not missing.any():
        return Cut(name, labels, codes)
    return Cut(name, (*labels, MISSING), np.where(missing, np.int32(len(labels)), codes))


def _ranges(edges: Floats, kind: str) -> tuple[str, ...]:
    ways = _moments(edges) if kind == "timestamp" else _numbers(edges)
    ends = next(ends for ends in ways if len(set(ends)) == len(ends))
    between = (f"{low} to {high}" for low, high in pairwise(ends))
    return (f"up to {ends[0]}", *between, f"above {ends[-1]}")


def _numbers(edges: Floats) -> Iterator[list[str]]:
    """Yield numbers as text, in more and more digits, the last of which tell any two apart."""
    for digits in (4, 9, 17):
        yield [
            f"{edge:.{digits}g}" if abs(edge) < 1e4 else f"{edge:,.{digits - 4}f}" for edge in edges.tolist()
        ]


def _moments(edges: Floats) -> Iterator[list[str]]:
    """Yield times as text: days, seconds, microseconds."""
    moments = edges.astype(np.int64).astype("M8[us]")
    for unit in ("D", "s", "us"):
        yield np.datetime_as_string(moments, unit=unit).tolist()
