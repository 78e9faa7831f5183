"""The distinct values of a column as codes: classes of a target, groups of a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmp.data.buffers import values, wrap

if TYPE_CHECKING:
    import numpy.typing as npt

    Label = int | float | bool | str


@dataclass(frozen=True)
class Classes:
    """The distinct values of a column without nulls.

    Parameters
    ----------
    codes : ndarray of int32, shape (n_rows,)
        Which of `distinct` each row has.
    counts : ndarray of int64
        In how many rows each stands, at least one.
    distinct : pyarrow.Array
        The values, each once.
    """

    codes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    distinct: pa.Array

    def __len__(self) -> int:
        return len(self.counts)

    def label(self, code: int) -> Label:
        """Return one value as the user wrote it; a timestamp as its microseconds."""
        value = self.distinct[int(code)]
        return value.value if pa.types.is_timestamp(value.type) else value.as_py()  # type: ignore[no-any-return]


def classes(column: pa.ChunkedArray) -> Classes:
    """Encode a column of one chunk that has no nulls by its distinct values.

    Examples
    --------
    >>> import pyarrow as pa
    >>> found = classes(pa.chunked_array([[7, 3, 7]]))
    >>> found.codes.tolist(), found.counts.tolist(), found.label(0)
    ([0, 1, 0], [2, 1], 7)
    """
    array = column.chunk(0) if column.num_chunks else column.combine_chunks()
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    codes, distinct = values(encoded), encoded.dictionary
    counts = np.bincount(codes, minlength=len(distinct))
    if counts.all():
        return Classes(codes, counts, distinct)
    used = counts > 0  # a dictionary may hold words that no row has any more
    position = (np.cumsum(used) - 1).astype(np.int32)
    return Classes(position[codes], counts[used], distinct.filter(wrap(used, pa.bool_())))
