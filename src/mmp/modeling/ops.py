"""The closed set of fitted operations: what remains of preprocessing once it is fitted.

An op reads named variables and makes new ones; no op changes a variable, so a list of ops is a
program in which every name is set once. Each op says what it does twice: `apply` to columns of any
number of rows, and `row_function` to one row, where cells are Python values. Both give the same
numbers to the bit (`tests/modeling/test_ops.py`). State is plain numbers and text: scalars and text
go to JSON, arrays to npz. Nothing here knows how it was fitted.

To add an op: write the dataclass with its two executors and put it into `OPS`.

============ ================================================= ==========================
op           makes                                             of a missing value
============ ================================================= ==========================
`Fill`       the value where one is missing                    the value
`Indicator`  1 where missing, 0 elsewhere                      1
`Affine`     ``(x - shift) / scale``                           missing
`Lookup`     numbers of a category                             its own row of the table
`Expand`     a 0/1 column for each category                    1 in its own, or all 0
`DatePart`   a part of a timestamp, in UTC                     missing
============ ================================================= ==========================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mmp.errors import ArtifactError, DataError
from mmp.modeling.columns import Column, as_float
from mmp.modeling.values import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.modeling.values import Value

    Vector = npt.NDArray[Any]

Row = dict[str, Any]
RowFunction = Callable[[Row], None]
State = tuple[dict[str, Any], dict[str, "Vector"]]


@dataclass(frozen=True, eq=False)
class Op:
    """A fitted operation.

    Parameters
    ----------
    source : str
        The variable it reads.
    targets : tuple of str
        The variables it makes.
    """

    name: ClassVar[str]
    source: str
    targets: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every variable it reads."""
        return (self.source,)

    def renamed(self, sources: Mapping[str, str], targets: Mapping[str, str]) -> Op:
        """Return the op on other variables."""
        made = tuple(targets[name] for name in self.targets)
        return dataclasses.replace(self, source=sources[self.source], targets=made)

    def apply(self, columns: dict[str, Column]) -> None:
        """Add the targets to the columns."""
        raise NotImplementedError

    def row_function(self) -> RowFunction:
        """Return a function that adds the targets to one row of cells."""
        raise NotImplementedError

    def to_state(self) -> State:
        """Return what JSON holds and what npz holds."""
        plain: dict[str, Any] = {"op": self.name}
        arrays = {}
        for part in dataclasses.fields(self):
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray):
                arrays[part.name] = value
            else:
                plain[part.name] = list(value) if isinstance(value, tuple) else value
        return plain, arrays


def from_state(plain: Mapping[str, Any], arrays: Mapping[str, Vector]) -> Op:
    """Rebuild an op from `Op.to_state`."""
    kind: Callable[..., Op] | None = OPS.get(plain.get("op", ""))
    if kind is None:
        raise ArtifactError(
            f"The model has an operation '{plain.get('op')}' that this version does not know."
        )
    state = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    del state["op"]
    return kind(**state, **arrays)


@dataclass(frozen=True, eq=False)
class Fill(Op):
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
class Indicator(Op):
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
class Affine(Op):
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
class Category(Op):
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

    def positions(self, column: Column) -> npt.NDArray[np.intp]:
        """Return each row's position among the categories; their number where unseen, -1 where missing."""
        if column.kind == "text":
            found = {text: position for position, text in enumerate(self.texts)}
            unseen = len(self.texts)
            table = [found.get(text, unseen) for text in column.vocabulary]
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


def _month_parts(days: Any) -> tuple[Any, Any, Any, Any]:
    """Return year, month, day and day of the year of days since 1970.

    Integer arithmetic only, so that it reads the same for a Python integer and an array.

    References
    ----------
    Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, ``civil_from_days``.
    """
    shifted = days + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_from_march = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_from_march + 2) // 153
    day = day_from_march - (153 * month_from_march + 2) // 5 + 1
    month = (month_from_march + 2) % 12 + 1
    year = year_of_era + era * 400 + (month <= 2)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    day_of_year = day_from_march + 60 + leap - (month <= 2) * (365 + leap)
    return year, month, day, day_of_year


