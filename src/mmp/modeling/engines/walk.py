"""A booster's trees, walked for one row in NumPy: the library's bits for a fraction of its price.

XGBoost's Python call costs a hundred times what the trees of one row do, and importing the library more than
starting a server. Here every tree is cut into blocks of three levels. A block is a row of three arrays: the
features of its seven splits, their thresholds, and the blocks that its eight exits lead to; a leaf is a
block whose exits lead back to it. One step takes all trees from block to block at once, in six calls.

A split on categories becomes a number first: 1 where the row's category is in the split's set, which goes
right, else 0. Splits of the same set share it, and a table for each column has them all by category.

What makes the bits the same: comparisons in float32; missing values, which become infinities of the sign
that goes the split's own way for them; leaves summed in float32, in the order of the trees, from the base
score on; and ``expf`` of the C library, which is XGBoost's too. None of this is believed: `Walk.agrees`
compares it with the booster on rows at, just below and just above its thresholds, and a walk that does not
agree is not used.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mmp.modeling.engines.base import both_classes
from mmp.modeling.engines.compiled import Split, exponentials, softmax
from mmp.modeling.engines.libm import libm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from mmp.modeling.engines.base import Output
    from mmp.modeling.engines.compiled import Node

    Singles = npt.NDArray[np.float32]
    Positions = npt.NDArray[np.int32]
    _Lists = tuple[list[int], list[float], list[int]]

_LEVELS: Final = 3
_WIDTH: Final = 2**_LEVELS
_MOST_BLOCKS: Final = 2_000_000
_MOST_MEMBERS: Final = 32_000_000
_EDGE_ROWS: Final = 96
_TOGETHER: Final = 8  # rows whose arrays stay in the cache
_SEED: Final = 7
_LARGEST_POWER: Final = 88.7
_LEFT, _RIGHT = np.float32(-np.inf), np.float32(np.inf)
_LINKS: Final = {
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:quantileerror": "identity",
    "binary:logitraw": "identity",
    "count:poisson": "exponential",
    "reg:gamma": "exponential",
    "reg:tweedie": "exponential",
    "binary:logistic": "logistic",
    "multi:softprob": "softmax",
}


def _exits() -> npt.NDArray[np.intp]:
    """Return the exit that the seven outcomes of a block lead to, packed into a byte, the root first."""
    exits = np.zeros(256, np.intp)
    for outcomes in range(256):
        split = 0
        for _ in range(_LEVELS):
            split = 2 * split + 1 + (outcomes >> (7 - split) & 1)
        exits[outcomes] = split - (_WIDTH - 1)
    return exits


_EXITS: Final = _exits()


@dataclass(frozen=True, eq=False)
class Walk:
    """Trees in blocks.

    Parameters
    ----------
    roots : ndarray of int32, shape (n_trees,)
        The first block of each tree, those of one group side by side.
    feature : ndarray of int32, shape (n_blocks, 8)
        What each split looks at: a feature, or ``n_features`` more where missing values go right; from
        ``2 * n_features`` on the sets of categories.
    threshold : ndarray of float32, shape (n_blocks, 8)
        A row goes left where its value is less.
    following : ndarray of int32, shape (n_blocks, 8)
        The block behind each exit.
    value : ndarray of float32, shape (n_blocks,)
        Of leaves.
    base : ndarray of float32, shape (n_groups,)
        The margin of no tree.
    set_feature : ndarray of int32, shape (n_sets,)
        The feature that each set of categories is of, ascending.
    levels : ndarray of int32, shape (n_features,)
        Number of categories that any set of a feature knows.
    members : ndarray of uint8
        Bits: feature by feature, category by category, whether it is in each of its sets; after the
        last category whether a missing value goes right, and then what no set knows, which does not.
    steps : int
        Blocks on the longest way.
    link : {"identity", "exponential", "logistic", "softmax"}
        From margins to the answer.
    """

    roots: Positions
    feature: Positions
    threshold: Singles
    following: Positions
    value: Singles
    base: Singles
    set_feature: Positions
    levels: Positions
    members: npt.NDArray[np.uint8]
    steps: int
    link: str

    def margins(self, values: Singles) -> Singles:
        """Return the margins of some rows, of shape (n_rows, n_groups).

        A row takes a dozen calls of NumPy whoever is beside it, so eight take little more than two by
        themselves; what they do to a row is the same.
        """
        places, n_rows = self._places, len(values)
        both = self._compared(values)
        codes = np.packbits(both.take(places.root_feature, 1) >= places.root_threshold)
        blocks = places.following.take(_EXITS.take(codes).reshape(n_rows, -1) + places.roots)
        starts = np.arange(0, both.size, both.shape[1])[:, None, None]
        for _ in range(self.steps - 1):
            looked_at = places.feature.take(blocks, 0)
            looked_at += starts
            codes = np.packbits(both.take(looked_at) >= self.threshold.take(blocks, 0))
            blocks *= _WIDTH
            blocks += _EXITS.take(codes).reshape(n_rows, -1)
            blocks = places.following.take(blocks)
        leaves = self.value.take(blocks).reshape(n_rows, len(self.base), -1)
        leaves[:, :, 0] += self.base
        summed: Singles = np.add.accumulate(leaves, 2)[:, :, -1]
        return summed

    def _compared(self, values: Singles) -> Singles:
        """Return what splits look at: values by where missing ones go, and then the sets of categories."""
        n_rows, n_features = values.shape
        both = np.empty((n_rows, 2 * n_features + len(self.set_feature)), np.float32)
        np.fmax(values, _LEFT, out=both[:, :n_features])  # of a number and NaN these take the number
        np.fmin(values, _RIGHT, out=both[:, n_features : 2 * n_features])
        for column in self._places.columns:
            lines = [column.line(code) for code in values[:, column.feature].tolist()]
            both[:, column.sets] = column.members[lines]
        return both

    def one(self, values: Singles) -> Output:
        """Return the answer for a matrix of one row: probabilities of the classes, or a number."""
        return self._linked(self.margins(values)[0])

    def _linked(self, margins: Singles) -> Output:
        if self.link == "identity":
            return float(margins[0])
        if self.link == "exponential":
            return float(libm().expf(float(margins[0])))
        if self.link == "logistic":
            positive = _sigmoid(margins[0])
            return [float(np.float32(1) - positive), float(positive)]
        shares: list[float] = _softmax(margins).tolist()
        return shares

    def many(self, values: Singles) -> npt.NDArray[np.float64]:
        """Return the answers for the rows of a matrix, each the same as by itself."""
        blocks = (values[start : start + _TOGETHER] for start in range(0, len(values), _TOGETHER))
        margins = (row for block in blocks for row in self.margins(block))
        return np.array([self._linked(row) for row in margins], np.float64)

    def answers(self, margins: Singles) -> npt.NDArray[np.float64]:
        """Return the answers for margins of shape (n_groups, n_rows), which another summed up."""
        if self.link == "identity":
            return np.asarray(margins[0], np.float64)
        if self.link == "exponential":
            powers = margins[0].copy()
            exponentials(powers)
            return np.asarray(powers, np.float64)
        if self.link == "logistic":
            return both_classes(_sigmoids(margins[0]))
        return np.asarray(softmax(margins).T, np.float64)

    def agrees(
        self,
        predict: Callable[[Singles], npt.NDArray[np.float64]],
        n_features: int,
        *,
        n_rows: int = _EDGE_ROWS,
    ) -> bool:
        """Tell whether another way to predict gives the same bits where it is hardest: at the thresholds."""
        rows = self._edge_rows(n_features, n_rows)
        with np.errstate(all="ignore"):
            return bool(np.array_equal(self.many(rows), predict(rows)))

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> Walk:
        """Rebuild it from `arrays` and `meta`."""
        return cls(**{name: arrays[name] for name in _ARRAYS}, steps=meta["steps"], link=meta["link"])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what npz holds."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def meta(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {"steps": self.steps, "link": self.link}

    def _edge_rows(self, n_features: int, n_rows: int = _EDGE_ROWS) -> Singles:
        """Draw rows of thresholds, their neighbours among the floats, missing values and very large ones."""
        rng = np.random.default_rng(_SEED)
        rows = np.full((n_rows, n_features), np.nan, np.float32)
        splits = np.isfinite(self.threshold) & (self.feature < 2 * n_features)
        column, threshold = self.feature[splits] % n_features, self.threshold[splits]
        for position in range(n_features):
            own = np.unique(threshold[column == position])
            near = np.concatenate((own, np.nextafter(own, np.float32(-np.inf)), own * 0, own * 2))
            largest = np.finfo(np.float32).max
            cells = np.concatenate((near, np.array([np.nan, largest, -largest], np.float32)))
            if levels := int(self.levels[position]):
                cells = np.array([*range(levels + 2), np.nan], np.float32)
            rows[:, position] = rng.choice(cells, n_rows)
        return np.clip(rows, -np.finfo(np.float32).max, np.finfo(np.float32).max)

    def trees(self) -> Iterator[Node]:
        """Yield each tree as it was before it was cut, group by group."""
        sets = [
            (column.feature, _counts_as(goes_right), frozenset(np.flatnonzero(members).tolist()))
            for column in self._places.columns
            for *members, goes_right, _ in column.members.T.tolist()
        ]
        inner = np.flatnonzero(self.following[:, 0] != np.arange(len(self.value)))  # the others are leaves
        splits = (each[inner].tolist() for each in (self.feature, self.threshold, self.following))
        blocks = _Blocks(
            dict(zip(inner.tolist(), zip(*splits, strict=True), strict=True)),
            self.value.tolist(),
            sets,
            len(self.levels),
        )
        for root in self.roots.tolist():
            yield blocks.node(root)

    @cached_property
    def _places(self) -> _Places:
        feature = self.feature.astype(np.intp)
        return _Places(
            roots=self.roots.astype(np.intp) * _WIDTH,
            root_feature=feature[self.roots].ravel(),
            root_threshold=self.threshold[self.roots].ravel(),
            feature=feature,
            following=self.following.astype(np.intp).ravel(),
            columns=tuple(self._columns()),
        )

    def _columns(self) -> Iterator[_Column]:
        n_features, start = len(self.levels), 0
        bits = np.unpackbits(self.members)
        for feature, n_sets in zip(*np.unique(self.set_feature, return_counts=True), strict=True):
            n_lines = int(self.levels[feature]) + 2
            members = bits[start : start + n_lines * n_sets].reshape(n_lines, n_sets)
            first = 2 * n_features + int(np.searchsorted(self.set_feature, feature))
            yield _Column(int(feature), n_lines - 2, slice(first, first + int(n_sets)), members)
            start += members.size


@dataclass(frozen=True, eq=False)
class _Places:
    """The positions of a walk in NumPy's own integers, which it would make of others at each call."""

    roots: npt.NDArray[np.intp]
    root_feature: npt.NDArray[np.intp]
    root_threshold: Singles
    feature: npt.NDArray[np.intp]
    following: npt.NDArray[np.intp]
    columns: tuple[_Column, ...]


