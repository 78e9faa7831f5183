"""The HTTP server of a logged model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmp.errors import SettingsError
from mmp.features import repository
from mmp.features.online import OnlineReader
from mmp.pipelines.model import fetch, find_run, load_folder
from mmp.serving import server
from mmp.serving.lookup import OnlineLookup
from mmp.serving.served import Served
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from pathlib import Path

    from mmp.modeling.bundle import Bundle
    from mmp.serving.server import Load
    from mmp.serving.telemetry import Telemetry
    from mmp.settings.config import Config
    from mmp.tracking.stores.base import RunRecord


def serve(ref: str | None, config: Config, *, insecure: bool = False) -> int:
    """Serve a logged model until a signal ends it.

    Parameters
    ----------
    ref : str or None
        The run: an id, ``latest``, ``best`` or an alias; None for ``serving.model_alias``, which is
        followed then.
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
    settings = config.serving
    alias = settings.model_alias if ref is None else None
    wanted = ref or alias
    if wanted is None:
        raise SettingsError(
            "No model is named.", hint="Say --run-id latest, or set serving.model_alias in the config."
        )
    server.check(settings, insecure=insecure)
    with scratch("served") as folder:
        model = server.Model(
            load=_loader(wanted, config, folder / "model"),
            newer=None if alias is None else _Follower(alias, config),
            shadow=None if settings.shadow is None else _loader(settings.shadow, config, folder / "shadow"),
        )
        return server.run(settings, model)


def _loader(ref: str, config: Config, folder: Path) -> Load:
    """Copy a model now, and return what loads the copy: a worker restarts without the tracking server."""
    folder.mkdir()
    run = fetch(ref, config, folder)
    return lambda telemetry: _served(folder, run, config, telemetry)


class _Follower:
    """Loads the model that an alias points to by now; one that was refused is not loaded again."""

    def __init__(self, alias: str, config: Config) -> None:
        self._alias, self._config = alias, config
        self._tried = ""

    def __call__(self, served: Served, telemetry: Telemetry) -> Served | None:
        run = find_run(self._alias, self._config)
        if run.run_id == served.run_id:
            self._tried = ""
        if run.run_id in {served.run_id, self._tried}:
            return None
        with scratch("served") as folder:
            fetch(run.run_id, self._config, folder)
            self._tried = run.run_id
            return _served(folder, run, self._config, telemetry)


def _served(folder: Path, run: RunRecord, config: Config, telemetry: Telemetry) -> Served:
    bundle = load_folder(folder, run, config).bundle
    return Served(
        bundle,
        run_id=run.run_id,
        name=config.mlflow.registered_model_name or bundle.recipe_name,
        uri=f"runs:/{run.run_id}/model",
        facts={"run_name": run.name, "experiment": run.experiment, "run_metrics": dict(run.metrics)},
        allow_extra=config.serving.extra == "ignore",
        lookup=_lookup(bundle, config, telemetry),
    )


def _lookup(bundle: Bundle, config: Config, telemetry: Telemetry) -> OnlineLookup | None:
    if bundle.features is None:
        return None
    feast = repository.complete(config.feature_store).feast_config
    timeout_s = config.serving.features_timeout_ms / 1000
    store = feast.online if feast is not None else None
    return OnlineLookup(OnlineReader.open(bundle.features, store, timeout_s=timeout_s), telemetry)
