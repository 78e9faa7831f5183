"""Ops on categories: texts, or numbers that stand for something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mmp.errors import DataError
from mmp.modeling.columns import Column
from mmp.modeling.ops.base import Row, RowFunction, Unary
from mmp.modeling.values import shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.modeling.ops.base import Vector
    from mmp.modeling.values import Value


@dataclass(frozen=True, eq=False)
class Category(Unary):
    """An op on known categories: texts, or numbers in ascending order.

    Parameters
    ----------
    texts : tuple of str
        The categories of a text column.
    numbers : ndarray of int64 or float64
        The categories of a number, boolean or timestamp column, ascending; empty for text.
    refuse_unseen : bool
        Raise where a category was not seen in training.
    """

    texts: tuple[str, ...]
    numbers: Vector
    refuse_unseen: bool

    @cached_property
    def cells(self) -> tuple[Any, ...]:
        """The categories as cells."""
        return self.texts or tuple(self.numbers.tolist())

    @cached_property
    def _known(self) -> dict[str, int]:
        return {text: position for position, text in enumerate(self.texts)}

    def positions(self, column: Column) -> npt.NDArray[np.intp]:
        """Return each row's position among the categories; their number where unseen, -1 where missing."""
        if column.kind == "text":
            known, unseen = self._known, len(self.texts)
            table = [known.get(text, unseen) for text in column.vocabulary]
            positions: npt.NDArray[np.intp] = np.array([*table, -1], np.intp)[column.values]
        else:
            positions = self._numeric_positions(column)
        if self.refuse_unseen and len(column) and (unseen := positions == len(self.cells)).any():
            raise _unseen(self.source, column.take(np.flatnonzero(unseen)[:1]).to_list()[0])
        return positions

    def _numeric_positions(self, column: Column) -> npt.NDArray[np.intp]:
        if not len(self.numbers):
            positions = np.zeros(len(column), np.intp)
        else:
            values = column.values.astype(self.numbers.dtype, copy=False)
            positions = np.searchsorted(self.numbers, values)
            nearest = self.numbers.take(positions, mode="clip")
            positions[nearest != values] = len(self.numbers)
        if column.valid is not None:
            positions[~column.valid] = -1
        return positions


def _unseen(source: str, value: Value) -> DataError:
    return DataError(
        f"{shown(value)} was not seen in training, and the encoder of '{source}' refuses such a value.",
        hint="Leave handle_unknown out of that step and train again, or mend the value.",
    )


@dataclass(frozen=True, eq=False)
class Lookup(Category):
    """Replace a category by numbers.

    Parameters
    ----------
    table : ndarray of float64, shape (n_categories + 2, n_targets)
        A row for each category, then one for unseen and one for missing values; NaN makes a value missing.
    """

    name: ClassVar[str] = "lookup"
    table: npt.NDArray[np.float64]

    def apply(self, columns: dict[str, Column]) -> None:
        """Look a column up."""
        positions = self.positions(columns[self.source])
        for target, numbers in zip(self.targets, self.table.T, strict=True):
            values = np.ascontiguousarray(numbers)[positions]
            columns[target] = Column("float", values, _present(values, numbers))

    def row_function(self) -> RowFunction:
        """Look one row up."""
        source, targets, refuse = self.source, self.targets, self.refuse_unseen
        rows = [tuple(None if math.isnan(x) else x for x in row) for row in self.table.tolist()]
        *known, unseen, missing = rows
        table: dict[Any, tuple[float | None, ...]] = dict(zip(self.cells, known, strict=True))
        table[None] = missing

        def look_up(row: Row) -> None:
            found = table.get(row[source])
            if found is None:
                if refuse:
                    raise _unseen(source, row[source])
                found = unseen
            for target, number in zip(targets, found, strict=True):
                row[target] = number

        return look_up


def _present(values: Vector, numbers: Vector) -> npt.NDArray[np.bool_] | None:
    return ~np.isnan(values) if np.isnan(numbers).any() else None


@dataclass(frozen=True, eq=False)
class Expand(Category):
    """Make a 0/1 variable for each category; one more for missing values where `targets` has one more."""

    name: ClassVar[str] = "expand"

    def apply(self, columns: dict[str, Column]) -> None:
        """Expand a column."""
        positions = self.positions(columns[self.source])
        for target, position in zip(self.targets, self._target_positions(), strict=True):
            columns[target] = Column("boolean", positions == position)

    def _target_positions(self) -> list[int]:
        known = len(self.cells)
        return [*range(known), *([-1] if len(self.targets) > known else [])]

    def row_function(self) -> RowFunction:
        """Expand one row."""
        source, refuse = self.source, self.refuse_unseen
        zeros = dict.fromkeys(self.targets, 0.0)
        known = dict(zip((*self.cells, None), self.targets, strict=False))

        def expand(row: Row) -> None:
            row.update(zeros)
            target = known.get(row[source])
            if target is not None:
                row[target] = 1.0
            elif refuse and row[source] is not None:
                raise _unseen(source, row[source])

        return expand