_SECOND = 1_000_000
_DAY = 86_400 * _SECOND


@dataclass(frozen=True)
class _Part:
    """How a part is made of the days or seconds since 1970.

    Parameters
    ----------
    unit : int
        Microseconds in what is counted.
    of : callable
        From the count, a Python integer or an array, to the part.
    first, period : int
        Its smallest value, and how many there are before it comes round; 0 where it never does.
    """

    unit: int
    of: Callable[[Any], Any]
    first: int = 0
    period: int = 0


PARTS: dict[str, _Part] = {
    "year": _Part(_DAY, lambda days: _month_parts(days)[0]),
    "quarter": _Part(_DAY, lambda days: (_month_parts(days)[1] + 2) // 3, 1, 4),
    "month": _Part(_DAY, lambda days: _month_parts(days)[1], 1, 12),
    "day": _Part(_DAY, lambda days: _month_parts(days)[2], 1, 31),
    "day_of_week": _Part(_DAY, lambda days: (days + 3) % 7, 0, 7),
    "day_of_year": _Part(_DAY, lambda days: _month_parts(days)[3], 1, 366),
    "hour": _Part(_SECOND, lambda seconds: seconds // 3600 % 24, 0, 24),
    "minute": _Part(_SECOND, lambda seconds: seconds // 60 % 60, 0, 60),
    "second": _Part(_SECOND, lambda seconds: seconds % 60, 0, 60),
    "is_weekend": _Part(_DAY, lambda days: (days + 3) % 7 // 5),
    "epoch_s": _Part(_SECOND, lambda seconds: seconds),
}
"""Part name to how it is made."""


def date_part(part: str, moments: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a part of moments, in microseconds since 1970."""
    of = PARTS[part].of
    counts = moments // PARTS[part].unit
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    if high - low < len(counts):  # a few days many times over: each is computed once
        made: npt.NDArray[np.int64] = of(np.arange(low, high + 1))[counts - low]
    else:
        made = of(counts)
    return made


_WAVES: dict[str, Callable[[float], float]] = {"sin": math.sin, "cos": math.cos}


@dataclass(frozen=True, eq=False)
class DatePart(Op):
    """Take a part of a timestamp, as a number or as a point on a circle.

    Parameters
    ----------
    part : str
        A name in `PARTS`.
    wave : {"sin", "cos"} or None
        The coordinate, for a part that comes round.
    """

    name: ClassVar[str] = "date_part"
    part: str
    wave: str | None = None

    def _circle(self) -> list[float]:
        """Return the coordinate of each value, so that both executors read the same table."""
        if self.wave is None:
            return []
        first, period = PARTS[self.part].first, PARTS[self.part].period
        turn = 2 * math.pi / period
        return [0.0] * first + [_WAVES[self.wave](turn * step) for step in range(period)]

    def apply(self, columns: dict[str, Column]) -> None:
        """Take the part of a column."""
        column = columns[self.source]
        valid = column.valid
        moments = column.values if valid is None else np.where(valid, column.values, 0)
        values = date_part(self.part, moments)
        if self.wave is None:
            columns[self.targets[0]] = Column("integer", values, valid)
            return
        points = np.array(self._circle())[values]
        floats = points if valid is None else np.where(valid, points, np.nan)
        columns[self.targets[0]] = Column("float", floats, valid)

    def row_function(self) -> RowFunction:
        """Take the part of one row."""
        source, target, circle = self.source, self.targets[0], self._circle()
        unit, of = PARTS[self.part].unit, PARTS[self.part].of

        def take_part(row: Row) -> None:
            moment = row[source]
            if moment is None:
                row[target] = None
            else:
                value = of(moment // unit)
                row[target] = circle[value] if circle else value

        return take_part


OPS: dict[str, type[Op]] = {op.name: op for op in (Fill, Indicator, Affine, Lookup, Expand, DatePart)}
"""Every op by its name in the state."""
