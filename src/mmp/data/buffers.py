"""Between Arrow arrays and NumPy by their buffers: no copy, and no pandas behind the scenes.

pyarrow imports pandas in ``pa.array(list)``, ``pa.scalar`` and ``to_numpy(zero_copy_only=False)``;
what stands here does the same without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

INSTANT = pa.timestamp("us", "UTC")
TEXT = pa.dictionary(pa.int32(), pa.string())
_PLAIN = {"b": pa.bool_(), "i": pa.int64(), "f": pa.float64()}


def values(array: pa.Array) -> npt.NDArray[Any]:
    """Return the values of a fixed-width array; what stands at a null is unspecified.

    Booleans are unpacked (a copy), everything else is a view of the buffer; a dictionary array
    gives its codes, a timestamp its integer.

    Parameters
    ----------
    array : pyarrow.Array
        Of a boolean, integer, floating, timestamp or dictionary type.

    Returns
    -------
    ndarray of shape (n_rows,)
        Read only where it is a view.
    """
    if pa.types.is_dictionary(array.type):
        array = array.indices
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.empty(0, _dtype(array.type))
    if pa.types.is_boolean(array.type):
        return _bits(buffer, array.offset, len(array))
    dtype = _dtype(array.type)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def valid(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Return where an array has a value, or None where it has one everywhere."""
    if array.null_count == 0:
        return None
    if pa.types.is_null(array.type):
        return np.zeros(len(array), np.bool_)
    buffers = array.indices.buffers() if pa.types.is_dictionary(array.type) else array.buffers()
    return _bits(buffers[0], array.offset, len(array))


def wrap(
    numbers: npt.NDArray[Any], type_: pa.DataType, present: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return an Arrow array over a NumPy one, null where `present` is False.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows,)
        Contiguous values of the width that `type_` has.
    type_ : pyarrow.DataType
        A fixed-width type; booleans are packed.
    present : ndarray of bool, shape (n_rows,), optional
        Where there is a value.
    """
    n_rows = len(numbers)
    mask = None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))
    if pa.types.is_boolean(type_):
        numbers = np.packbits(numbers, bitorder="little")
    return pa.Array.from_buffers(type_, n_rows, [mask, pa.py_buffer(np.ascontiguousarray(numbers))])


def plain(numbers: npt.NDArray[Any]) -> pa.Array:
    """Return an Arrow array over booleans, 64-bit integers or floats, of their own type."""
    return wrap(numbers, _PLAIN[numbers.dtype.kind])


def strings(texts: Sequence[str | None]) -> pa.StringArray:
    """Return a string array of Python texts, null for None."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    mask = None
    if None in texts:
        present = np.fromiter((text is not None for text in texts), np.bool_, len(texts))
        mask = pa.py_buffer(np.packbits(present, bitorder="little"))
    buffers = pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(encoded), *buffers, null_bitmap=mask)


def no_rows(schema: pa.Schema) -> pa.Table:
    """Return a table of a schema that has no rows; `pyarrow.Schema.empty_table` would import pandas."""
    return pa.Table.from_arrays([pa.nulls(0, each.type) for each in schema], schema=schema)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, dictionaries unified."""
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    return combined.combine_chunks() if isinstance(combined, pa.ChunkedArray) else combined


def release() -> None:
    """Give the memory of tables that are gone back to the system; Arrow would keep it for the next."""
    pa.default_memory_pool().release_unused()


def _bits(buffer: pa.Buffer, offset: int, n: int) -> npt.NDArray[np.bool_]:
    first, skip = divmod(offset, 8)
    packed = np.frombuffer(buffer, np.uint8)[first : (offset + n + 7) // 8]
    return np.unpackbits(packed, count=skip + n, bitorder="little")[skip:].view(np.bool_)


def _dtype(type_: pa.DataType) -> np.dtype[Any]:
    if pa.types.is_boolean(type_):
        return np.dtype(np.bool_)
    if pa.types.is_floating(type_):
        return np.dtype(f"f{type_.bit_width // 8}")
    if pa.types.is_unsigned_integer(type_):
        return np.dtype(f"u{type_.bit_width // 8}")
    return np.dtype(f"i{type_.bit_width // 8}")