class _Blocks(NamedTuple):
    """The blocks of a walk as lists, which are quick to follow one by one; leaves as their values."""

    splits: dict[int, _Lists]
    value: list[float]
    sets: list[tuple[int, float, frozenset[int]]]
    n_features: int

    def node(self, block: int) -> Node:
        """Return a block with all behind it, or a leaf; each is taken once, so a damaged file ends too."""
        lists = self.splits.pop(block, None)
        return self.value[block] if lists is None else self._split(lists, 0)

    def _split(self, lists: _Lists, place: int) -> Node:
        features, thresholds, following = lists
        if place >= _WIDTH - 1:
            return self.node(following[place - (_WIDTH - 1)])
        feature, threshold = features[place], thresholds[place]
        left = self._split(lists, 2 * place + 1)
        if threshold == math.inf:  # a leaf stood here: all exits below lead to it
            return left
        right = self._split(lists, 2 * place + 2)
        if feature >= 2 * self.n_features:
            feature, missing, members = self.sets[feature - 2 * self.n_features]
            return Split(feature, threshold, missing, left, right, members)
        goes_right, feature = divmod(feature, self.n_features)
        return Split(feature, threshold, _counts_as(goes_right), left, right)


def _counts_as(goes_right: int) -> float:
    """Return what a missing value counts as."""
    return float(_RIGHT if goes_right else _LEFT)


