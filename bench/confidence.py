"""What intervals of all test metrics cost beside the fit: a million rows of two classes, of ten, of numbers.

    python bench/confidence.py [--rows 1000000]

Prints CPU seconds and saves them as JSON under bench/out. The fit is XGBoost's, 200
trees of depth 6 in all, on as many rows of 18 features.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import xgboost

from mmp.evaluation.confidence import Resampled, intervals
from mmp.evaluation.evaluate import evaluate, rows_of
from mmp.modeling.target import Target

OUT = Path(__file__).resolve().parent / "out"
BAR = 0.1  # of the fit's CPU
N_FEATURES, N_TREES = 18, 200


def table(n_rows: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    features = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    score = features[:, 0] + features[:, 1] * features[:, 2] + rng.normal(size=n_rows)
    if not n_classes:
        return features, score + 10
    edges = np.quantile(score, np.arange(1, n_classes) / n_classes)
    return features, np.searchsorted(edges, score).astype(np.int32)


def measure(n_rows: int, n_classes: int) -> dict[str, float]:
    features, truth = table(n_rows, n_classes)
    kind = xgboost.XGBClassifier if n_classes else xgboost.XGBRegressor
    n_rounds = N_TREES // (n_classes if n_classes > 2 else 1)
    model = kind(n_estimators=n_rounds, max_depth=6, learning_rate=0.1, tree_method="hist")
    begin = time.process_time()
    model.fit(features, truth)
    fit_s = time.process_time() - begin
    output = model.predict_proba(features) if n_classes else model.predict(features)
    output = np.asarray(output, np.float64)
    if n_classes:
        target = Target("classification", truth, tuple(range(n_classes)), 1 if n_classes == 2 else None)
    else:
        target = Target("regression", truth)
    names = evaluate(target, output, task=target.kind)
    begin = time.process_time()
    found = intervals(Resampled.of(target, rows_of(target, output), seed=42), names)
    seconds = time.process_time() - begin
    return {
        "metrics": len(names),
        "intervals": len(found),
        "fit_cpu_s": fit_s,
        "intervals_cpu_s": seconds,
        "ratio": seconds / fit_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    n_rows = parser.parse_args().rows
    results = {}
    for name, n_classes in {"two classes": 2, "ten classes": 10, "numbers": 0}.items():
        results[name] = found = measure(n_rows, n_classes)
        print(
            f"{name:12} {found['metrics']:3} metrics  fit {found['fit_cpu_s']:7.2f} s  "
            f"intervals {found['intervals_cpu_s']:6.2f} s  {found['ratio']:.3f}x (bar {BAR})"
        )
    OUT.mkdir(exist_ok=True)
    content = {"rows": n_rows, "machine": platform.platform(), "results": results}
    (OUT / "confidence.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
