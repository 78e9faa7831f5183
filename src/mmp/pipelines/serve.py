"""The HTTP server of a logged model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmp.pipelines.model import fetch, load_folder
from mmp.serving import server
from mmp.serving.served import Served
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

    from mmp.serving.predict import Lookup
    from mmp.serving.telemetry import Telemetry
    from mmp.settings.config import Config
    from mmp.tracking.stores.base import RunRecord


def serve(ref: str, config: Config, *, insecure: bool = False) -> int:
    """Serve a logged model until a signal ends it.

    Parameters
    ----------
    ref : str
        The run: an id, ``latest``, ``best`` or an alias.
    config : Config
        Where runs are, and how to serve.
    insecure : bool
        Whether to bind a public address without credentials.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    MmpError
        Settings, run or model are not as needed.
    """
    server.check(config.serving, insecure=insecure)
    with scratch("served") as folder:
        run = fetch(ref, config, folder)
        model = server.Model(lambda: _served(folder, run, config), _lookup)
        return server.run(config.serving, model)


def _served(folder: Path, run: RunRecord, config: Config) -> Served:
    bundle = load_folder(folder, run, config).bundle
    return Served(
        bundle,
        run_id=run.run_id,
        name=config.mlflow.registered_model_name or bundle.recipe_name,
        uri=f"runs:/{run.run_id}/model",
        facts={"run_name": run.name, "experiment": run.experiment, "run_metrics": dict(run.metrics)},
        allow_extra=config.serving.extra == "ignore",
    )


def _lookup(served: Served, telemetry: Telemetry) -> Lookup | None:
    return None