@dataclass(frozen=True, eq=False)
class _Column:
    """A column of categories: what it says to the sets of categories that splits have."""

    feature: int
    n_levels: int
    sets: slice
    members: npt.NDArray[np.uint8]

    def line(self, code: float) -> int:
        """Return the line of a category, of a missing one, or of one that no set knows."""
        if math.isnan(code):
            return self.n_levels
        return int(code) if 0 <= code < self.n_levels else self.n_levels + 1


_ARRAYS: Final = tuple(part.name for part in fields(Walk) if part.name not in {"steps", "link"})


def of_xgboost(stored: Mapping[str, Any], n_features: int) -> Walk | None:
    """Cut the trees of XGBoost's JSON into blocks; None where they are not of one number a leaf.

    Parameters
    ----------
    stored : mapping
        The ``learner`` of the model's JSON.
    n_features : int
        Columns of the matrix.
    """
    booster, link = stored["gradient_booster"], _link(stored)
    if booster["name"] != "gbtree" or link is None:
        return None
    trees, groups = booster["model"]["trees"], np.array(booster["model"]["tree_info"], np.int64)
    base = _base(stored, link)
    counts = np.bincount(groups, minlength=len(base))
    if not trees or not all(map(_is_plain, trees)) or len(set(counts.tolist())) != 1:
        return None
    if sum(len(tree["left_children"]) for tree in trees) > _MOST_BLOCKS:
        return None
    cut = _Cut(n_features)
    roots = [cut.tree(trees[place]) for place in np.argsort(groups, kind="stable").tolist()]
    sets = cut.sets()
    if sets is None:
        return None
    return Walk(
        roots=np.array(roots, np.int32),
        feature=sets.places[np.array(cut.feature, np.int32)],
        threshold=np.array(cut.threshold, np.float32),
        following=np.array(cut.following, np.int32),
        value=np.array(cut.value, np.float32),
        base=base,
        set_feature=sets.feature,
        levels=sets.levels,
        members=sets.members,
        steps=cut.steps,
        link=link,
    )


