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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_COPIED_BYTES = 1 << 20


@dataclass(frozen=True)
class Format:
    """A format of output files.

    Parameters
    ----------
    suffix : str
        What their names end in.
    write : callable
        Takes a path, a table, and whether the file is for others to read; else it is a part of one
        that is joined later.
    join : callable
        Takes a path, the files of parts in order, and their schema.
    """

    suffix: str
    write: Callable[[Path, pa.Table, bool], None]
    join: Callable[[Path, Sequence[Path], pa.Schema], None]


def _write_parquet(path: Path, table: pa.Table, is_final: bool) -> None:  # noqa: FBT001 - a row of a table
    with _parquet_writer(path, table.schema, "zstd" if is_final else "none") as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))


def _join_parquet(path: Path, parts: Sequence[Path], schema: pa.Schema) -> None:
    with _parquet_writer(path, schema, "zstd") as writer:
        for part in parts:
            with pq.ParquetFile(part) as opened:
                table = opened.read(use_threads=False)
            if table.num_rows:
                writer.write_table(table.cast(schema), row_group_size=table.num_rows)


def _parquet_writer(path: Path, schema: pa.Schema, compression: str) -> pq.ParquetWriter:
    texts = [each.name for each in schema if is_text(each.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression=compression,
        compression_level=1 if compression == "zstd" else None,
        use_dictionary=texts,  # numbers hardly repeat
        write_page_checksum=True,
    )


def _write_csv(path: Path, table: pa.Table, is_final: bool) -> None:  # noqa: FBT001 - a row of a table
    pacsv.write_csv(table, path, pacsv.WriteOptions(include_header=is_final, quoting_style="needed"))


def _join_csv(path: Path, parts: Sequence[Path], schema: pa.Schema) -> None:
    pacsv.write_csv(schema.empty_table(), path, pacsv.WriteOptions(quoting_style="needed"))
    _join_lines(path, parts, schema, mode="ab")


def _write_json(path: Path, table: pa.Table, is_final: bool) -> None:  # noqa: FBT001 - a row of a table
    names = table.column_names
    columns = [map(_plain, column.to_pylist()) for column in table.columns]
    with path.open("w", encoding="utf-8") as file:
        for row in zip(*columns, strict=True):
            file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")


def _join_lines(path: Path, parts: Sequence[Path], schema: pa.Schema, mode: str = "wb") -> None:
    with path.open(mode) as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole, _COPIED_BYTES)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, times as ISO 8601."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str | list) else str(value)


FORMATS = {
    "parquet": Format(".parquet", _write_parquet, _join_parquet),
    "csv": Format(".csv", _write_csv, _join_csv),
    "json": Format(".jsonl", _write_json, _join_lines),
}
"""By what `output.inference.config.file_format` calls them."""

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".json": "json", ".ndjson": "json"}
"""What the name of an output may end in, and the format that it means."""
