"""Fifty trials on 10,000 rows against the sum of their fits.

    python bench/tuning.py [--trials 50] [--models xgboost.XGBClassifier,lightgbm.LGBMClassifier]

What a trial's fit costs by itself is measured afterwards: the same hyperparameters, the same matrices,
`fit_model` and nothing else. What tuning costs is its whole step in a run, on an MLflow store in SQLite:
drawing, fitting, scoring, a run for every trial, pictures. Nothing is pruned, so that both do the same fits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

BAR = 1.1
OUT = Path(__file__).parent / "out"
RECIPE = """\
name: bench
task_choice: classification
model:
  class_path: {model}
  hyperparameters: {{tuning_enabled: true, n_trials: {trials}, pruning: false}}
data:
  loader: {{source_uri: table.csv}}
  data_interface: {{target_column: y}}
evaluation: {{plots: true, explain: {{enabled: false}}}}
"""


def write_table(path: Path, n_rows: int = 10_000) -> None:
    rng = np.random.default_rng(0)
    numbers, kinds = rng.normal(size=(n_rows, 12)), rng.integers(0, 20, (n_rows, 6))
    score = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + np.sin(kinds[:, 0]) + rng.normal(size=n_rows)
    names = [*(f"x{i}" for i in range(12)), *(f"c{i}" for i in range(6)), "y"]
    lines = [",".join(names)]
    for row, cells, label in zip(numbers.round(5).tolist(), kinds.tolist(), score > 0, strict=True):
        lines.append(",".join([*map(str, row), *(f"k{cell}" for cell in cells), str(int(label))]))
    path.write_text("\n".join(lines) + "\n")


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(begun: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def measure(model: str, trials: int) -> dict[str, float]:
    import mmp.pipelines.tune as tuning
    from mmp.pipelines.fitting import fit
    from mmp.pipelines.train import train
    from mmp.settings.load import load_config, load_recipe
    from mmp.settings.search import with_values

    Path("r.yaml").write_text(RECIPE.format(model=model, trials=trials))
    kept, spent = {}, []
    tune = tuning.tune

    def timed(active, rows, divisions, shared, recipe, row, tell):
        fit(shared, with_values(recipe, {}, row), row)  # loads the library, which either way needs
        begun = clocks()
        tuned = tune(active, rows, divisions, shared, recipe, row, tell)
        spent.append(since(begun))
        kept.update(shared=shared, recipe=recipe, row=row, study=tuned.study)
        return tuned

    tuning.tune = timed
    try:
        train(load_recipe("r.yaml"), load_config())
    finally:
        tuning.tune = tune
    begun = clocks()
    for trial in kept["study"].trials:
        fit(kept["shared"], with_values(kept["recipe"], trial.params, kept["row"]), kept["row"])
    wall, cpu = since(begun)
    (tuned_wall, tuned_cpu), *_ = spent
    return {
        "fits_s": wall, "fits_cpu_s": cpu, "tuning_s": tuned_wall, "tuning_cpu_s": tuned_cpu,
        "wall_ratio": tuned_wall / wall, "cpu_ratio": tuned_cpu / cpu,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--models", default="xgboost.XGBClassifier,lightgbm.LGBMClassifier")
    asked = parser.parse_args()
    results = {}
    home = Path.cwd()
    for model in asked.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            write_table(Path("table.csv"))
            results[model] = found = measure(model, asked.trials)
            os.chdir(home)
        verdict = "holds" if found["wall_ratio"] <= BAR else "does not hold"
        ratios = f"{found['wall_ratio']:.3f}x wall, {found['cpu_ratio']:.3f}x CPU"
        print(f"{model}: {found['tuning_s']:.1f} s for {found['fits_s']:.1f} s of fits, {ratios}; ", end="")
        print(f"the bar of {BAR}x {verdict}")
    OUT.mkdir(exist_ok=True)
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "optuna": version("optuna")}
    (OUT / "tuning.json").write_text(json.dumps({**machine, "trials": asked.trials, **results}, indent=1))


if __name__ == "__main__":
    main()
