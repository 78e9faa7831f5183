"""Running ops over columns.

What depends on one text column alone is computed once for each distinct text and gathered by code; where
texts are few, as those of a request, it is remembered for the next.
Everything else runs in blocks of rows that stay in the cache and is written straight into the matrix,
so that no more than a block of anything in between exists.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmp.modeling.columns import Column, as_float

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.modeling.columns import Columns, Rows
    from mmp.modeling.ops import Op

    Kinds = Mapping[str, Kind]

Dtype = Literal["float32", "float64"]

_BLOCK_ROWS = 16_384
_FEW_TEXTS = 1_000
_MOST_TEXTS = 10_000
_LONGEST_TEXT = 100  # whoever sends texts decides on their length, and ten thousand are kept


def _text_bases(ops: Sequence[Op], kinds: Kinds) -> dict[str, str]:
    """Return, for each variable that depends on one text column alone, that column."""
    bases = {name: name for name, kind in kinds.items() if kind == "text"}
    for op in ops:
        of = {bases.get(source) for source in op.sources}
        base = of.pop() if len(of) == 1 and op.by_text else None
        if base is not None:
            bases.update(dict.fromkeys(op.targets, base))
    return bases


@dataclass(frozen=True)
class _Texts:
    """What depends on one text column alone: a row for each distinct text, and a last one for missing."""

    codes: npt.NDArray[Any]
    distinct: dict[str, Column]

    @classmethod
    def of(cls, name: str, column: Column) -> _Texts:
        codes, vocabulary = column.values, column.vocabulary
        used = np.bincount(codes + 1, minlength=len(vocabulary) + 1)[1:] > 0
        if not used.all():
            position = np.append(np.cumsum(used) - 1, -1).astype(np.int32)
            codes = position[codes]
            vocabulary = tuple(vocabulary[code] for code in np.flatnonzero(used).tolist())
        return cls.each(name, codes, vocabulary)

    @classmethod
    def each(cls, name: str, codes: npt.NDArray[Any], vocabulary: tuple[str, ...]) -> _Texts:
        rows = np.arange(len(vocabulary) + 1, dtype=np.int32)
        rows[-1] = -1
        return cls(codes, {name: Column("text", rows, rows >= 0, vocabulary)})

    def column(self, variable: str, rows: Rows) -> Column:
        return self.distinct[variable].take(self.codes[rows])


def ops_for(ops: Sequence[Op], variables: Iterable[str]) -> list[Op]:
    """Return the ops that the variables need, in order."""
    wanted = set(variables)
    needed = []
    for op in reversed(ops):
        if wanted.intersection(op.targets):
            needed.append(op)
            wanted.update(op.sources)
    return needed[::-1]


def evaluate(ops: Sequence[Op], variable: str, columns: Columns) -> Column:
    """Compute one variable for all rows."""
    if variable in columns:
        return columns[variable]
    program = Program.of(ops, [variable], _kinds(columns))
    texts, everything = program.spread(columns), slice(None)
    if variable in program.bases:
        return texts[program.bases[variable]].column(variable, everything)
    return program.block(columns, texts, everything)[variable]


def assemble(ops: Sequence[Op], features: Sequence[str], columns: Columns, dtype: Dtype) -> npt.NDArray[Any]:
    """Compute variables for all rows, block by block, into one matrix."""
    return Program.of(ops, features, _kinds(columns)).run(columns, dtype)


def _kinds(columns: Columns) -> dict[str, Kind]:
    return {name: column.kind for name, column in columns.items()}


def _are_few(texts: tuple[str, ...]) -> bool:
    """Tell whether texts are worth remembering, and no burden."""
    return len(texts) <= _FEW_TEXTS and max(map(len, texts), default=0) <= _LONGEST_TEXT


class _Memory:
    """What was made of the texts of a column so far: a row for each, and the first for a missing one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[dict[str, int], npt.NDArray[np.float64] | None] = {}, None

    def table(
        self, column: Column, make: Callable[[tuple[str, ...]], npt.NDArray[np.float64]]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """Return the place of each row of a column, and the table that they are in.

        Parameters
        ----------
        column : Column
            Text.
        make : callable
            Makes the rows of texts, and a last one for a missing one.
        """
        places, table = self._known
        if table is None or not places.keys() >= set(column.vocabulary):
            places, table = self._learned(column, make)
        found = [places.get(text, 0) for text in column.vocabulary]  # one that no row has may be unknown
        return np.array([*found, 0], np.intp)[column.values], table

    def _learned(
        self, column: Column, make: Callable[[tuple[str, ...]], npt.NDArray[np.float64]]
    ) -> tuple[dict[str, int], npt.NDArray[np.float64]]:
        with self._lock:
            places, table = self._known
            used = np.unique(column.values[column.values >= 0]).tolist()
            if len(places) + len(used) > _MOST_TEXTS:
                places, table = {}, None
            new = tuple(text for code in used if (text := column.vocabulary[code]) not in places)
            made = make(new)
            table = np.concatenate((made[-1:] if table is None else table, made[:-1]))
            places = places | {text: len(places) + 1 + place for place, text in enumerate(new)}
            self._known = places, table
            return places, table


@dataclass(frozen=True, eq=False)
class Program:
    """What is to be done for some variables, worked out before there are rows.

    Parameters
    ----------
    by_text : tuple of (str, Op)
        What depends on a text column alone, and that column; in order.
    by_row : tuple of Op
        What is left, in order.
    bases : mapping of str to str
        By variable, the text column that it depends on alone.
    read : frozenset of str
        What the ops by row read that they do not make, and the variables among it.
    gathers : tuple of (slice, str, tuple of str)
        Neighbouring variables of one text column: where they stand, the column, and they.
    copies : mapping of int to str
        The others, by where they stand.
    memories : mapping of int to _Memory
        By where they stand, those gathers of a column of which nothing else is read.
    """

    by_text: tuple[tuple[str, Op], ...]
    by_row: tuple[Op, ...]
    bases: Mapping[str, str]
    read: frozenset[str]
    gathers: tuple[tuple[slice, str, tuple[str, ...]], ...]
    copies: Mapping[int, str]
    memories: Mapping[int, _Memory]

    @classmethod
    def of(cls, ops: Sequence[Op], variables: Sequence[str], kinds: Kinds) -> Program:
        """Work out what variables need, of columns of these kinds."""
        needed = ops_for(ops, variables)
        bases = _text_bases(needed, {name: kinds[name] for name in _read(needed, variables, kinds)})
        by_row = tuple(op for op in needed if op.targets[0] not in bases)
        gathers, copies = _sources(variables, bases)
        read = frozenset(_read(by_row, copies.values(), kinds, bases))
        kept = {bases[name] for name in read if name in bases}
        return cls(
            tuple((bases[op.targets[0]], op) for op in needed if op.targets[0] in bases),
            by_row,
            bases,
            read,
            gathers,
            copies,
            {span.start: _Memory() for span, base, _ in gathers if base not in kept},
        )

    def run(self, columns: Columns, dtype: Dtype) -> npt.NDArray[Any]:
        """Compute the variables for all rows, block by block, into one matrix."""
        n_rows = len(next(iter(columns.values()))) if columns else 0
        out = np.empty((n_rows, len(self.copies) + sum(len(names) for _, _, names in self.gathers)), dtype)
        remembered = {
            base: columns[base]
            for span, base, _ in self.gathers
            if span.start in self.memories and _are_few(columns[base].vocabulary)
        }
        texts = self.spread({name: columns[name] for name in columns if name not in remembered})
        tables = [
            (span, *self.memories[span.start].table(remembered[base], partial(self._made, base, names)))
            if base in remembered
            else (span, texts[base].codes, _table(texts[base], names))
            for span, base, names in self.gathers
        ]
        for first in range(0, n_rows, _BLOCK_ROWS):
            rows = slice(first, first + _BLOCK_ROWS)
            block = self.block(columns, texts, rows)
            with np.errstate(over="ignore"):
                for span, codes, table in tables:
                    out[rows, span] = table[codes[rows]]
                for position, variable in self.copies.items():
                    out[rows, position] = as_float(block[variable])
            saturate(out[rows])
        return out

    def spread(self, columns: Columns) -> dict[str, _Texts]:
        """Compute what depends on text alone, once for each distinct text."""
        names = (name for name in dict.fromkeys(self.bases.values()) if name in columns)
        texts = {name: _Texts.of(name, columns[name]) for name in names}
        for base, op in self.by_text:
            if base in texts:
                op.apply(texts[base].distinct)
        return texts

    def _made(self, base: str, variables: Sequence[str], texts: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return variables of each of some texts of a column, and of a missing one."""
        each = _Texts.each(base, np.empty(0, np.int32), texts)
        for of, op in self.by_text:
            if of == base:
                op.apply(each.distinct)
        return _table(each, variables)

    def block(self, columns: Columns, texts: Mapping[str, _Texts], rows: slice) -> dict[str, Column]:
        """Compute the rest for some rows."""
        block = {
            name: texts[self.bases[name]].column(name, rows)
            if name in self.bases
            else columns[name].take(rows)
            for name in self.read
        }
        for op in self.by_row:
            op.apply(block)
        return block


def _table(texts: _Texts, variables: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return variables of one text column side by side: a row for each distinct text."""
    return np.column_stack([as_float(texts.distinct[variable]) for variable in variables])


def saturate(values: npt.NDArray[Any]) -> None:
    """Make what is beyond the range of the type its largest finite number."""
    if np.isinf(values).any():
        largest = np.finfo(values.dtype).max
        np.clip(values, -largest, largest, out=values)


def _read(ops: Sequence[Op], features: Iterable[str], *known: Mapping[str, object]) -> set[str]:
    """Return the known variables that ops and features read."""
    read = {source for op in ops for source in op.sources}.union(features)
    return {name for name in read if any(name in names for names in known)}


def _sources(
    variables: Sequence[str], bases: Mapping[str, str]
) -> tuple[tuple[tuple[slice, str, tuple[str, ...]], ...], dict[int, str]]:
    """Return what to gather, and the position of each variable that is computed row by row."""
    gathers = []
    copies: dict[int, str] = {}
    for base, group in groupby(enumerate(variables), lambda variable: bases.get(variable[1])):
        neighbours = dict(group)
        if base is None:
            copies.update(neighbours)
        else:
            span = slice(min(neighbours), max(neighbours) + 1)
            gathers.append((span, base, tuple(neighbours.values())))
    return tuple(gathers), copies
