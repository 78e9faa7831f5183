"""Any Arrow column into one of the five types of `Table`: for sources whose types are declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.buffers import INSTANT, TEXT, one_chunk, valid, values, wrap
from mmp.data.table import TypedColumn
from mmp.data.words import digits, finer_than_microseconds
from mmp.errors import DataError, Finding

if TYPE_CHECKING:
    from collections.abc import Callable


def normalise(name: str, column: pa.ChunkedArray) -> TypedColumn:
    """Bring a column to one of the five types of `Table`, every value kept.

    Parameters
    ----------
    name : str
        Name of the column, for the spec and for messages.
    column : pyarrow.ChunkedArray
        Of any type.

    Returns
    -------
    TypedColumn
        One chunk; NaN and the empty text are missing.

    Raises
    ------
    DataError
        Where no type of ours holds the values: nested and binary columns, integers past int64.

    Examples
    --------
    >>> import pyarrow as pa
    >>> normalise("n", pa.chunked_array([pa.array([1, None], pa.int8())])).array.type
    DataType(int64)
    """
    type_ = column.type
    if pa.types.is_dictionary(type_) and not is_text(type_.value_type):
        return normalise(name, column.cast(type_.value_type))
    for holds, read in _READERS:
        if holds(type_):
            return read(name, column)
    raise DataError(
        f"Column {name!r} has the type {type_}, which cannot be a feature.",
        hint="List the columns to use in data.data_interface.feature_columns.",
    )


def unify(name: str, columns: list[tuple[object, TypedColumn]]) -> TypedColumn:
    """Return one column of the same column in several files, integers and floats as floats.

    Raises
    ------
    DataError
        Where two files disagree on what the values are.
    """
    if len(columns) == 1:
        return columns[0][1]
    findings = tuple(dict.fromkeys(finding for _, column in columns for finding in column.findings))
    # a column without any value is of whatever type the others are
    full = [(path, column) for path, column in columns if column.array.null_count < len(column.array)]
    kinds = {column.spec.kind: path for path, column in full or columns}
    if set(kinds) == {"integer", "float"}:
        target = pa.float64()
    elif len(kinds) == 1:
        target = (full or columns)[0][1].array.type
    else:
        described = ", ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise DataError(
            f"Column {name!r} is not of one type: {described}.", hint="Write all files with the same types."
        )
    array = one_chunk(pa.chunked_array([_as(column.array, target) for _, column in columns]))
    return TypedColumn.of(name, array, findings, digits=_digits_of(array))


def _as(array: pa.Array, type_: pa.DataType) -> pa.Array:
    if array.null_count == len(array) and array.type != type_:
        return pa.nulls(len(array), type_)
    return array.cast(type_)


def _digits_of(array: pa.Array) -> int | None:
    return digits(array.dictionary) if array.type == TEXT else None


def is_text(type_: pa.DataType) -> bool:
    """Tell whether a type is text, in whichever layout."""
    return any(
        holds(type_) for holds in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _integers(name: str, column: pa.ChunkedArray) -> TypedColumn:
    try:
        return TypedColumn.of(name, one_chunk(column.cast(pa.int64())))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"Column {name!r} has integers past the 64 bits of int64.", hint="Store them as text."
        ) from error


def _floats(name: str, column: pa.ChunkedArray) -> TypedColumn:
    array = one_chunk(column.cast(pa.float64()))
    numbers = values(array)
    is_nan = np.isnan(numbers)
    present = valid(array)
    if is_nan.any():
        array = wrap(numbers, pa.float64(), ~is_nan if present is None else present & ~is_nan)
    return TypedColumn.of(name, array)


def _decimals(name: str, column: pa.ChunkedArray) -> TypedColumn:
    message = f"Column {name!r} has the type {column.type}; it was read as 64-bit floats."
    # by way of text: Arrow's own cast multiplies by a power of ten, and misses the nearest float by a bit
    nearest = one_chunk(column.cast(pa.string()).cast(pa.float64()))
    return TypedColumn.of(name, nearest, (Finding("decimal", "info", message, name),))


def _booleans(name: str, column: pa.ChunkedArray) -> TypedColumn:
    return TypedColumn.of(name, one_chunk(column))


def _nothing(name: str, column: pa.ChunkedArray) -> TypedColumn:
    return TypedColumn.of(name, pa.nulls(len(column), pa.float64()))


def _dates(name: str, column: pa.ChunkedArray) -> TypedColumn:
    return TypedColumn.of(name, one_chunk(column.cast(pa.timestamp("us")).cast(INSTANT)))


def _times(name: str, column: pa.ChunkedArray) -> TypedColumn:
    utc = pa.timestamp(column.type.unit, "UTC")
    instants = column.cast(utc)
    if column.type.unit != "ns":
        return TypedColumn.of(name, one_chunk(instants.cast(INSTANT)))
    cut = one_chunk(instants.cast(INSTANT, safe=False))
    is_cut = not cut.cast(utc).equals(one_chunk(instants))
    return TypedColumn.of(name, cut, (finer_than_microseconds(name),) if is_cut else ())


def _texts(name: str, column: pa.ChunkedArray) -> TypedColumn:
    if pa.types.is_dictionary(column.type):
        array = _plain_codes(one_chunk(column))
    else:
        array = one_chunk(column.cast(pa.string()).dictionary_encode())
    findings: tuple[Finding, ...] = ()
    if not values(pc.binary_length(array.dictionary)).all():
        array, n_empty = _without_empty(array)
        message = f"Column {name!r} has {n_empty} empty texts; they were read as missing."
        findings = (Finding("blank_text", "info", message, name),) if n_empty else ()
    return TypedColumn.of(name, array, findings, digits=digits(array.dictionary))


def _plain_codes(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return a text dictionary as int32 codes of distinct words that are not null."""
    if array.dictionary.null_count or pc.count_distinct(array.dictionary).as_py() < len(array.dictionary):
        return array.cast(array.type.value_type).cast(pa.string()).dictionary_encode()
    codes, words = array.indices.cast(pa.int32()), array.dictionary.cast(pa.string())
    return pa.DictionaryArray.from_arrays(codes, words)


def _without_empty(array: pa.DictionaryArray) -> tuple[pa.DictionaryArray, int]:
    words = array.cast(pa.string())
    is_empty = pc.match_like(words, "")
    kept = pc.if_else(is_empty, pa.nulls(len(words), pa.string()), words)
    return kept.dictionary_encode(), kept.null_count - words.null_count


def _is_text_dictionary(type_: pa.DataType) -> bool:
    return pa.types.is_dictionary(type_) and is_text(type_.value_type)


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str, pa.ChunkedArray], TypedColumn]], ...] = (
    (pa.types.is_integer, _integers),
    (pa.types.is_floating, _floats),
    (pa.types.is_boolean, _booleans),
    (is_text, _texts),
    (_is_text_dictionary, _texts),
    (pa.types.is_timestamp, _times),
    (pa.types.is_date, _dates),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_null, _nothing),
)
