"""Exact SHAP values of trees, for many rows at once, in NumPy.

What tree SHAP says of a row at a tree is a game: a feature is either known, and then the row goes where
its value sends it at every split, or it is not known, and then shares of the row go both ways, as the
training rows did. The part of a feature is the game's multilinear extension, integrated along its diagonal:
every feature is known with the same probability t, from 0 to 1. Along it the parts are polynomials of
degree d - 1 for d features on a way to a leaf, so ``ceil(d / 2)`` points of Gauss and Legendre integrate
them exactly.

At one point t the share that goes left at a split is, with b = 1 where the row goes left and else 0, z the
share of the training rows that do, and s the share of them that fulfil the conditions of the same feature
above (1 where there are none; the row itself must fulfil them)::

    p = (t b + (1 - t) s z) / (t + (1 - t) s)

A walk down gives the share W of the row that comes to each split, a walk up the difference D between
what the tree says on the left and on the right of it; the split adds to its feature::

    W D (b - p) / ((1 - t) (t + (1 - t) s))

That is a few multiplications a split, the same for all rows, where the usual algorithm walks every way
for every row. The values are those of XGBoost's ``pred_contribs`` to its rounding, for an eighth of the time.

References
----------
Owen, G. (1972). Multilinear extensions of games. Management Science, 18(5).
Lundberg, S. M. et al. (2020). From local explanations to global understanding with explainable AI for
trees. Nature Machine Intelligence, 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Singles = npt.NDArray[np.float32]
    Positions = npt.NDArray[np.intp]

_CELLS: Final = 800_000  # of two arrays of a tree: more leave the cache, fewer leave each call little to do
_FEWEST, _MOST = 32, 2048  # rows of a block


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree as its library stores it: an array with a place for each node, the root first.

    Parameters
    ----------
    left, right : ndarray of int
        The node where a row goes on; -1 at leaves.
    feature : ndarray of int
        What is compared.
    threshold : ndarray of float32
        A row goes left where its value is less.
    missing_left : ndarray of bool
        Where a row without a value goes.
    cover : ndarray of float64
        The weight of the training rows that came there; positive.
    value : ndarray of float64
        Of leaves.
    """

    left: Positions
    right: Positions
    feature: Positions
    threshold: Singles
    missing_left: npt.NDArray[np.bool_]
    cover: Floats
    value: Floats


@dataclass(frozen=True, eq=False)
class _Level:
    """The splits of one depth, which stand side by side: those below a left side first, then the others."""

    splits: slice
    on_left: slice
    on_right: slice
    above_left: Positions
    above_right: Positions


@dataclass(frozen=True, eq=False)
class _Sums:
    """Splits summed by feature: those of most splits first, the n-th splits of all side by side.

    Not as a matrix product, for which BLAS would wake its threads at every tree.
    """

    features: Positions
    splits: tuple[Positions, ...]

    @classmethod
    def of(cls, feature: Positions) -> _Sums:
        order = np.argsort(feature, kind="stable")
        features, starts, counts = np.unique(feature[order], return_index=True, return_counts=True)
        most = np.argsort(-counts, kind="stable")
        features, starts, counts = features[most], starts[most], counts[most]
        return cls(features, tuple(order[starts[counts > nth] + nth] for nth in range(counts[0])))

    def add(self, numbers: Singles, into: Floats) -> None:
        first, *others = self.splits
        sums = numbers[first]
        for splits in others:
            sums[: len(splits)] += numbers[splits]
        into[self.features] += sums


