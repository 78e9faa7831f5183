"""The small shop of recipes/features, in a folder of its own: everything in files, nothing to start."""

from __future__ import annotations

import runpy
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

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


REDIS = """online_store:
      type: redis
      connection_string: localhost:${REDIS_PORT}
      password: ${REDIS_PASSWORD}"""


def build_in_redis(folder, home):
    """Do the same with the online store in the Redis of a home; return what the config takes from the shell."""
    build(folder)
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace("online_store: {type: sqlite, path: data/online.db}", REDIS))
    return {name: home.values[name] for name in ("REDIS_PORT", "REDIS_PASSWORD")}


@contextmanager
def inside(folder, environment):
    """Work in the folder, with these values in the shell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


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
