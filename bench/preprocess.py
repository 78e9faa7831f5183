"""Preprocessing side by side with scikit-learn's ColumnTransformer: fit on all rows, then apply to them.

    python bench/preprocess.py [--size 1m] [--repeats 3]

Both start from a table in memory (Arrow here, pandas there) and end in a matrix of float64. Prints rows
per CPU second and the largest difference; saves them as JSON under bench/out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from train import OUT, RECIPE, table  # noqa: E402 - its folder is on the path only now

BAR = 12.0
TOLERANCE = 1e-6
SEED = 42

Matrices = tuple[np.ndarray, np.ndarray]


class Ours:
    """The steps of the recipe that `train.py` runs."""

    def __init__(self, path: Path) -> None:
        from mmp.data import files
        from mmp.settings.load import load_recipe

        recipe = load_recipe(str(RECIPE)).value
        interface = recipe.data.data_interface
        self.steps = recipe.preprocessor.steps
        self.table = files.read(str(path), columns=[*interface.feature_columns, interface.target_column])
        self.specs = [self.table.spec(name) for name in interface.feature_columns]
        self.label = self.table.spec(interface.target_column)
        self.names: list[str] = []

    def run(self) -> Matrices:
        from mmp.modeling import pipeline
        from mmp.modeling.columns import from_table
        from mmp.modeling.target import encode

        columns = from_table(self.table, self.specs)
        label = from_table(self.table, [self.label])[self.label.name]
        target, _ = encode(label, name=self.label.name, task="classification", positive_class=None)
        fitted, trained = pipeline.fit(
            self.steps, columns, self.specs, target, seed=SEED, dtype="float64", native_categories=False
        )
        self.names = list(fitted.names)
        return trained.values, fitted.matrix(columns).values


class Theirs:
    """The ColumnTransformer of `reference/train_handwritten.py`."""

    def __init__(self, path: Path) -> None:
        import pandas as pd

        sys.path.insert(0, str(HERE / "reference"))
        import common

        self.roles = common
        frame = pd.read_parquet(path, columns=[*common.FEATS, common.TARGET])
        # pandas 2 has None where text is missing, which SimpleImputer does not take for missing
        self.rows, self.target = frame[common.FEATS].fillna(np.nan), frame[common.TARGET]
        self.names: list[str] = []

    def run(self) -> Matrices:
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.model_selection import StratifiedKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

        def filled(encoder: Any) -> Any:
            return make_pipeline(SimpleImputer(strategy="most_frequent"), encoder)

        folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
        ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        transformer = ColumnTransformer(
            [
                ("num", SimpleImputer(strategy="median"), self.roles.NUM),
                (
                    "oh",
                    filled(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
                    self.roles.ONEHOT,
                ),
                ("ord", filled(ordinal), self.roles.ORD),
                ("tgt", filled(TargetEncoder(cv=folds)), self.roles.TGT),
            ]
        )
        trained = transformer.fit_transform(self.rows, self.target)
        self.names = [self.in_our_words(name) for name in transformer.get_feature_names_out()]
        return trained, transformer.transform(self.rows)

    def in_our_words(self, name: str) -> str:
        kind, _, rest = name.partition("__")
        column = next((column for column in self.roles.ONEHOT if rest.startswith(f"{column}_")), None)
        return f"{column}={rest.removeprefix(f'{column}_')}" if kind == "oh" and column else rest


def cpu_seconds(run: Callable[[], Matrices]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compared(ours: Ours, theirs: Theirs) -> float:
    """Return the largest difference, relative to the column's largest value."""
    mines, others = ours.run(), theirs.run()
    order = [ours.names.index(name) for name in theirs.names]
    worst = 0.0
    for mine, other in zip(mines, others, strict=True):
        for position, column in enumerate(order):
            scale = max(1.0, float(np.abs(other[:, position]).max()))
            worst = max(worst, float(np.abs(mine[:, column] - other[:, position]).max()) / scale)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="1m", choices=["10k", "200k", "1m"])
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    path = table(chosen.size)
    ours, theirs = Ours(path), Theirs(path)
    # This round is not measured: it imports, and asks the system for memory that later ones have again.
    difference = compared(ours, theirs)
    seconds: dict[str, list[float]] = {"mmp": [], "ColumnTransformer": []}
    for _ in range(chosen.repeats):  # in turn, so that a busy moment of the machine meets both
        seconds["mmp"].append(cpu_seconds(ours.run))
        seconds["ColumnTransformer"].append(cpu_seconds(theirs.run))
    n_rows = 2 * len(theirs.rows)  # fitted, and applied
    speed = {name: n_rows / statistics.median(values) for name, values in seconds.items()}
    ratio = speed["mmp"] / speed["ColumnTransformer"]
    for name, rows in speed.items():
        print(f"{name:<18} {rows:>12,.0f} rows per CPU second")
    verdict = "ok" if ratio >= BAR else "MISSED"
    print(f"{'ratio':<18} {ratio:>11.1f}x  >= {BAR:g}x {verdict}")
    equal = "ok" if difference <= TOLERANCE else "MISSED"
    print(f"{'difference':<18} {difference:>12.1e}  <= {TOLERANCE:g} {equal}")
    libraries = ("mmp", "numpy", "scikit-learn", "pandas", "pyarrow")
    result = {
        "machine": {
            "cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in libraries},
        "rows": n_rows // 2,
        "features": len(theirs.names),
        "cpu_s": seconds,
        "ratio": ratio,
        "bar": BAR,
        "difference": difference,
    }  # fmt: skip
    OUT.mkdir(exist_ok=True)
    out = OUT / f"preprocess-{time.strftime('%Y%m%dT%H%M%S')}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {out.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