@dataclass(frozen=True, eq=False)
class _Plan:
    """The splits of a tree, level by level.

    `above` pairs each split of a feature that was split before with the last such split on its way, and
    says whether it is on the left of that.
    """

    feature: Positions
    threshold: Singles
    missing_left: npt.NDArray[np.bool_]
    levels: tuple[_Level, ...]
    above: tuple[tuple[Positions, Positions, npt.NDArray[np.bool_]], ...]
    left_leaf: Singles
    right_leaf: Singles
    by_feature: _Sums
    # of p: as a line in b where the conditions above hold, and where they do not; of the part: its factor
    known: Singles
    unknown: Singles
    share: Singles
    factor: Singles

    @classmethod
    def of(cls, tree: Tree) -> _Plan:
        nodes, parents, is_left, starts = _by_level(tree)
        left, right = tree.left[nodes], tree.right[nodes]
        feature = tree.feature[nodes]
        share = tree.cover[left] / tree.cover[nodes]
        last, depth = _last_above(feature.tolist(), parents.tolist())
        fulfilled, above = np.ones(len(nodes)), []
        for level in starts:
            again = np.flatnonzero(last[level] >= 0) + level.start
            if len(again):
                place, side = _side(again, last[again], parents, is_left)
                fulfilled[again] = fulfilled[place] * np.where(side, share[place], 1 - share[place])
                above.append((again, place, side))
        points, weights = _points(depth)
        whole = points + (1 - points) * fulfilled[:, None]
        values = (np.where(tree.left[child] < 0, tree.value[child], 0) for child in (left, right))
        left_leaf, right_leaf = map(_singles, (leaf[:, None] for leaf in values))
        return cls(
            feature=feature,
            threshold=tree.threshold[nodes][:, None],
            missing_left=tree.missing_left[nodes][:, None],
            levels=tuple(_level(level, parents, is_left) for level in starts),
            above=tuple(above),
            left_leaf=left_leaf,
            right_leaf=right_leaf,
            by_feature=_Sums.of(feature),
            known=_singles(points / whole),
            unknown=_singles((1 - points) * (fulfilled * share)[:, None] / whole),
            share=_singles(share[:, None]),
            factor=_singles(weights / ((1 - points) * whole)),
        )

    def add_parts(self, columns: Singles, into: Floats, room: Singles) -> None:
        """Add the parts, of shape (n_features, n_rows), for the columns of some rows.

        `room` has four arrays of a number for each split, point and row, or more.
        """
        goes_left = self._goes_left(columns)
        left = goes_left.astype(np.float32)[:, None]
        shape = (len(left), self.known.shape[1], left.shape[2])
        shares, differences, arriving, spare = (
            flat[: shape[0] * shape[1] * shape[2]].reshape(shape) for flat in room
        )
        np.multiply(left, self.known, out=shares)
        shares += self.unknown
        fulfils = self._fulfils(goes_left)
        for again, holds in fulfils:
            for place, held in zip(again.tolist(), holds, strict=True):
                np.copyto(shares[place], self.share[place], where=~held)
        self._differ(shares, differences, on_right=arriving, says=spare)
        self._arrive(shares, arriving, spare)
        np.subtract(left, shares, out=shares)
        shares *= self.factor
        total = np.einsum("spr,spr,spr->sr", shares, differences, arriving)
        for again, holds in fulfils:
            total[again] *= holds
        self.by_feature.add(total, into)

    def _goes_left(self, columns: Singles) -> npt.NDArray[np.bool_]:
        values = columns[self.feature]
        left = values < self.threshold
        if self.missing_left.any():
            left |= np.isnan(values) & self.missing_left
        return left

    def _fulfils(self, goes_left: npt.NDArray[np.bool_]) -> list[tuple[Positions, npt.NDArray[np.bool_]]]:
        """Return, for each split whose feature was split above, where a row fulfils those conditions."""
        all_of = np.ones_like(goes_left)
        fulfils = []
        for again, place, side in self.above:
            holds = all_of[place] & (goes_left[place] == side[:, None])
            all_of[again] = holds
            fulfils.append((again, holds))
        return fulfils

    def _differ(self, shares: Singles, differences: Singles, *, on_right: Singles, says: Singles) -> None:
        """Walk up: tell what the tree says on the left of each split, less what it says on the right."""
        differences[:], on_right[:] = self.left_leaf, self.right_leaf
        for level in reversed(self.levels):
            own = level.splits
            differences[own] -= on_right[own]
            np.multiply(shares[own], differences[own], out=says[own])
            says[own] += on_right[own]
            differences[level.above_left] = says[level.on_left]
            on_right[level.above_right] = says[level.on_right]

    def _arrive(self, shares: Singles, arriving: Singles, spare: Singles) -> None:
        """Walk down: tell the share of the row that comes to each split."""
        arriving[0] = 1
        for level, below in pairwise(self.levels):
            own = level.splits
            np.multiply(arriving[own], shares[own], out=spare[own])
            np.take(spare, below.above_left, axis=0, out=arriving[below.on_left], mode="clip")
            np.subtract(arriving[own], spare[own], out=spare[own])
            np.take(spare, below.above_right, axis=0, out=arriving[below.on_right], mode="clip")


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees that add up, ready to be explained.

    Parameters
    ----------
    plans : tuple
        A plan of each tree.
    scores : tuple of int
        The score that each tree adds to, from 0.
    n_scores : int
        How many scores there are.
    """

    plans: tuple[_Plan, ...]
    scores: tuple[int, ...]
    n_scores: int

    @classmethod
    def of(cls, trees: Sequence[Tree], scores: Sequence[int]) -> Forest:
        """Lay trees out level by level; one without a split has no parts."""
        both = zip(trees, scores, strict=True)
        grown = [(_Plan.of(tree), score) for tree, score in both if tree.left[0] >= 0]
        n_scores = max(scores) + 1
        return cls(tuple(plan for plan, _ in grown), tuple(score for _, score in grown), n_scores)

    def parts(self, values: npt.NDArray[Any]) -> Floats:
        """Share what the trees say out among the features.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_rows, n_scores, n_features)
            The parts, without a base value.
        """
        n_rows, n_features = values.shape
        parts = np.zeros((self.n_scores, n_features, n_rows))
        largest = max((plan.known.size + plan.unknown.size for plan in self.plans), default=1)
        block = max(_FEWEST, min(_MOST, _CELLS // largest))
        # once for all trees: fresh memory costs more than what is computed in it
        widest = max((len(plan.feature) * plan.known.shape[1] for plan in self.plans), default=0)
        room = np.empty((4, widest * min(block, n_rows)), np.float32)
        for start in range(0, n_rows, block):
            rows = slice(start, start + block)
            columns = np.ascontiguousarray(values[rows].T, np.float32)
            for plan, score in zip(self.plans, self.scores, strict=True):
                plan.add_parts(columns, parts[score, :, rows], room)
        return parts.transpose(2, 0, 1)


@cache
def _points(depth: int) -> tuple[Floats, Floats]:
    """Return the points between 0 and 1, and their weights, that integrate a way of this many features."""
    points, weights = np.polynomial.legendre.leggauss(max(1, -(-depth // 2)))
    return (points + 1) / 2, weights / 2


def _singles(numbers: Floats) -> Singles:
    return numbers.astype(np.float32)[..., None]


def _by_level(tree: Tree) -> tuple[Positions, Positions, npt.NDArray[np.bool_], list[slice]]:
    """Return the nodes that split, level by level, each one's parent and side among them, and the levels."""
    nodes, parents, sides, levels = (
        [np.zeros(1, np.intp)],
        [np.zeros(1, np.intp)],
        [np.zeros(1, np.bool_)],
        [],
    )
    start = 0
    while len(level := nodes[-1]):
        levels.append(slice(start, start + len(level)))
        children = np.concatenate((tree.left[level], tree.right[level]))
        splits = tree.left[children] >= 0
        nodes.append(children[splits])
        parents.append(np.tile(np.arange(len(level)) + start, 2)[splits])
        sides.append((np.arange(len(children)) < len(level))[splits])
        start += len(level)
    return np.concatenate(nodes), np.concatenate(parents), np.concatenate(sides), levels


