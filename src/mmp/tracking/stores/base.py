"""What a tracking store is: the values that go in and out, and the Protocol that three of them meet."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from mmp.errors import RunNotFoundError, TrackingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pydantic import SecretStr

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]

_Entry = TypeVar("_Entry")

RUN_NAME = "mlflow.runName"
RUN_USER = "mlflow.user"

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""What new experiments get: MLflow's pages then open on runs and metrics, not on chat traces."""

# MLflow's own limits (mlflow.utils.validation): a store that is lenient where the next is strict
# would make a recipe that works here fail there.
MAX_KEY = 250
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_DIGEST = 36
_MAX_METRICS_PER_BATCH = 1000
_MAX_PARAMS_PER_BATCH = 100
_MAX_TAGS_PER_BATCH = 100
_KEY = re.compile(r"[/\w.\- :]+")


class Metric(NamedTuple):
    """One value of a metric.

    Parameters
    ----------
    name : str
        Letters of any script, digits, and ``_ - . : /`` and space.
    value : float
        NaN and infinities are kept as MLflow keeps them.
    timestamp_ms : int
        Milliseconds since 1970, UTC.
    step : int
        Iteration, epoch or 0.
    """

    name: str
    value: float
    timestamp_ms: int
    step: int = 0


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table that went into a run, as MLflow's dataset inputs describe it.

    Parameters
    ----------
    name : str
        What to call it.
    digest : str
        Hash of its content, at most 36 characters.
    source_type : str
        Kind of source, ``local`` for files.
    source : str
        JSON that says where it is.
    schema, profile : str
        JSON of its columns, and of counts and the like.
    context : str
        What the run used it for.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str = ""
    profile: str = ""
    context: str = "training"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that was just created: its id, its experiment and where its files go."""

    run_id: str
    experiment_id: str
    artifact_uri: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the store knows it; ``metrics`` holds the last value of each."""

    run_id: str
    name: str
    experiment: str
    status: Status
    start_time_ms: int | None
    end_time_ms: int | None
    artifact_uri: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Order(NamedTuple):
    """Sort runs by a metric; runs without it, or with NaN, come last."""

    metric: str
    descending: bool = True


class StoreSettings(Protocol):
    """The ``mlflow`` section of a config, as far as a store needs it."""

    @property
    def tracking_uri(self) -> str | None:
        """URL, SQLite URI, directory or file."""
        ...

    @property
    def tracking_username(self) -> str | None:
        """For basic auth."""
        ...

    @property
    def tracking_password(self) -> SecretStr | None:
        """For basic auth."""
        ...

    @property
    def s3_endpoint_url(self) -> str | None:
        """Of an S3-compatible artifact store."""
        ...

    @property
    def artifact_root(self) -> str | None:
        """Where new experiments keep their files."""
        ...

    @property
    def timeout_s(self) -> float:
        """Bound of each call."""
        ...


