"""Features that give the target away: copies, recodings, and predictors too good to be true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmp.data.buffers import valid, values, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from mmp.data.table import Table

_SAMPLE = 20_000
_FEWEST_ROWS = 20
_NEARLY_ALL = 0.99


@dataclass(frozen=True)
class Sampled:
    """The target, whole and on a sample of rows spread over the table.

    Parameters
    ----------
    name : str
        Name of the column.
    column : pyarrow.Array
        All of its values, without nulls.
    is_class : bool
        Whether it names classes, or is a quantity.
    rows : pyarrow.Int64Array
        The rows of the sample.
    values : ndarray
        The target on the sample: a code for each class, or the quantity.
    """

    name: str
    column: pa.Array
    is_class: bool
    rows: pa.Array
    values: npt.NDArray[Any]

    @classmethod
    def of(cls, table: Table, name: str, task: str) -> Sampled:
        """Return a target without nulls, for a task."""
        column, is_class = table.arrow.column(name).chunk(0), task == "classification"
        spread = np.linspace(0, len(column) - 1, min(len(column), _SAMPLE)).astype(np.int64)
        # shuffled, so that a table sorted by its target does not look predicted by equal values
        rows = wrap(np.random.default_rng(0).permutation(spread), pa.int64())
        return cls(name, column, is_class, rows, (_groups if is_class else values)(column.take(rows)))


def _target_copy(column: pa.Array, target: Sampled) -> str | None:
    if column.null_count or not _equal(column.take(target.rows), target.column.take(target.rows)):
        return None
    return f"equals the target {target.name!r} in every row" if _equal(column, target.column) else None


def _equal(one: pa.Array, other: pa.Array) -> bool:
    if pa.types.is_dictionary(one.type) != pa.types.is_dictionary(other.type):
        return False
    if pa.types.is_dictionary(one.type):
        return bool(one.cast(pa.string()).equals(other.cast(pa.string())))
    return bool((values(one) == values(other)).all())


def _target_recoded(column: pa.Array, target: Sampled) -> str | None:
    if not target.is_class or not _is_recoding(_groups(column.take(target.rows)), target.values):
        return None
    if not _is_recoding(_groups(column), _groups(target.column)):
        return None
    return f"is the target {target.name!r} by other names: each of its values goes with one class"


def _is_recoding(feature: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> bool:
    """Tell whether each value goes with one class, and each class with one value."""
    n_values = _n_distinct(feature)
    if len(feature) < _FEWEST_ROWS or n_values != _n_distinct(target):
        return False
    return len(np.unique(feature * (int(target.max()) + 1) + target)) == n_values


def _n_distinct(codes: npt.NDArray[np.int64]) -> int:
    return int(np.count_nonzero(np.bincount(codes)))


def _target_predictor(column: pa.Array, target: Sampled) -> str | None:
    if len(target.values) < _FEWEST_ROWS:
        return None
    explained = (_explained_classes if target.is_class else _explained_numbers)(
        target.values[_sorted_rows(column.take(target.rows))]
    )
    if explained < _NEARLY_ALL:
        return None
    return f"gives {explained:.1%} of the target {target.name!r} alone, as what is known only later does"


def _sorted_rows(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return the rows in the order of a feature, which puts rows of like values side by side."""
    present = valid(column)
    keys = values(column) if present is None else np.where(present, values(column), 0)
    return np.lexsort((keys,) if present is None else (keys, present))


def _explained_classes(neighbours: npt.NDArray[np.int64]) -> float:
    """Return how much rarer the class changes between neighbours than between rows at random."""
    shares = np.bincount(neighbours) / len(neighbours)
    by_chance = (len(neighbours) - 1) * (1 - float(shares @ shares))
    needed = int(np.count_nonzero(shares)) - 1
    n_changes = max(int(np.count_nonzero(np.diff(neighbours))) - needed, 0)
    return 1 - n_changes / by_chance if by_chance else 0.0


def _explained_numbers(neighbours: npt.NDArray[np.float64]) -> float:
    """Return how much nearer a quantity is between neighbours than between rows at random.

    This is the von Neumann ratio, taken from one.
    """
    by_chance = 2 * (len(neighbours) - 1) * float(np.var(neighbours))
    return (
        1 - float(np.square(np.diff(neighbours.astype(np.float64))).sum()) / by_chance if by_chance else 0.0
    )


def _groups(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return a code for each distinct value, 0 for null."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes, present = values(encoded).astype(np.int64) + 1, valid(encoded)
    return codes if present is None else np.where(present, codes, 0)


AGAINST_TARGET: dict[str, Callable[[pa.Array, Sampled], str | None]] = {
    "target_copy": _target_copy,
    "target_recoded": _target_recoded,
    "target_predictor": _target_predictor,
}
