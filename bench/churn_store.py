"""The churn model with most of its columns from four views in Redis, for serving.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
CONFIG = """\
environment: {{name: local}}
mlflow: {{tracking_uri: ./mlruns}}
feature_store:
  provider: feast
  feast_config:
    project: churn
    repo_path: store
    registry: data/registry.db
    entity_key_serialization_version: 3
    offline_store: {{type: duckdb}}
    online_store: {{type: redis, connection_string: "127.0.0.1:{port}"}}
"""


@contextmanager
def redis(port: int) -> Iterator[None]:
    """Run a Redis that keeps nothing, and ends with this process, however it ends."""
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *words], stdout=subprocess.DEVNULL)
    try:
        asked = ["redis-cli", "-p", str(port), "ping"]
        while subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() != "PONG":
            if server.poll() is not None:
                raise SystemExit("redis-server ended")
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait(30)


def write(folder: Path, table: Path, port: int) -> None:
    """Write config, recipe, rows and the four views' files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(HERE / "store", folder / "store", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(HERE / "recipes" / "churn_features.yaml", folder)
    (folder / "configs").mkdir()
    (folder / "configs" / "local.yaml").write_text(CONFIG.format(port=port))
    rows = pq.read_table(table)
    views: dict[str, dict[str, object]] = _views(folder)
    moments = rows["event_ts"].combine_chunks().cast(pa.int64())
    earlier = pa.array([moment - 86_400_000_000 for moment in moments.to_pylist()]).cast(
        pa.timestamp("us", "UTC")
    )
    (folder / "store" / "data").mkdir()
    for name, columns in views.items():
        taken = rows.select(["customer_id", *columns])
        taken = taken.append_column("event_timestamp", earlier).append_column("created_timestamp", earlier)
        pq.write_table(taken, folder / "store" / "data" / f"{name}.parquet")
    kept = ["customer_id", "event_ts", "n_tickets", "device_model", "churned"]
    pq.write_table(rows.select(kept), folder / "orders.parquet")


def _views(folder: Path) -> dict[str, dict[str, object]]:
    import runpy

    views: dict[str, dict[str, object]] = runpy.run_path(str(folder / "store" / "definitions.py"))["VIEWS"]
    return views


def trained(folder: Path, environment: dict[str, str]) -> str:
    """Register and materialize the views, and train; return the run's id."""
    for words in (["features", "apply"], ["features", "materialize"]):
        _mmp(words, folder, environment)
    said = _mmp(["train", "-r", "churn_features.yaml", "--json", "-q"], folder, environment)
    return str(json.loads(said)["run_id"])


def _mmp(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "mmp", *words]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr}")
    return done.stdout
