"""Typed columns: what steps and ops work on, without pandas and without object arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from mmp.errors import DataError, MissingColumnsError
from mmp.lookup import did_you_mean
from mmp.modeling.values import CellError, Value, coerce_value, read, shown, to_microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pyarrow as pa

    from mmp.data.table import ColumnSpec, Kind, Table

    Columns = Mapping[str, "Column"]
    Rows = slice | npt.NDArray[np.integer[Any]]

__all__ = [
    "Column",
    "Refused",
    "Value",
    "as_float",
    "coerce",
    "coerce_value",
    "column_of",
    "from_table",
    "of_own_type",
    "refused",
    "take",
]

_DTYPES: dict[str, str] = {
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "halffloat": "f2", "float": "f4", "double": "f8",
    "date32[day]": "M8[D]", "date64[ms]": "M8[ms]",
}  # fmt: skip
_STORED: dict[Kind, type[np.generic]] = {
    "integer": np.int64,
    "float": np.float64,
    "boolean": np.bool_,
    "timestamp": np.int64,
}
_CELL_TYPES: dict[Kind, type] = {"integer": int, "float": float, "boolean": bool, "text": str}
_BAD_CELLS_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
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
        False where the value is missing; None says that nothing is.
    vocabulary : tuple of str
        The distinct texts, for text only; may hold texts that no row has.
    """

    kind: Kind
    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_] | None = None
    vocabulary: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Rows) -> Column:
        """Return the column of some rows: a slice without copying, or positions."""
        valid = None if self.valid is None else self.valid[rows]
        return Column(self.kind, self.values[rows], valid, self.vocabulary)

    def missing(self) -> npt.NDArray[np.bool_]:
        """Return True where the value is missing."""
        return np.zeros(len(self), np.bool_) if self.valid is None else ~self.valid

    def has_missing(self) -> bool:
        """Tell whether any value is missing."""
        return self.valid is not None and not self.valid.all()

    def to_list(self) -> list[Value]:
        """Return the values as coerced cells, None where missing."""
        if self.kind == "text":
            return [None if code < 0 else self.vocabulary[code] for code in self.values.tolist()]
        if self.valid is None:
            cells: list[Value] = self.values.tolist()
            return cells
        return [
            cell if here else None
            for cell, here in zip(self.values.tolist(), self.valid.tolist(), strict=True)
        ]


def column_of(kind: Kind, cells: Sequence[Value]) -> Column:
    """Make a column of coerced cells.

    Examples
    --------
    >>> column_of("text", ["b", None, "a"]).values.tolist()
    [0, -1, 1]
    """
    present = np.fromiter((cell is not None for cell in cells), np.bool_, len(cells))
    valid = None if present.all() else present
    if kind == "text":
        codes: dict[Value, int] = {}
        for cell in cells:
            if cell is not None:
                codes.setdefault(cell, len(codes))
        values = np.fromiter((codes.get(cell, -1) for cell in cells), np.int32, len(cells))
        return Column(kind, values, valid, tuple(str(text) for text in codes))
    blank = np.nan if kind == "float" else 0
    filled = np.fromiter((blank if cell is None else cell for cell in cells), _STORED[kind], len(cells))
    return Column(kind, filled, valid)


def take(columns: Columns, rows: Rows) -> dict[str, Column]:
    """Return the columns of some rows: a slice, or positions in any order."""
    return {name: column.take(rows) for name, column in columns.items()}


def as_float(column: Column) -> npt.NDArray[np.float64]:
    """Return numbers, booleans as 0 and 1, and timestamps in microseconds as float64, NaN where missing."""
    if column.kind == "float":
        return column.values
    if column.kind == "text":
        raise TypeError("text has no numbers")
    numbers = column.values.astype(np.float64)
    if column.valid is not None:
        numbers[~column.valid] = np.nan
    return numbers


def from_table(table: Table, specs: Sequence[ColumnSpec]) -> dict[str, Column]:
    """View columns of a table that was read by mmp; copies only booleans and floats with missing values.

    Parameters
    ----------
    table : Table
        Types are the ones `Table` promises.
    specs : sequence of ColumnSpec
        Which columns.
    """
    return {spec.name: _view(spec, _one_chunk(table.arrow.column(spec.name))) for spec in specs}


