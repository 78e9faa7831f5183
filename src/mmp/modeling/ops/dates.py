"""Parts of timestamps, in UTC."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mmp.modeling.columns import Column
from mmp.modeling.ops.base import Row, RowFunction, Unary

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt


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
class DatePart(Unary):
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
