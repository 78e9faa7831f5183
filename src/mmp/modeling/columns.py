"""Typed columns: what steps and ops work on, without pandas and without object arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from mmp.data.table import Kind

    Columns = Mapping[str, "Column"]

Value = float | int | bool | str | None
"""One coerced cell: int, float, bool, text, int microseconds UTC for a timestamp, None where missing."""


@dataclass(frozen=True, slots=True)
class Column:
    """One typed column.

    Parameters
    ----------
    kind : {"integer", "float", "boolean", "text", "timestamp"}
        What the values are.
    values : ndarray of shape (n_rows,)
        int64 for integers, float64 for floats, bool for booleans, int32 codes into
        `vocabulary` for text (-1 where missing), int64 microseconds since the epoch in UTC
        for timestamps. What stands at a missing position is unspecified, but for text (-1)
        and floats (NaN).
    valid : ndarray of bool, shape (n_rows,), or None
        False where the value is missing; None where nothing is.
    vocabulary : tuple of str
        The distinct texts, for text only; may hold texts that no row has.
    """

    kind: Kind
    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_] | None = None
    vocabulary: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)
