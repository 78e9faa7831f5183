"""Scoring large tables, against a hand-written stream, pandas, and modern-ml-pipeline where it is installed.

    python bench/batch.py [parquet] [csv] [postgres] [--rows 5m] [--repeats 3] [--old PATH]

``--old`` is the `mmp` of an environment with modern-ml-pipeline 1.5. Prints a table of medians and ratios;
saves them as JSON under bench/out. CPU is user and system time of a process, memory its peak. Both
sides run in turn, so that a busy moment of the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cost import ENVIRONMENT, alternate, measure, median

HERE = Path(__file__).resolve().parent
OUT, DATA, REFERENCE = HERE / "out", HERE / "data", HERE / "reference"
ROWS = {"10k": 10_000, "200k": 200_000, "1m": 1_000_000, "5m": 5_000_000, "20m": 20_000_000}
RECIPE = HERE / "recipes" / "churn_xgboost.yaml"
CONFIG = "mlflow: {tracking_uri: ./mlruns}\nlogging: {base_path: ./logs}\n"
DATABASE = """\
data_source: {{adapter_type: sql, config: {{connection_uri: '{uri}', query_timeout: 3600}}}}
output:
  inference: {{adapter_type: sql, config: {{connection_uri: '{uri}', table: scores, mode: replace}}}}
