"""How good the models are that mmp makes unasked, and whether they keep what they promise.

    python bench/quality.py [defaults|presets|coverage] [--tables wine,rents] [--models xgboost,forest]

`defaults`: the shortest recipe against the same library's defaults behind a hand-written ColumnTransformer.
`presets`: `preset: best` against FLAML in the same time, in an environment of its own, whose Python `--flaml`
names; what FLAML reached is kept in bench/out/flaml.json and not measured again.
`coverage`: the share of test rows that intervals and sets hold, against the promised one.

All splits are the same for both sides. A difference is told in standard errors of its mean over the splits,
corrected for the rows that splits share (Nadeau and Bengio 2003, Inference for the generalization error,
Machine Learning 52). Results go to bench/out, with the machine and the versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from reference.quality_handwritten import score

from tables import TABLES, TEST_SHARE, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

    Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
FLAML = OUT / "flaml.json"
LIBRARIES = ("mmp", "xgboost-cpu", "lightgbm", "catboost", "scikit-learn", "numpy", "pandas")
MODELS = {
    "xgboost": ("xgboost.XGBClassifier", "xgboost.XGBRegressor"),
    "lightgbm": ("lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor"),
    "catboost": ("catboost.CatBoostClassifier", "catboost.CatBoostRegressor"),
    "histograms": (
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
    ),
    "forest": ("sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.RandomForestRegressor"),
    "linear": ("sklearn.linear_model.LogisticRegression", "sklearn.linear_model.Ridge"),
}
OF_PRESETS = ("breast_cancer", "digits", "telco_churn", "diamonds_cut", "diamonds_price")
PROMISED, SPLITS_OF_PROMISES = 0.9, 10
RECIPE = """\
name: quality
task_choice: {task}
model: {model}
data:
  loader: {{source_uri: table.parquet}}
  data_interface: {{target_column: {target}}}
  split: {{strategy: predefined, split_column: part}}
evaluation: {{plots: false, explain: {{enabled: false}}, random_state: {seed}{more}}}
"""


@contextmanager
def project() -> Iterator[None]:
    """Work in an empty project."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(home)


def by_mmp(table: Table, frame: pd.DataFrame, model: str, seed: int, more: str = "") -> Mapping[str, float]:
    """Return what mmp measures on the test rows, by the way that a user goes."""
    from mmp.pipelines.train import train
    from mmp.settings.load import load_config, load_recipe

    frame.to_parquet("table.parquet")
    recipe = RECIPE.format(task=table.task, model=model, target=table.target, seed=seed, more=more)
    Path("recipe.yaml").write_text(recipe)
    return train(load_recipe("recipe.yaml"), load_config()).metrics["test"]


def in_errors(differences: Sequence[float]) -> float:
    """Return the mean in its corrected standard errors."""
    shared = 1 / len(differences) + TEST_SHARE / (1 - TEST_SHARE)
    error = np.sqrt(np.var(differences, ddof=1) * shared)
    return float(np.mean(differences) / error) if error else 0.0


def defaults(asked: argparse.Namespace) -> list[Row]:
    rows = []
    print(f"{'table':<15} {'model':<11} {'metric':<9} {'mmp':>10} {'plain':>10} {'SE':>7}")
    for table in (TABLES[name] for name in asked.tables or TABLES):
        for model in asked.models or MODELS:
            rows.append(row := default_of(table, model))
            verdict = "better" if row["errors"] < 0 else "ok" if row["errors"] <= 1 else "WORSE"
            scores = f"{row['mmp']:>10.4f} {row['plain']:>10.4f} {row['errors']:>+7.2f}"
            print(f"{table.name:<15} {model:<11} {table.metric:<9} {scores} {verdict}", flush=True)
    better, worse = sum(row["errors"] < 0 for row in rows), sum(row["errors"] > 1 for row in rows)
    print(f"better on {better} of {len(rows)}, worse than one standard error on {worse}")
    return rows


def default_of(table: Table, model: str) -> Row:
    """Compare one model on one table."""
    class_path = MODELS[model][table.task == "regression"]
    ours, theirs = [], []
    for seed, frame in enumerate(table.divided()):
        ours.append(by_mmp(table, frame, f"{{class_path: {class_path}}}", seed))
        theirs.append(score(class_path, frame, table.target, table.task, seed))
    row: Row = {"table": table.name, "model": model, "metric": table.metric}
    for whose, found in (("mmp", ours), ("plain", theirs)):
        row[f"{whose}_scores"] = [each[table.metric] for each in found]
        row[whose] = float(np.mean(row[f"{whose}_scores"]))
        if table.task == "classification":
            row[f"{whose}_roc_auc"] = float(np.mean([each["roc_auc"] for each in found]))
    row["errors"] = in_errors(np.subtract(row["mmp_scores"], row["plain_scores"]))
    return row