def coerce(
    specs: Sequence[ColumnSpec], source: pa.Table | Sequence[Mapping[str, object]], *, where: str = ""
) -> dict[str, Column]:
    """Read a table or records as the columns a model knows, by the rules of `values.coerce_value`.

    Parameters
    ----------
    specs : sequence of ColumnSpec
        The columns; others in the source are passed over, and their order does not matter.
    source : pyarrow.Table or sequence of mappings
        Any Arrow types, or one mapping a row.
    where : str
        Where the source is from, for messages.

    Raises
    ------
    MissingColumnsError
        Names all columns that are not there and the nearest ones that are.
    DataError
        Names every column with cells that do not fit, the rows and the values.
    """
    if isinstance(source, Sequence):
        try:
            cells = _transposed([spec.name for spec in specs], source)
        except KeyError:
            _require(specs, _common_names(source), where)
            raise  # a name that is there and is not
        columns = zip(specs, cells, strict=True)
        read_columns = {spec.name: _read_cells(spec, column) for spec, column in columns}
    else:
        _require(specs, source.column_names, where)
        read_columns = {spec.name: _read_arrow(spec, _one_chunk(source.column(spec.name))) for spec in specs}
    bad = {name: read_column.bad for name, read_column in read_columns.items() if read_column.bad}
    if bad:
        raise _bad_cells(bad, where)
    return {name: read_column.column for name, read_column in read_columns.items()}


class Refused(NamedTuple):
    """A value that does not fit its column.

    Parameters
    ----------
    column : str
        The column.
    rows : ndarray of int64
        Where it stands.
    value : object
        As it came.
    reason : str
        Why it does not fit, to stand after the value.
    """

    column: str
    rows: npt.NDArray[np.int64]
    value: object
    reason: str


def refused(specs: Sequence[ColumnSpec], source: pa.Table) -> list[Refused]:
    """Return what `coerce` would refuse of a table that has all columns.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from mmp.data.table import ColumnSpec
    >>> [found] = refused([ColumnSpec("n", "integer")], pa.table({"n": ["1", "x", "x"]}))
    >>> found.rows.tolist(), found.value, found.reason
    ([1, 2], 'x', 'is not an integer')
    """
    read_columns = {spec.name: _read_arrow(spec, _one_chunk(source.column(spec.name))) for spec in specs}
    return [
        Refused(name, cell.rows, cell.value, cell.reason)
        for name, read_column in read_columns.items()
        for cell in read_column.bad
    ]


class _BadCell(NamedTuple):
    rows: npt.NDArray[np.int64]
    value: object
    reason: str


class _Read(NamedTuple):
    column: Column
    bad: list[_BadCell]


def _require(specs: Sequence[ColumnSpec], present: Sequence[str], where: str) -> None:
    there = set(present)
    absent = [spec.name for spec in specs if spec.name not in there]
    if not absent:
        return
    names = ", ".join(f"'{name}'" for name in absent)
    hints = [f"'{name}': {hint}" for name in absent if (hint := did_you_mean(name, present))]
    raise MissingColumnsError(
        f"Column {names} is missing." if len(absent) == 1 else f"Columns {names} are missing.",
        hint="; ".join(hints) or f"What is there: {', '.join(present) or 'nothing'}.",
        where=where,
    )


def _transposed(names: Sequence[str], records: Sequence[Mapping[str, object]]) -> list[Sequence[object]]:
    """Return the cells of each column; raises `KeyError` where a record lacks one, or there is none."""
    if not records:
        raise KeyError
    if len(names) < 2:
        return [[record[name] for record in records] for name in names]
    return list(zip(*map(itemgetter(*names), records), strict=True))