"""
# ours to theirs: more is better, but for memory and the share of the prediction
BARS = {
    "parquet, rows per CPU second / batch_stream.py": (0.95, "at least"),
    "parquet, rows per CPU second / modern-ml-pipeline": (4.0, "at least"),
    "parquet, time / prediction alone": (2.0, "at most"),
    "parquet, memory / memory at 1m rows": (1.25, "at most"),
    "parquet, memory / 500 MB": (1.0, "at most"),
    "csv, rows per CPU second / modern-ml-pipeline": (3.3, "at least"),
    "postgres, rows/s / pandas": (5.0, "at least"),
}


def row(name: str, ours: float, theirs: float, ratio: float, unit: str) -> dict[str, Any]:
    bar = BARS.get(name)
    holds = bar is None or (ratio >= bar[0] if bar[1] == "at least" else ratio <= bar[0])
    limit = f"{bar[1]} {bar[0]}" if bar else ""
    verdict = "" if bar is None else ("ok" if holds else "MISSED")
    print(
        f"{name:<50} {ours:>10.2f} {theirs:>10.2f} {unit:<4} {ratio:>7.2f}x {limit:>13} {verdict}", flush=True
    )
    return {"name": name, "ours": ours, "reference": theirs, "unit": unit, "ratio": ratio, "bar": bar}


def table(size: str, suffix: str = "parquet") -> Path:
    path = DATA / f"churn_{size}.{suffix}"
    if not path.exists():
        generate = [sys.executable, str(REFERENCE / "gen_data.py"), "--rows", str(ROWS[size])]
        subprocess.run([*generate, "--out", str(DATA), "--name", path.stem, "--formats", suffix], check=True)
    return path


@dataclass(frozen=True)
class World:
    """A folder with a trained model of ours in it, one of the reference, and one of modern-ml-pipeline."""

    folder: Path
    mmp: str
    old: str | None
    old_run: str = ""

    def ours(self, data: Path | str, output: str | None, *more: str) -> list[str]:
        place = ["-o", output] if output else []
        words = ["batch-inference", "--run-id", "latest", "-d", str(data), *place, "--restart", "--json"]
        return [self.mmp, *words, *more]

    def stream(self, data: Path, *more: str) -> list[str]:
        script = [sys.executable, str(REFERENCE / "batch_stream.py"), "--hw", "hw", "--data", str(data)]
        return [*script, "--out", "theirs.parquet", *more]

    def theirs(self, data: Path, output: str) -> list[str]:
        where = ["-c", "old.yaml", "-d", str(data), "-o", output]
        return [str(self.old), "batch-inference", "--run-id", self.old_run, *where]


def world(folder: Path, mmp: str, old: str | None) -> World:
    data = str(table("200k"))
    (folder / "configs").mkdir()
    (folder / "configs" / "local.yaml").write_text(CONFIG)
    measure([mmp, "train", "-r", str(RECIPE), "-d", data], folder)
    hand = [sys.executable, str(REFERENCE / "train_handwritten.py"), "--impl", "plan"]
    measure([*hand, "--data", data, "--out", "hw"], folder)
    return World(folder, mmp, old, trained_by_old(folder, old, data) if old else "")


def trained_by_old(folder: Path, old: str, data: str) -> str:
    """Train the same with modern-ml-pipeline, whose recipe is ours less what it does not know."""
    import yaml

    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["model"]["hyperparameters"] = {
        "tuning_enabled": False, "values": recipe["model"]["hyperparameters"]["values"],
    }  # fmt: skip
    recipe["model"]["library"] = "xgboost"
    recipe["data"]["loader"] = {"source_uri": data}
    recipe["data"]["fetcher"] = {"type": "pass_through"}
    recipe["data"]["split"] |= {"calibration": 0.0}
    recipe["evaluation"] = {"metrics": ["accuracy"], "random_state": 42}
    recipe["metadata"] = {"author": "bench", "description": ""}
    recipe["preprocessor"]["steps"] = OLD_STEPS
    (folder / "old_recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "old.yaml").write_text(OLD_CONFIG.format(folder=folder))
    measure([old, "train", "-r", "old_recipe.yaml", "-c", "old.yaml", "-d", data], folder)
    find = "import mlflow; print(mlflow.search_runs(search_all_experiments=True).run_id.iloc[0])"
    python = str(Path(old).with_name("python"))
    here = {**ENVIRONMENT, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/old.db"}
    done = subprocess.run([python, "-c", find], env=here, check=True, capture_output=True, text=True)
    return done.stdout.split()[-1]


GAPS = ["total_charges", "avg_call_minutes", "age", "credit_score"]
OLD_STEPS = [
    {"type": "simple_imputer", "strategy": "median", "columns": GAPS},
    {"type": "simple_imputer", "strategy": "most_frequent", "columns": ["payment_method", "device_model"]},
    {"type": "one_hot_encoder", "columns": ["contract_type", "payment_method", "plan"]},
    {"type": "ordinal_encoder", "columns": ["region", "city", "device_model"]},
]  # fmt: skip
OLD_CONFIG = """\
environment: {{name: local}}
mlflow: {{tracking_uri: 'sqlite:///{folder}/old.db', experiment_name: old}}
data_source: {{name: files, adapter_type: storage, config: {{base_path: ., storage_options: {{}}}}}}
feature_store: {{provider: none, enabled: false}}
serving: {{enabled: false}}
output: {{inference: {{name: files, enabled: true, adapter_type: storage, config: {{base_path: ./old}}}}}}
"""


def parquet(it: World, size: str, repeats: int) -> list[dict[str, Any]]:
    data, n_rows = table(size), ROWS[size]
    ours, theirs = alternate([it.ours(data, "ours.parquet"), it.stream(data)], it.folder, repeats)
    cpu, their_cpu = median(ours, "cpu_s"), median(theirs, "cpu_s")
    name = "parquet, rows per CPU second / batch_stream.py"
    rows = [row(name, cpu, their_cpu, their_cpu / cpu, "CPU")]
    prepare = [sys.executable, __file__, "--prepare", str(table("1m"))]
    measure(prepare, it.folder)
    alone = measure(it.stream(Path("prepared.npy"), "--impl", "limit", "--repeat", "3"), it.folder)
    alone_s = n_rows / json.loads(alone.said)["rows_per_s"]
    total_s = median(ours, "wall_s")
    rows.append(row("parquet, time / prediction alone", total_s, alone_s, total_s / alone_s, "s"))
    peak = median(ours, "peak_mib")
    small = measure(it.ours(table("1m"), "small.parquet"), it.folder).peak_mib
    rows.append(row("parquet, memory / memory at 1m rows", peak, small, peak / small, "MiB"))
    limit = 500e6 / 2**20
    rows.append(row("parquet, memory / 500 MB", peak, limit, peak / limit, "MiB"))
    if it.old:
        import pyarrow.parquet as pq

        old = measure(it.theirs(data, "old.parquet"), it.folder)
        assert pq.read_metadata(it.folder / "old.parquet").num_rows == n_rows  # its exit code says little
        name = "parquet, rows per CPU second / modern-ml-pipeline"
        rows.append(row(name, cpu, old.cpu_s, old.cpu_s / cpu, "CPU"))
    return rows


def csv(it: World, _size: str, repeats: int) -> list[dict[str, Any]]:
    data = table("1m", "csv")
    [ours] = alternate([it.ours(data, "ours.csv")], it.folder, repeats)
    [same] = alternate([it.ours(table("1m"), "same.parquet")], it.folder, repeats)
    cpu = median(ours, "cpu_s")
    rows = [
        row("csv to csv / parquet to parquet", cpu, median(same, "cpu_s"), median(same, "cpu_s") / cpu, "CPU")
    ]
    if it.old:
        old = measure(it.theirs(data, "old.csv"), it.folder)
        rows.append(
            row("csv, rows per CPU second / modern-ml-pipeline", cpu, old.cpu_s, old.cpu_s / cpu, "CPU")
        )
    return rows


def postgres(it: World, _size: str, repeats: int) -> list[dict[str, Any]]:
    sys.path.insert(0, str(HERE.parent))
    import psycopg
    from tests.servers import new_home

    home = new_home()
    try:
        home.up("postgres")
        uri = home.postgres.uri
        with psycopg.connect(uri) as connection:
            fill(connection)
        (it.folder / "pg.yaml").write_text(CONFIG + DATABASE.format(uri=uri))
        (it.folder / "rows.sql").write_text("SELECT * FROM churn")
        commands = [
            it.ours("rows.sql", None, "-c", "pg.yaml"),
            [sys.executable, __file__, "--pandas", uri],
        ]
        ours, theirs = alternate(commands, it.folder, max(1, repeats - 1))
    finally:
        home.close()
    wall, their_wall = median(ours, "wall_s"), median(theirs, "wall_s")
    cpu, their_cpu = median(ours, "cpu_s"), median(theirs, "cpu_s")
    return [
        row("postgres, rows/s / pandas", wall, their_wall, their_wall / wall, "s"),
        row("postgres, rows per CPU second / pandas", cpu, their_cpu, their_cpu / cpu, "CPU"),
        row("postgres, memory / pandas", median(ours, "peak_mib"), median(theirs, "peak_mib"),
            median(ours, "peak_mib") / median(theirs, "peak_mib"), "MiB"),
    ]  # fmt: skip


def fill(connection: Any) -> None:
    """Load the table of a million rows."""
    import pyarrow.parquet as pq

    kinds = {"int64": "bigint", "double": "double precision", "timestamp[us]": "timestamp"}
    schema = pq.read_schema(table("1m"))
    columns = ", ".join(f"{each.name} {kinds.get(str(each.type), 'text')}" for each in schema)
    connection.execute(f"CREATE TABLE churn ({columns})")
    with (
        table("1m", "csv").open("rb") as file,
        connection.cursor().copy("COPY churn FROM STDIN CSV HEADER") as copy,
    ):
        while block := file.read(1 << 20):
            copy.write(block)


def prepare(data: str) -> None:
    """Save what the reference predicts from, for the prediction alone."""
    sys.path.insert(0, str(REFERENCE))
    import numpy as np
    import pyarrow.parquet as pq
    from common import Plan

    np.save(
        "prepared.npy", Plan.load("hw/plan.json").batch(pq.read_table(data).combine_chunks().to_batches()[0])
    )


def by_pandas(uri: str) -> None:
    """Do what a good engineer does in ten minutes."""
    sys.path.insert(0, str(REFERENCE))
    import pandas as pd
    import pyarrow as pa
    import sqlalchemy
    import xgboost
    from common import FEATS, Plan

    engine = sqlalchemy.create_engine(uri.replace("postgresql://", "postgresql+psycopg://"))
    frame = pd.read_sql("SELECT * FROM churn", engine)
    matrix = Plan.load("hw/plan.json").batch(pa.RecordBatch.from_pandas(frame[FEATS]))
    probability = xgboost.Booster(model_file="hw/model.ubj").inplace_predict(matrix)
    scores = {"customer_id": frame["customer_id"], "prediction": (probability > 0.5).astype(int)}
    scored = pd.DataFrame({**scores, "probability": probability})
    scored.to_sql("by_pandas", engine, index=False, if_exists="replace", chunksize=10_000)


PARTS = {"parquet": parquet, "csv": csv, "postgres": postgres}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--rows", default="5m", choices=ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--old")
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    parser.add_argument("--pandas", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.prepare:
        prepare(chosen.prepare)
        return
    if chosen.pandas:
        by_pandas(chosen.pandas)
        return
    mmp = shutil.which("mmp", path=str(Path(sys.executable).parent))
    if mmp is None:
        raise SystemExit(
            "mmp is not installed here; run `make demo` first, then .venv/bin/python bench/batch.py"
        )
    folder = OUT / f"work-{os.getpid()}"
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    try:
        it = world(folder, mmp, chosen.old)
        print(f"{'':<50} {'mmp':>10} {'reference':>10} {'':<4} {'ratio':>8} {'bar':>13}")
        for part in chosen.parts or PARTS:
            rows += PARTS[part](it, chosen.rows, chosen.repeats)
    finally:
        shutil.rmtree(folder)
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    versions = {name: version(name) for name in ("mmp", "xgboost-cpu", "pyarrow", "numpy", "pandas")}
    path = OUT / f"batch-{time.strftime('%Y%m%dT%H%M%S')}.json"
    result = {"machine": machine, "versions": versions, "rows": chosen.rows, "results": rows}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"saved {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
