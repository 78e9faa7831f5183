"""Ops of ordered series: what is kept of the rows before, by the entity that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mmp.modeling.columns import Column, as_float
from mmp.modeling.ops.base import Nary, Row, RowFunction, Unary

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.modeling.ops.base import Vector


@dataclass(frozen=True, eq=False)
class Same(Unary):
    """The value itself, where training rows were given another."""

    name: ClassVar[str] = "same"

    def apply(self, columns: dict[str, Column]) -> None:
        """Pass a column on."""
        columns[self.targets[0]] = columns[self.source]

    def row_function(self) -> RowFunction:
        """Pass one cell on."""
        source, target = self.source, self.targets[0]

        def keep(row: Row) -> None:
            row[target] = row[source]

        return keep


@dataclass(frozen=True, eq=False)
class Pair(Nary):
    """Give a pair of positions its own position; missing where training did not have the pair.

    Parameters
    ----------
    width : int
        Number of positions that the second variable can have.
    codes : ndarray of int64
        ``first * width + second`` of each known pair, ascending.
    """

    name: ClassVar[str] = "pair"
    width: int
    codes: npt.NDArray[np.int64]

    def apply(self, columns: dict[str, Column]) -> None:
        """Find the pairs of two columns."""
        first, second = (columns[name] for name in self.reads)
        valid = ~(first.missing() | second.missing())
        wanted = _whole(first, valid) * self.width + _whole(second, valid)
        positions = np.searchsorted(self.codes, wanted)
        if len(self.codes):
            valid &= self.codes.take(positions, mode="clip") == wanted
        else:
            valid[:] = False
        columns[self.targets[0]] = Column("integer", positions.astype(np.int64), valid)

    def row_function(self) -> RowFunction:
        """Find the pair of one row."""
        (first, second), target, width = self.reads, self.targets[0], self.width
        table = {code: position for position, code in enumerate(self.codes.tolist())}

        def find(row: Row) -> None:
            a, b = row[first], row[second]
            row[target] = None if a is None or b is None else table.get(int(a) * width + int(b))

        return find


@dataclass(frozen=True, eq=False)
class Recall(Nary):
    """Put the value that is kept for a row's series where one is missing.

    It reads the value and the position of the row's series, which is missing where the series is not
    known; the value then stays missing. Float values make every number a float.

    Parameters
    ----------
    texts : tuple of str
        Of a text column; its `values` are positions among them.
    values : ndarray of shape (n_series,)
        The value of each series.
    known : ndarray of bool, shape (n_series,)
        False where there is none.
    """

    name: ClassVar[str] = "recall"
    texts: tuple[str, ...]
    values: Vector
    known: npt.NDArray[np.bool_]

    def apply(self, columns: dict[str, Column]) -> None:
        """Recall the missing values of a column."""
        column, series = (columns[name] for name in self.reads)
        kind: Kind = "float" if self.values.dtype.kind == "f" else column.kind
        values = as_float(column) if kind == "float" else column.values
        vocabulary, valid = column.vocabulary, column.valid
        if column.has_missing():
            rows = np.flatnonzero(column.missing() & ~series.missing())
            places = series.values[rows].astype(np.intp)
            rows, places = rows[self.known[places]], places[self.known[places]]
            kept, vocabulary = self._in(column)
            values, valid = values.copy(), ~column.missing()
            values[rows], valid[rows] = kept[places], True
        columns[self.targets[0]] = Column(kind, values, valid, vocabulary)

    def _in(self, column: Column) -> tuple[Vector, tuple[str, ...]]:
        """Return the values as a column stores its own, and the vocabulary that holds them."""
        if column.kind != "text":
            return self.values, ()
        codes = {text: code for code, text in enumerate(column.vocabulary)}
        own = [codes.setdefault(text, len(codes)) for text in self.texts]
        return np.array([*own, -1], np.int32)[self.values], tuple(codes)

    def row_function(self) -> RowFunction:
        """Recall the value of one row."""
        (source, series), target = self.reads, self.targets[0]
        kept = [
            cell if known else None for cell, known in zip(self._cells(), self.known.tolist(), strict=True)
        ]
        floats = self.values.dtype.kind == "f"

        def recall(row: Row) -> None:
            cell, place = row[source], row[series]
            if cell is not None:
                row[target] = float(cell) if floats else cell
            else:
                row[target] = None if place is None else kept[int(place)]

        return recall

    def _cells(self) -> list[Any]:
        cells: list[Any] = self.values.tolist()
        return [self.texts[code] if code >= 0 else None for code in cells] if self.texts else cells


def _whole(column: Column, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.where(valid, column.values, 0).astype(np.int64)
