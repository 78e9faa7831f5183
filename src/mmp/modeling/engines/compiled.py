"""Trees for many rows at once, in machine code that is made when it is needed.

What is compiled (`compiled.ll`, by llvmlite) is no tree but the way through any of them; the trees are its
data. Rows go through in tiles of some hundreds. Each value that trees look at becomes a byte: how many of
the thresholds of its feature it has passed. All that trees ask of it is in that byte, exactly, so a split is
one comparison of bytes, of 64 rows in one instruction where the machine has AVX-512.

Leaves are numbered from left to right, and a row's code is the first leaf below the node that it is at.
Going left leaves the code as it is; going right makes it the first leaf of the right. So splits are asked
one after the other, parents first, of all rows of a tile: a row is at a split where their codes are equal.

Eight categories share a byte, one bit each, and the split says which bits go right.

A tree may have 256 leaves. Leaves are summed in the order of the trees, in the library's own precision, so
the bits are the library's. That is not believed but compared, by whoever uses it.

References
----------
Lucchese, C. et al. (2015). QuickScorer: a fast algorithm to rank documents with additive ensembles of
regression trees. SIGIR: leaves from left to right, splits by feature.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mmp.modeling.engines.libm import address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Literal, TypeAlias

    import numpy.typing as npt

    Node: TypeAlias = "Split | float"
    Numbers = npt.NDArray[np.floating[Any]]
    Column: TypeAlias = "tuple[int, float, bool]"

NAME: Final = "compiled trees"
"""How a run says that they predicted."""

MOST_LEAVES: Final = 256
"""Of a tree: their numbers are bytes."""

_SOURCE: Final = Path(__file__).with_suffix(".ll")
_LEAST_VERSION: Final = (0, 45)
_MOST_COLUMNS: Final = 1024
_MOST_SPLITS: Final = 255  # of a tree, on average: categories may need several
_KNOWN: Final = 254  # thresholds of a byte: 255 is more than all of them, for missing values
_SIXTEEN: Final = 16
_BITS: Final = 8
_CACHE_LINE: Final = 64
_TILE, _WIDE_TILE, _SMALL_TILE = 128, 512, 64  # as many bytes as registers hold
_NUMBERS: Final = {"float32": ("float", "expf"), "float64": ("double", "exp")}  # in LLVM, and in C
_SPLIT: Final = np.dtype(
    [("column", "i4"), ("bits", "u1"), ("least", "u1"), ("from", "u1"), ("to", "u1")], align=True
)
_TREE: Final = np.dtype([("end", "i4"), ("leaf", "i4"), ("group", "i4")], align=True)


class Split(NamedTuple):
    """A split of a tree.

    Parameters
    ----------
    feature : int
        What it looks at.
    threshold : float
        Where right begins.
    missing : float
        What a missing value counts as: minus infinity goes left, infinity goes right.
    left, right : Split or float
        A leaf is a number.
    members : frozenset of int or None
        Of categories: those that go right.
    """

    feature: int
    threshold: float
    missing: float
    left: Node
    right: Node
    members: frozenset[int] | None = None


@dataclass(frozen=True, eq=False)
class Compiled:
    """Trees as the machine code reads them.

    Parameters
    ----------
    columns : structured ndarray, shape (n_columns,)
        The feature of each column of bytes, and what a missing value counts as.
    thresholds : ndarray, shape (n_columns, 17, 16)
        Ascending, sixteen at a time; before them the last of each sixteen.
    bytes : ndarray of uint8, shape (n_columns, 256)
        From the number of passed thresholds to the byte.
    splits : structured ndarray, shape (n_splits,)
        Tree by tree, parents first.
    trees : structured ndarray, shape (n_trees,)
        In the order in which they are summed.
    leaves : ndarray
        Tree by tree, from left to right.
    base : ndarray, shape (n_groups,)
        The margin of no tree.
    right : {"oge", "ogt"}
        A value goes right where it is at least, or greater than, the threshold.
    """

    columns: npt.NDArray[Any]
    thresholds: Numbers
    bytes: npt.NDArray[np.uint8]
    splits: npt.NDArray[Any]
    trees: npt.NDArray[Any]
    leaves: Numbers
    base: Numbers
    right: Literal["oge", "ogt"]

    def margins(self, values: npt.NDArray[Any]) -> Numbers:
        """Sum up the leaves of each row of a matrix; other threads run meanwhile.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            At least one row.

        Returns
        -------
        ndarray of shape (n_groups, n_rows)
            In the precision of the leaves.

        Raises
        ------
        ValueError
            Where the matrix lacks features.
        """
        values = np.ascontiguousarray(values, self.leaves.dtype)
        n_rows, n_features = values.shape
        if n_features < self._n_features:  # the machine code looks wherever it is told
            raise ValueError(f"Trees of {self._n_features} features cannot do with {n_features}.")
        code = _code(self.leaves.dtype.name, self.right)
        tile = _SMALL_TILE if n_rows * 4 <= code.tile else code.tile
        stride = -(-n_rows // tile) * tile
        margins = np.repeat(self.base, stride).reshape(len(self.base), stride)
        scratch = _aligned(len(self.columns) * tile)
        ours = (scratch.ctypes.data, margins.ctypes.data, stride)
        code.margins[tile](values.ctypes.data, n_rows, n_features, *self._places, *ours)
        return margins[:, :n_rows]

    @cached_property
    def _n_features(self) -> int:
        return 1 + int(self.columns["feature"].astype(np.uint32).max())  # a negative one is too large, too

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """Where the machine code finds the trees."""
        of_columns = [each.ctypes.data for each in (self.columns, self.thresholds, self.bytes)]
        of_trees = [each.ctypes.data for each in (self.splits, self.trees)]
        return *of_columns, len(self.columns), *of_trees, len(self.trees), self.leaves.ctypes.data


def compiled(
    trees: Sequence[Node],
    base: Numbers,
    *,
    right: Literal["oge", "ogt"] = "oge",
) -> Compiled | None:
    """Lay trees out for the machine code.

    Parameters
    ----------
    trees : sequence of Split or float
        Those of the first group, then those of the next, as many of each.
    base : ndarray of float32 or float64, shape (n_groups,)
        The margin of no tree; thresholds and leaves are of its type.
    right : {"oge", "ogt"}
        A value goes right where it is at least, or greater than, the threshold.

    Returns
    -------
    Compiled or None
        None where llvmlite (extra ``compiled``) is not there or cannot compile for this machine, or trees
        are too large to be quick.
    """
    if max(map(_n_leaves, trees)) > MOST_LEAVES or not _compiles(base.dtype.name, right):
        return None
    columns = _Columns(trees)
    if len(columns.known) > _MOST_COLUMNS:
        return None
    layout = _Layout(columns)
    for tree in trees:
        layout.add(tree)
    if len(layout.splits) > _MOST_SPLITS * len(trees):
        return None
    groups = np.arange(len(trees)) // (len(trees) // len(base))
    return Compiled(
        *columns.arrays(base.dtype, right),
        splits=_records(layout.splits, _SPLIT),
        trees=_records(np.column_stack((layout.ends, layout.first_leaves, groups)), _TREE),
        leaves=np.array(layout.leaves, base.dtype),
        base=base,
        right=right,
    )


def exponentials(numbers: Numbers) -> None:
    """Raise e to each of the numbers, in place, by the C library's ``expf`` or ``exp``."""
    code = _code(numbers.dtype.name, "oge")
    code.powers(numbers.ctypes.data, numbers.size)


