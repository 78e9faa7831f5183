"""Conformal prediction: how far to go so that a promised share of new rows is met.

Rows that the model was not fitted on are scored: by how far one would have to go from the prediction to meet
the truth. Going as far as the right one of these scores meets a new row with at least the promised chance,
whatever the model and the distribution, as long as the rows are drawn alike.

References
----------
Lei, J. et al. (2018). Distribution-free predictive inference for regression. JASA 113.
Sadinle, M., Lei, J. and Wasserman, L. (2019). Least ambiguous set-valued classifiers with bounded error
levels. JASA 114.
Gupta, C., Kuchibhotla, A. K. and Ramdas, A. (2022). Nested conformal prediction and quantile out-of-bag
ensemble methods. Pattern Recognition 127.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from mmp.data import buffers
from mmp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.target import Label

    Floats = npt.NDArray[np.float64]

BOUNDS: Final = ("lower", "upper")
"""The columns of predictions between which a number is promised to lie."""

COLUMN: Final = "prediction_set"
"""The column of predictions that holds the classes that a row may be of."""


def rank(n_rows: int, coverage: float) -> int:
    """Return which of the scores of so many rows, from the smallest and from 1, keeps a promise.

    It is above `n_rows` where no score does.

    Examples
    --------
    >>> rank(99, 0.9), rank(100, 0.9), rank(8, 0.9)
    (90, 91, 9)
    """
    return math.ceil((n_rows + 1) * _exact(coverage))


def rows_needed(coverage: float) -> int:
    """Return how many rows there must be to keep a promise.

    Examples
    --------
    >>> rows_needed(0.9), rows_needed(0.99)
    (9, 99)
    """
    share = _exact(coverage)
    return math.ceil(share / (1 - share))


def reach(scores: Floats, coverage: float) -> float:
    """Return how far to go.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        How far one would have had to go, for each of the calibration rows.
    coverage : float
        The promised share, above 0 and below 1.

    Raises
    ------
    DataError
        Where there are too few rows to promise so much.

    Examples
    --------
    >>> reach(np.arange(1.0, 20.0), 0.9)
    18.0
    """
    require_rows(len(scores), coverage)
    which = rank(len(scores), coverage)
    return float(np.partition(scores, which - 1)[which - 1])


def require_rows(n_rows: int, coverage: float) -> None:
    """Refuse a promise that so many calibration rows cannot keep.

    Raises
    ------
    DataError
        Saying how many there have to be.
    """
    if n_rows < (needed := rows_needed(coverage)):
        raise DataError(
            f"A coverage of {coverage:g} needs {needed:,} calibration rows or more; there are {n_rows:,}.",
            hint="Give data.split.calibration a larger share, or lower evaluation.intervals.coverage.",
        )


def _exact(coverage: float) -> Fraction:
    """Return the share that was written: 0.9 is nine tenths, and not the float beside it."""
    return Fraction(repr(float(coverage)))


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Which classes a row may be of: the decided one, and those that are probable enough.

    Because the decided class is always among them no set is empty; where decisions are right more often
    than promised, the coverage is the share of right ones.

    Parameters
    ----------
    cutoff : float
        The lowest probability of a class that is in the set.
    coverage : float
        The share of rows whose class is in their set, as promised.
    """

    cutoff: float
    coverage: float

    @classmethod
    def fitted(
        cls,
        probabilities: Floats,
        decided: npt.NDArray[np.intp],
        truth: npt.NDArray[np.integer],
        coverage: float,
    ) -> PredictionSets:
        """Find the cutoff by calibration rows; raises what `reach` does.

        Parameters
        ----------
        probabilities : ndarray of shape (n_rows, n_classes)
            Of rows that neither the model nor its calibration was fitted on.
        decided, truth : ndarray of shape (n_rows,)
            Positions of classes.
        coverage : float
            The promised share.
        """
        of_truth = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
        # a right decision is in its set whatever the cutoff
        scores = np.where(decided == truth, -np.inf, -of_truth)
        return cls(min(1.0, -reach(scores, coverage)), coverage)

    def contained(self, probabilities: Floats, decided: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Return which classes are in the set of each row, of shape (n_rows, n_classes)."""
        inside: npt.NDArray[np.bool_] = probabilities >= self.cutoff
        inside[np.arange(len(inside)), decided] = True
        return inside

    def one(self, probabilities: Sequence[float], decided: Label, classes: Sequence[Label]) -> list[Label]:
        """Return the labels of one row's set, in the order of the classes."""
        chances = zip(classes, probabilities, strict=True)
        return [label for label, chance in chances if chance >= self.cutoff or label == decided]

    def labels(self, contained: npt.NDArray[np.bool_], classes: Sequence[Label]) -> pa.ListArray:
        """Return the labels of every row's set, in the order of the classes, from what `contained` gives."""
        offsets = np.zeros(len(contained) + 1, np.int32)
        np.cumsum(contained.sum(axis=1), out=offsets[1:])
        members = np.nonzero(contained)[1]
        return pa.ListArray.from_arrays(buffers.wrap(offsets, pa.int32()), _labels(classes, members))


def _labels(classes: Sequence[Label], members: npt.NDArray[np.intp]) -> pa.Array:
    if isinstance(classes[0], str):
        return buffers.strings([str(label) for label in classes]).take(buffers.wrap(members, pa.int64()))
    return buffers.plain(np.array(classes)[members])
