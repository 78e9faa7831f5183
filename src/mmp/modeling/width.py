"""Matrices that would not fit: said before they are made, with the column that makes them wide.

A matrix is dense. XGBoost takes what a sparse one leaves out for missing and LightGBM for 0, so a sparse
matrix would make another model of the same rows.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmp.errors import DataError, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY, _TOO_MANY = 0.25, 0.9
_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory() -> int:
    """Return the bytes that this process may have: the machine's, or its container's."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _LIMIT.read_text().strip() if _LIMIT.is_file() else "max"
    return min(machine, int(limit)) if limit.isdecimal() else machine


def check_width(origins: Sequence[tuple[str, ...]], n_rows: int, dtype: str) -> tuple[Finding, ...]:
    """Return what to say of a training matrix that takes much of the memory.

    Parameters
    ----------
    origins : sequence of tuple of str
        The columns that each feature is made of.
    n_rows : int
        Of the training rows.
    dtype : {"float32", "float64"}
        Of the matrix.

    Raises
    ------
    DataError
        Where it takes nearly all of it, or more.
    """
    size, there = n_rows * len(origins) * np.dtype(dtype).itemsize, memory()
    if size < _MANY * there:
        return ()
    (widest, count), *_ = Counter(origins).most_common(1)
    names = " and ".join(map(repr, widest))
    said = (
        f"The training matrix has {n_rows:,} rows and {len(origins):,} columns, {count:,} of them made of "
        f"{names}: {size / 2**30:.1f} GiB, where there are {there / 2**30:.1f} GiB of memory."
    )
    hint = f"Take fewer rows, or encode {names} with target_encoder or ordinal_encoder."
    if size > _TOO_MANY * there:
        raise DataError(said, hint=hint)
    return (Finding("width", "warn", f"{said} {hint}"),)
