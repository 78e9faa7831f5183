"""Rows ranked by score: the areas under the curves, and what each row has in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Areas:
    """What a ranking by score is worth; NaN where there is no row of the class, or no other.

    Parameters
    ----------
    roc : ndarray
        Under hits over misses, rows of equal score joined by a straight line.
    precision_recall : ndarray
        Under precision over recall, as steps.
    """

    roc: Floats
    precision_recall: Floats


@dataclass(frozen=True, eq=False)
class Ranked:
    """Rows from the highest score down, those of one score together.

    Parameters
    ----------
    is_hit : ndarray of bool, shape (n_rows,)
        Which rows are of the class, in their own order.
    order : ndarray of int, shape (n_rows,)
        The rows by rank.
    ends : ndarray of int, shape (n_scores,)
        The last place of each score.
    """

    is_hit: npt.NDArray[np.bool_]
    order: npt.NDArray[np.intp]
    ends: npt.NDArray[np.intp]

    @classmethod
    def by(cls, scores: Floats, is_hit: npt.NDArray[np.bool_]) -> Ranked:
        """Rank rows by their scores."""
        order = np.argsort(scores)[::-1]
        ranked = scores[order]
        ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
        return cls(is_hit, order, ends)

    @cached_property
    def taken(self) -> npt.NDArray[np.intp]:
        """How many rows score at least as high as each score."""
        return self.ends + 1

    @cached_property
    def hits(self) -> npt.NDArray[np.intp]:
        """How many of them are of the class."""
        return np.cumsum(self.is_hit[self.order], dtype=np.intp)[self.ends]

    @cached_property
    def areas(self) -> Areas:
        """The areas of the rows as they are."""
        hits, misses = self.hits, self.taken - self.hits
        gained = np.diff(hits, prepend=0)
        doubled = (np.diff(misses, prepend=0) * (2 * hits - gained)).sum()
        return Areas(
            ratio(doubled, 2 * hits[-1] * misses[-1]), ratio((gained * hits / self.taken).sum(), hits[-1])
        )

    def outranked(self) -> Floats:
        """Return the share of the other kind of rows that each row is on the right side of, ties half.

        Its mean over the hits, and over the misses, is the area under hits over misses.
        """
        hits, misses = self.hits, self.taken - self.hits
        below = misses[-1] - misses + np.diff(misses, prepend=0) / 2
        above = hits - np.diff(hits, prepend=0) / 2
        return self._of_rows(ratio(below, misses[-1]), ratio(above, hits[-1]))

    def precisions(self) -> Floats:
        """Return what a row more, or less, changes in the sum of the precisions at all hits.

        Summed, and divided by the hits, they are the area under precision over recall.
        """
        share, gained = self.hits / self.taken, np.diff(self.hits, prepend=0)
        raised = _from_here_on(gained * (1 - share) / self.taken)
        lowered = _from_here_on(gained * share / self.taken)
        return self._of_rows(share + raised, -lowered)

    def _of_rows(self, of_hits: Floats, of_misses: Floats) -> Floats:
        """Return in the rows' own order what hits and misses have of their score."""
        place = np.repeat(np.arange(len(self.ends)), np.diff(self.taken, prepend=0))
        values = np.empty(len(self.order))
        values[self.order] = np.where(self.is_hit[self.order], of_hits[place], of_misses[place])
        return values


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Return a part of a whole, NaN where there is no whole.

    Examples
    --------
    >>> ratio([1, 0], [2, 0]).tolist()
    [0.5, nan]
    """
    whole = np.asarray(whole)
    empty = np.full(np.broadcast_shapes(np.shape(part), whole.shape), np.nan)
    return np.asarray(np.divide(part, whole, out=empty, where=whole != 0))


def _from_here_on(values: Floats) -> Floats:
    return np.asarray(np.cumsum(values[::-1])[::-1])
