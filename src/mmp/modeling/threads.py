"""How many threads a fit gets, and idle ones kept from burning a busy machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

# Below this many cells a second thread costs more than it brings.
_FEW_CELLS = 100_000
_CGROUP = Path("/sys/fs/cgroup")
# rounds of a loop, and the logarithm of clock ticks: microseconds both
_SPINNING = {"GOMP_SPINCOUNT": "1000", "OPENBLAS_THREAD_TIMEOUT": "18"}


def shorten_spinning() -> None:
    """Shorten how long an idle thread of OpenMP or OpenBLAS spins before it sleeps.

    A spinning thread takes the core from the thread it waits for as soon as another process wants
    one, which makes a fit tens of times slower; a thread that sleeps at once is slow to wake on a
    quiet machine. The numbers are between the two. They must be set before the libraries load
    (NumPy brings OpenBLAS), and what the environment says already is left alone.
    """
    for name, value in _SPINNING.items():
        os.environ.setdefault(name, value)


def choose(n_rows: int, n_features: int, setting: int | Literal["auto"] = "auto") -> int:
    """Return the number of threads for a matrix.

    Parameters
    ----------
    n_rows, n_features : int
        Shape of the matrix.
    setting : int or "auto"
        A number is taken as it is; 0 and below count back from all cores, as scikit-learn does
        (-1 is all of them).

    Examples
    --------
    >>> choose(1_000, 20), choose(1_000, 20, 3)
    (1, 3)
    """
    if setting == "auto":
        return 1 if n_rows * n_features < _FEW_CELLS else cores()
    return setting if setting > 0 else max(1, cores() + 1 + setting)


def cores() -> int:
    """Return how many cores this process may use: its affinity, its cgroup, ``OMP_NUM_THREADS``."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux
    allowed = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    limits = (allowed, _cgroup_cores(_CGROUP), _asked_for())
    return max(1, min(limit for limit in limits if limit is not None))


def _cgroup_cores(root: Path) -> int | None:
    """Return the cores that the container's quota comes to, rounded up."""
    try:
        if (unified := root / "cpu.max").exists():
            quota, period = unified.read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    unlimited = quota in {"max", "-1"}
    return None if unlimited else -(-int(quota) // int(period))


def _asked_for() -> int | None:
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None