def softmax(margins: Numbers) -> Numbers:
    """Return the shares of groups in each row, of shape (n_groups, n_rows), as boosters compute them.

    Powers are summed in double precision, one after the other.
    """
    powers: Numbers = margins - margins.max(axis=0)
    exponentials(powers)
    total = np.zeros(powers.shape[1])
    for group in powers:
        total += group
    return np.divide(powers, total.astype(powers.dtype), out=powers)


def _compiles(dtype: str, right: str) -> bool:
    if not _has_compiler():
        return False
    try:
        return bool(_code(dtype, right).margins)
    except RuntimeError:  # LLVM knows no such machine
        return False


@cache
def _has_compiler() -> bool:
    """Tell whether there is an llvmlite that reads the source; numba may have brought an older one."""
    try:
        found = version("llvmlite")
    except PackageNotFoundError:
        return False
    return tuple(map(int, found.split(".")[:2])) >= _LEAST_VERSION


def _n_leaves(node: Node) -> int:
    return _n_leaves(node.left) + _n_leaves(node.right) if isinstance(node, Split) else 1


def splits(node: Node) -> Iterator[Split]:
    """Yield the splits of a tree, parents first."""
    if isinstance(node, Split):
        yield node
        yield from splits(node.left)
        yield from splits(node.right)


