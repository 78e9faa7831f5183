"""CSV files to typed columns: the dialect, the words, and what is wrong with a file that is not one."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from mmp.data.buffers import TEXT, one_chunk, strings, valid, values
from mmp.data.encoded import HEAD_BYTES, head, not_utf8, opened, unreadable
from mmp.data.encoded import lines as lines_of
from mmp.data.names import refuse_bad_names, require, same_columns
from mmp.data.pieces import MOST_ROW_BYTES, PIECE_BYTES, end_of_csv_rows, pieces
from mmp.data.table import Table, TypedColumn
from mmp.data.words import MISSING, plain_booleans, plain_floats, plain_instants, typed
from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.data.pieces import Piece
    from mmp.data.stored import StoredFile
    from mmp.data.table import ColumnSpec

_DELIMITERS = (",", ";", "\t", "|")
_HEAD_ROWS = 20
_END = "the end"
_CHECK_QUOTES = "Check the quotes on that line; a value with a delimiter in it needs them."


@dataclass(frozen=True)
class _Dialect:
    """How a file is written: its delimiter, its header and what stands before it."""

    delimiter: str
    names: tuple[str, ...]
    n_blank_lines: int
    has_rows: bool


def read(
    files: Sequence[StoredFile], columns: Sequence[str] | None, source: str, texts: Collection[str] = ()
) -> Table:
    """Read CSV files of the same columns as one table.

    Parameters
    ----------
    files : sequence of StoredFile
        ``.csv`` or ``.csv.gz`` files; their columns may stand in any order.
    columns : sequence of str or None
        The columns to read, all for None.
    source : str
        What the user called it.
    texts : collection of str
        Columns that are text whatever their words look like.

    Returns
    -------
    Table
        Each other column typed by all of its words in all files.

    Raises
    ------
    SourceError
        Where a file is not a table: rows of different lengths, a column without name, two of one
        name, text that is not UTF-8, a broken archive, no rows.
    MissingColumnsError
        Where `columns` names some that are not there.
    """
    dialects = {file: _dialect(file) for file in files}
    names = same_columns([(file, dialect.names) for file, dialect in dialects.items()])
    wanted = names if columns is None else tuple(columns)
    require(wanted, names, source)
    for file, dialect in dialects.items():
        _refuse_open_quote(file, dialect)
    parts = [_words(file, dialect, wanted) for file, dialect in dialects.items() if dialect.has_rows]
    if sum(part.num_rows for part in parts) == 0:
        raise SourceError(f"{source} has a header and no rows.", hint="Write the data below the header.")
    table = pa.concat_tables(parts)
    words = dict(zip(wanted, table.columns, strict=True))
    del parts, table  # so that each column's words are freed as soon as they are read
    read_as = {name: _text_column if name in texts else typed for name in wanted}
    return Table.of([read_as[name](name, words.pop(name)) for name in wanted], source)


def names(file: StoredFile) -> tuple[str, ...]:
    """Return the columns of a file."""
    return _dialect(file).names


def tables(
    file: StoredFile, specs: Sequence[ColumnSpec], keys: Collection[str], start: int = 0
) -> Iterator[tuple[int, pa.Table]]:
    """Yield some columns of a file in order, in tables of some ten thousand rows.

    Parameters
    ----------
    file : StoredFile
        A ``.csv`` or ``.csv.gz`` file.
    specs : sequence of ColumnSpec
        The columns. Each comes as what its spec says where all words of a table are that, else as
        words, for `mmp.modeling.columns.coerce` to read or to refuse.
    keys : collection of str
        Columns that come as words, or as integers where the spec says so and each is written as
        integers are: nothing but the words can be lost of the others.
    start : int
        The byte to begin at: where a table began before; 0 is the header.

    Yields
    ------
    int
        The byte that the table begins at.
    Table
        The rows.

    Raises
    ------
    SourceError
        Where the file is not a table.
    """
    dialect = _dialect(file)
    if not dialect.has_rows:
        return
    with opened(file) as content:
        if start:
            content.seek(start)
        end_of_rows = partial(end_of_csv_rows, delimiter=dialect.delimiter)
        for piece in pieces(content, end_of_rows, PIECE_BYTES):
            if not piece.is_whole:
                _refuse_unending(piece, file, dialect)
            rows = _rows_of(piece, file, dialect, specs, keys)
            columns = [_as_spec(spec, rows.column(spec.name), keys) for spec in specs]
            yield piece.offset, pa.Table.from_arrays(columns, [spec.name for spec in specs])


def _refuse_unending(piece: Piece, file: StoredFile, dialect: _Dialect) -> None:
    """Refuse a file whose last row never ends, or goes on for too long."""
    if piece.content.count(b'"') % 2:
        _refuse_open_quote(file, dialect)
    if len(piece.content) > MOST_ROW_BYTES:
        raise SourceError(
            f"{file} has a row of more than {MOST_ROW_BYTES >> 20} MB at byte {piece.offset:,}.",
            hint=_CHECK_QUOTES,
        )


def _rows_of(
    piece: Piece, file: StoredFile, dialect: _Dialect, specs: Sequence[ColumnSpec], keys: Collection[str]
) -> pa.Table:
    """Read a piece: the fast way, else all as words, else without lines of blanks (see `_words`)."""
    floats = [spec.name for spec in specs if spec.kind == "float" and spec.name not in keys]
    types = dict.fromkeys(floats, pa.float64())
    types |= {spec.name: TEXT for spec in specs if spec.kind == "text" and spec.name not in keys}
    for attempt, skip_blank in ((types, False), ({}, False), ({}, True)):
        try:
            table = _parsed_piece(piece, dialect, [spec.name for spec in specs], attempt, skip_blank)
        except pa.ArrowInvalid as error:
            failure = error
            continue
        # a word such as NAN is a number to Arrow and not to us
        if not any(_has_nan(table.column(name)) for name in floats if attempt):
            return table
    raise _what_is_wrong(file, dialect, failure) from failure


def _parsed_piece(
    piece: Piece,
    dialect: _Dialect,
    columns: Sequence[str],
    types: Mapping[str, pa.DataType],
    skip_blank: bool,  # noqa: FBT001 - private
) -> pa.Table:
    # one thread reads ahead of those that compute; Arrow's own would only take their cores
    read, parse, convert = _options(dialect, columns, types, skip_blank=skip_blank, threads=False)
    content = piece.content
    if piece.offset:
        read.skip_rows = read.skip_rows_after_names = 0
        if content.startswith(codecs.BOM_UTF8):  # at the beginning of a file it is no letter
            content = b"\n" + content
    read.block_size = len(content) + 1
    return pacsv.read_csv(pa.BufferReader(content), read, parse, convert)


def _has_nan(column: pa.ChunkedArray) -> bool:
    return any(np.isnan(values(chunk)[_present(chunk)]).any() for chunk in column.chunks)


def _present(array: pa.Array) -> npt.NDArray[np.bool_] | slice:
    present = valid(array)
    return slice(None) if present is None else present


def _as_spec(spec: ColumnSpec, column: pa.ChunkedArray, keys: Collection[str]) -> pa.ChunkedArray:
    """Return words as what a spec says, or as they are."""
    if column.type != pa.string():
        return column if column.type != TEXT or not spec.digits else _filled(column, spec.digits)
    if spec.name in keys:
        return _as_written(column) if spec.kind == "integer" else column
    read = _FAST.get(spec.kind) if spec.time_format is None else None
    plain = read(column) if read else None
    if plain is not None:
        return plain
    words = one_chunk(column.dictionary_encode())
    return _filled(pa.chunked_array([words]), spec.digits) if spec.digits else pa.chunked_array([words])


def _integers(words: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return words as integers, as Python reads them, too: to Arrow, 0x1F is 31."""
    texts = (bytes(chunk.buffers()[2] or b"") for chunk in words.chunks)
    if any(b"x" in text or b"X" in text for text in texts):
        return None
    try:
        return words.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


