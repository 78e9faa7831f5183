"""One cell, read the same way whatever brought it: JSON, a file, a data frame or a database.

=========== ==================================================================================
column      what is accepted beside its own type
=========== ==================================================================================
integer     a float or a decimal equal to an integer, text of an integer
float       an integer, a decimal, text of a number; never an infinite value
boolean     0 and 1, text ``true`` and ``false`` in any case
text        an integer, or a float equal to one, filled with zeros where training saw ``"00123"``
timestamp   a date, ISO 8601 text (also ``… UTC`` and ``… +09``) or text in the column's own format;
            without a zone it is UTC
=========== ==================================================================================

``None``, NaN, NaT and pandas' NA are missing everywhere, blank text in every column but text, where
only the empty text is. Anything else is refused: nothing is rounded, guessed or cut.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmp.data.table import ColumnSpec, Kind

Value = float | int | bool | str | None
"""One coerced cell: int, float, bool, text, int microseconds UTC for a timestamp, None where missing."""

EXACT_INTEGERS = 2**53
_INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MOST_DIGITS = 4000  # Python refuses to read longer integers
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_ZONE = re.compile(r" ?(UTC|[Zz]|[+-][0-9:]+)$")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_OWN_TYPES = frozenset({int, bool, str, type(None)})


class CellError(ValueError):
    """A cell that does not fit its column; the text says why, to stand after the value."""


def coerce_value(spec: ColumnSpec, value: object) -> Value:
    """Read one cell as a value of its column.

    Raises
    ------
    DataError
        If it is none; names the column and the value.

    Examples
    --------
    >>> from mmp.data.table import ColumnSpec
    >>> coerce_value(ColumnSpec("age", "integer"), 30.0)
    30
    >>> coerce_value(ColumnSpec("zip", "text", digits=5), 123)
    '00123'
    """
    try:
        return read(spec, value)
    except CellError as reason:
        raise DataError(
            f"Column '{spec.name}' holds {shown(value)}, which {reason}.", where=f"column '{spec.name}'"
        ) from None


def read(spec: ColumnSpec, value: object) -> Value:
    """Read one cell as `coerce_value` does, but raise the bare reason."""
    plain = _plain(value)
    return None if plain is None else _READERS[spec.kind](spec, plain)


def written(spec: ColumnSpec, value: Value) -> Value:
    """Return a coerced cell as JSON holds it: a moment as text, in the column's own format where it has one.

    Examples
    --------
    >>> from mmp.data.table import ColumnSpec
    >>> written(ColumnSpec("seen", "timestamp"), 86_400_000_000), written(ColumnSpec("age", "integer"), 30)
    ('1970-01-02T00:00:00+00:00', 30)
    """
    if spec.kind != "timestamp" or value is None:
        return value
    moment = _EPOCH + int(value) * _MICROSECOND
    return moment.strftime(spec.time_format) if spec.time_format else moment.isoformat()


def reader(spec: ColumnSpec) -> Callable[[object], Value]:
    """Return a function that reads cells as `read` does, quickest those of the column's own type."""
    match spec.kind:
        case "float":

            def read_cell(value: object) -> Value:
                is_own = type(value) is float and -_LARGEST <= value <= _LARGEST
                return value if is_own else read(spec, value)  # type: ignore[return-value]  # a float

        case "integer":

            def read_cell(value: object) -> Value:
                is_own = type(value) is int and _LEAST <= value <= _MOST
                return value if is_own else read(spec, value)  # type: ignore[return-value]  # an integer

        case "text":

            def read_cell(value: object) -> Value:
                return value if type(value) is str and value else read(spec, value)

        case _:

            def read_cell(value: object) -> Value:
                return read(spec, value)

    return read_cell


