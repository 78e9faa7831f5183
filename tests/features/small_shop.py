"""The small shop of recipes/features, in a folder of its own: everything in files, nothing to start."""

from __future__ import annotations

import runpy
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from mmp.features import registry
from mmp.settings.load import load_config

ROOT = Path(__file__).parents[2]
RECIPE = "recipes/features/returns_xgboost.yaml"
CONFIG = "configs/features-local.yaml"
DATA = "recipes/features/store/data"
ORDERS = f"{DATA}/orders.parquet"
ONLINE = f"{DATA}/online.db"


def build(folder):
    """Copy what the repository brings, make the files, and fill the online store; Feast finds it by the folder."""
    shutil.copytree(
        ROOT / "recipes/features", folder / "recipes/features", ignore=shutil.ignore_patterns("data")
    )
    (folder / "configs").mkdir()
    shutil.copy(ROOT / CONFIG, folder / CONFIG)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    runpy.run_path(str(folder / "recipes/features/make.py"))["make"](folder / DATA, today)


def store():
    """Return the settings of the store; the working directory is the folder."""
    return load_config(CONFIG).value.feature_store


def fill():
    """Register and materialize."""
    registry.apply(store())
    registry.materialize(store())


def orders(n=None):
    """Return the last orders."""
    table = pq.read_table(ORDERS)
    return table if n is None else table.slice(len(table) - n)