_FAST: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray | None]] = {
    "integer": _integers,
    "float": plain_floats,
    "boolean": plain_booleans,
    "timestamp": plain_instants,
}


def _as_written(words: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return integers where writing them gives the same words again."""
    try:
        numbers = words.cast(pa.int64())
    except pa.ArrowInvalid:
        return words
    return numbers if numbers.cast(pa.string()).equals(words) else words


def _filled(column: pa.ChunkedArray, digits: int) -> pa.ChunkedArray:
    """Fill words that have lost their leading zeros, as `ColumnSpec.digits` says."""
    chunks = []
    for chunk in column.chunks:
        words = [
            word.zfill(digits) if word.isascii() and word.isdecimal() else word
            for word in chunk.dictionary.to_pylist()
        ]
        chunks.append(pa.DictionaryArray.from_arrays(chunk.indices, strings(words)))
    return pa.chunked_array(chunks, TEXT)


def _text_column(name: str, words: pa.ChunkedArray) -> TypedColumn:
    return TypedColumn.of(name, one_chunk(words.dictionary_encode()))


def _dialect(file: StoredFile) -> _Dialect:
    first, is_whole = head(file)
    marks = [mark for mark in _DELIMITERS if mark in first] or _DELIMITERS[:1]
    first_rows = {mark: list(islice(_rows(file, io.StringIO(first, ""), mark), _HEAD_ROWS)) for mark in marks}
    delimiter, rows = max(first_rows.items(), key=lambda of: _fitness(of[1]))
    if not rows:
        raise SourceError(f"{file} is empty.", hint="A CSV file starts with a line of column names.")
    line, names = rows[0]
    refuse_bad_names(names, file)
    return _Dialect(delimiter, tuple(names), line - 1, has_rows=len(rows) > 1 or not is_whole)


def _fitness(rows: Sequence[tuple[int, list[str]]]) -> tuple[bool, int]:
    """Rank a delimiter: it splits all first rows alike, and into many columns."""
    widths = [len(row) for _, row in rows] or [0]
    return len(set(widths)) == 1 and widths[0] > 1, widths[0]


def _rows(file: StoredFile, lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of the line that it starts on."""
    reader = csv.reader(lines, delimiter=delimiter)
    line = 1
    try:
        for row in reader:
            if "".join(row).strip():
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{file} has a value on line {line} that does not end: {error}.", hint=_CHECK_QUOTES
        ) from error


