"""The Arrow types of PostgreSQL's driver as those of tables: numeric as floats, uuid as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.buffers import valid
from mmp.errors import SourceError

if TYPE_CHECKING:
    import numpy.typing as npt

_TYPE = b"POSTGRESQL:type"
# the driver has an Arrow type for these that is right in name only
_REFUSED = {"oid", "money", "json", "jsonb"}
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_DASHES = (8, 13, 18, 23)
_DIGITS = [place for place in range(36) if place not in _DASHES]
_YEARS = {
    "timestamp": (-62135596800000000, 253402300799999999),
    "date": (-719162, 2932896),
}


def database_type(field: pa.Field) -> str:
    """Return what PostgreSQL calls the type of a column or a parameter, where the driver knows it."""
    name = str((field.metadata or {}).get(_TYPE, b"").decode())
    return "" if "<oid" in name else name


def table_type(field: pa.Field) -> pa.DataType:
    """Return the type that `as_table_type` gives a column; binary where no table holds such values."""
    name = database_type(field)
    if name == "numeric":
        return pa.float64()
    if name == "uuid":
        return pa.string()
    return pa.binary() if name in _REFUSED or isinstance(field.type, pa.BaseExtensionType) else field.type


def as_table_type(field: pa.Field, column: pa.Array, source: str) -> pa.Array:
    """Bring a column of the driver's to the type that a table can hold.

    Raises
    ------
    SourceError
        A time is infinite, or beyond the years 1 to 9999.
    """
    name = database_type(field)
    if name == "numeric":
        return column.storage.cast(pa.float64())
    if name == "uuid":
        return _uuids(column.storage)
    kind = _time_kind(column.type)
    if kind:
        _require_years(field.name, column, kind, source)
    return column


def _time_kind(type_: pa.DataType) -> str:
    if pa.types.is_timestamp(type_):
        return "timestamp"
    return "date" if pa.types.is_date32(type_) else ""


def _require_years(name: str, column: pa.Array, kind: str, source: str) -> None:
    numbers: Any = column.view(pa.int64() if kind == "timestamp" else pa.int32())
    ends = pc.min_max(numbers).as_py()
    first, last = _YEARS[kind]
    if ends["min"] is not None and not first <= ends["min"] <= ends["max"] <= last:
        raise SourceError(
            f"{source}: column {name!r} holds infinity, or a time beyond the years 1 to 9999.",
            hint="Leave such rows out of the query, or replace the time by nullif(…, 'infinity').",
        )


def _uuids(column: pa.FixedSizeBinaryArray) -> pa.StringArray:
    n_rows = len(column)
    raw = np.frombuffer(column.buffers()[1], np.uint8, n_rows * 16, column.offset * 16).reshape(n_rows, 16)
    texts: npt.NDArray[np.uint8] = np.full((n_rows, 36), ord("-"), np.uint8)
    texts[:, _DIGITS] = _HEX[raw].reshape(n_rows, 32)
    offsets = pa.py_buffer((np.arange(n_rows + 1) * 36).astype(np.int32))
    array = pa.StringArray.from_buffers(n_rows, offsets, pa.py_buffer(texts))
    present = valid(column)
    return array if present is None else pc.if_else(pa.array(present), array, pa.scalar(None, pa.string()))
