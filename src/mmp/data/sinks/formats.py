"""How tables become files: written one by one, and joined without another look at their values."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mmp.data.arrow import is_text
from mmp.data.buffers import no_rows, strings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    Write = Callable[[Path, Sequence[pa.Table], pa.Schema], None]

_COPIED_BYTES = 1 << 20
_CSV_ROWS = 1 << 14


@dataclass(frozen=True)
class Format:
    """A format of output files.

    Parameters
    ----------
    suffix : str
        What their names end in.
    write : callable
        Writes tables of a schema to a file for others to read.
    write_part : callable
        Writes them to a file that is only joined with its neighbours.
    join : callable
        Writes such files, one after the other, to one for others to read.
    """

    suffix: str
    write: Write
    write_part: Write
    join: Callable[[Path, Iterable[Path], pa.Schema], None]


def _write_parquet(path: Path, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    with _parquet_writer(path, schema) as writer:
        _write_row_group(writer, tables, schema)


def _write_arrow(path: Path, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _join_parquet(path: Path, parts: Iterable[Path], schema: pa.Schema) -> None:
    with _parquet_writer(path, schema) as writer:
        for part in parts:
            with pa.OSFile(str(part)) as file, pa.ipc.open_file(file) as opened:
                _write_row_group(writer, [opened.read_all()], schema)


def _write_row_group(writer: pq.ParquetWriter, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    # in one piece: how its pages lie must not depend on the pieces that it came in
    table = pa.concat_tables([no_rows(schema), *tables]).combine_chunks()
    if table.num_rows:
        writer.write_table(table, row_group_size=table.num_rows)


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [each.name for each in schema if is_text(each.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="snappy",
        use_dictionary=texts,  # numbers hardly repeat
        write_page_checksum=True,
    )


def _write_csv(path: Path, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    _write_csv_tables(path, tables, schema, has_header=True)


def _write_csv_rows(path: Path, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    _write_csv_tables(path, tables, schema, has_header=False)


def _write_csv_tables(path: Path, tables: Sequence[pa.Table], schema: pa.Schema, *, has_header: bool) -> None:
    with _csv_writer(path, schema, has_header=has_header) as writer:
        for table in tables:
            writer.write_table(_flat(table))


def _join_csv(path: Path, parts: Iterable[Path], schema: pa.Schema) -> None:
    with _csv_writer(path, schema, has_header=True):
        pass
    _append(path, parts)


def _csv_writer(path: Path, schema: pa.Schema, *, has_header: bool) -> pacsv.CSVWriter:
    options = pacsv.WriteOptions(include_header=has_header, quoting_style="needed", batch_size=_CSV_ROWS)
    return pacsv.CSVWriter(path, _flat(no_rows(schema)).schema, write_options=options)


def _flat(table: pa.Table) -> pa.Table:
    """Return a table with JSON for lists, which CSV does not have."""
    for position, each in enumerate(table.schema):
        if pa.types.is_list(each.type):
            lists = table.column(position).to_pylist()
            texts = [json.dumps(cells, ensure_ascii=False) for cells in lists]
            table = table.set_column(position, each.name, strings(texts))
    return table


def _write_json(path: Path, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            columns = [map(_plain, column.to_pylist()) for column in table.columns]
            for row in zip(*columns, strict=True):
                file.write(json.dumps(dict(zip(schema.names, row, strict=True)), ensure_ascii=False) + "\n")


def _join_json(path: Path, parts: Iterable[Path], schema: pa.Schema) -> None:
    path.touch()
    _append(path, parts)


def _append(path: Path, parts: Iterable[Path]) -> None:
    with path.open("ab") as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole, _COPIED_BYTES)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, times as ISO 8601."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str | list) else str(value)


FORMATS = {
    "parquet": Format(".parquet", _write_parquet, _write_arrow, _join_parquet),
    "csv": Format(".csv", _write_csv, _write_csv_rows, _join_csv),
    "json": Format(".jsonl", _write_json, _write_json, _join_json),
}
"""By what `output.inference.config.file_format` calls them."""

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json", ".ndjson": "json"}
"""What the name of an output may end in, and the format that it means."""