def _refuse_open_quote(file: StoredFile, dialect: _Dialect) -> None:
    """Refuse a file whose last value is quoted and never ends, which Arrow would read as one value."""
    with opened(file) as content:
        blocks = iter(lambda: content.read(HEAD_BYTES), b"")
        # looking for one is ten times faster than counting none
        n_quotes = sum(block.count(b'"') for block in blocks if b'"' in block)
    if n_quotes % 2 == 0:
        return
    with lines_of(file) as lines:
        last, row = max(_rows(file, chain(lines, [_END]), dialect.delimiter))
    if row != [_END]:
        raise SourceError(f"{file} has a quote on line {last} that is not closed.", hint=_CHECK_QUOTES)


def _words(file: StoredFile, dialect: _Dialect, columns: Sequence[str]) -> pa.Table:
    # A line of nothing but blanks is skipped, and only a function of ours can say so. Arrow's threads
    # let go of it when they please, and at the end of the process that aborts it: so it is given only
    # where it is needed, and to a reader without threads.
    try:
        try:
            return _parsed(file, dialect, columns)
        except pa.ArrowInvalid:
            return _parsed(file, dialect, columns, skip_blank=True)
    except pa.ArrowInvalid as error:
        raise _what_is_wrong(file, dialect, error) from error
    except OSError as error:
        raise unreadable(file, error) from error


def _parsed(
    file: StoredFile, dialect: _Dialect, columns: Sequence[str], *, skip_blank: bool = False
) -> pa.Table:
    return pacsv.read_csv(
        file.stream(), *_options(dialect, columns, {}, skip_blank=skip_blank, threads=not skip_blank)
    )


def _options(
    dialect: _Dialect,
    columns: Sequence[str],
    types: Mapping[str, pa.DataType],
    *,
    skip_blank: bool,
    threads: bool,
) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
    return (
        pacsv.ReadOptions(
            column_names=dialect.names,
            skip_rows=dialect.n_blank_lines,
            skip_rows_after_names=1,
            block_size=PIECE_BYTES,
            use_threads=threads,
        ),
        pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            newlines_in_values=True,
            invalid_row_handler=_skip_blank if skip_blank else None,
        ),
        pacsv.ConvertOptions(
            column_types={**dict.fromkeys(columns, pa.string()), **types},
            include_columns=columns,
            null_values=MISSING,
            strings_can_be_null=True,
        ),
    )


def _skip_blank(row: pacsv.InvalidRow) -> str:
    return "error" if row.text.strip() else "skip"


def _what_is_wrong(file: StoredFile, dialect: _Dialect, error: pa.ArrowInvalid) -> SourceError:
    """Return the error that names the line, which Arrow's own does not."""
    if "UTF8" in str(error):
        return not_utf8(file)
    expected = len(dialect.names)
    with lines_of(file) as lines:
        for line, row in _rows(file, lines, dialect.delimiter):
            if len(row) != expected:
                return SourceError(
                    f"{file} has {len(row)} values on line {line}, but {expected} columns.",
                    hint=_CHECK_QUOTES,
                )
    return SourceError(f"{file} cannot be read as CSV: {error}.")
