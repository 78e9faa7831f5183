"""Running ops over columns.

What depends on one text column alone is computed once for each distinct text and gathered by code.
Everything else runs in blocks of rows that stay in the cache and is written straight into the matrix,
so that no more than a block of anything in between exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmp.modeling.columns import Column, as_float

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.modeling.columns import Columns, Rows
    from mmp.modeling.ops import Op

Dtype = Literal["float32", "float64"]

_BLOCK_ROWS = 16_384


def _text_bases(ops: Sequence[Op], columns: Columns) -> dict[str, str]:
    """Return, for each variable that depends on one text column alone, that column."""
    bases = {name: name for name, column in columns.items() if column.kind == "text"}
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
        rows = np.array([*range(len(vocabulary)), -1], np.int32)
        return cls(codes, {name: Column("text", rows, rows >= 0, vocabulary)})

    def column(self, variable: str, rows: Rows) -> Column:
        return self.distinct[variable].take(self.codes[rows])


def _spread(ops: Sequence[Op], columns: Columns) -> tuple[dict[str, _Texts], dict[str, str], list[Op]]:
    """Run what depends on text alone; return it, the text each variable is of, and the ops that are left."""
    bases = _text_bases(ops, columns)
    texts = {name: _Texts.of(name, columns[name]) for name in set(bases.values())}
    left = []
    for op in ops:
        base = bases.get(op.targets[0])
        if base is None:
            left.append(op)
        else:
            op.apply(texts[base].distinct)
    return texts, bases, left


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
    needed = ops_for(ops, [variable])
    read = {source for op in needed for source in op.sources} & columns.keys()
    texts, bases, left = _spread(needed, {name: columns[name] for name in read})
    everything = slice(None)
    if variable in bases:
        return texts[bases[variable]].column(variable, everything)
    made = {name: columns[name] for name in read}
    for op in left:
        for source in op.sources:
            if source in bases and source not in made:
                made[source] = texts[bases[source]].column(source, everything)
        op.apply(made)
    return made[variable]


def assemble(ops: Sequence[Op], features: Sequence[str], columns: Columns, dtype: Dtype) -> npt.NDArray[Any]:
    """Compute variables for all rows, block by block, into one matrix."""
    n_rows = len(next(iter(columns.values()))) if columns else 0
    out = np.empty((n_rows, len(features)), dtype)
    needed = ops_for(ops, features)
    texts, bases, left = _spread(needed, {name: columns[name] for name in _read(needed, features, columns)})
    gathers, copies = _sources(features, texts, bases)
    of_rows = _read(left, copies.values(), columns, bases)
    for first in range(0, n_rows, _BLOCK_ROWS):
        rows = slice(first, first + _BLOCK_ROWS)
        block = {
            name: texts[bases[name]].column(name, rows) if name in bases else columns[name].take(rows)
            for name in of_rows
        }
        for op in left:
            op.apply(block)
        with np.errstate(over="ignore"):
            for gather in gathers:
                out[rows, gather.span] = gather.table[gather.codes[rows]]
            for position, variable in copies.items():
                out[rows, position] = as_float(block[variable])
        saturate(out[rows])
    return out


def saturate(values: npt.NDArray[Any]) -> None:
    """Make what is beyond the range of the type its largest finite number."""
    if np.isinf(values).any():
        largest = np.finfo(values.dtype).max
        np.clip(values, -largest, largest, out=values)


def _read(ops: Sequence[Op], features: Iterable[str], *known: Mapping[str, object]) -> set[str]:
    """Return the known variables that ops and features read."""
    read = {source for op in ops for source in op.sources}.union(features)
    return {name for name in read if any(name in names for names in known)}


@dataclass(frozen=True)
class _Gather:
    """Neighbouring features of one text column: the rows of a table by code."""

    span: slice
    codes: npt.NDArray[Any]
    table: npt.NDArray[np.float64]


def _sources(
    features: Sequence[str], texts: Mapping[str, _Texts], bases: Mapping[str, str]
) -> tuple[list[_Gather], dict[int, str]]:
    """Return what to gather, and the position of each variable that is computed row by row."""
    gathers: list[_Gather] = []
    copies: dict[int, str] = {}
    for base, group in groupby(enumerate(features), lambda feature: bases.get(feature[1])):
        neighbours = dict(group)
        if base is None:
            copies.update(neighbours)
        else:
            table = [as_float(texts[base].distinct[variable]) for variable in neighbours.values()]
            span = slice(min(neighbours), max(neighbours) + 1)
            gathers.append(_Gather(span, texts[base].codes, np.column_stack(table)))
    return gathers, copies
