"""Tables read in order and in pieces, from any row on: memory does not grow with their rows.

A model knows what its columns are, so nothing is read twice to find out: the words of a CSV file become
what training made of them, and declared types stay what they are for `mmp.modeling.columns.coerce`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

from mmp.data import delimited, files, json_lines, parquet
from mmp.data.names import same_columns
from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmp.data.stored import StoredFile
    from mmp.data.table import ColumnSpec

_END_BYTES = 1 << 16
_READERS = {"csv": delimited, "jsonl": json_lines}


class Mark(NamedTuple):
    """A row that reading can begin at, without those before it.

    Parameters
    ----------
    row : int
        Its position in the whole table, from 0.
    file : int
        Position of its file.
    offset : int
        The byte of that file.
    """

    row: int
    file: int
    offset: int


BEGINNING = Mark(0, 0, 0)


class Block(NamedTuple):
    """Some neighbouring rows of a table.

    Parameters
    ----------
    first : int
        Position of the first of them in the whole table, from 0.
    table : pyarrow.Table
        The rows.
    mark : Mark
        Where to begin to read what comes after them, or some rows before that.
    """

    first: int
    table: pa.Table
    mark: Mark


class Batches(Protocol):
    """A table that is read in order."""

    @property
    def source(self) -> str:
        """What the user called it."""

    @property
    def schema(self) -> pa.Schema:
        """All of its columns; the declared types of those that are passed on as they are."""

    @property
    def n_rows(self) -> int | None:
        """How many rows, where that is known before they are read."""

    @property
    def identity(self) -> list[Any]:
        """What changes when the rows do, as JSON has it."""

    def tables(self, columns: Sequence[str], first: int, mark: Mark) -> Iterator[tuple[Mark, pa.Table]]:
        """Yield some columns of the rows from one on, in tables of any length.

        Each comes with a mark at its first row or before; `mark` is one at `first` or before.
        """

    def about(self, mark: Mark) -> int | None:
        """Return how many rows there are, as far as that can be told at a mark."""

    def resumed(self, mark: Mark) -> str:
        """Say how reading goes on at a mark, where that is worth a word."""


@dataclass(frozen=True)
class ParquetBatches:
    """Parquet files, one after the other."""

    source: str
    files: Sequence[StoredFile]
    schema: pa.Schema
    encoded: frozenset[str]
    n_rows: int | None
    digest: str = ""

    @property
    def identity(self) -> list[Any]:
        """The files, their sizes, times and ends; or the digest, where it is known."""
        return [self.digest] if self.digest else [_identity(file) for file in self.files]

    def tables(self, columns: Sequence[str], first: int, mark: Mark) -> Iterator[tuple[Mark, pa.Table]]:
        """Yield some columns of the rows from one on; row groups before it are not touched."""
        for file in self.files:
            n_rows = parquet.n_rows(file)
            if first < n_rows:
                for table in parquet.tables(file, columns, self.encoded, max(first, 0)):
                    yield mark, table
            first -= n_rows

    def about(self, mark: Mark) -> int | None:  # noqa: ARG002 - the files say it
        """Return how many rows there are."""
        return self.n_rows

    def resumed(self, mark: Mark) -> str:  # noqa: ARG002 - any row can be gone to
        """Say nothing."""
        return ""


@dataclass(frozen=True)
class TextBatches:
    """CSV files or JSON lines, zipped or not, one after the other."""

    source: str
    files: Sequence[StoredFile]
    schema: pa.Schema
    specs: Mapping[str, ColumnSpec]
    keys: frozenset[str]
    n_rows: int | None = None

    @property
    def identity(self) -> list[Any]:
        """The files, their sizes, times and ends."""
        return [_identity(file) for file in self.files]

    def tables(self, columns: Sequence[str], first: int, mark: Mark) -> Iterator[tuple[Mark, pa.Table]]:
        """Yield some columns of the rows from one on; those between the mark and it are passed over."""
        specs = [self.specs[name] for name in columns]
        row, start = mark.row, mark.offset
        for number, file in enumerate(self.files[mark.file :], mark.file):
            at = Mark(row, number, 0)
            for offset, table in _READERS[file.kind].tables(file, specs, self.keys, start):
                if file.is_plain:
                    at = Mark(row, number, offset)
                if first < row + table.num_rows:
                    yield at, table.slice(max(first - row, 0))
                row += table.num_rows
            start = 0

    def about(self, mark: Mark) -> int | None:
        """Return how many rows there are, if those to come are as long as those before the mark."""
        if not mark.row or not all(file.is_plain for file in self.files):
            return None
        return round(mark.row * sum(self._sizes) / (sum(self._sizes[: mark.file]) + mark.offset))

    def resumed(self, mark: Mark) -> str:
        """Say that a compressed file is read again."""
        file = self.files[mark.file]
        return "" if file.is_plain else f"{file} is compressed, and read again from its beginning"

    @cached_property
    def _sizes(self) -> list[int]:
        return [file.state()[0] for file in self.files]


def open_files(
    source: str,
    inputs: Sequence[ColumnSpec],
    keys: Sequence[ColumnSpec] = (),
    storage_options: Mapping[str, Any] | None = None,
) -> Batches:
    """Open files to be read in order.

    Parameters
    ----------
    source : str
        What `mmp.data.files.read` takes.
    inputs : sequence of ColumnSpec
        The columns that a model reads.
    keys : sequence of ColumnSpec
        Columns whose values are passed on as they are. In a file of text they are text, or integers
        where `ColumnSpec` says so.
    storage_options : Mapping, optional
        Credentials and the like for a bucket.

    Raises
    ------
    SourceError
        There is no such file, it cannot be read, files of one source have other columns, or a key
        is not of one type in all of them.
    """
    found = files.find(source, storage_options=storage_options)
    if found[0].kind == "parquet":
        schemas = [(file, parquet.schema(file)) for file in found]
        same_columns([(file, schema.names) for file, schema in schemas])
        _refuse_other_types(schemas, keys)
        encoded = frozenset({spec.name for spec in inputs} - {spec.name for spec in keys})
        n_rows = sum(parquet.n_rows(file) for file in found)
        return ParquetBatches(source, found, schemas[0][1], encoded, n_rows)
    names = _names(found)
    specs = {spec.name: spec for spec in (*inputs, *keys)}
    integers = {spec.name for spec in keys if spec.kind == "integer"}
    schema = pa.schema([(name, pa.int64() if name in integers else pa.string()) for name in names])
    return TextBatches(source, found, schema, specs, frozenset(spec.name for spec in keys))


def _names(found: Sequence[StoredFile]) -> tuple[str, ...]:
    if found[0].kind == "jsonl":  # what a line does not say is missing in it
        return tuple(dict.fromkeys(name for file in found for name in json_lines.names(file)))
    return same_columns([(file, delimited.names(file)) for file in found])


def blocks(
    batches: Batches, columns: Sequence[str], *, first: int, mark: Mark, most_rows: int, part_rows: int
) -> Iterator[Block]:
    """Yield rows in blocks that are worth a call, none of them across the border of a part.

    Parameters
    ----------
    batches : Batches
        Where they come from.
    columns : sequence of str
        The columns to read.
    first : int
        The row to begin with.
    mark : Mark
        A mark at that row or before.
    most_rows : int
        Rows of a block at most.
    part_rows : int
        A border is where the position is a multiple of it.
    """
    waiting: list[pa.Table] = []
    n_waiting = 0
    for at, table in _cut(batches.tables(columns, first, mark), first, most_rows, part_rows):
        is_border = n_waiting and (first + n_waiting) % part_rows == 0
        is_full = n_waiting + table.num_rows > most_rows
        # one that could not be read the same way has other types, and stays by itself
        if is_border or is_full or (waiting and waiting[0].schema != table.schema):
            yield Block(first, pa.concat_tables(waiting), mark)
            first += n_waiting
            waiting, n_waiting = [], 0
        waiting.append(table)
        n_waiting += table.num_rows
        mark = at
    if waiting:
        yield Block(first, pa.concat_tables(waiting), mark)


def _cut(
    tables: Iterator[tuple[Mark, pa.Table]], position: int, most_rows: int, part_rows: int
) -> Iterator[tuple[Mark, pa.Table]]:
    """Yield tables of at most so many rows that end at the border of each part."""
    for mark, table in tables:
        done = 0
        while done < table.num_rows:
            n_rows = min(most_rows, part_rows - position % part_rows, table.num_rows - done)
            yield mark, table.slice(done, n_rows)
            done += n_rows
            position += n_rows


def _refuse_other_types(schemas: Sequence[tuple[StoredFile, pa.Schema]], keys: Sequence[ColumnSpec]) -> None:
    first, expected = schemas[0]
    for file, schema in schemas[1:]:
        for name in (spec.name for spec in keys if spec.name in expected.names):
            if schema.field(name).type != expected.field(name).type:
                raise SourceError(
                    f"The key column '{name}' is {expected.field(name).type} in {first} and "
                    f"{schema.field(name).type} in {file}.",
                    hint="Write all files with the same types.",
                )


def _identity(file: StoredFile) -> dict[str, Any]:
    n_bytes, modified_ns = file.state()
    hasher = hashlib.sha256()
    with file.open() as content:
        hasher.update(content.read(_END_BYTES))
        content.seek(max(n_bytes - _END_BYTES, 0))
        hasher.update(content.read(_END_BYTES))
    return {"file": str(file), "bytes": n_bytes, "modified_ns": modified_ns, "ends": hasher.hexdigest()}
