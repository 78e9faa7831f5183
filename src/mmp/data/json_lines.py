"""Files of JSON lines: an object a line, its keys the columns, its values exactly what JSON says they are.

They are read by Python: Arrow's own reader makes floats of integers past 64 bits and times of texts, takes
several objects on a line, and ends the process at a line that says ``null``.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from mmp.data.arrow import normalise
from mmp.data.buffers import strings, wrap
from mmp.data.encoded import HEAD_BYTES, head, not_utf8, opened
from mmp.data.names import refuse_bad_names, require
from mmp.data.pieces import MOST_ROW_BYTES, PIECE_BYTES, end_of_lines, pieces
from mmp.data.table import Table, TypedColumn
from mmp.data.words import times, typed
from mmp.errors import SourceError
from mmp.settings import json_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import numpy.typing as npt

    from mmp.data.pieces import Piece
    from mmp.data.stored import StoredFile
    from mmp.data.table import ColumnSpec

_EXACT = 2**53
_BIG = pa.decimal256(76, 0)
_NESTED: dict[type, str] = {list: "a list", dict: "an object"}
_HINT = 'Each line is an object of plain values: {"age": 31, "city": "Bonn"}'


class _Lines(NamedTuple):
    """The objects of a piece, and on which of its lines each stands."""

    objects: list[dict[str, Any]]
    places: list[int]


def read(
    files: Sequence[StoredFile], columns: Sequence[str] | None, source: str, texts: Collection[str] = ()
) -> Table:
    """Read files of JSON lines as one table.

    A key that a line lacks is a missing value there, as null is. Numbers, booleans and texts are what they
    are; a column of texts is times where each is one, and a column of several kinds is read by its words.

    Parameters
    ----------
    files : sequence of StoredFile
        ``.jsonl`` or ``.jsonl.gz`` files.
    columns : sequence of str or None
        The columns to read, all for None.
    source : str
        What the user called it.
    texts : collection of str
        Columns whose texts are no times, whatever they look like.

    Raises
    ------
    SourceError
        Where a line is no object, has a key twice, or holds a list or an object; where there are no rows.
    MissingColumnsError
        Where `columns` names some that no line has.
    """
    names: dict[str, None] = {}
    parts: list[tuple[int, dict[str, pa.Array]]] = []
    for file in files:
        for piece in _pieces(file):
            lines = _parsed(piece, file)
            there = dict.fromkeys(chain.from_iterable(lines.objects))
            names |= there
            wanted = [name for name in (there if columns is None else columns) if name in there]
            arrays = {name: _array(_values(name, lines, piece, file)) for name in wanted}
            parts.append((len(lines.objects), arrays))
    if not sum(n_rows for n_rows, _ in parts):
        raise SourceError(f"{source} has no rows.", hint=_HINT)
    refuse_bad_names(list(names), source)
    require(names if columns is None else columns, tuple(names), source)
    made = []
    for name in names if columns is None else columns:
        chunks = [arrays.pop(name, None) for _, arrays in parts]
        filled = [
            pa.nulls(n_rows) if chunk is None else chunk
            for chunk, (n_rows, _) in zip(chunks, parts, strict=True)
        ]
        made.append(_typed(name, filled, is_text=name in texts))
    return Table.of(made, source)


def names(file: StoredFile) -> tuple[str, ...]:
    """Return the keys of the first lines of a file.

    Raises
    ------
    SourceError
        It is empty, or no JSON lines.
    """
    head(file)  # refuses what is no UTF-8
    with opened(file) as content:
        first = next(pieces(content, end_of_lines, HEAD_BYTES), None)
    found = [] if first is None else list(dict.fromkeys(chain.from_iterable(_parsed(first, file).objects)))
    if not found:
        raise SourceError(f"{file} is empty.", hint=_HINT)
    refuse_bad_names(found, file)
    return tuple(found)


def tables(
    file: StoredFile, specs: Sequence[ColumnSpec], keys: Collection[str], start: int = 0
) -> Iterator[tuple[int, pa.Table]]:
    """Yield some columns of a file in order, in tables of some ten thousand rows.

    Parameters
    ----------
    file : StoredFile
        A ``.jsonl`` or ``.jsonl.gz`` file.
    specs : sequence of ColumnSpec
        The columns. Values come as they are, of several kinds where they are that, for
        `mmp.modeling.columns.coerce` to read or to refuse.
    keys : collection of str
        Columns that come as words, or as integers where the spec says so and each is one.
    start : int
        The byte to begin at: where a table began before.

    Yields
    ------
    int
        The byte that the table begins at.
    Table
        The rows.

    Raises
    ------
    SourceError
        As of `read`.
    """
    for piece in _pieces(file, start):
        lines = _parsed(piece, file)
        arrays = [
            _key(spec, values) if spec.name in keys else _array(values)
            for spec in specs
            for values in [_values(spec.name, lines, piece, file)]
        ]
        yield piece.offset, pa.Table.from_arrays(arrays, [spec.name for spec in specs])


def _pieces(file: StoredFile, start: int = 0) -> Iterator[Piece]:
    with opened(file) as content:
        if start:
            content.seek(start)
        for piece in pieces(content, end_of_lines, PIECE_BYTES):
            if not piece.is_whole and len(piece.content) > MOST_ROW_BYTES:
                raise SourceError(
                    f"{file} has a line of more than {MOST_ROW_BYTES >> 20} MB at byte {piece.offset:,}.",
                    hint=_HINT,
                )
            yield piece


def _parsed(piece: Piece, file: StoredFile) -> _Lines:
    try:
        text = piece.content.decode("utf-8" if piece.offset else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(file) from error
    lines = _Lines([], [])
    for place, line in enumerate(text.split("\n")):
        if not line or line.isspace():
            continue
        try:
            value = json_text.parse(line)
            if "\\u" in line:
                json.dumps(value, ensure_ascii=False).encode()  # half of a character is no text
        except (ValueError, RecursionError) as error:
            raise _bad_line(file, piece, place, f"is no JSON object: {error}") from error
        if not isinstance(value, dict):
            raise _bad_line(file, piece, place, f"is no JSON object: {line.strip()[:40]}")
        lines.objects.append(value)
        lines.places.append(place)
    return lines


def _values(name: str, lines: _Lines, piece: Piece, file: StoredFile) -> list[Any]:
    values = [row.get(name) for row in lines.objects]
    if nested := _NESTED.keys() & set(map(type, values)):
        row = next(row for row, value in enumerate(values) if type(value) in nested)
        reason = f"holds {_NESTED[type(values[row])]} for {name!r}, and a column has one value a row"
        raise _bad_line(file, piece, lines.places[row], reason)
    return values


def _bad_line(file: StoredFile, piece: Piece, place: int, reason: str) -> SourceError:
    number, left = place + 1, piece.offset
    with opened(file) as content:
        while block := content.read(min(left, PIECE_BYTES)):
            number, left = number + block.count(b"\n"), left - len(block)
    return SourceError(f"Line {number:,} of {file} {reason}.", hint=_HINT)


def _array(values: Sequence[Any]) -> pa.Array:
    """Return values as an Arrow array that gives them back as they are."""
    types = set(map(type, values)) - {type(None)}
    if types == {str}:
        return strings(values)
    if types == {bool}:
        return _fixed(values, np.bool_, pa.bool_())
    if types == {int}:
        try:
            return _fixed(values, np.int64, pa.int64())
        except OverflowError:
            return _big(values)
    if types <= {int, float} and all(type(v) is not int or -_EXACT <= v <= _EXACT for v in values):
        return _fixed(values, np.float64, pa.float64()) if types else pa.nulls(len(values))
    return _mixed(values)


def _fixed(values: Sequence[Any], dtype: npt.DTypeLike, type_: pa.DataType) -> pa.Array:
    if None not in values:
        return wrap(np.array(values, dtype), type_)
    present = np.fromiter((value is not None for value in values), np.bool_, len(values))
    return wrap(np.array([0 if value is None else value for value in values], dtype), type_, present)


def _big(values: Sequence[int | None]) -> pa.Array:
    words = strings([_word(value) for value in values])
    try:
        return words.cast(_BIG)
    except pa.ArrowInvalid:  # to Arrow, no number has more digits
        return words


def _mixed(values: Sequence[Any]) -> pa.Array:
    """Return values of several kinds as a union, which `mmp.modeling.columns` reads one by one."""
    kinds = [type(value) for value in values if value is not None]
    codes = {kind: code for code, kind in enumerate(dict.fromkeys(kinds))}
    of_values = np.fromiter((codes.get(type(value), 0) for value in values), np.int8, len(values))
    offsets, children = np.zeros(len(values), np.int32), []
    for code in codes.values():
        places = np.flatnonzero(of_values == code)
        offsets[places] = np.arange(len(places))
        children.append(_array([values[place] for place in places.tolist()]))
    return pa.UnionArray.from_dense(wrap(of_values, pa.int8()), wrap(offsets, pa.int32()), children)


def _key(spec: ColumnSpec, values: Sequence[Any]) -> pa.Array:
    made = _array(values)
    is_kept = made.type == pa.string() or (spec.kind == "integer" and made.type == pa.int64())
    return made if is_kept else strings([_word(value) for value in values])


def _word(value: Any) -> str | None:
    """Return a value as JSON writes it, a text as it is."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(name: str, chunks: Sequence[pa.Array], *, is_text: bool) -> TypedColumn:
    types = {chunk.type for chunk in chunks if not pa.types.is_null(chunk.type)}
    if types <= {pa.int64(), pa.float64()}:
        target = pa.int64() if types == {pa.int64()} else pa.float64()
        return normalise(name, pa.chunked_array([chunk.cast(target, safe=False) for chunk in chunks], target))
    if types in ({pa.bool_()}, {pa.string()}):
        (target,) = types
        column = normalise(name, pa.chunked_array([chunk.cast(target) for chunk in chunks], target))
        return column if is_text or target != pa.string() else times(column) or column
    words = [strings([_word(value) for value in chunk.to_pylist()]) for chunk in chunks]
    return typed(name, pa.chunked_array(words))
