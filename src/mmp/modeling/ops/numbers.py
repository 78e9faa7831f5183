"""Ops on single values and on numbers."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mmp.modeling.columns import Column, as_float
from mmp.modeling.ops.base import Nary, Row, RowFunction, Unary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.data.table import Kind

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Fill(Unary):
    """Put a value where one is missing.

    Numbers stay integers or booleans where the value is one; else they become floats.
    """

    name: ClassVar[str] = "fill"
    value: float | int | bool | str

    def apply(self, columns: dict[str, Column]) -> None:
        """Fill, without copying where nothing is missing."""
        column = columns[self.source]
        kind: Kind = column.kind if _fits(self.value, column.kind) else "float"
        if kind == "text":
            columns[self.targets[0]] = self._filled_text(column)
        elif kind == column.kind and not column.has_missing():
            columns[self.targets[0]] = Column(kind, column.values)
        else:
            values = as_float(column) if kind == "float" else column.values
            if column.has_missing():
                values = np.where(column.missing(), values.dtype.type(self.value), values)
            columns[self.targets[0]] = Column(kind, values)

    def _filled_text(self, column: Column) -> Column:
        text = str(self.value)
        vocabulary = column.vocabulary if text in column.vocabulary else (*column.vocabulary, text)
        codes = np.where(column.values < 0, np.int32(vocabulary.index(text)), column.values)
        return Column("text", codes, None, vocabulary)

    def row_function(self) -> RowFunction:
        """Fill one row."""
        source, target, value = self.source, self.targets[0], self.value

        def fill(row: Row) -> None:
            cell = row[source]
            row[target] = value if cell is None else cell

        return fill


def fill_row(fills: Sequence[Fill]) -> RowFunction:
    """Return what several fills in a row do to one row."""
    parts = [(op.source, op.targets[0], op.value) for op in fills]

    def fill(row: Row) -> None:
        for source, target, value in parts:
            cell = row[source]
            row[target] = value if cell is None else cell

    return fill


def _fits(value: object, kind: Kind) -> bool:
    match kind:
        case "text":
            return True
        case "boolean":
            return isinstance(value, bool)
        case "integer" | "timestamp":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            return False


@dataclass(frozen=True, eq=False)
class Indicator(Unary):
    """Tell where a value is missing."""

    name: ClassVar[str] = "indicator"

    def apply(self, columns: dict[str, Column]) -> None:
        """Mark the missing rows."""
        columns[self.targets[0]] = Column("boolean", columns[self.source].missing())

    def row_function(self) -> RowFunction:
        """Mark one row."""
        source, target = self.source, self.targets[0]

        def mark(row: Row) -> None:
            row[target] = row[source] is None

        return mark


@dataclass(frozen=True, eq=False)
class Affine(Unary):
    """Shift, then scale: ``(x - shift) / scale``."""

    name: ClassVar[str] = "affine"
    shift: float
    scale: float

    def apply(self, columns: dict[str, Column]) -> None:
        """Shift and scale a column."""
        with np.errstate(over="ignore"):
            values = (as_float(columns[self.source]) - self.shift) / self.scale
        columns[self.targets[0]] = Column("float", values, columns[self.source].valid)

    def row_function(self) -> RowFunction:
        """Shift and scale one row."""
        source, target, shift, scale = self.source, self.targets[0], self.shift, self.scale

        def move(row: Row) -> None:
            cell = row[source]
            row[target] = None if cell is None else (cell - shift) / scale

        return move


@dataclass(frozen=True, eq=False)
class Clip(Unary):
    """Move what lies outside two bounds to the nearer one; None for no bound."""

    name: ClassVar[str] = "clip"
    lower: float | None
    upper: float | None

    def apply(self, columns: dict[str, Column]) -> None:
        """Clip a column."""
        values = as_float(columns[self.source])
        if self.lower is not None:
            values = np.where(values < self.lower, self.lower, values)
        if self.upper is not None:
            values = np.where(values > self.upper, self.upper, values)
        columns[self.targets[0]] = Column("float", values, columns[self.source].valid)

    def row_function(self) -> RowFunction:
        """Clip one row."""
        source, target, lower, upper = self.source, self.targets[0], self.lower, self.upper

        def clip(row: Row) -> None:
            cell = row[source]
            if cell is not None:
                cell = float(cell)
                if lower is not None and cell < lower:
                    cell = lower
                if upper is not None and cell > upper:
                    cell = upper
            row[target] = cell

        return clip


@dataclass(frozen=True, eq=False)
class Bin(Unary):
    """Count the edges at or below a number.

    Parameters
    ----------
    edges : ndarray of float64
        The inner edges of the bins, ascending; the first bin begins and the last ends nowhere.
    """

    name: ClassVar[str] = "bin"
    edges: npt.NDArray[np.float64]

    def apply(self, columns: dict[str, Column]) -> None:
        """Bin a column."""
        column = columns[self.source]
        positions = np.searchsorted(self.edges, as_float(column), side="right").astype(np.int64)
        columns[self.targets[0]] = Column("integer", positions, column.valid)

    def row_function(self) -> RowFunction:
        """Bin one row."""
        source, target, edges = self.source, self.targets[0], self.edges.tolist()

        def bin_(row: Row) -> None:
            cell = row[source]
            row[target] = None if cell is None else bisect_right(edges, float(cell))

        return bin_


@dataclass(frozen=True, eq=False)
class Product(Nary):
    """Multiply powers of numbers, one product a target; what is beyond all numbers becomes the largest.

    Parameters
    ----------
    powers : ndarray of int64, shape (n_targets, n_sources)
        The power of each variable in each product; a product of none is 1.
    """

    name: ClassVar[str] = "product"
    powers: npt.NDArray[np.int64]

    def _factors(self) -> list[list[int]]:
        """Return the positions of each product's factors, in the order both executors multiply in."""
        positions = np.arange(len(self.reads))
        return [np.repeat(positions, row).tolist() for row in self.powers]

    def apply(self, columns: dict[str, Column]) -> None:
        """Multiply columns."""
        numbers = [as_float(columns[name]) for name in self.reads]
        missing = [columns[name].missing() for name in self.reads]
        for target, factors in zip(self.targets, self._factors(), strict=True):
            values, is_missing = np.ones(len(numbers[0])), np.zeros(len(numbers[0]), np.bool_)
            with np.errstate(over="ignore", invalid="ignore"):
                for position in factors:
                    values = np.clip(values * numbers[position], -_LARGEST, _LARGEST)
                    is_missing = is_missing | missing[position]
            valid = ~is_missing if is_missing.any() else None
            values = values if valid is None else np.where(valid, values, np.nan)
            columns[target] = Column("float", values, valid)

    def row_function(self) -> RowFunction:
        """Multiply one row."""
        reads, products = self.reads, list(zip(self.targets, self._factors(), strict=True))

        def multiply(row: Row) -> None:
            cells = [row[name] for name in reads]
            for target, factors in products:
                chosen = [cells[position] for position in factors]
                row[target] = None if None in chosen else _product(chosen)

        return multiply


def _product(numbers: Sequence[float]) -> float:
    value = 1.0
    for number in numbers:
        value *= float(number)
        if value > _LARGEST:
            value = _LARGEST
        elif value < -_LARGEST:
            value = -_LARGEST
    return value
