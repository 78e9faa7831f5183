"""Start-up, validation and training, side by side with what a good engineer writes by hand.

    python bench/train.py [--sizes 10k,200k,1m] [--repeats 5] [--only startup,train,noise]

Prints a table of medians and ratios; saves them as JSON under bench/out. CPU is user and system time of a
process and the children it waited for, memory the peak of the largest of them. The machine should be
quiet: `noise` brings busy neighbours of its own.
"""

from __future__ import annotations

import argparse
import compileall
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cost import ENVIRONMENT, alternate, median

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
DATA = HERE / "data"
ROWS = {"10k": 10_000, "200k": 200_000, "1m": 1_000_000}
FITS = {"8k": 8_000, "200k": 200_000}
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
    **dict.fromkeys((f"fit {size}, two busy neighbours / quiet" for size in FITS), 4.0),
    **dict.fromkeys((f"fit {size}, quiet / library's default" for size in FITS), 1.3),
}


def row(name: str, ours: float, theirs: float, unit: str) -> dict[str, Any]:
    ratio, bar = ours / theirs, BARS.get(name)
    verdict = "" if bar is None else ("ok" if ratio <= bar else "MISSED")
    limit = f"<= {bar}x" if bar else ""
    print(f"{name:<42} {ours:>9.3f} {theirs:>9.3f} {unit:<4} {ratio:>7.2f}x {limit:>9} {verdict}")
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
        ours, theirs = alternate([command, python], folder, repeats * 3, warm=True)
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
    a, b = alternate([ours, theirs], folder, repeats, warm=True)
    return [
        row(f"train {size}", median(a, "cpu_s"), median(b, "cpu_s"), "CPU"),
        row(f"train {size}, wall", median(a, "wall_s"), median(b, "wall_s"), "s"),
        row(f"train {size}, peak memory", median(a, "peak_mib"), median(b, "peak_mib"), "MiB"),
    ]


# One fit as the library does it on all cores, and one as mmp does it; both print their seconds.
FIT = """
import sys, time
import numpy as np
from mmp.catalog.models import find
from mmp.modeling import engines, lean, threads
from mmp.modeling.engines.base import FitJob
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

n_rows, whose = int(sys.argv[1]), sys.argv[2]
lean.enable()
values = np.random.default_rng(0).normal(size=(n_rows, 18)).astype(np.float32)
codes = (values[:, 0] + values[:, 1] * values[:, 2] > 0).astype(np.int32)
params = {"n_estimators": 200, "max_depth": 6, "learning_rate": 0.1}
if whose == "mmp":
    threads.shorten_spinning()
xgboost = lean.library("xgboost")
start = time.perf_counter()
if whose == "mmp":
    target = Target("classification", codes, (0, 1), 1)
    matrix = Matrix(values, tuple(map(str, range(18))))
    engines.fit(FitJob(find("XGBClassifier"), params, matrix, target, threads=threads.choose(*values.shape)))
else:
    rounds = params.pop("n_estimators")
    data = xgboost.QuantileDMatrix(values, codes)
    xgboost.train(params | {"objective": "binary:logistic"}, data, rounds)
print(time.perf_counter() - start)
"""


def spin() -> None:
    while True:
        sum(range(10_000))


def fit_seconds(whose: str, n_rows: int) -> float:
    """Wall seconds of a fit in a process of its own."""
    command = [sys.executable, "-c", FIT, str(n_rows), whose]
    return float(subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True).stdout)


@contextmanager
def neighbours(number: int) -> Iterator[None]:
    """Keep processes busy meanwhile."""
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(number)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.terminate()
            process.join()


def noise(size: str, repeats: int) -> list[dict[str, Any]]:
    """Fit alone and beside two busy processes, as mmp does it and as the library does by itself."""
    seconds: dict[str, list[float]] = {"mmp": [], "library": [], "mmp, busy": []}
    for _ in range(repeats):
        seconds["library"].append(fit_seconds("library", FITS[size]))
        seconds["mmp"].append(fit_seconds("mmp", FITS[size]))
        with neighbours(2):
            seconds["mmp, busy"].append(fit_seconds("mmp", FITS[size]))
    with neighbours(2):
        default_busy = fit_seconds("library", FITS[size])  # once: it may take a minute
    quiet, default, busy = (statistics.median(seconds[key]) for key in ("mmp", "library", "mmp, busy"))
    return [
        row(f"fit {size}, quiet / library's default", quiet, default, "s"),
        row(f"fit {size}, two busy neighbours / quiet", busy, quiet, "s"),
        row(f"fit {size}, the library's, the same", default_busy, default, "s"),
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
    for place in find_spec("mmp").submodule_search_locations:
        compileall.compile_dir(place, quiet=2)
    folder = OUT / f"work-{os.getpid()}"
    folder.mkdir(parents=True)
    print(f"{'':<42} {'mmp':>9} {'reference':>9} {'':<4} {'ratio':>8} {'bar':>9}")
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
        for size in FITS:
            rows += noise(size, chosen.repeats)
    libraries = ("mmp", "xgboost-cpu", "mlflow", "scikit-learn", "pandas", "pyarrow")
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    versions = {name: version(name) for name in libraries}
    result = {"machine": machine, "versions": versions, "repeats": chosen.repeats, "rows": rows}
    path = OUT / f"train-{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
