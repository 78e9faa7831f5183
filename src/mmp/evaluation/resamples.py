"""The rows as they are, and as they might have been: what averages and counts are of.

A metric's formula asks for means and counts of rows. `ONCE` takes each row once; `Resamples` draws as
many rows again, with replacement, a thousand times over, and gives one value for each time. So a metric
and the values that its interval is made of have one formula.

References
----------
Efron, B. and Tibshirani, R. (1993). An introduction to the bootstrap.
Chamandy, N. et al. (2012). Estimating uncertainty for massive data streams. Google technical report.
DeLong, E. R. et al. (1988). Comparing the areas under two or more correlated ROC curves. Biometrics, 44.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from mmp.evaluation.ranked import Areas, ratio

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.evaluation.ranked import Ranked

    Floats = npt.NDArray[np.float64]
    Groups = npt.NDArray[np.int64]

N_RESAMPLES: Final = 1000
N_BLOCKS: Final = 1000
"""Rows are drawn one by one up to so many, and else in so many random blocks of about the same size."""
_AT_ONCE: Final = 50  # resamples, so that they stay in the processor's cache


class Draw(Protocol):
    """How often each row counts."""

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return the mean of the rows' values: an array without dimensions, or a value a resample."""

    def counts(self, codes: npt.NDArray[Any], n_codes: int) -> npt.NDArray[Any]:
        """Count the rows of each code, down the last axis."""

    def areas(self, ranked: Ranked) -> Areas:
        """Return the areas under the curves of a ranking."""


class Once:
    """Each row once."""

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return the mean."""
        return np.asarray(values.mean(), np.float64)

    def counts(self, codes: npt.NDArray[Any], n_codes: int) -> npt.NDArray[Any]:
        """Count the codes."""
        return np.bincount(codes, minlength=n_codes)

    def areas(self, ranked: Ranked) -> Areas:
        """Return the areas as they are."""
        return ranked.areas


ONCE: Final = Once()


@dataclass(frozen=True, eq=False)
class Resamples:
    """Rows, or groups of them, drawn again and again, with replacement; of many of them whole blocks.

    Blocks are random, so the variance of a mean is that of single rows; how well it is known depends on
    the number of blocks: with a thousand, to 2 %.

    Parameters
    ----------
    blocks : ndarray of int64, shape (n_rows,)
        The block of each row.
    weights : ndarray of float64, shape (n_resamples, n_blocks)
        How often each block is in each resample.
    """

    blocks: npt.NDArray[np.int64]
    weights: Floats

    @classmethod
    def draw(cls, n_rows: int, *, seed: int, groups: Groups | None = None) -> Resamples:
        """Draw.

        Parameters
        ----------
        n_rows : int
            How many rows there are.
        seed : int
            What they are drawn with.
        groups : ndarray of int64, shape (n_rows,), optional
            The group of each row, from 0 and without a gap: groups are drawn instead of rows.

        Examples
        --------
        >>> resamples = Resamples.draw(3, seed=1)
        >>> resamples.weights.shape, set(resamples.weights.sum(axis=1).tolist())
        ((1000, 3), {3.0})
        """
        rng = np.random.default_rng(seed)
        n_drawn = n_rows if groups is None else int(groups.max()) + 1
        n_blocks = min(n_drawn, N_BLOCKS)
        blocks = np.arange(n_drawn) if n_drawn == n_blocks else rng.permutation(n_drawn) % n_blocks
        weights = np.empty((N_RESAMPLES, n_blocks))
        places = (np.arange(_AT_ONCE) * n_blocks)[:, np.newaxis]
        for begin in range(0, N_RESAMPLES, _AT_ONCE):
            part = weights[begin : begin + _AT_ONCE]
            drawn = rng.integers(n_blocks, size=part.shape, dtype=np.uint16) + places[: len(part)]
            part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
        return cls(blocks if groups is None else blocks[groups], weights)

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """Return the mean in each resample."""
        return self._sums(values) / self._n_rows

    def counts(self, codes: npt.NDArray[Any], n_codes: int) -> Floats:
        """Count the rows of each code in each resample: shape (n_resamples, n_codes)."""
        n_blocks = self.weights.shape[1]
        cells = np.bincount(codes * n_blocks + self.blocks, minlength=n_codes * n_blocks)
        return np.stack([self._weighted(of_code) for of_code in cells.reshape(n_codes, -1)], axis=-1)

    def areas(self, ranked: Ranked) -> Areas:
        """Return the areas in each resample, to first order: rows are drawn, and keep what they have in them.

        What is left out is smaller by the square root of the number of rows.
        """
        hits, misses = self._sums(ranked.is_hit), self._sums(~ranked.is_hit)
        outranked = ranked.outranked()
        of_hits = ratio(self._sums(np.where(ranked.is_hit, outranked, 0)), hits)
        of_misses = ratio(self._sums(np.where(ranked.is_hit, 0, outranked)), misses)
        precision_recall = ratio(self._sums(ranked.precisions()), hits)
        roc = of_hits + of_misses - ranked.areas.roc
        return Areas(np.clip(roc, 0, 1), np.clip(precision_recall, 0, 1))

    @cached_property
    def _n_rows(self) -> Floats:
        return self._weighted(np.bincount(self.blocks))

    def _sums(self, values: npt.NDArray[Any]) -> Floats:
        return self._weighted(np.bincount(self.blocks, weights=values))

    def _weighted(self, of_blocks: npt.NDArray[Any]) -> Floats:
        # not `@`: for a product as small as this, threads of OpenBLAS would spin for longer than it takes
        return np.asarray(np.einsum("ij,j->i", self.weights, of_blocks.astype(np.float64)))
