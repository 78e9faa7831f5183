"""Start-up, validation and training, side by side with what a good engineer writes by hand.

    python bench/train.py [--sizes 10k,200k,1m] [--repeats 5] [--only startup,train,noise]

Prints a table of medians and ratios; saves them as JSON under bench/out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
DATA = HERE / "data"
ROWS = {"10k": 10_000, "200k": 200_000, "1m": 1_000_000}
RECIPE = HERE / "recipes" / "churn_xgboost.yaml"
BARS = {
    "mmp --help": 8.0,
    "mmp --version": 8.0,
    "mmp validate, settings only": 20.0,
    "mmp validate, 10k rows": 45.0,
    "train 10k": 0.5,
    "train 200k": 0.6,
    "train 1m": 0.7,
    "train 1m, peak memory": 0.65,
    "fit beside two busy processes": 4.0,
    "fit when quiet, against the default": 1.3,
}


@dataclass(frozen=True)
class Cost:
    """What one process tree cost: CPU seconds, wall seconds, peak resident MiB."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def measure(command: list[str], folder: Path, **environment: str) -> Cost:
    start = time.perf_counter()
    log = folder / "last.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}:\n{log.read_text()[-3000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024)


def alternate(
    ours: list[str], theirs: list[str], folder: Path, repeats: int
) -> tuple[list[Cost], list[Cost]]:
    """Run both in turn, so that a busy moment of the machine meets both."""
    measured: tuple[list[Cost], list[Cost]] = ([], [])
    for command in (ours, theirs):
        measure(command, folder)  # once for caches and the tracking database
    for _ in range(repeats):
        for command, costs in zip((ours, theirs), measured, strict=True):
            costs.append(measure(command, folder))
    return measured


def median(costs: list[Cost], field: str) -> float:
    return statistics.median(getattr(cost, field) for cost in costs)


def row(name: str, ours: float, theirs: float, unit: str) -> dict[str, Any]:
    ratio, bar = ours / theirs, BARS.get(name)
    verdict = "" if bar is None else ("ok" if ratio <= bar else "MISSED")
    limit = f"<= {bar}x" if bar else ""
    print(f"{name:<38} {ours:>9.3f} {theirs:>9.3f} {unit:<4} {ratio:>7.2f}x {limit:>9} {verdict}")
    return {"name": name, "ours": ours, "reference": theirs, "unit": unit, "ratio": ratio, "bar": bar}


def table(size: str) -> Path:
    path = DATA / f"churn_{size}.parquet"
    if not path.exists():
        generate = [sys.executable, str(HERE / "reference" / "gen_data.py"), "--rows", str(ROWS[size])]
        subprocess.run(
            [*generate, "--out", str(DATA), "--name", path.stem, "--formats", "parquet"], check=True
        )
    return path


def startup(mmp: str, folder: Path, repeats: int) -> list[dict[str, Any]]:
    python = [str(Path(mmp).with_name("python")), "-c", "pass"]
    validate = [mmp, "validate", "-r", str(RECIPE)]
    commands = {
        "mmp --help": [mmp, "--help"],
        "mmp --version": [mmp, "--version"],
        "mmp validate, settings only": [*validate, "--no-data"],
        "mmp validate, 10k rows": [*validate, "-d", str(table("10k"))],
    }
    rows = []
    for name, command in commands.items():
        ours, theirs = alternate(command, python, folder, repeats * 3)
        rows.append(row(name, median(ours, "cpu_s"), median(theirs, "cpu_s"), "CPU"))
    return rows


def train(mmp: str, size: str, folder: Path, repeats: int) -> list[dict[str, Any]]:
    data = str(table(size))
    ours = [mmp, "train", "-r", str(RECIPE), "-d", data]
    reference = [sys.executable, str(HERE / "reference" / "train_handwritten.py"), "--impl", "sklearn"]
    theirs = [
        *reference,
        "--data",
        data,
        "--mlflow",
        f"sqlite:///{folder}/reference.db",
        "--out",
        str(folder / "hw"),
    ]
    a, b = alternate(ours, theirs, folder, repeats)
    return [
        row(f"train {size}", median(a, "cpu_s"), median(b, "cpu_s"), "CPU"),
        row(f"train {size}, wall", median(a, "wall_s"), median(b, "wall_s"), "s"),
        row(f"train {size}, peak memory", median(a, "peak_mib"), median(b, "peak_mib"), "MiB"),
    ]


def spin(until: float) -> None:
    while time.time() < until:
        sum(range(10_000))


def fit_seconds(spin_count: str | None, repeats: int) -> float:
    """Wall seconds of a fit of 8,000 rows on two threads, in a process of its own."""
    code = (
        "import sys, time; sys.modules['sklearn'] = None\n"
        "import numpy as np, xgboost\n"
        "X = np.random.default_rng(0).normal(size=(8000, 18)).astype('f4'); y = (X[:, 0] > 0).astype('f4')\n"
        "d = xgboost.QuantileDMatrix(X, y, nthread=2)\n"
        "p = dict(nthread=2, max_depth=6, objective='binary:logistic')\n"
        "t = time.perf_counter(); xgboost.train(p, d, 200); print(time.perf_counter() - t)\n"
    )
    environment = {
        key: value for key, value in os.environ.items() if key not in {"GOMP_SPINCOUNT", "OMP_NUM_THREADS"}
    }
    if spin_count:
        environment["GOMP_SPINCOUNT"] = spin_count
    seconds = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, check=True
            ).stdout
        )
        for _ in range(repeats)
    ]
    return statistics.median(seconds)


def noise(repeats: int) -> list[dict[str, Any]]:
    from mmp.modeling.threads import SPIN_COUNT

    default, quiet = fit_seconds(None, repeats), fit_seconds(str(SPIN_COUNT), repeats)
    neighbours = [multiprocessing.Process(target=spin, args=(time.time() + 300,)) for _ in range(2)]
    for neighbour in neighbours:
        neighbour.start()
    try:
        busy, busy_default = fit_seconds(str(SPIN_COUNT), repeats), fit_seconds(None, 1)
    finally:
        for neighbour in neighbours:
            neighbour.terminate()
    return [
        row("fit when quiet, against the default", quiet, default, "s"),
        row("fit beside two busy processes", busy, quiet, "s"),
        row("the same with libgomp's default", busy_default, default, "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10k,200k,1m")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="startup,train,noise")
    chosen = parser.parse_args()
    parts = chosen.only.split(",")
    mmp = shutil.which("mmp", path=str(Path(sys.executable).parent))
    if mmp is None:
        raise SystemExit(
            "mmp is not installed here; run `make demo` first, then .venv/bin/python bench/train.py"
        )
    folder = OUT / f"work-{os.getpid()}"
    folder.mkdir(parents=True)
    print(f"{'':<38} {'mmp':>9} {'reference':>9}")
    rows: list[dict[str, Any]] = []
    try:
        if "startup" in parts:
            rows += startup(mmp, folder, chosen.repeats)
        if "train" in parts:
            for size in chosen.sizes.split(","):
                rows += train(mmp, size, folder, chosen.repeats)
    finally:
        shutil.rmtree(folder)
    if "noise" in parts:
        rows += noise(chosen.repeats)
    libraries = ("mmp", "xgboost-cpu", "mlflow", "scikit-learn", "pandas", "pyarrow")
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    versions = {name: version(name) for name in libraries}
    result = {"machine": machine, "versions": versions, "repeats": chosen.repeats, "rows": rows}
    path = OUT / f"train-{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
