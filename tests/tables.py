"""Tables as users have them: every kind of column, gaps, and names that no library likes."""

from __future__ import annotations

import csv
import datetime as dt

import numpy as np

KEY = "customer id"
NO_PICTURES = "evaluation: {plots: false, explain: {enabled: false}}"
LABELS = {
    "text": lambda score: np.where(score > 0.55, "yes, gladly", "no"),
    "awkward": lambda score: np.select([score > 0.65, score > 0.35], [">50K", "<=50K"], "n/a?"),
    "numbers": lambda score: np.select([score > 0.65, score > 0.35], [30, 20], 10),
    "value": lambda score: np.round(score * 1000, 3),
}


def write_mixed(path, labels="text", *, n_rows=240, seed=5):
    """Write a CSV whose label depends on its features; every feature has gaps."""
    rng = np.random.default_rng(seed)
    age, income, city = rng.integers(18, 90, n_rows), rng.random(n_rows), rng.integers(0, 4, n_rows)
    active = rng.random(n_rows) > 0.5
    start = dt.datetime(2023, 1, 1, tzinfo=dt.UTC)
    moments = [start + dt.timedelta(hours=int(hours)) for hours in rng.integers(0, 9000, n_rows)]
    features = {
        "age (years)": age,
        "income [€]": np.round(income * 9000, 2),
        "share <0.5": np.round(rng.random(n_rows), 4),
        "is active?": active,
        "city": np.array(["Köln", "New York", "St. John's", "東京"])[city],
        "zip": [f"{number:05d}" for number in rng.integers(100, 140, n_rows)],
        "product code": [f"P-{number:04d}" for number in rng.integers(0, 120, n_rows)],
        "signed up": [moment.date().isoformat() for moment in moments],
        "seen at": [moment.isoformat() for moment in moments],
        "🚀 clicks": rng.integers(0, 50, n_rows),
        "등급": rng.choice(["a", "b"], n_rows),
    }
    score = (age / 90 + income + 0.3 * city / 3 + 0.2 * active + 0.1 * rng.random(n_rows)) / 2.6
    gone = rng.random((n_rows, len(features))) < 0.07
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([KEY, *features, "label"])
        for row, label in enumerate(LABELS[labels](score)):
            cells = ["" if gone[row, c] else column[row] for c, column in enumerate(features.values())]
            writer.writerow([9_007_199_254_740_993 + row, *cells, label])
    return path


def recipe(name, task, class_path, source, target, **more):
    """Return the text of a recipe; `more` are hyperparameters, entities and whole further lines.

    It draws and explains nothing, unless a line of `more` is about the evaluation.
    """
    values, entities = more.get("values", {}), more.get("entities", ())
    lines = [
        f"name: {name}",
        f"task_choice: {task}",
        "model:",
        f"  class_path: {class_path}",
        f"  hyperparameters: {{values: {{{', '.join(f'{k}: {v}' for k, v in values.items())}}}}}",
        "data:",
        f"  loader: {{source_uri: {source}}}",
        f"  data_interface: {{target_column: {target}, entity_columns: [{', '.join(entities)}]}}",
        *more.get("lines", ()),
    ]
    if not any(line.startswith("evaluation:") for line in lines):
        lines.append(NO_PICTURES)
    return "\n".join(lines) + "\n"