class Store(Protocol):
    """Where runs are written and read.

    Every method raises `TrackingError` where the store does not answer or refuses, and
    `RunNotFoundError` for a run that is not there.
    """

    uri: str
    """What ``mlflow.set_tracking_uri`` takes; never holds credentials that were given apart."""

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created where there is none."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Write what is written inside all at once, where the store can."""
        ...

    def create_run(
        self, experiment_id: str, *, name: str, tags: Mapping[str, str], start_time_ms: int
    ) -> RunInfo:
        """Create a run with status RUNNING."""
        ...

    def log_batch(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write parameters, metrics and tags; writing the same again changes nothing."""
        ...

    def log_dataset(self, run_id: str, dataset: Dataset) -> None:
        """Record a table as an input of the run."""
        ...

    def finish(self, run_id: str, status: Status, *, end_time_ms: int) -> None:
        """Write the final status."""
        ...

    def get_run(self, run_id: str) -> RunRecord:
        """Return one run by its full id."""
        ...

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
        """Return the runs that meet every condition, the newest first where no order is given.

        Names of experiments that do not exist are no error; None means all of them.
        """
        ...

    def upload(self, run_id: str, local_path: Path, folder: str = "") -> None:
        """Copy a file, or what a directory holds, into a folder of the run's artifacts."""
        ...

    def artifacts(self, run_id: str, folder: str = "") -> list[str]:
        """Return the paths of all files below a folder of the run's artifacts, sorted."""
        ...

    def download(self, run_id: str, folder: str, local_dir: Path) -> list[Path]:
        """Copy the files below a folder of the run's artifacts into a local directory."""
        ...

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
        ...

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias of a registered model point to a version."""
        ...

    def resolve_alias(self, name: str, alias: str) -> str | None:
        """Return the run id behind an alias; None where model or alias is not there."""
        ...

    def close(self) -> None:
        """Let go of connections; ``with connect(…) as store`` does it at its end."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Parameters, metrics and tags that one call to MLflow takes."""

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def batches(
    params: Mapping[str, str] | None, metrics: Sequence[Metric], tags: Mapping[str, str] | None
) -> Iterator[Batch]:
    """Check entries against MLflow's limits and cut them into calls that it takes.

    Examples
    --------
    >>> [len(batch.params) for batch in batches({f"p{i}": "1" for i in range(150)}, (), {})]
    [100, 50]
    """
    params, tags = params or {}, tags or {}
    check_entries(params, metrics, tags)
    for part in _parts(list(params.items()), _MAX_PARAMS_PER_BATCH):
        yield Batch(params=dict(part))
    for part in _parts(list(tags.items()), _MAX_TAGS_PER_BATCH):
        yield Batch(tags=dict(part))
    for values in _parts(metrics, _MAX_METRICS_PER_BATCH):
        yield Batch(metrics=values)


def _parts(entries: Sequence[_Entry], size: int) -> Iterator[Sequence[_Entry]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


def check_entries(params: Mapping[str, str], metrics: Sequence[Metric], tags: Mapping[str, str]) -> None:
    """Raise `TrackingError` for a name or a value that MLflow would refuse."""
    for what, names in (("parameter", params), ("metric", {m.name for m in metrics}), ("tag", tags)):
        for name in names:
            _check_key(what, name)
    for what, values, limit in (("parameter", params, MAX_PARAM), ("tag", tags, MAX_TAG)):
        for name, value in values.items():
            if len(value) > limit:
                raise TrackingError(
                    f"The value of the {what} {name!r} has {len(value)} characters; MLflow takes {limit}.",
                    hint="Log it as a file of the run, or shorten it.",
                )


def _check_key(what: str, name: str) -> None:
    segments = name.split("/")
    if len(name) <= MAX_KEY and _KEY.fullmatch(name) and not {"", ".", ".."} & set(segments):
        return
    raise TrackingError(
        f"MLflow does not take {name!r} as the name of a {what}.",
        hint=f"Names have up to {MAX_KEY} letters, digits, spaces and _ - . : / (between other characters).",
    )


def check_dataset(dataset: Dataset) -> None:
    """Raise `TrackingError` for a digest that MLflow would refuse."""
    if len(dataset.digest) > MAX_DIGEST:
        raise TrackingError(
            f"The digest of the dataset {dataset.name!r} has {len(dataset.digest)} characters; "
            f"MLflow takes {MAX_DIGEST}.",
        )


def search_filter(status: Status | None, tags: Mapping[str, str], id_prefix: str) -> str:
    """Return conditions in MLflow's filter language.

    Examples
    --------
    >>> search_filter("FINISHED", {"mmp.kind": "train"}, "")
    "attributes.status = 'FINISHED' and tags.`mmp.kind` = 'train'"
    """
    conditions = [f"attributes.status = '{status}'"] if status else []
    if id_prefix:
        # Ids are letters and digits; anything else would be a pattern and can match nothing.
        matching = f"LIKE '{id_prefix}%'" if id_prefix.isalnum() else "= ''"
        conditions.append(f"attributes.run_id {matching}")
    conditions += [f"tags.`{key}` = '{_literal(value)}'" for key, value in tags.items()]
    return " and ".join(conditions)


def _literal(value: str) -> str:
    # MLflow's filter language has no escape for a quote.
    if "'" in value:
        raise TrackingError(f"A tracking server cannot search for {value!r}, which has a quote in it.")
    return value


def public_uri(uri: str) -> str:
    """Return a URI without the user and password it may hold.

    Examples
    --------
    >>> public_uri("postgresql://anna:secret@db:5432/mlflow")
    'postgresql://db:5432/mlflow'
    """
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def order_by(order: Order | None) -> list[str]:
    """Return an order in MLflow's language."""
    return [f"metrics.`{order.metric}` {'DESC' if order.descending else 'ASC'}"] if order else []


def run_not_found(run_id: str, uri: str) -> RunNotFoundError:
    """Return the error for a run that is not there."""
    return RunNotFoundError(
        f"There is no run {run_id} in {public_uri(uri)}.",
        hint="`mmp runs` lists the runs; a deleted one is not listed.",
    )


def deleted_experiment(name: str, experiment_id: str, uri: str) -> TrackingError:
    """Return the error for an experiment that lies in MLflow's trash and keeps its name taken."""
    return TrackingError(
        f"The experiment {name!r} is deleted in {public_uri(uri)}, and its name is still taken.",
        hint=f"Restore it (mlflow experiments restore --experiment-id {experiment_id}) or choose another "
        "mlflow.experiment_name or tracking.experiment.",
    )
