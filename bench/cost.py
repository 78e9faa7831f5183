"""What a process costs, measured from outside, and two of them in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


# what decides between runs, and a setting that would have every start compile mmp anew
UNSET = {
    "GOMP_SPINCOUNT",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OPENBLAS_THREAD_TIMEOUT",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNSET}


@dataclass(frozen=True)
class Cost:
    """What one process tree cost: CPU seconds, wall seconds, peak resident MiB; and its last line."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    said: str = ""


def measure(command: Sequence[str], folder: Path) -> Cost:
    """Run a command to its end; one that fails ends the benchmark."""
    start = time.perf_counter()
    log = folder / "last.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=ENVIRONMENT
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{log.read_text()[-3000:]}")
    last = log.read_text().strip().rpartition("\n")[2]
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024, last)


def alternate(
    commands: Sequence[Sequence[str]], folder: Path, repeats: int, *, warm: bool = False
) -> list[list[Cost]]:
    """Run commands in turn, so that a busy moment meets all of them; `warm` is once before."""
    for command in commands if warm else ():
        measure(command, folder)
    costs: list[list[Cost]] = [[] for _ in commands]
    for _ in range(repeats):
        for command, measured in zip(commands, costs, strict=True):
            measured.append(measure(command, folder))
    return costs


def median(costs: Sequence[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)
