"""Parquet files to typed columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mmp.data.arrow import is_text, normalise, unify
from mmp.data.names import refuse_bad_names, require, same_columns
from mmp.data.table import Table
from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mmp.data.stored import StoredFile
    from mmp.data.table import TypedColumn

_BATCH_ROWS = 1 << 16


def read(files: Sequence[StoredFile], columns: Sequence[str] | None, source: str) -> Table:
    """Read Parquet files of the same columns as one table.

    Parameters
    ----------
    files : sequence of StoredFile
        The files; their columns may stand in any order.
    columns : sequence of str or None
        The columns to read, all for None; no other is touched.
    source : str
        What the user called it.

    Returns
    -------
    Table
        Declared types brought to the five of `Table`.

    Raises
    ------
    SourceError
        Where a file is damaged, has two columns of one name, or no rows.
    DataError
        Where a column's type is none that a feature can have, or differs between files.
    MissingColumnsError
        Where `columns` names some that are not there.
    """
    schemas = {file: schema(file) for file in files}
    names = same_columns([(file, declared.names) for file, declared in schemas.items()])
    wanted = names if columns is None else tuple(columns)
    require(wanted, names, source)
    parts = [(file, _typed(file, declared, wanted)) for file, declared in schemas.items()]
    table = Table.of(
        [unify(name, [(file, part.pop(name)) for file, part in parts]) for name in wanted], source
    )
    if table.n_rows == 0:
        raise SourceError(f"{source} has no rows.")
    return table


def schema(file: StoredFile) -> pa.Schema:
    """Return the columns of a file as it declares them.

    Raises
    ------
    SourceError
        Where it is no Parquet file, or has two columns of one name.
    """
    with _open(file) as opened:
        declared = opened.schema_arrow
    refuse_bad_names(declared.names, file)
    return declared


def n_rows(file: StoredFile) -> int:
    """Return how many rows a file has."""
    with _open(file) as opened:
        return int(opened.metadata.num_rows)


def tables(
    file: StoredFile, columns: Sequence[str], encoded: Collection[str], first: int
) -> Iterator[pa.Table]:
    """Yield some columns of a file from a row on, in tables of some ten thousand rows.

    Parameters
    ----------
    file : StoredFile
        The file.
    columns : sequence of str
        The columns, in any order; no other is touched.
    encoded : collection of str
        Columns that may come as dictionaries where they are text, and as floats where they are decimals.
    first : int
        The row to begin with; row groups before it are not touched.

    Raises
    ------
    SourceError
        Where the file is damaged.
    """
    declared = schema(file)
    texts = [name for name in columns if name in encoded and is_text(declared.field(name).type)]
    decimals = {
        name for name in columns if name in encoded and pa.types.is_decimal(declared.field(name).type)
    }
    with _open(file, read_dictionary=texts, memory_map=False) as opened:
        groups, skipped = _from_row(opened.metadata, first)
        try:
            for batch in _batches(opened, groups, columns):
                if skipped < batch.num_rows:
                    rows = batch.slice(skipped)
                    # a name with a dot in it brings others: columns are taken by name
                    arrays = [_nearest(name, rows.column(name), decimals) for name in columns]
                    yield pa.Table.from_arrays(arrays, list(columns))
                skipped = max(skipped - batch.num_rows, 0)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file} cannot be read: {error}.") from error


def _batches(
    opened: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield batches of one row group after the other: read together, all of them would stay in memory."""
    for group in groups:
        # one thread reads ahead of those that compute; Arrow's own would only take their cores
        yield from opened.iter_batches(
            _BATCH_ROWS, row_groups=[group], columns=list(columns), use_threads=False
        )


def _from_row(metadata: pq.FileMetaData, first: int) -> tuple[list[int], int]:
    """Return the row groups from the one with a row on, and how many rows of it come before."""
    group = 0
    while group < metadata.num_row_groups and first >= metadata.row_group(group).num_rows:
        first -= metadata.row_group(group).num_rows
        group += 1
    return list(range(group, metadata.num_row_groups)), first


def _nearest(name: str, column: pa.Array, decimals: Collection[str]) -> pa.Array:
    return normalise(name, pa.chunked_array([column])).array if name in decimals else column


def _typed(file: StoredFile, declared: pa.Schema, columns: Sequence[str]) -> dict[str, TypedColumn]:
    """Read some columns of a file, each freed of its first form as soon as it has its second."""
    texts = [name for name in columns if is_text(declared.field(name).type)]
    with _open(file, read_dictionary=texts) as opened:
        try:
            table = opened.read(list(columns))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file} cannot be read: {error}.") from error
    arrays = {name: table.column(name) for name in columns}  # read() also takes "a.b" for "a"
    del table
    return {name: normalise(name, arrays.pop(name)) for name in columns}


def _open(
    file: StoredFile, read_dictionary: Sequence[str] = (), *, memory_map: bool = True
) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            file.path,
            read_dictionary=list(read_dictionary),
            page_checksum_verification=True,
            **{**file.parquet_options(), **({} if memory_map else {"memory_map": False})},
        )
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is no Parquet file: {error}.") from error