class _Columns:
    """The columns of bytes that trees look at: 254 thresholds of a feature, or eight categories, each."""

    def __init__(self, trees: Sequence[Node]) -> None:
        asked: dict[Column, set[float]] = {}
        for tree in trees:
            for split in splits(tree):
                about = (
                    {split.threshold} if split.members is None else {each // _BITS for each in split.members}
                )
                asked.setdefault(_column(split), set()).update(about)
        self.known: list[tuple[int, float, list[float], bytes]] = []
        self._places: dict[tuple[Column, float], tuple[int, int]] = {}
        for column in sorted(asked):
            (self._add_categories if column[2] else self._add_numbers)(column, sorted(asked[column]))

    def tests(self, split: Split) -> Iterator[tuple[int, int, int]]:
        """Yield column, bits and least byte of what sends a row right."""
        column = _column(split)
        if split.members is None:
            place, least = self._places[column, split.threshold]
            yield place, 255, least
            return
        bits: dict[int, int] = {}
        for each in split.members:
            bits[each // _BITS] = bits.get(each // _BITS, 0) | 1 << each % _BITS
        for eight in sorted(bits):
            yield self._places[column, eight][0], bits[eight], 1

    def arrays(
        self, dtype: np.dtype[Any], right: Literal["oge", "ogt"]
    ) -> tuple[npt.NDArray[Any], Numbers, npt.NDArray[np.uint8]]:
        """Return columns, thresholds and bytes."""
        beyond = np.inf if right == "oge" else np.finfo(dtype).max  # nothing but infinity passes it
        known = self.known or [(0, 0.0, [], bytes(256))]
        columns = np.array(
            [(feature, missing) for feature, missing, *_ in known],
            np.dtype([("feature", "i4"), ("missing", dtype)], align=True),
        )
        ascending = np.full((len(known), _SIXTEEN**2), beyond, dtype)
        for row, (_, _, thresholds, _) in zip(ascending, known, strict=True):
            row[: len(thresholds)] = thresholds
        ascending[:, -1] = np.nan  # which nothing passes: no value has passed 256
        sixteens = ascending.reshape(-1, _SIXTEEN, _SIXTEEN)
        stored = _aligned(sixteens.nbytes // _SIXTEEN * (_SIXTEEN + 1)).view(dtype)
        stored = stored.reshape(-1, _SIXTEEN + 1, _SIXTEEN)
        stored[:, 0], stored[:, 1:] = sixteens[:, :, -1], sixteens
        return columns, stored, np.frombuffer(b"".join(each[3] for each in known), np.uint8)

    def _add_numbers(self, column: Column, thresholds: list[float]) -> None:
        feature, missing, _ = column
        for place, threshold in enumerate(thresholds):
            self._places[column, threshold] = len(self.known) + place // _KNOWN, place % _KNOWN + 1
        for first in range(0, len(thresholds), _KNOWN):
            self.known.append((feature, missing, thresholds[first : first + _KNOWN], bytes(range(256))))

    def _add_categories(self, column: Column, eights: list[float]) -> None:
        feature, missing, _ = column
        flags = bytes([0, *(1 << bit for bit in range(_BITS)), *[0] * 246, 255])
        for eight in eights:
            self._places[column, eight] = len(self.known), 0
            thresholds = [_BITS * eight + bit - 0.5 for bit in range(_BITS + 1)]
            self.known.append((feature, missing, thresholds, flags))


def _column(split: Split) -> Column:
    return split.feature, split.missing, split.members is not None


class _Layout:
    """Splits and leaves of trees, one after the other."""

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns
        self.splits: list[list[int]] = []
        self.leaves: list[float] = []
        self.ends: list[int] = []
        self.first_leaves: list[int] = []

    def add(self, tree: Node) -> None:
        """Add a tree."""
        self.first_leaves.append(len(self.leaves))
        self._add(tree, len(self.leaves))
        self.ends.append(len(self.splits))

    def _add(self, node: Node, first: int) -> None:
        if not isinstance(node, Split):
            self.leaves.append(node)
            return
        here = len(self.leaves) - first
        own = [[*test, here, 0] for test in self._columns.tests(node)]
        self.splits += own
        self._add(node.left, first)
        for split in own:
            split[-1] = len(self.leaves) - first
        self._add(node.right, first)


def _records(rows: npt.ArrayLike, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return rows of integers as records, a field for each column."""
    assert dtype.names is not None, "a record has fields"
    numbers = np.reshape(rows, (-1, len(dtype.names)))
    records = np.empty(len(numbers), dtype)
    for name, column in zip(dtype.names, numbers.T, strict=True):
        records[name] = column
    return records


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    """Return room that begins where a cache line does."""
    room = np.empty(size + _CACHE_LINE, np.uint8)
    return room[-room.ctypes.data % _CACHE_LINE :][:size]


@dataclass(frozen=True, eq=False)
class _Code:
    """Machine code of this process.

    Parameters
    ----------
    engine : object
        Keeps it in memory.
    tile : int
        Rows that go through side by side.
    margins : mapping of int to callable
        By the size of a tile.
    powers : callable
        See `exponentials`.
    """

    engine: Any
    tile: int
    margins: Mapping[int, Callable[..., None]]
    powers: Callable[..., None]


@cache
def _code(dtype: str, right: str) -> _Code:
    """Compile: 13 ms, once for all models of a process."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=3, jit=True
    )
    number, exp = _NUMBERS[dtype]
    binding.add_symbol(exp, address(exp))
    tile = _WIDE_TILE if features.get("avx512bw") else _TILE
    source = Template(_SOURCE.read_text(encoding="ascii"))
    filled = [
        source.substitute(rows=rows, number=number, right=right, exp=exp) for rows in (tile, _SMALL_TILE)
    ]
    large, small = map(binding.parse_assembly, filled)
    engine = binding.create_mcjit_compiler(large, machine)
    engine.add_module(small)
    engine.finalize_object()
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    trees = [pointer] * 3 + [integer] + [pointer] * 2 + [integer, pointer]
    margins = ctypes.CFUNCTYPE(None, pointer, integer, integer, *trees, pointer, pointer, integer)
    powers = ctypes.CFUNCTYPE(None, pointer, integer)
    return _Code(
        engine,
        tile,
        {rows: margins(engine.get_function_address(f"margins_{rows}")) for rows in (tile, _SMALL_TILE)},
        powers(engine.get_function_address(f"powers_{tile}")),
    )