def _level(splits: slice, parents: Positions, is_left: npt.NDArray[np.bool_]) -> _Level:
    middle = splits.start + int(np.count_nonzero(is_left[splits]))
    on_left, on_right = slice(splits.start, middle), slice(middle, splits.stop)
    return _Level(splits, on_left, on_right, parents[on_left], parents[on_right])


def _last_above(feature: list[int], parents: list[int]) -> tuple[Positions, int]:
    """Return the last split of the same feature above each split, or -1; and the most features of a way."""
    above: list[dict[int, int]] = []
    last = []
    for place, (name, parent) in enumerate(zip(feature, parents, strict=True)):
        known = above[parent] if place else {}
        last.append(known.get(name, -1))
        above.append({**known, name: place})
    return np.array(last, np.intp), max(map(len, above))


def _side(
    splits: Positions, above: Positions, parents: Positions, is_left: npt.NDArray[np.bool_]
) -> tuple[Positions, npt.NDArray[np.bool_]]:
    """Return the splits above again, and whether each split is on the left of its own."""
    sides = []
    for place, stop in zip(splits.tolist(), above.tolist(), strict=True):
        while parents[place] != stop:
            place = int(parents[place])  # noqa: PLW2901 - the walk up
        sides.append(is_left[place])
    return above, np.array(sides, np.bool_)