class _Cut:
    """Cuts trees into blocks."""

    def __init__(self, n_features: int) -> None:
        self._n_features = n_features
        self.feature: list[list[int]] = []
        self.threshold: list[list[float]] = []
        self.following: list[list[int]] = []
        self.value: list[float] = []
        self.steps = 1
        self._sets: dict[tuple[int, bool, frozenset[int]], int] = {}
        self._categories: dict[int, frozenset[int]] = {}

    def tree(self, tree: Mapping[str, Any]) -> int:
        """Add the blocks of a tree; return the place of the first."""
        spans = zip(tree["categories_segments"], tree["categories_sizes"], strict=True)
        members = [frozenset(tree["categories"][start : start + size]) for start, size in spans]
        self._categories = dict(zip(tree["categories_nodes"], members, strict=True))
        return self.block(tree, 0, 1)

    def sets(self) -> _Sets | None:
        """Return the sets of categories, feature by feature; None where they would take too much room."""
        n_numbers = 2 * self._n_features
        ordered = sorted(self._sets, key=lambda key: key[0])
        places = np.arange(n_numbers + len(ordered), dtype=np.int32)
        for place, key in enumerate(ordered):
            places[self._sets[key]] = n_numbers + place
        levels = np.zeros(self._n_features, np.int32)
        for feature, _, members in ordered:
            levels[feature] = max(levels[feature], 1 + max(members, default=0))
        if sum(int(levels[feature]) + 2 for feature, _, _ in ordered) > _MOST_MEMBERS:
            return None
        tables = []
        for feature, keys in groupby(ordered, key=lambda key: key[0]):
            n_levels, alike = int(levels[feature]), list(keys)
            table = np.zeros((n_levels + 2, len(alike)), np.uint8)
            for column, (_, goes_right, members) in enumerate(alike):
                table[sorted(members), column] = 1
                table[n_levels, column] = goes_right
            tables.append(table.ravel())
        bits = np.packbits(np.concatenate(tables)) if tables else np.empty(0, np.uint8)
        return _Sets(places, np.array([key[0] for key in ordered], np.int32), levels, bits)

    def block(self, tree: Mapping[str, Any], node: int, depth: int) -> int:
        """Add the block that begins with a node, and those behind it; return its place."""
        place = len(self.value)
        self.feature.append([0] * _WIDTH)
        self.threshold.append([math.inf] * _WIDTH)
        self.following.append([place] * _WIDTH)
        is_leaf = tree["left_children"][node] < 0
        self.value.append(tree["split_conditions"][node] if is_leaf else 0.0)
        if not is_leaf:
            self.steps = max(self.steps, depth)
            exits = self._fill(place, tree, node, split=0)
            known = {end: self.block(tree, end, depth + 1) for end in dict.fromkeys(exits)}
            self.following[place] = [known[end] for end in exits]
        return place

    def _fill(self, place: int, tree: Mapping[str, Any], node: int, *, split: int) -> list[int]:
        """Write a split and those below it; return the nodes at the exits below."""
        below = _WIDTH >> (split + 1).bit_length() - 1
        if split >= _WIDTH - 1 or tree["left_children"][node] < 0:
            return [node] * below
        goes_right = not tree["default_left"][node]
        feature = tree["split_indices"][node]
        if tree["split_type"][node]:
            key = feature, goes_right, self._categories[node]
            self.feature[place][split] = self._sets.setdefault(key, 2 * self._n_features + len(self._sets))
            self.threshold[place][split] = 0.5
        else:
            self.feature[place][split] = feature + goes_right * self._n_features
            self.threshold[place][split] = tree["split_conditions"][node]
        left, right = tree["left_children"][node], tree["right_children"][node]
        return [
            *self._fill(place, tree, left, split=2 * split + 1),
            *self._fill(place, tree, right, split=2 * split + 2),
        ]


