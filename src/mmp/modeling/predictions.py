"""The one table of predictions, in every form that a surface wants it in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmp.data import buffers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    import numpy.typing as npt
    import pandas as pd

    Values: TypeAlias = npt.NDArray[Any] | list[Any] | pa.ListArray


@dataclass(frozen=True)
class Predictions:
    """What a model says of some rows; the same for pyfunc, HTTP, files and SQL.

    Parameters
    ----------
    keys : mapping of str to list or pyarrow array
        Entity keys, as they came.
    values : mapping of str to ndarray, list or pyarrow.ListArray, each of length n_rows
        ``prediction``, ``probability`` (binary), ``probability_<class>`` (classification),
        ``prediction_set`` (lists of classes), what else a model of numbers says.
    """

    keys: Mapping[str, Any]
    values: Mapping[str, Values]

    def __len__(self) -> int:
        return len(self.values["prediction"])

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order: keys first."""
        return (*self.keys, *self.values)

    def records(self) -> list[dict[str, Any]]:
        """Return one JSON-able object a row."""
        keys = [[_jsonable(value) for value in as_list(column)] for column in self.keys.values()]
        rows = zip(*keys, *map(as_list, self.values.values()), strict=True)
        return [dict(zip(self.names, row, strict=True)) for row in rows]

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table; keys that came in one keep their type."""
        arrays = [_as_arrow(column) for column in (*self.keys.values(), *self.values.values())]
        return pa.Table.from_arrays(arrays, names=list(self.names))

    def to_pandas(self, index: Any = None) -> pd.DataFrame:
        """Return a data frame, on `index` where one is given."""
        import pandas as pd

        data = {name: _as_series(column) for name, column in {**self.keys, **self.values}.items()}
        frame = pd.DataFrame(data, columns=list(self.names))
        return frame if index is None else frame.set_axis(index, axis=0)


def _as_series(column: Any) -> Any:
    if isinstance(column, pa.ListArray):
        return column.to_pylist()  # lists, where pandas would get arrays
    return column.to_pandas(integer_object_nulls=True) if isinstance(column, pa.ChunkedArray) else column


def as_list(column: Any) -> list[Any]:
    """Return the cells of a column in Python's own types."""
    if isinstance(column, pa.ChunkedArray | pa.ListArray):
        return list(column.to_pylist())
    return list(column.tolist()) if isinstance(column, np.ndarray) else list(column)


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else str(value)


def _as_arrow(column: Any) -> Any:
    """Make an Arrow array of any column; `pyarrow.array` would import pandas for what it can do without."""
    if isinstance(column, pa.ChunkedArray | pa.ListArray):
        return column
    if isinstance(column, np.ndarray):
        return buffers.plain(column)
    if all(isinstance(value, str) for value in column):
        return buffers.strings(column)
    return pa.array(column)