def _common_names(records: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the names that every record has, in the order of the first."""
    if not records:
        return []
    return [name for name in records[0] if all(name in record for record in records)]


def _bad_cells(bad: Mapping[str, Sequence[_BadCell]], where: str) -> DataError:
    sentences = []
    for name, cells in bad.items():
        count = sum(len(cell.rows) for cell in cells)
        listed = ", ".join(
            f"row {cell.rows[0]}: {shown(cell.value)} {cell.reason}" for cell in cells[:_BAD_CELLS_SHOWN]
        )
        more = f" ({count} cells in all)" if count > min(len(cells), _BAD_CELLS_SHOWN) else ""
        sentences.append(f"Column '{name}', {listed}{more}.")
    return DataError(
        " ".join(sentences),
        hint="Mend the values, or leave the cells empty where that is meant.",
        where=where,
    )


def _read_cells(spec: ColumnSpec, cells: Sequence[object]) -> _Read:
    """Read cell by cell; a refused one becomes missing and is told."""
    if (column := _of_own_type(spec.kind, cells)) is not None:
        return _Read(column, [])
    values: list[Value] = []
    bad: list[_BadCell] = []
    for row, cell in enumerate(cells):
        try:
            values.append(read(spec, cell))
        except CellError as reason:
            values.append(None)
            bad.append(_BadCell(np.array([row]), cell, str(reason)))
    return _Read(column_of(spec.kind, values), bad)


def _of_own_type(kind: Kind, cells: Sequence[object]) -> Column | None:
    """Return cells that need no reading as a column, None where there are others among them."""
    if set(map(type, cells)) != {_CELL_TYPES.get(kind)}:
        return None
    return of_own_type(kind, cells)


def of_own_type(kind: Kind, cells: Sequence[Any]) -> Column | None:
    """Make a column of cells of Python's type for it, or None, as JSON has them.

    Returns
    -------
    Column or None
        None where a cell must be looked at: an integer of more than 64 bits, a number that is not
        finite, text that is empty.

    Examples
    --------
    >>> of_own_type("float", [1.5, None]).to_list(), of_own_type("text", ["", "a"])
    ([1.5, None], None)
    """
    try:
        # a sum is finite where all are, but where they add up to too much
        if kind == "float" and not (math.isfinite(sum(cells)) or np.isfinite(np.array(cells)).all()):
            return None
        if kind != "text":
            return Column(kind, np.array(cells, _STORED[kind]))
    except OverflowError:
        return None
    except TypeError:  # what is missing has no sum, and is no integer
        present = [cell for cell in cells if cell is not None]
        return column_of(kind, cells) if of_own_type(kind, present) is not None else None
    if all(cells):
        return _text_column(cells)
    return None if "" in cells else column_of(kind, cells)


def _text_column(texts: Sequence[str]) -> Column:
    codes = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    values = np.fromiter(map(codes.__getitem__, texts), np.int32, len(texts))
    return Column("text", values, None, tuple(codes))


def _read_distinct(spec: ColumnSpec, distinct: Sequence[object], codes: npt.NDArray[Any]) -> _Read:
    """Read each distinct value once; a code of -1 is a missing cell."""
    if spec.kind == "text" and _are_texts(distinct):
        valid = codes >= 0
        vocabulary = cast("tuple[str, ...]", tuple(distinct))
        return _Read(Column("text", codes.astype(np.int32), None if valid.all() else valid, vocabulary), [])
    column, bad = _read_cells(spec, [*distinct, None])
    spread = column.take(codes)
    if not spread.has_missing():
        spread = replace(spread, valid=None)
    found = [_BadCell(np.flatnonzero(codes == cell.rows[0]), cell.value, cell.reason) for cell in bad]
    return _Read(spread, [cell for cell in found if len(cell.rows)])


def _are_texts(distinct: Sequence[object]) -> bool:
    """Tell whether values are what text columns hold, each once: then there is nothing to read."""
    return set(map(type, distinct)) <= {str} and "" not in distinct and len(set(distinct)) == len(distinct)


def _read_arrow(spec: ColumnSpec, array: pa.Array) -> _Read:
    import pyarrow as pa

    kind = array.type
    if pa.types.is_null(kind):
        return _read_cells(spec, [None] * len(array))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        array = array.cast(pa.string()).dictionary_encode()
        kind = array.type
    if pa.types.is_dictionary(kind):
        codes, valid = _fixed(array.indices)
        codes = codes if valid is None else np.where(valid, codes, -1)
        return _read_distinct(spec, array.dictionary.to_pylist(), codes)
    if pa.types.is_boolean(kind) or pa.types.is_timestamp(kind) or str(kind) in _DTYPES:
        return _read_fixed(spec, *_fixed(array))
    return _read_cells(spec, array.to_pylist())


def _read_fixed(spec: ColumnSpec, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None) -> _Read:
    """Read numbers, booleans and moments: in one go where that is safe, else each distinct value once."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64, copy=False)
        if not np.isfinite(values).all():
            valid = _and(valid, ~np.isnan(values))
        elif spec.kind == "float":  # as nearly always: one look at each value is enough
            return _Read(Column("float", _blanked(values, valid), valid), [])
    elif values.dtype.kind == "M":
        valid = _and(valid, ~np.isnat(values))
    column = _converted(spec.kind, values, valid)
    if column is not None:
        return _Read(column, [])
    present = np.arange(len(values)) if valid is None else np.flatnonzero(valid)
    distinct, inverse = np.unique(values[present], return_inverse=True)
    codes = np.full(len(values), -1, np.int64)
    codes[present] = inverse
    return _read_distinct(spec, list(distinct) if values.dtype.kind == "M" else distinct.tolist(), codes)


def _converted(kind: Kind, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None) -> Column | None:
    """Convert a whole array where every cell surely fits; None where cells must be looked at."""
    made: npt.NDArray[Any] | None = None
    match kind, values.dtype.kind:
        case "integer", "i":
            made = values.astype(np.int64, copy=False)
        case "integer", "u" if values.dtype.itemsize < 8:
            made = values.astype(np.int64)
        case "integer", "f":
            made = _whole(values, valid)
        case "float", "i" | "u" | "f":
            made = _finite(values, valid)
        case "boolean", "b":
            made = values
        case "timestamp", "M":
            made = _moments(values, valid)
    return None if made is None else Column(kind, made, valid)


def _moments(
    values: npt.NDArray[np.datetime64], valid: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int64] | None:
    """Return moments in microseconds, None where one is too far away."""
    present = values if valid is None else np.where(valid, values, np.zeros(1, values.dtype))
    try:
        made: npt.NDArray[np.int64] = to_microseconds(present)
    except CellError:
        return None
    return made


def _whole(
    values: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int64] | None:
    """Return floats as integers, None where one is not."""
    filled = values if valid is None else np.where(valid, values, 0.0)
    if not (np.abs(filled) < 2.0**63).all():
        return None
    integers = filled.astype(np.int64)
    return integers if (integers == filled).all() else None


def _finite(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64] | None:
    """Return numbers as floats with NaN where missing, None where one is infinite."""
    floats = values.astype(np.float64, copy=False)
    return None if np.isinf(floats).any() else _blanked(floats, valid)


def _blanked(floats: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64]:
    return floats if valid is None else np.where(valid, floats, np.nan)


def _and(first: npt.NDArray[np.bool_] | None, second: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    both = second if first is None else first & second
    return None if both.all() else both


def _view(spec: ColumnSpec, array: pa.Array) -> Column:
    if spec.kind == "text":
        codes, valid = _fixed(array.indices)
        codes = codes if valid is None else np.where(valid, codes, np.int32(-1))
        return Column("text", codes, valid, tuple(array.dictionary.to_pylist()))
    values, valid = _fixed(array)
    if spec.kind == "float" and valid is not None:
        values = np.where(valid, values, np.nan)
    return Column(spec.kind, values.view(_STORED[spec.kind]), valid)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.unify_dictionaries().combine_chunks()


def _fixed(array: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """View an Arrow array of a fixed width as NumPy; its own `to_numpy` would import pandas."""
    validity, data = array.buffers()
    valid = None
    if array.null_count:
        valid = _bits(validity, array.offset, len(array))
    if str(array.type) == "bool":
        return _bits(data, array.offset, len(array)), valid
    dtype = _DTYPES.get(str(array.type)) or f"M8[{array.type.unit}]"
    stored = np.dtype(dtype if dtype != "M8[D]" else "i4")
    if data is None:
        return np.zeros(len(array), np.dtype(dtype)), valid
    values = np.frombuffer(data, stored, len(array), array.offset * stored.itemsize)
    return (values.astype(np.int64).view("M8[D]") if dtype == "M8[D]" else values), valid


def _bits(buffer: pa.Buffer | None, offset: int, length: int) -> npt.NDArray[np.bool_]:
    if buffer is None:
        return np.zeros(length, np.bool_)
    packed = np.frombuffer(buffer, np.uint8)
    start = offset // 8
    bits = np.unpackbits(packed[start : (offset + length + 7) // 8], bitorder="little")
    return bits[offset - start * 8 :][:length].view(np.bool_)
