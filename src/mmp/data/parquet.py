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
    from pathlib import Path

    from mmp.data.table import TypedColumn


def read(paths: Sequence[Path], columns: Sequence[str] | None, source: str) -> Table:
    """Read Parquet files of the same columns as one table.

    Parameters
    ----------
    paths : sequence of Path
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
    schemas = {path: _schema(path) for path in paths}
    names = same_columns([(path, schema.names) for path, schema in schemas.items()])
    wanted = names if columns is None else tuple(columns)
    require(wanted, names, source)
    parts = [(path, _typed(path, schema, wanted)) for path, schema in schemas.items()]
    table = Table.of(
        [unify(name, [(path, part.pop(name)) for path, part in parts]) for name in wanted], source
    )
    if table.n_rows == 0:
        raise SourceError(f"{source} has no rows.")
    return table


def _schema(path: Path) -> pa.Schema:
    with _open(path) as file:
        schema = file.schema_arrow
    refuse_bad_names(schema.names, path)
    return schema


def _typed(path: Path, schema: pa.Schema, columns: Sequence[str]) -> dict[str, TypedColumn]:
    """Read some columns of a file, each freed of its first form as soon as it has its second."""
    texts = [name for name in columns if is_text(schema.field(name).type)]
    with _open(path, read_dictionary=texts) as file:
        try:
            table = file.read(list(columns))
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path} cannot be read: {error}.") from error
    arrays = {name: table.column(name) for name in columns}  # read() also takes "a.b" for "a"
    del table
    return {name: normalise(name, arrays.pop(name)) for name in columns}


def _open(path: Path, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            path, memory_map=True, read_dictionary=list(read_dictionary), page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is no Parquet file: {error}.") from error
