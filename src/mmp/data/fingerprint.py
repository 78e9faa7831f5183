"""What a table holds, as one digest: the same rows give the same one, from any file and in any chunks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.buffers import valid, values, wrap

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.data.table import Table


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What identifies the content of a table.

    Parameters
    ----------
    n_rows, n_columns : int
        Its shape.
    schema : tuple of (str, str)
        Name and kind of each column, in order.
    digest : str
        64 hexadecimal digits over names, kinds, values and missing positions, in order.
    """

    n_rows: int
    n_columns: int
    schema: tuple[tuple[str, str], ...]
    digest: str


def fingerprint(table: Table) -> Fingerprint:
    """Return the fingerprint of a table.

    It depends on the order of rows and columns, and not on the file format, on chunks, or on how
    a text dictionary is laid out.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from mmp.data.arrow import normalise
    >>> from mmp.data.table import Table
    >>> first, second = pa.chunked_array([[1, 2]]), pa.chunked_array([[1], [2]])
    >>> one, other = (Table.of([normalise("n", column)]) for column in (first, second))
    >>> fingerprint(one) == fingerprint(other)
    True
    """
    schema = tuple((spec.name, spec.kind) for spec in table.specs)
    total = hashlib.blake2b(json.dumps([table.n_rows, schema]).encode(), digest_size=32)
    for column in table.arrow.columns:
        total.update(_digest(column.chunk(0)))
    return Fingerprint(table.n_rows, len(schema), schema, total.hexdigest())


def _digest(column: pa.Array) -> bytes:
    """Hash one column; whatever stands at a null is hashed as zero."""
    hasher = hashlib.blake2b(digest_size=32)
    present = valid(column)
    if present is not None:
        hasher.update(np.packbits(present).data)
    numbers = values(column)
    if pa.types.is_dictionary(column.type):
        numbers, words = _by_appearance(numbers, present, column.dictionary)
        lengths = values(pc.binary_length(words))
        hasher.update(lengths.data)
        hasher.update(memoryview(words.buffers()[2] or b"")[: lengths.sum()])
    hasher.update(np.ascontiguousarray(numbers if present is None else np.where(present, numbers, 0)).data)
    return hasher.digest()


def _by_appearance(
    codes: npt.NDArray[np.int32], present: npt.NDArray[np.bool_] | None, words: pa.StringArray
) -> tuple[npt.NDArray[np.int32], pa.BinaryArray]:
    """Renumber the words of a dictionary in the order in which the rows first use them."""
    rows = np.arange(len(codes)) if present is None else np.flatnonzero(present)
    first = np.full(len(words), len(codes))
    first[codes[rows[::-1]]] = rows[::-1]  # of several writes to one place the last one stays
    used = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(codes))]
    renumbered = np.zeros(len(words) + 1, np.int32)  # one for the nulls of a column without words
    renumbered[used] = np.arange(len(used), dtype=np.int32)
    numbers = codes if present is None else np.where(present, codes, 0)
    return renumbered[numbers], words.take(wrap(used, pa.int64())).cast(pa.binary())
