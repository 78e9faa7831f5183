"""What the plots and the SHAP values of 2,000 rows cost a training of 200,000 rows.

    python bench/explain.py [--size 200k] [--repeats 5]

The same recipe with and without, alternately, in processes of their own; CPU seconds of the whole
process. The bar: 25 % on top.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

from train import BARS, OUT, RECIPE, alternate, median, row, table

BAR = 1.25
WITH = ["--set", "evaluation.plots=true", "--set", "evaluation.explain.enabled=true"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="200k")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    mmp = shutil.which("mmp", path=str(Path(sys.executable).parent))
    if mmp is None:
        raise SystemExit("mmp is not installed here; run `make demo` first")
    name = f"train {chosen.size}, pictures and SHAP"
    BARS[name] = BAR
    folder = OUT / f"work-{os.getpid()}"
    folder.mkdir(parents=True)
    plain = [mmp, "train", "-r", str(RECIPE), "-d", str(table(chosen.size))]
    print(f"{'':<42} {'with':>9} {'without':>9}")
    try:
        with_both, without = alternate([*plain, *WITH], plain, folder, chosen.repeats)
    finally:
        shutil.rmtree(folder)
    rows = [
        row(name, median(with_both, "cpu_s"), median(without, "cpu_s"), "CPU"),
        row(f"train {chosen.size}, wall", median(with_both, "wall_s"), median(without, "wall_s"), "s"),
        row(f"train {chosen.size}, peak", median(with_both, "peak_mib"), median(without, "peak_mib"), "MiB"),
    ]
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("mmp", "xgboost-cpu", "matplotlib", "numpy")}
    result = {"machine": machine, "versions": versions, "repeats": chosen.repeats, "rows": rows}
    path = OUT / f"explain-{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(OUT.parent.parent)}")


if __name__ == "__main__":
    main()