def presets(asked: argparse.Namespace) -> list[Row]:
    rows = []
    model = f"{{preset: best, time_limit_s: {asked.seconds:g}}}"
    for table in (TABLES[name] for name in asked.tables or OF_PRESETS):
        for seed, frame in enumerate(table.divided(2)):
            theirs = by_flaml(table, frame, seed, asked)
            start = time.perf_counter()
            ours, took = by_mmp(table, frame, model, seed)[table.metric], time.perf_counter() - start
            row = {"table": table.name, "split": seed, "metric": table.metric, "mmp": ours, "mmp_s": took}
            rows.append(row | {"flaml": theirs[table.metric], "flaml_s": theirs["wall_s"]})
            verdict = "better" if ours <= theirs[table.metric] else "WORSE"
            scores = f"{table.metric:<9} {ours:>10.4f} {theirs[table.metric]:>10.4f} {verdict}"
            times = f"in {took:.1f} and {theirs['wall_s']:.1f} s"
            print(f"{table.name:<15} split {seed} {scores} {times}", flush=True)
    print(f"better or equal on {sum(row['mmp'] <= row['flaml'] for row in rows)} of {len(rows)}")
    return rows


def by_flaml(table: Table, frame: pd.DataFrame, seed: int, asked: argparse.Namespace) -> Row:
    """Return what FLAML reaches, or has reached: each run costs its time limit."""
    key = f"{table.name} {seed} {asked.seconds:g} s"
    recorded = json.loads(FLAML.read_text()) if FLAML.exists() else {}
    if key not in recorded:
        frame.to_parquet("table.parquet")
        command = [asked.flaml, "-W", "ignore", str(HERE / "reference" / "automl_flaml.py"), "table.parquet"]
        options = {"target": table.target, "task": table.task, "seconds": asked.seconds, "seed": seed}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        said = subprocess.run([*command, *words], stdout=subprocess.PIPE, check=True, text=True).stdout
        recorded[key] = json.loads(said.splitlines()[-1])
        FLAML.write_text(json.dumps(recorded, indent=1) + "\n")
    return recorded[key]


def coverage(asked: argparse.Namespace) -> list[Row]:
    rows = []
    for table in (TABLES[name] for name in asked.tables or TABLES):
        is_regression = table.task == "regression"
        for model in asked.models or ("xgboost", "linear"):
            for method in ("split", "normalised", "quantile") if is_regression else ("split",):
                rows.append(row := coverage_of(table, MODELS[model][is_regression], method))
                within = abs(row["errors"]) <= 2
                # a set has its predicted class always, so a model that is right more often holds more
                kept = "within 2 SE" if within else "more" if row["errors"] > 0 else "LESS"
                print(f"{table.name:<15} {model:<9} {method:<11} {row['coverage']:.4f}",
                      f"{row['errors']:>+6.2f} SE {kept}", flush=True)  # fmt: skip
    print(f"less than promised on {sum(row['errors'] < -2 for row in rows)} of {len(rows)}")
    return rows


def coverage_of(table: Table, class_path: str, method: str) -> Row:
    """Measure what is held of the test rows, a third of the others being kept for calibration."""
    more = f", intervals: {{method: {method}, coverage: {PROMISED}}}"
    name = "interval_coverage" if table.task == "regression" else "set_coverage"
    found = []
    for seed, frame in enumerate(table.divided(SPLITS_OF_PROMISES)):
        kept = np.random.default_rng(seed).random(len(frame)) < 1 / 3
        parts = frame["part"].mask(kept & (frame["part"] == "train"), "calibration")
        metrics = by_mmp(table, frame.assign(part=parts), f"{{class_path: {class_path}}}", seed, more)
        found.append(metrics[name])
    errors = in_errors(np.subtract(found, PROMISED))
    row = {"table": table.name, "class_path": class_path, "method": method, "coverages": found}
    return row | {"coverage": float(np.mean(found)), "errors": errors}


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "defaults": defaults,
    "presets": presets,
    "coverage": coverage,
}


def names(text: str) -> list[str]:
    return text.split(",")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", default="defaults", choices=PARTS)
    parser.add_argument("--tables", type=names)
    parser.add_argument("--models", type=names)
    parser.add_argument("--seconds", type=float, default=60, help="time limit of a preset")
    parser.add_argument("--flaml", default="python", help="a Python with flaml[automl], catboost, pyarrow")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    OUT.mkdir(exist_ok=True)
    with project():
        rows = PARTS[asked.part](asked)
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    result = {"machine": machine, "versions": {name: version(name) for name in LIBRARIES}, "rows": rows}
    path = OUT / f"quality-{asked.part}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
