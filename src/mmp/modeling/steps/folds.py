"""Folds of the training rows, equal to those of scikit-learn's splitters with the same seed.

Hence NumPy's older generator: it is the one that scikit-learn draws from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.modeling.target import Target


def folds_of(target: Target, n_folds: int, seed: int, *, step: str) -> npt.NDArray[np.int32]:
    """Return each row's fold, stratified where there are classes.

    Raises
    ------
    DataError
        Where there are fewer rows than folds.
    """
    if len(target) < n_folds:
        raise DataError(
            f"The step {step} needs {n_folds} rows for its {n_folds} folds; training has {len(target)}.",
            hint="Give it more rows, or leave the step out.",
        )
    if target.kind == "classification":
        return stratified_folds(target.values, n_folds, seed)
    return shuffled_folds(len(target), n_folds, seed)


def shuffled_folds(n_rows: int, n_folds: int, seed: int) -> npt.NDArray[np.int32]:
    """Return each row's fold, as ``KFold(n_folds, shuffle=True, random_state=seed)``."""
    order = np.arange(n_rows)
    np.random.RandomState(seed).shuffle(order)
    folds = np.empty(n_rows, np.int32)
    folds[order] = np.repeat(np.arange(n_folds), _shares(n_rows, n_folds))
    return folds


def stratified_folds(codes: npt.NDArray[Any], n_folds: int, seed: int) -> npt.NDArray[np.int32]:
    """Return each row's fold, as ``StratifiedKFold(n_folds, shuffle=True, random_state=seed)``.

    Parameters
    ----------
    codes : ndarray of int, shape (n_rows,)
        Each row's class, from 0.
    """
    generator = np.random.RandomState(seed)
    n_rows, counts = len(codes), np.bincount(codes)
    first = np.full(len(counts), n_rows)
    first[codes[::-1]] = np.arange(n_rows)[::-1]
    folds = np.empty(n_rows, np.int32)
    start = 0
    for code in np.argsort(first)[: np.count_nonzero(counts)].tolist():
        stop = start + int(counts[code])
        of_class = np.repeat(np.arange(n_folds), _shares(stop, n_folds) - _shares(start, n_folds))
        generator.shuffle(of_class)
        folds[codes == code] = of_class
        start = stop
    return folds


def _shares(n_rows: int, n_folds: int) -> npt.NDArray[np.int64]:
    """Return how many rows each fold has when they are dealt out in turn."""
    shares = np.full(n_folds, n_rows // n_folds)
    shares[: n_rows % n_folds] += 1
    return shares
