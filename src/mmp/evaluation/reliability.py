"""How far probabilities come true: bins of equally many rows, and the best that could be made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from mmp.modeling.isotonic import Groups, blocks

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

N_BINS: Final = 10


class Bins(NamedTuple):
    """Means of the rows of each bin that has some.

    Parameters
    ----------
    said, came : ndarray of shape (n_bins,)
        The mean probability, and the share of the class.
    rows : ndarray of int64
        How many rows they are of.
    """

    said: Floats
    came: Floats
    rows: npt.NDArray[np.int64]


def bins(probabilities: Floats, n_bins: int = N_BINS) -> npt.NDArray[np.intp]:
    """Return each row's bin: by rank, so that all have about equally many rows, 0 and 1 among them.

    Rows of one probability stay together, in the bin of their middle; so a bin may be empty.

    References
    ----------
    Nguyen, K. and O'Connor, B. (2015). Posterior calibration and exploratory analysis for natural language
    processing models. EMNLP.

    Examples
    --------
    >>> bins(np.array([0.0, 0.0, 0.0, 0.4, 1.0]), n_bins=5).tolist()
    [1, 1, 1, 3, 4]
    """
    _, place, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return (middle * n_bins / len(probabilities)).astype(np.intp)[place]


def diagram(probabilities: Floats, is_hit: npt.NDArray[np.bool_]) -> Bins:
    """Return what was said and what came, bin by bin.

    Examples
    --------
    >>> diagram(np.array([0.0, 0.0, 0.5, 0.5]), np.array([False, True, False, True]))
    Bins(said=array([0. , 0.5]), came=array([0.5, 0.5]), rows=array([2, 2]))
    """
    place = bins(probabilities)
    rows = np.bincount(place)
    has_rows = rows > 0
    said, came = (np.bincount(place, weights)[has_rows] for weights in (probabilities, is_hit))
    return Bins(said / rows[has_rows], came / rows[has_rows], rows[has_rows])


def levels(probabilities: Floats, is_hit: npt.NDArray[np.bool_]) -> Floats:
    """Return what isotonic regression on these very rows makes of each probability."""
    groups = Groups.of(probabilities, is_hit)
    starts = blocks(groups)
    of_blocks = np.add.reduceat(groups.hits, starts) / np.add.reduceat(groups.rows, starts)
    place = np.searchsorted(groups.scores[starts], probabilities, side="right") - 1
    return np.asarray(of_blocks[place])