@dataclass(frozen=True, eq=False)
class _Sets:
    """The sets of categories in order, and where what splits look at stands by now."""

    places: Positions
    feature: Positions
    levels: Positions
    members: npt.NDArray[np.uint8]


def _is_plain(tree: Mapping[str, Any]) -> bool:
    return int(tree["tree_param"]["size_leaf_vector"]) <= 1


def _link(stored: Mapping[str, Any]) -> str | None:
    one_number = int(stored["learner_model_param"].get("num_target", 1)) == 1
    return _LINKS.get(stored["objective"]["name"]) if one_number else None


def _base(stored: Mapping[str, Any], link: str) -> Singles:
    """Return the margins of no tree; XGBoost keeps them as what the link function makes of them."""
    text = stored["learner_model_param"]["base_score"]
    n_groups = max(1, int(stored["learner_model_param"]["num_class"]))
    scores = np.broadcast_to(np.array(json.loads(text), np.float32).ravel(), (n_groups,))
    if link == "exponential":
        return np.array([libm().logf(float(score)) for score in scores], np.float32)
    if link == "logistic":
        one = np.float32(1)
        return np.array([-libm().logf(float(one / score - one)) for score in scores], np.float32)
    return scores.astype(np.float32)


def _sigmoid(margin: np.float32) -> np.float32:
    one = np.float32(1)
    power = np.float32(libm().expf(min(float(-margin), _LARGEST_POWER)))
    return one / (power + one)


def _sigmoids(margins: Singles) -> Singles:
    powers = np.minimum(-margins, np.float32(_LARGEST_POWER))
    exponentials(powers)
    powers += np.float32(1)
    return np.reciprocal(powers, out=powers)


def _softmax(margins: Singles) -> Singles:
    largest, expf = margins.max(), libm().expf
    powers = np.array([expf(float(margin - largest)) for margin in margins])
    return powers.astype(np.float32) / np.float32(np.add.accumulate(powers)[-1])  # one after the other
