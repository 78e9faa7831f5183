"""A scikit-learn transformer as an op: for what no other op does, at the price of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mmp.errors import ArtifactError, DataError
from mmp.modeling.columns import Column, as_float, column_of
from mmp.modeling.ops.base import Nary, Row, RowFunction, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Self

    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.modeling.ops.base import Vector

SKOPS = "transformer.skops"
"""Key of the array that holds a transformer as skops writes it."""

REFUSALS = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NotImplementedError,
)  # fmt: skip
"""What transformers raise of rows that they do not take."""


@dataclass(frozen=True, eq=False)
class Guest(Nary):
    """What a fitted transformer of scikit-learn's kind makes of columns, or of a table of one row.

    Parameters
    ----------
    type : str
        Its dotted path.
    names, kinds : tuple of str
        The columns as it knows them.
    kinds_out : tuple of {"float", "text"}
        What each target is.
    as_frame : bool
        Whether it is given a pandas DataFrame, or an array.
    transformer : object
        Fitted.
    """

    name: ClassVar[str] = "guest"
    by_text: ClassVar[bool] = False
    type: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    kinds_out: tuple[Kind, ...]
    as_frame: bool
    transformer: Any

    def apply(self, columns: dict[str, Column]) -> None:
        """Transform columns."""
        given = [columns[name] for name in self.reads]
        if len(given[0]):
            made = outputs(self._transformed(given), self.kinds_out)
        else:  # scikit-learn takes no table without rows
            made = [column_of(kind, []) for kind in self.kinds_out]
        columns.update(zip(self.targets, made, strict=True))

    def _transformed(self, given: Sequence[Column]) -> Any:
        try:
            return self.transformer.transform(table(self.names, given, as_frame=self.as_frame))
        except REFUSALS as error:
            raise DataError(
                f"The step {self.type} does not take these rows: {' '.join(str(error).split())[:300]}",
                hint="Mend the values, or put a step before it that does.",
            ) from error

    def row_function(self) -> RowFunction:
        """Transform one row."""

        def transform(row: Row) -> None:
            columns = {
                name: column_of(kind, [row[name]]) for name, kind in zip(self.reads, self.kinds, strict=True)
            }
            self.apply(columns)
            row.update({target: columns[target].to_list()[0] for target in self.targets})

        return transform

    def to_state(self) -> State:
        """Return what JSON holds, and the transformer as bytes of a skops file."""
        plain = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(self).items()
            if key != "transformer"
        }
        return {"op": self.name, **plain}, {SKOPS: np.frombuffer(_dumped(self.transformer), np.uint8)}

    @classmethod
    def from_state(
        cls, plain: Mapping[str, Any], arrays: Mapping[str, Vector], trust: Collection[str]
    ) -> Self:
        """Rebuild a guest whose types are all trusted."""
        from mmp.modeling.engines.sklearn import unskopsed

        try:
            transformer = unskopsed(arrays[SKOPS].tobytes(), trust)
        except ImportError as error:
            raise ArtifactError(
                f"The model's step {plain['type']} cannot be loaded: {error}.",
                hint=f"Install what has it, or put it on the path: {plain['type']}.",
            ) from error
        return super().from_state({**plain, "transformer": transformer}, {}, trust)


def _dumped(transformer: Any) -> bytes:
    from skops.io import dumps

    from mmp.modeling.engines.steady import steady

    return steady(dumps(transformer))


def table(names: Sequence[str], columns: Sequence[Column], *, as_frame: bool) -> Any:
    """Return columns as scikit-learn takes them: numbers as floats, text as objects, times as datetimes."""
    if not as_frame:
        return np.column_stack([as_float(column) for column in columns])
    import pandas as pd

    series = [pd.Series(values, dtype=values.dtype) for values in map(_cells, columns)]
    return pd.DataFrame(dict(zip(names, series, strict=True)))


def _cells(column: Column) -> npt.NDArray[Any]:
    if column.kind == "text":
        return np.array([*column.vocabulary, np.nan], object).take(column.values)
    if column.kind == "timestamp":
        moments: npt.NDArray[Any] = column.values.astype("M8[us]")  # noqa: PD011 - a column of ours
        return moments if column.valid is None else np.where(column.valid, moments, np.datetime64("NaT"))
    return as_float(column)


def arrays_of(result: Any) -> list[npt.NDArray[Any]]:
    """Return the columns of what a transformer made: an array, a sparse one, or a table."""
    if hasattr(result, "columns"):
        return [np.asarray(result.iloc[:, position]) for position in range(result.shape[1])]
    dense = np.asarray(result.toarray() if hasattr(result, "toarray") else result)
    return [dense] if dense.ndim == 1 else list(dense.T)


def kind_of(values: npt.NDArray[Any]) -> Kind:
    """Return what a column that a transformer made is, numbers wherever they can be read as such."""
    try:
        values.astype(np.float64)
    except (TypeError, ValueError):
        return "text"
    return "float"


def outputs(result: Any, kinds: Sequence[Kind]) -> list[Column]:
    """Return what a transformer made as columns."""
    return [
        _numbers(values) if kind == "float" else _texts(values)
        for values, kind in zip(arrays_of(result), kinds, strict=True)
    ]


def _numbers(values: npt.NDArray[Any]) -> Column:
    numbers = np.ascontiguousarray(values, np.float64)
    missing = np.isnan(numbers)
    return Column("float", np.where(missing, np.nan, numbers), ~missing if missing.any() else None)


def _texts(values: npt.NDArray[Any]) -> Column:
    # missing is None, NaN or pandas' own, none of which is equal to itself or true
    return column_of("text", [cell if isinstance(cell, str) else _text(cell) for cell in values.tolist()])


def _text(cell: object) -> str | None:
    is_missing = cell is None or cell != cell or str(cell) in {"<NA>", "NaT"}  # noqa: PLR0124 - NaN
    return None if is_missing else str(cell)
