"""What a ranking by score gives, as lines to draw: one class against the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Line = tuple[Floats, Floats]

N_POINTS: Final = 400  # of a line; more are not seen


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows taken from the highest score down, rows of one score together.

    Parameters
    ----------
    taken, hits : ndarray of float64, shape (n_scores + 1,)
        How many rows are taken so far, and how many of them are of the class; both start at 0.
    """

    taken: Floats
    hits: Floats

    @classmethod
    def of(cls, scores: Floats, is_hit: npt.NDArray[np.bool_]) -> Ranking:
        """Rank rows.

        Examples
        --------
        >>> ranking = Ranking.of(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
        >>> ranking.taken.tolist(), ranking.hits.tolist()
        ([0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 2.0, 2.0])
        """
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
        hits = np.cumsum(is_hit[order])[ends]
        return cls(np.append(0.0, ends + 1.0), np.append(0.0, hits))

    @property
    def share(self) -> float:
        """The share of all rows that are of the class."""
        return float(self.hits[-1] / self.taken[-1])

    def roc(self) -> Line:
        """Return the shares of the other rows, and of the class's rows, that are taken."""
        misses = self.taken - self.hits
        return thinned(misses / misses[-1], self.hits / self.hits[-1])

    def precision_recall(self) -> Line:
        """Return the share of the class's rows that are taken, and how many of the taken are of the class."""
        return thinned(self.hits[1:] / self.hits[-1], self.hits[1:] / self.taken[1:])

    def gain(self) -> Line:
        """Return the shares of all rows, and of the class's rows, that are taken."""
        return thinned(self.taken / self.taken[-1], self.hits / self.hits[-1])

    def lift(self) -> Line:
        """Return the share of rows that are taken, from 1 % on, and how much richer they are than all."""
        taken = self.taken[1:] / self.taken[-1]
        lift = self.hits[1:] / self.hits[-1] / taken
        start = min(int(np.searchsorted(taken, 0.01)), len(taken) - 1)
        return thinned(taken[start:], lift[start:])


def thinned(x: Floats, y: Floats, n_points: int = N_POINTS) -> Line:
    """Leave points out where a line has more than can be seen, as many wherever it is as long.

    Examples
    --------
    >>> x, y = thinned(np.linspace(0, 1, 10_000), np.linspace(0, 1, 10_000), n_points=3)
    >>> x.round(2).tolist()
    [0.0, 0.5, 1.0]
    """
    if len(x) <= n_points:
        return x, y
    steps = np.abs(np.diff(x)) / (np.ptp(x) or 1) + np.abs(np.diff(y)) / (np.ptp(y) or 1)
    length = np.append(0.0, np.cumsum(steps))
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], n_points)))
    kept[-1] = len(x) - 1
    return x[kept], y[kept]
