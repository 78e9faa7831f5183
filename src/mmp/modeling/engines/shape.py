"""Predictions that do not depend on how many rows are asked for together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

ROWS: Final = 192
"""Rows of a block: a multiple of every width that BLAS kernels take rows in, small enough for one row."""


def in_blocks(
    predict: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], values: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Predict in blocks of one shape, the last one filled up with its last row.

    How a product of matrices is summed up, and so its last bits, go by their shapes.

    Parameters
    ----------
    predict : callable
        From a matrix to an array with as many rows.
    values : ndarray of shape (n_rows, n_features)
        At least one row.

    Examples
    --------
    >>> in_blocks(lambda block: block.sum(axis=1) + len(block), np.ones((2, 3)))
    array([195., 195.])
    """
    parts = []
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS]
        filled = np.concatenate((block, np.repeat(block[-1:], ROWS - len(block), axis=0)))
        parts.append(predict(filled)[: len(block)])
    return np.concatenate(parts)


def in_company(
    predict: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], values: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Predict all rows at once, a single one twice: NumPy sums a matrix of one row in another order.

    Parameters
    ----------
    predict : callable
        From a matrix to an array with as many rows.
    values : ndarray of shape (n_rows, n_features)
        At least one row.
    """
    if len(values) > 1:
        return predict(values)
    return predict(np.repeat(values, 2, axis=0))[:1]
