"""Delete old runs the way MLflow does: into its trash, and from there for good, artifacts included."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from localdev import mlflow, processes, python, runner, settings
from localdev.failure import Failure
from localdev.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localdev.settings import Home

_UNIT_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_IDS_PER_CALL = 2_000  # a command line has an end


def seconds(age: str) -> float:
    """Return the seconds of `30d`, `12h`, `1d12h`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", age)
    if not parts or "".join(number + unit for number, unit in parts) != age:
        raise Failure(f"{age!r} is no age", "Write 30d, 12h, 90m or 1d12h.", code=2)
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def prune(folder: Path, age: str) -> str:
    """Delete the runs that ended longer ago than `age`, and return what was done.

    Runs with a version in the model registry stay, and so does what went into MLflow's trash more recently.
    """
    limit = (time.time() - seconds(age)) * 1000
    with settings.locked(folder):
        home = settings.open_home(folder)
        for name in ("postgresql", "mlflow"):
            if runner.look(home, SERVICES[name]).state not in {"running", "external"}:
                raise Failure(f"prune needs {name}, and it does not run", "Run `up` first.")
        _collect(home, ["--older-than", age])
        runs, kept = _old_runs(home, limit)
        models = _models_of(home, set(runs)) if runs else []
        for run in runs:
            mlflow.call(home, "POST", "runs/delete", {"run_id": run})
        for model in models:
            mlflow.call(home, "DELETE", f"logged-models/{model}", {})
        stay = f"; {kept} with a registered model stay" if kept else ""
        if runs and _young_trash(home, limit):
            # without an age, MLflow would empty the trash of experiments too
            wait = f"until the experiments there are older than {age}"
            return f"{len(runs)} runs are in MLflow's trash {wait}{stay}"
        for start in range(0, len(runs), _IDS_PER_CALL):
            _collect(home, _words(runs[start : start + _IDS_PER_CALL], [] if start else models))
    return f"{len(runs)} runs deleted{stay}"


def _words(runs: list[str], models: list[str]) -> list[str]:
    return ["--run-ids", ",".join(runs), *(["--logged-model-ids", ",".join(models)] if models else [])]


def _collect(home: Home, words: list[str]) -> None:
    environment = processes.environment(home, "client", **mlflow.store(home))
    host, port = home.address(mlflow.SERVICE)
    environment["MLFLOW_TRACKING_URI"] = f"http://{host}:{port}"
    command = [str(python.interpreter(home.folder)), "-m", "mlflow", "gc", *words]
    command += [
        "--backend-store-uri",
        "postgresql+psycopg://",
        "--artifacts-destination",
        str(home.artifacts),
    ]
    processes.run(command, "mlflow gc", env=environment)


def _old_runs(home: Home, limit: float) -> tuple[list[str], int]:
    registered = {
        one.get("run_id") for one in _pages(home, "GET", "model-versions/search", "model_versions", {})
    }
    asked = {"experiment_ids": _experiments(home), "filter": f"attributes.start_time < {limit:.0f}"}
    old = [
        run["info"]["run_id"]
        for run in (_pages(home, "POST", "runs/search", "runs", asked) if asked["experiment_ids"] else ())
        if 0 < int(run["info"].get("end_time") or 0) < limit
    ]
    return [run for run in old if run not in registered], sum(run in registered for run in old)


def _models_of(home: Home, runs: set[str]) -> list[str]:
    asked = {"experiment_ids": _experiments(home)}
    return [
        one["info"]["model_id"]
        for one in _pages(home, "POST", "logged-models/search", "models", asked, size=50)
        if one["info"].get("source_run_id") in runs
    ]


def _experiments(home: Home) -> list[str]:
    return [
        one["experiment_id"]
        for one in _pages(home, "POST", "experiments/search", "experiments", {"view_type": "ACTIVE_ONLY"})
    ]


def _young_trash(home: Home, limit: float) -> bool:
    asked = {"view_type": "DELETED_ONLY"}
    trash = _pages(home, "POST", "experiments/search", "experiments", asked)
    return any(int(one.get("last_update_time") or 0) >= limit for one in trash)


def _pages(
    home: Home, method: str, path: str, key: str, asked: dict[str, Any], size: int = 1000
) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        page = mlflow.call(home, method, path, {**asked, "max_results": size, "page_token": token})
        yield from page.get(key, [])
        if not (token := page.get("next_page_token", "")):
            return
