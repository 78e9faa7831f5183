"""Every other store that MLflow knows, through MLflow's own client: right, and slow to import.

Postgres, MySQL, Databricks, and an SQLite database at a migration that `sqlite.py` does not know.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from mmp.errors import MissingExtraError, TrackingError
from mmp.lookup import install_line
from mmp.tracking.stores.base import (
    EXPERIMENT_TAGS,
    RUN_NAME,
    Dataset,
    Metric,
    Order,
    RunInfo,
    RunRecord,
    Status,
    batches,
    check_dataset,
    check_entries,
    deleted_experiment,
    order_by,
    public_uri,
    run_not_found,
    search_filter,
)
from mmp.tracking.stores.places import ForeignPlace, LocalPlace, Place, RunFiles, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433}


class ClientStore(RunFiles):
    """Runs in a store that only MLflow itself can reach.

    Parameters
    ----------
    uri : str
        Anything ``mlflow.set_tracking_uri`` takes.
    artifact_root : str or None
        URI below which new experiments keep their files.
    timeout_s : float
        Bound of reaching a database server.
    s3_endpoint_url : str or None
        Where files lie in an S3-compatible store.
    """

    def __init__(
        self,
        uri: str,
        *,
        artifact_root: str | None = None,
        timeout_s: float = 10.0,
        s3_endpoint_url: str | None = None,
    ) -> None:
        self.uri = uri
        self.artifact_root = artifact_root
        self._s3_endpoint_url = s3_endpoint_url
        self._places: dict[str, Place] = {}
        _reach(uri, timeout_s)
        self._client = self._connect()

    def close(self) -> None:
        """Do nothing; MLflow keeps its connections in a pool of its own."""

    def _connect(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            import mlflow.store.db.utils
            from mlflow import MlflowClient
        except ImportError as error:
            raise MissingExtraError(
                f"The tracking store {public_uri(self.uri)} needs mlflow, which is not installed.",
                hint=install_line("mlflow"),
            ) from error
        # MLflow tries ten times, with pauses that add up to 100 seconds, whatever the reason is.
        mlflow.store.db.utils.MAX_RETRY_COUNT = 2
        with self._translated():
            return MlflowClient(self.uri, self.uri)

    # -- writing -----------------------------------------------------------------------------

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created where there is none."""
        from mlflow.exceptions import MlflowException

        location = f"{self.artifact_root.rstrip('/')}/{quote(name, safe='')}" if self.artifact_root else None
        with self._translated():
            found = self._client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(self._client.create_experiment(name, location, tags=EXPERIMENT_TAGS))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    # Another training was first.
                    found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise deleted_experiment(name, found.experiment_id, self.uri)
        return str(found.experiment_id)

    def together(self) -> AbstractContextManager[None]:
        """Write what is written inside call by call: MLflow's interface has no more."""
        return nullcontext()

    def create_run(
        self, experiment_id: str, *, name: str, tags: Mapping[str, str], start_time_ms: int
    ) -> RunInfo:
        """Create a run with status RUNNING."""
        tags = {**tags, RUN_NAME: name}
        check_entries({}, (), tags)
        with self._translated():
            info = self._client.create_run(experiment_id, start_time_ms, tags, name).info
        return RunInfo(info.run_id, info.experiment_id, info.artifact_uri)

    def log_batch(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write parameters, metrics and tags, in as many calls as MLflow's limits ask for."""
        from mlflow import entities

        for batch in batches(params, metrics, tags):
            with self._translated(run_id):
                self._client.log_batch(
                    run_id,
                    [entities.Metric(*metric) for metric in batch.metrics],
                    [entities.Param(*pair) for pair in batch.params.items()],
                    [entities.RunTag(*pair) for pair in batch.tags.items()],
                )
        if tags and RUN_NAME in tags:
            with self._translated(run_id):
                self._client.set_tag(run_id, RUN_NAME, tags[RUN_NAME])

    def log_dataset(self, run_id: str, dataset: Dataset) -> None:
        """Record a table as an input of the run."""
        from mlflow import entities

        check_dataset(dataset)
        table = entities.Dataset(
            dataset.name, dataset.digest, dataset.source_type, dataset.source, dataset.schema, dataset.profile
        )
        context = entities.InputTag("mlflow.data.context", dataset.context)
        with self._translated(run_id):
            self._client.log_inputs(run_id, [entities.DatasetInput(table, [context])])

    def finish(self, run_id: str, status: Status, *, end_time_ms: int) -> None:
        """Write the final status."""
        with self._translated(run_id):
            self._client.set_terminated(run_id, status, end_time_ms)

    # -- reading -----------------------------------------------------------------------------

    def get_run(self, run_id: str) -> RunRecord:
        """Return one run by its full id."""
        with self._translated(run_id):
            run = self._client.get_run(run_id)
            if run.info.lifecycle_stage != "active":
                raise run_not_found(run_id, self.uri)
            name = self._client.get_experiment(run.info.experiment_id).name
        return _record(run, name)

    def search(
        self,
        experiments: Sequence[str] | None = None,
        *,
        status: Status | None = None,
        tags: Mapping[str, str] | None = None,
        id_prefix: str = "",
        order: Order | None = None,
        limit: int = 100,
    ) -> list[RunRecord]:
        """Return the runs that meet every condition, the newest first where no order is given."""
        with self._translated():
            names = {e.experiment_id: e.name for e in self._client.search_experiments()}
            wanted = [key for key, name in names.items() if experiments is None or name in experiments]
            condition = search_filter(status, tags or {}, id_prefix)
            found = self._client.search_runs(wanted, condition, max_results=limit, order_by=order_by(order))
        return [_record(run, names[run.info.experiment_id]) for run in found]

    def place(self, run_id: str) -> Place:
        """Return where the files of a run lie."""
        if run_id not in self._places:
            uri = self.get_run(run_id).artifact_uri
            root = local_path(uri)
            self._places[run_id] = (
                LocalPlace(root)
                if root is not None
                else ForeignPlace(uri, tracking_uri=self.uri, s3_endpoint_url=self._s3_endpoint_url)
            )
        return self._places[run_id]

    # -- the registry ------------------------------------------------------------------------

    def register(
        self,
        name: str,
        run_id: str,
        *,
        folder: str = "model",
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Add a version to a registered model (created where there is none) and return its number."""
        from mlflow.exceptions import MlflowException

        source = f"{self.get_run(run_id).artifact_uri}/{folder}"
        with self._translated():
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                name, source, run_id, tags=dict(tags or {}), description=description or None
            )
        return str(version.version)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias of a registered model point to a version."""
        with self._translated():
            self._client.set_registered_model_alias(name, alias, version)

    def resolve_alias(self, name: str, alias: str) -> str | None:
        """Return the run id behind an alias; None where model or alias is not there."""
        from mlflow.exceptions import MlflowException

        with self._translated():
            try:
                found = self._client.get_model_version_by_alias(name, alias)
            except MlflowException as error:
                # MLflow calls an unknown alias of a known model an invalid parameter.
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise
        return str(found.run_id) if found.run_id else None

    # -- below -------------------------------------------------------------------------------

    @contextmanager
    def _translated(self, run_id: str = "") -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except MlflowException as error:
            if run_id and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise run_not_found(run_id, self.uri) from error
            raise self._failed(str(error.message)) from error
        except SQLAlchemyError as error:
            raise self._failed(str(error)) from error

    def _failed(self, message: str) -> TrackingError:
        password = urlsplit(self.uri).password
        said = message.partition("\n")[0].rstrip(".")
        if password:
            said = said.replace(password, "***").replace(unquote(password), "***")
        old = "out-of-date database schema" in said
        return TrackingError(
            f"MLflow cannot use the tracking store {public_uri(self.uri)}: {said}.",
            hint=f"Make a copy of it, then: mlflow db upgrade {public_uri(self.uri)}" if old else "",
        )


def _reach(uri: str, timeout_s: float) -> None:
    """Knock at a database server's door, so that one that is not there is known within the timeout."""
    parts = urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout_s).close()
    except OSError as error:
        raise TrackingError(
            f"The tracking database {public_uri(uri)} does not answer: {error.strerror or error}.",
            hint="Start it, or check mlflow.tracking_uri.",
        ) from error


def _record(run: Any, experiment: str) -> RunRecord:
    info, data = run.info, run.data
    return RunRecord(
        run_id=info.run_id,
        name=info.run_name,
        experiment=experiment,
        status=info.status,
        start_time_ms=info.start_time,
        end_time_ms=info.end_time,
        artifact_uri=info.artifact_uri,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
    )