def shown(value: object) -> str:
    """Return a value as messages show it: as Python writes it, cut to 40 characters."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def to_microseconds(moments: Any) -> Any:
    """Convert one or many NumPy moments, none of them missing, and refuse those too far away for 64 bits."""
    try:
        converted = moments.astype("datetime64[us]")
        unit = np.datetime_data(moments.dtype)[0]
        fits = unit in {"us", "ns"} or not (converted.astype(moments.dtype) != moments).any()
    except OverflowError:  # from NumPy 2.5 on; before it the numbers wrap around
        fits = False
    if not fits:
        raise CellError("does not fit into 64 bits")
    return converted.astype(np.int64)


def _plain(value: Any) -> Any:
    """Turn scalars of other libraries into Python's own, and everything missing into None."""
    if type(value) in _OWN_TYPES:
        return value
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    if isinstance(value, Decimal):
        value = _from_decimal(value)
    if type(value).__name__ in {"NAType", "NaTType"}:
        return None
    nothing = isinstance(value, float | np.datetime64) and value != value  # noqa: PLR0124 - NaN and NaT
    return None if nothing else value


def _from_decimal(value: Decimal) -> int | float:
    whole = value.is_finite() and value == value.to_integral_value()
    return int(value) if whole else float(value)


def _read_integer(spec: ColumnSpec, value: Any) -> int | None:
    if isinstance(value, str):
        value = _number_in(value, "is not an integer")
        if value is None:
            return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CellError("is not an integer")
    if value not in _INT64:
        raise CellError("does not fit into 64 bits")
    return int(value)


def _read_float(spec: ColumnSpec, value: Any) -> float | None:
    if isinstance(value, str):
        value = _number_in(value, "is not a number")
        if value is None:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CellError("is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise CellError("is not finite")
    return number


def _number_in(text: str, reason: str) -> int | float | None:
    """Return the number that a text is, None for blank text."""
    stripped = text.strip()
    if not stripped:
        return None
    if _INTEGER.fullmatch(stripped) and len(stripped) < _MOST_DIGITS:
        return int(stripped)
    if _NUMBER.fullmatch(stripped):
        return float(stripped)
    raise CellError(reason)


def _read_boolean(spec: ColumnSpec, value: Any) -> bool | None:
    if isinstance(value, str):
        word = value.strip()
        if not word:
            return None
        value = _BOOLEANS.get(word.lower())
    if isinstance(value, (bool, int, float)) and value in {0, 1}:
        return bool(value)
    raise CellError("is not true or false")


def _read_text(spec: ColumnSpec, value: Any) -> str | None:
    if isinstance(value, str):
        return str(value) or None
    if isinstance(value, float) and value.is_integer():
        if abs(value) > EXACT_INTEGERS:
            raise CellError("has lost digits on its way through a float")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CellError("is not text")
    if spec.digits == 0:
        raise CellError("has lost its leading zeros if it had any; read the column as text")
    return str(value).zfill(spec.digits or 0)


def _read_timestamp(spec: ColumnSpec, value: Any) -> int | None:
    if isinstance(value, np.datetime64):
        return int(to_microseconds(value))
    if isinstance(value, str):
        if not value.strip():
            return None
        value = _moment_in(value.strip(), spec.time_format)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise CellError("is not a timestamp")
    moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return int((moment - _EPOCH) // _MICROSECOND)


def _moment_in(text: str, time_format: str | None) -> dt.datetime:
    if time_format:
        with contextlib.suppress(ValueError):
            return dt.datetime.strptime(text, time_format)  # noqa: DTZ007 - the caller adds the zone
    try:
        return dt.datetime.fromisoformat(_ZONE.sub(_zone, text))
    except ValueError:
        raise CellError("is not a timestamp") from None


def _zone(match: re.Match[str]) -> str:
    """Write a zone as Python's reader of ISO 8601 knows it."""
    return "Z" if match[1] in ("UTC", "Z", "z") else match[1]


_LEAST, _MOST = -(2**63), 2**63 - 1
_LARGEST = float(np.finfo(np.float64).max)
_READERS: dict[Kind, Callable[[ColumnSpec, Any], Value]] = {
    "integer": _read_integer,
    "float": _read_float,
    "boolean": _read_boolean,
    "text": _read_text,
    "timestamp": _read_timestamp,
}
