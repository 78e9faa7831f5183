"""Isotonic regression of hits on scores, by pooling: alone, and with one more row anywhere.

Counts are integers, so that comparisons are exact and ties are ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_WORTH_A_PASS: Final = 0.9  # of the blocks are left: a pass over all of them was worth it


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows by score, those of one score together.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_groups,)
        Distinct, ascending.
    rows, hits : ndarray of int64, shape (n_groups,)
        How many rows have each score, and how many of them are hits.
    """

    scores: Floats
    rows: Counts
    hits: Counts

    @classmethod
    def of(cls, scores: Floats, is_hit: npt.NDArray[np.bool_]) -> Groups:
        """Group rows.

        Examples
        --------
        >>> groups = Groups.of(np.array([0.5, 0.1, 0.5]), np.array([True, False, False]))
        >>> groups.scores.tolist(), groups.rows.tolist(), groups.hits.tolist()
        ([0.1, 0.5], [1, 2], [0, 1])
        """
        order = np.argsort(scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        rows = np.diff(starts, append=len(ranked))
        return cls(ranked[starts], rows, np.add.reduceat(is_hit[order].astype(np.int64), starts))


def blocks(groups: Groups) -> npt.NDArray[np.intp]:
    """Return where the blocks of the isotonic regression begin: neighbours that are no rising pair are one.

    Parameters
    ----------
    groups : Groups
        One group or more.

    Returns
    -------
    ndarray of shape (n_blocks,)
        Positions of groups; the level of a block is the share of hits in its rows.

    References
    ----------
    Ayer, M. et al. (1955). An empirical distribution function for sampling with incomplete information.
    Annals of Mathematical Statistics, 26.

    Examples
    --------
    >>> blocks(Groups(np.array([0.1, 0.2, 0.3]), np.array([1, 1, 1]), np.array([0, 1, 0]))).tolist()
    [0, 1]
    """
    starts = np.arange(len(groups.scores))
    rows, hits = groups.rows, groups.hits
    while True:
        rises = np.append(True, hits[:-1] * rows[1:] < hits[1:] * rows[:-1])
        if rises.all():
            return starts
        first = np.flatnonzero(rises)
        is_worth_it = len(first) < _WORTH_A_PASS * len(starts)
        starts, rows, hits = starts[first], np.add.reduceat(rows, first), np.add.reduceat(hits, first)
        if not is_worth_it:
            return starts[_pooled(rows, hits)]


def _pooled(rows: Counts, hits: Counts) -> npt.NDArray[np.intp]:
    """Pool one after the other: linear, however few of them each pass over all would pool."""
    stack: list[tuple[int, int, int]] = []
    for start, (n, k) in enumerate(zip(rows.tolist(), hits.tolist(), strict=True)):
        block = start, n, k
        while stack and stack[-1][2] * block[1] >= block[2] * stack[-1][1]:
            last = stack.pop()
            block = last[0], last[1] + block[1], last[2] + block[2]
        stack.append(block)
    return np.array([start for start, _, _ in stack], np.intp)


def bounds(groups: Groups) -> tuple[Floats, Floats]:
    """Return the levels that one more row would have at each score, were it no hit, and were it one.

    Blocks of the groups before a place, and of those behind it, are known from pooling in both directions;
    the new row is pooled with its neighbours among them.

    Parameters
    ----------
    groups : Groups
        One group or more.

    Returns
    -------
    lower, upper : ndarray of float64, shape (n_groups,)
        Both ascending. Between two scores the lower is that of the score before, the upper that of
        the score behind.

    References
    ----------
    Vovk, V., Petej, I. and Fedorova, V. (2015). Large-scale probabilistic predictors with and without
    guarantees of validity. NeurIPS 28.
    """
    around = _Around(groups)
    places = range(len(groups.scores))
    lower = [around.level(place + 1, hits=0) for place in places]
    upper = [around.level(place, hits=1) for place in places]
    return np.array(lower), np.array(upper)


class _Around:
    """The blocks that end before each place between groups, and those that begin behind it."""

    def __init__(self, groups: Groups) -> None:
        self._n = len(groups.rows)
        self._rows = [0, *np.cumsum(groups.rows).tolist()]
        self._hits = [0, *np.cumsum(groups.hits).tolist()]
        # of the block that ends with the group before a place; of the block that begins with the group behind
        self._starts, self._ends = [0] * (self._n + 1), [self._n] * (self._n + 1)
        for end in range(1, self._n + 1):
            start = end - 1
            while start and not self._rises(self._starts[start], start, end):
                start = self._starts[start]
            self._starts[end] = start
        for start in range(self._n - 1, -1, -1):
            end = start + 1
            while end < self._n and not self._rises(start, end, self._ends[end]):
                end = self._ends[end]
            self._ends[start] = end

    def _rises(self, start: int, middle: int, end: int) -> bool:
        rows, hits = self._rows, self._hits
        left = (hits[middle] - hits[start]) * (rows[end] - rows[middle])
        return bool(left < (hits[end] - hits[middle]) * (rows[middle] - rows[start]))

    def level(self, place: int, *, hits: int) -> float:
        """Return the level of a row put between groups, which has one hit or none."""
        start = end = place
        n, k = 1, hits
        while True:
            before, behind = self._starts[start], self._ends[end]
            if start and self._share(before, start, n) >= k * (self._rows[start] - self._rows[before]):
                start = before
            elif end < self._n and self._share(end, behind, n) <= k * (self._rows[behind] - self._rows[end]):
                end = behind
            else:
                return k / n
            n = 1 + self._rows[end] - self._rows[start]
            k = hits + self._hits[end] - self._hits[start]

    def _share(self, start: int, end: int, n: int) -> int:
        """Return the hits of a block, times `n`: what compares its level with one of `n` rows."""
        return int((self._hits[end] - self._hits[start]) * n)
