"""A tracking server, through MLflow's REST API and the standard library."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from mmp.tracking.stores.base import (
    EXPERIMENT_TAGS,
    RUN_NAME,
    RUN_USER,
    Batch,
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
    run_not_found,
    search_filter,
)
from mmp.tracking.stores.http import Credentials, RefusedError, Server
from mmp.tracking.stores.places import ForeignPlace, LocalPlace, Place, RunFiles, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

_API = "/api/2.0/mlflow"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE = 1000
_SPECIAL = {math.inf: "Infinity", -math.inf: "-Infinity"}


class RestStore(RunFiles):
    """Runs on a tracking server.

    Parameters
    ----------
    url : str
        Where it is.
    credentials : Credentials
        Basic auth or a bearer token.
    artifact_root : str or None
        URI below which new experiments keep their files; the server's choice where None.
    timeout_s : float
        Bound of each call.
    s3_endpoint_url : str or None
        Where the server's files lie in an S3-compatible store that clients write to themselves.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        artifact_root: str | None = None,
        timeout_s: float = 10.0,
        s3_endpoint_url: str | None = None,
    ) -> None:
        self._server = Server(url, credentials or Credentials(), timeout_s=timeout_s)
        self.uri = self._server.url
        self.artifact_root = artifact_root
        self._s3_endpoint_url = s3_endpoint_url
        self._places: dict[str, Place] = {}
        self._experiments: dict[str, str] = {}

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    # -- writing -----------------------------------------------------------------------------

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created where there is none."""
        found = self._find_experiment(name)
        if found is None:
            tags = [{"key": key, "value": value} for key, value in EXPERIMENT_TAGS.items()]
            body: dict[str, Any] = {"name": name, "tags": tags}
            if self.artifact_root:
                body["artifact_location"] = f"{self.artifact_root.rstrip('/')}/{quote(name, safe='')}"
            try:
                return str(self._server.post(f"{_API}/experiments/create", body)["experiment_id"])
            except RefusedError as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another training was first.
                found = self._find_experiment(name)
        if found is None or found.get("lifecycle_stage") == "deleted":
            raise deleted_experiment(name, (found or {}).get("experiment_id", "…"), self.uri)
        return str(found["experiment_id"])

    def _find_experiment(self, name: str) -> dict[str, Any] | None:
        try:
            answer = self._server.get(f"{_API}/experiments/get-by-name", {"experiment_name": name})
        except RefusedError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return cast("dict[str, Any]", answer["experiment"])

    def together(self) -> AbstractContextManager[None]:
        """Write what is written inside call by call: MLflow's interface has no more."""
        return nullcontext()

    def create_run(
        self, experiment_id: str, *, name: str, tags: Mapping[str, str], start_time_ms: int
    ) -> RunInfo:
        """Create a run with status RUNNING."""
        tags = {**tags, RUN_NAME: name}
        check_entries({}, (), tags)
        body = {
            "experiment_id": experiment_id,
            "run_name": name,
            "user_id": tags.get(RUN_USER, "unknown"),
            "start_time": start_time_ms,
            "tags": _pairs(tags),
        }
        info = self._server.post(f"{_API}/runs/create", body, creates=True)["run"]["info"]
        return RunInfo(info["run_id"], info["experiment_id"], info["artifact_uri"])

    def log_batch(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write parameters, metrics and tags, in as many calls as MLflow's limits ask for."""
        for batch in batches(params, metrics, tags):
            with self._run_named(run_id):
                self._server.post(f"{_API}/runs/log-batch", {"run_id": run_id, **_as_json(batch)})
        if tags and RUN_NAME in tags:
            self._update(run_id, {"run_name": tags[RUN_NAME]})

    def log_dataset(self, run_id: str, dataset: Dataset) -> None:
        """Record a table as an input of the run."""
        check_dataset(dataset)
        described = {name: getattr(dataset, name) for name in ("name", "digest", "source_type", "source")}
        entry = {
            "tags": [{"key": "mlflow.data.context", "value": dataset.context}],
            "dataset": {**described, "schema": dataset.schema, "profile": dataset.profile},
        }
        with self._run_named(run_id):
            self._server.post(f"{_API}/runs/log-inputs", {"run_id": run_id, "datasets": [entry]})

    def finish(self, run_id: str, status: Status, *, end_time_ms: int) -> None:
        """Write the final status."""
        self._update(run_id, {"status": status, "end_time": end_time_ms})

    def _update(self, run_id: str, values: Mapping[str, object]) -> None:
        with self._run_named(run_id):
            self._server.post(f"{_API}/runs/update", {"run_id": run_id, **values})

    # -- reading -----------------------------------------------------------------------------

    def get_run(self, run_id: str) -> RunRecord:
        """Return one run by its full id."""
        with self._run_named(run_id):
            run = self._server.get(f"{_API}/runs/get", {"run_id": run_id})["run"]
        if run["info"].get("lifecycle_stage") == "deleted":
            raise run_not_found(run_id, self.uri)
        return self._record(run)

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
        self._learn_experiments()
        wanted = [
            experiment_id
            for experiment_id, name in self._experiments.items()
            if experiments is None or name in experiments
        ]
        body = {
            "experiment_ids": wanted,
            "filter": search_filter(status, tags or {}, id_prefix),
            "order_by": order_by(order),
        }
        found = self._pages(f"{_API}/runs/search", body, "runs", limit) if wanted else ()
        return [self._record(run) for run in found]

    def _learn_experiments(self) -> None:
        listed = self._pages(f"{_API}/experiments/search", {}, "experiments", None)
        self._experiments = {entry["experiment_id"]: entry["name"] for entry in listed}

    def _pages(
        self, path: str, body: Mapping[str, object], entries: str, limit: int | None
    ) -> Iterator[dict[str, Any]]:
        token, left = "", limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            answer = self._server.post(path, {**body, "max_results": size, "page_token": token})
            page = answer.get(entries, [])
            yield from page
            token = answer.get("next_page_token", "")
            left = None if left is None else left - len(page)
            if not token:
                return

    def _record(self, run: Mapping[str, Any]) -> RunRecord:
        info, data = run["info"], run.get("data", {})
        if info["experiment_id"] not in self._experiments:
            self._learn_experiments()
        return RunRecord(
            run_id=info["run_id"],
            name=info.get("run_name", ""),
            experiment=self._experiments.get(info["experiment_id"], info["experiment_id"]),
            status=info["status"],
            start_time_ms=_whole(info.get("start_time")),
            end_time_ms=_whole(info.get("end_time")),
            artifact_uri=info["artifact_uri"],
            params={entry["key"]: entry.get("value", "") for entry in data.get("params", ())},
            metrics={entry["key"]: float(entry.get("value", 0.0)) for entry in data.get("metrics", ())},
            tags={entry["key"]: entry.get("value", "") for entry in data.get("tags", ())},
        )

    def place(self, run_id: str) -> Place:
        """Return where the files of a run lie."""
        if run_id not in self._places:
            self._places[run_id] = self._place(self.get_run(run_id).artifact_uri)
        return self._places[run_id]

    def _place(self, uri: str) -> Place:
        parts, root = urlsplit(uri), local_path(uri)
        if root is not None:
            return LocalPlace(root)
        if parts.scheme == "mlflow-artifacts" and parts.netloc in {"", urlsplit(self.uri).netloc}:
            return ProxiedPlace(self._server, parts.path.strip("/"))
        return ForeignPlace(uri, tracking_uri=self.uri, s3_endpoint_url=self._s3_endpoint_url)

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
        try:
            self._server.post(f"{_API}/registered-models/create", {"name": name})
        except RefusedError as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        body = {
            "name": name,
            "source": f"{self.get_run(run_id).artifact_uri}/{folder}",
            "run_id": run_id,
            "description": description,
            "tags": _pairs(tags or {}),
        }
        answer = self._server.post(f"{_API}/model-versions/create", body, creates=True)
        return str(answer["model_version"]["version"])

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias of a registered model point to a version."""
        body = {"name": name, "alias": alias, "version": version}
        self._server.post(f"{_API}/registered-models/alias", body)

    def resolve_alias(self, name: str, alias: str) -> str | None:
        """Return the run id behind an alias; None where model or alias is not there."""
        try:
            answer = self._server.get(f"{_API}/registered-models/alias", {"name": name, "alias": alias})
        except RefusedError as error:
            # MLflow calls an unknown alias of a known model an invalid parameter.
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise
        return cast("str | None", answer["model_version"].get("run_id"))

    # -- below -------------------------------------------------------------------------------

    @contextmanager
    def _run_named(self, run_id: str) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise run_not_found(run_id, self.uri) from error
            raise


class ProxiedPlace:
    """Files that the tracking server keeps and hands out itself.

    Parameters
    ----------
    server : Server
        The server.
    root : str
        The run's directory among the server's artifacts.
    """

    def __init__(self, server: Server, root: str) -> None:
        self.server = server
        self.root = root

    def put(self, source: Path, path: str) -> None:
        """Upload a file in pieces, so that its size does not matter."""
        with source.open("rb") as file:
            self.server.put_file(self._path(path), file)

    def paths(self, folder: str) -> Iterator[str]:
        """Yield the files below a folder."""
        where = f"{self.root}/{folder}" if folder else self.root
        answer = self.server.get(_FILES, {"path": where})
        for entry in answer.get("files", ()):
            path = f"{folder}/{entry['path']}" if folder else entry["path"]
            if entry.get("is_dir"):
                yield from self.paths(path)
            else:
                yield path

    def get(self, path: str, target: Path) -> None:
        """Download a file; it appears whole or not at all."""
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("w+b") as file:
                self.server.get_file(self._path(path), file)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _path(self, path: str) -> str:
        return f"{_FILES}/{quote(f'{self.root}/{path}')}"


def _as_json(batch: Batch) -> dict[str, object]:
    metrics = [
        {"key": m.name, "value": _number(m.value), "timestamp": m.timestamp_ms, "step": m.step}
        for m in batch.metrics
    ]
    return {"params": _pairs(batch.params), "tags": _pairs(batch.tags), "metrics": metrics}


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _number(value: float) -> float | str:
    return "NaN" if math.isnan(value) else _SPECIAL.get(value, value)


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))
