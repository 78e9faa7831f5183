"""A model with every kind of input, and labels and categories that look like markup."""

from __future__ import annotations

import csv

import numpy as np
from tests.commands import call

KEY = "a-key-of-thirty-two-characters-or-more"
RECIPE = """
name: people
task_choice: classification
model:
  class_path: xgboost.XGBClassifier
  hyperparameters: {tuning_enabled: false, values: {n_estimators: 20, max_depth: 3}}
data:
  loader: {source_uri: people.csv}
  data_interface: {target_column: income, entity_columns: [person id]}
evaluation: {plots: false, explain: {enabled: false}}
"""
CONFIG = """
environment: {{name: test}}
mlflow: {{tracking_uri: ./mlruns, experiment_name: served}}
serving: {serving}
"""
NASTY = "<img src=x onerror=alert(1)>"


def write_people(path, *, n_rows=300, seed=5):
    """Write a table with every kind of input, and labels that are no HTML."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["person id", "age", "work", "gain [€]", "citizen?", "hired", "seen", "income"])
        for row in range(n_rows):
            age, gain = int(rng.integers(17, 90)), round(float(rng.exponential(900)), 2)
            writer.writerow([
                9_007_199_254_740_993 + row,
                age,
                rng.choice(["Private", "Self-emp", NASTY]),
                "" if rng.random() < 0.1 else gain,
                rng.random() > 0.3,
                f"20{rng.integers(10, 24)}-0{rng.integers(1, 10)}-1{rng.integers(0, 10)}",
                f"2024-0{rng.integers(1, 10)}-1{rng.integers(0, 10)}T1{rng.integers(0, 10)}:30:00Z",
                ">50K" if age / 60 + gain / 2000 + rng.normal() * 0.2 > 1.4 else "<=50K",
            ])  # fmt: skip


def train(folder):
    """Train the model in a folder, with a config that is open to all and one that asks for a key."""
    write_people(folder / "people.csv")
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "open.yaml").write_text(CONFIG.format(serving="{}"))
    auth = f"{{docs_enabled: false, auth: {{enabled: true, type: api_key, secret_key: {KEY}}}}}"
    (folder / "keys.yaml").write_text(CONFIG.format(serving=auth))
    done = call("train", "-c", "open.yaml", "-r", "recipe.yaml", "--json", cwd=folder)
    assert done.code == 0, done.err
