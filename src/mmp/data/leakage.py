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
_ROWS_PER_GROUP = 20
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
        rows = np.linspace(0, len(column) - 1, min(len(column), _SAMPLE)).astype(np.int64)
        sample = column.take(wrap(rows, pa.int64()))
        return cls(name, column, is_class, wrap(rows, pa.int64()), (_groups if is_class else values)(sample))


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
    n_classes, n_values = int(target.max()) + 1, int(feature.max()) + 1
    if len(np.unique(feature)) != len(np.unique(target)) or len(feature) < _ROWS_PER_GROUP:
        return False
    return n_classes * n_values < 10**7 and len(np.unique(feature * n_classes + target)) == len(
        np.unique(target)
    )


def _target_predictor(column: pa.Array, target: Sampled) -> str | None:
    groups = _coarse_groups(column.take(target.rows))
    if groups is None:
        return None
    explained = (_explained_classes if target.is_class else _explained_numbers)(groups, target.values)
    if explained < _NEARLY_ALL:
        return None
    return f"gives the target {target.name!r} almost alone ({explained:.1%} of it); is it known in time?"


def _explained_classes(groups: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> float:
    """Return the share of the errors of the commonest class that a feature's groups avoid."""
    n_classes = int(target.max()) + 1
    counts = np.bincount(groups * n_classes + target, minlength=(int(groups.max()) + 1) * n_classes)
    n_right = counts.reshape(-1, n_classes).max(axis=1).sum()
    n_common = np.bincount(target).max()
    return float((n_right - n_common) / max(len(target) - n_common, 1))


def _explained_numbers(groups: npt.NDArray[np.int64], target: npt.NDArray[np.float64]) -> float:
    """Return the share of the variance that the means of a feature's groups explain."""
    centred = target - target.mean()
    sums = np.bincount(groups, weights=centred)
    sizes = np.maximum(np.bincount(groups), 1)
    total = float(centred @ centred)
    return float((sums**2 / sizes).sum()) / total if total else 0.0


def _groups(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return a code for each distinct value, 0 for null."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes, present = values(encoded).astype(np.int64) + 1, valid(encoded)
    return codes if present is None else np.where(present, codes, 0)


def _coarse_groups(column: pa.Array) -> npt.NDArray[np.int64] | None:
    """Return groups of rows large enough to judge by, numbers and times by quantiles."""
    n_groups = len(column) // _ROWS_PER_GROUP
    if n_groups < 5:
        return None
    groups = np.unique(_groups(column), return_inverse=True)[1]
    if groups.max() < n_groups:
        return groups
    if pa.types.is_dictionary(column.type):
        return None
    numbers, present = values(column), valid(column)
    edges = np.quantile(numbers if present is None else numbers[present], np.linspace(0, 1, n_groups)[1:-1])
    binned = np.searchsorted(edges, numbers, side="right") + 1
    return binned if present is None else np.where(present, binned, 0)


AGAINST_TARGET: dict[str, Callable[[pa.Array, Sampled], str | None]] = {
    "target_copy": _target_copy,
    "target_recoded": _target_recoded,
    "target_predictor": _target_predictor,
}
