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
    from collections.abc import Sequence

    from mmp.data.stored import StoredFile
    from mmp.data.table import TypedColumn


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
    schemas = {file: _schema(file) for file in files}
    names = same_columns([(file, schema.names) for file, schema in schemas.items()])
    wanted = names if columns is None else tuple(columns)
    require(wanted, names, source)
    parts = [(file, _typed(file, schema, wanted)) for file, schema in schemas.items()]
    table = Table.of(
        [unify(name, [(file, part.pop(name)) for file, part in parts]) for name in wanted], source
    )
    if table.n_rows == 0:
        raise SourceError(f"{source} has no rows.")
    return table


def _schema(file: StoredFile) -> pa.Schema:
    with _open(file) as opened:
        schema = opened.schema_arrow
    refuse_bad_names(schema.names, file)
    return schema


def _typed(file: StoredFile, schema: pa.Schema, columns: Sequence[str]) -> dict[str, TypedColumn]:
    """Read some columns of a file, each freed of its first form as soon as it has its second."""
    texts = [name for name in columns if is_text(schema.field(name).type)]
    with _open(file, read_dictionary=texts) as opened:
        try:
            table = opened.read(list(columns))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file} cannot be read: {error}.") from error
    arrays = {name: table.column(name) for name in columns}  # read() also takes "a.b" for "a"
    del table
    return {name: normalise(name, arrays.pop(name)) for name in columns}


def _open(file: StoredFile, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            file.path,
            read_dictionary=list(read_dictionary),
            page_checksum_verification=True,
            **file.parquet_options(),
        )
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is no Parquet file: {error}.") from error
