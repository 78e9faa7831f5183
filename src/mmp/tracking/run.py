"""One run, from its start to its true status, and how a run is found again."""

from __future__ import annotations

import getpass
import json
import logging
import math
import os
import platform
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mmp import __version__
from mmp.catalog import metrics as known_metrics
from mmp.catalog.tasks import TASKS
from mmp.errors import MmpError, RunNotFoundError, TrackingError
from mmp.tracking.scratch import scratch
from mmp.tracking.stores.base import MAX_PARAM, Metric, Order, RunInfo, public_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from mmp.tracking.stores.base import Dataset, RunRecord, Status, Store

KIND = "mmp.kind"
TASK = "mmp.task"
ERROR = "mmp.error"
ERROR_CODE = "mmp.error.code"
TRAINED = {KIND: "train"}
BATCH = "batch"
TRIAL = "trial"
PARENT = "mlflow.parentRunId"

_FLUSH_AT = 2000
_LONGEST_ERROR = 1000
_GIT_TIMEOUT_S = 5
_FULL_ID = re.compile(r"[0-9a-f]{32}")
_SECRET = re.compile(
    r"(?P<before>://[^/\s:@]*:|\b(?:password|passwd|pwd|token|secret|api_?key)\b['\"]?\s*[=:]\s*['\"]?)[^\s@'\",;&]+",
    re.IGNORECASE,
)

_log = logging.getLogger(__name__)


class ActiveRun:
    """A run that is going on.

    Parameters and metrics are gathered and written in few calls: when `flush` is called, when many
    have come together, and at the end. Files are written at once.

    Parameters
    ----------
    store : Store
        Where it is kept.
    info : RunInfo
        Its id, its experiment and its artifacts' place.
    experiment, name : str
        What the experiment and the run are called.
    """

    def __init__(self, store: Store, info: RunInfo, *, experiment: str, name: str) -> None:
        self.store = store
        self.run_id = info.run_id
        self.experiment_id = info.experiment_id
        self.artifact_uri = info.artifact_uri
        self.experiment = experiment
        self.name = name
        self._params: dict[str, str] = {}
        self._metrics: list[Metric] = []
        self._tags: dict[str, str] = {}

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters under flat names; a value too long for MLflow is cut, with a warning."""
        self._params |= {name: _param(name, value) for name, value in params.items()}
        self._flush_many()

    def log_metrics(self, values: Mapping[str, float], *, prefix: str = "", step: int = 0) -> None:
        """Log one value of each metric."""
        now = _now_ms()
        self._metrics += [Metric(prefix + name, float(v), now, step) for name, v in values.items()]
        self._flush_many()

    def log_history(self, histories: Mapping[str, Sequence[float]], *, prefix: str = "") -> None:
        """Log metrics step by step, from step 0."""
        now = _now_ms()
        for name, values in histories.items():
            self._metrics += [Metric(prefix + name, float(v), now, step) for step, v in enumerate(values)]
        self._flush_many()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._tags |= tags

    def log_child(
        self,
        name: str,
        status: Status,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        span_ms: tuple[int, int],
    ) -> None:
        """Write a run that has ended already and belongs below this one, at once."""
        began, ended = span_ms
        with self.store.together():
            child = self.store.create_run(
                self.experiment_id, name=name, tags={PARENT: self.run_id, **tags}, start_time_ms=began
            )
            self.store.log_batch(
                child.run_id,
                params={name: _param(name, value) for name, value in params.items()},
                metrics=[Metric(name, float(value), ended) for name, value in metrics.items()],
            )
            self.store.finish(child.run_id, status, end_time_ms=ended)

    def log_dataset(self, dataset: Dataset) -> None:
        """Record a table as an input of the run."""
        self.store.log_dataset(self.run_id, dataset)

    def log_text(self, text: str, path: str) -> None:
        """Write text to a file among the run's artifacts."""
        where = PurePosixPath(path)
        with scratch("text") as directory:
            file = directory / where.name
            file.write_text(text, encoding="utf-8")
            self.log_file(file, str(where.parent).removeprefix("."))

    def log_file(self, local_path: Path, folder: str = "") -> None:
        """Copy a file into a folder of the run's artifacts."""
        self.store.upload(self.run_id, local_path, folder)

    def add_folder(self, local_path: Path, folder: str) -> None:
        """Copy what a directory holds into a folder of the run's artifacts."""
        self.store.upload(self.run_id, local_path, folder)

    def flush(self) -> None:
        """Write what was gathered, so that it is there even if the process is killed."""
        gathered = self._params, self._metrics, self._tags
        self._params, self._metrics, self._tags = {}, [], {}
        if any(gathered):
            params, metrics, tags = gathered
            self.store.log_batch(self.run_id, params=params, metrics=metrics, tags=tags)

    def _flush_many(self) -> None:
        if len(self._metrics) + len(self._params) >= _FLUSH_AT:
            self.flush()


@contextmanager
def run(
    store: Store,
    experiment: str,
    name: str,
    tags: Mapping[str, str] | None = None,
    *,
    secrets: Sequence[str] = (),
) -> Iterator[ActiveRun]:
    """Track what happens inside; whatever that is, the run ends with its true status.

    FINISHED where the body ends, FAILED where it raises, KILLED where it is interrupted (Ctrl-C or
    SIGTERM; a second one ends the process at once). An error is written to the tags ``mmp.error``
    and ``mmp.error.code`` and goes on unchanged, also where the store no longer answers.

    Parameters
    ----------
    store : Store
        Where the run is kept.
    experiment, name : str
        What the experiment (created where there is none) and the run are called.
    tags : mapping of str to str, optional
        Tags on top of `system_tags`.
    secrets : sequence of str
        Values that must not stand in ``mmp.error``.

    Yields
    ------
    ActiveRun
        To log to.
    """
    with interruptible():
        info = store.create_run(
            store.experiment(experiment),
            name=name,
            tags={**system_tags(), **(tags or {})},
            start_time_ms=_now_ms(),
        )
        active = ActiveRun(store, info, experiment=experiment, name=name)
        try:
            yield active
            active.flush()
            store.finish(active.run_id, "FINISHED", end_time_ms=_now_ms())
        except BaseException as error:
            _end(active, error, secrets)
            raise


def _end(active: ActiveRun, error: BaseException, secrets: Sequence[str]) -> None:
    status: Status = "FAILED" if isinstance(error, Exception) else "KILLED"
    store, run_id = active.store, active.run_id
    steps = (
        active.flush,
        lambda: store.log_batch(run_id, tags=_error_tags(error, secrets)),
        lambda: store.finish(run_id, status, end_time_ms=_now_ms()),
    )
    for step in steps:
        try:
            step()
        except TrackingError as problem:
            # What went wrong first is what the user has to know.
            note = f"The run {run_id} could not be marked {status}: {problem}"
            if problem is not error and note not in getattr(error, "__notes__", ()):
                error.add_note(note)


def _error_tags(error: BaseException, secrets: Sequence[str]) -> dict[str, str]:
    if isinstance(error, MmpError):
        code, text = error.code, error.message
    elif isinstance(error, Exception):
        code, text = "bug", f"{type(error).__name__}: {error}"
    else:
        code, text = "interrupted", f"Interrupted ({str(error) or type(error).__name__})."
    sentence = redact(text, secrets).strip().partition("\n")[0]
    return {ERROR_CODE: code, ERROR: _cut(sentence, _LONGEST_ERROR)}


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a text without the given secrets and without what looks like one.

    Examples
    --------
    >>> redact("postgresql://anna:hunter2@db/mlflow refused 'tr0ub4dor', password=x1", ["tr0ub4dor"])
    "postgresql://anna:***@db/mlflow refused '***', password=***"
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _SECRET.sub(r"\g<before>***", text)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does, and the second of either end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual: dict[signal.Signals, Callable[[int, FrameType | None], object] | signal.Handlers] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    # A handler of somebody else stays, and so does a signal that the shell let us ignore.
    ours = [number for number, handler in usual.items() if signal.getsignal(number) is handler]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, usual[number])


def system_tags() -> dict[str, str]:
    """Return the tags that say who ran what, from which code, with which versions."""
    return {
        "mlflow.user": _user(),
        "mlflow.source.name": "mmp",
        "mlflow.source.type": "LOCAL",
        "mmp.version": __version__,
        "mmp.python": platform.python_version(),
        **git_tags(),
    }


def git_tags(directory: Path | None = None) -> dict[str, str]:
    """Return the commit and whether tracked files differ from it; nothing outside a repository.

    Parameters
    ----------
    directory : Path, optional
        Where to look; the working directory where None.
    """
    try:
        answer = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],  # noqa: S607
            cwd=directory,
            # Otherwise git writes its index, and trainings side by side would wait for each other.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = answer.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if answer.returncode != 0 or commit == "(initial)":
        return {}
    is_dirty = any(not line.startswith("#") for line in lines)
    return {"mlflow.source.git.commit": commit, "mmp.git.dirty": str(is_dirty).lower()}


def resolve_run(
    store: Store,
    ref: str,
    *,
    experiment: str | None = None,
    registered_model_name: str | None = None,
    metric: str | None = None,
) -> str:
    """Return the id of the run that a reference means.

    Parameters
    ----------
    store : Store
        Where to look.
    ref : str
        ``latest`` (the newest training that finished), ``best`` (of those, by a metric), an alias of
        the registered model, ``name@alias``, a run id, or the beginning of one.
    experiment : str or None
        Where ``latest`` and ``best`` look; everywhere where None.
    registered_model_name : str or None
        The model that a bare alias belongs to.
    metric : str or None
        What ``best`` goes by; the primary metric of the experiment's task where None.

    Raises
    ------
    RunNotFoundError
        Where there is none, or more than one; it says what was looked for and lists recent runs.
    """
    if ref == "latest":
        return _latest(store, experiment).run_id
    if ref == "best":
        return _best(store, experiment, metric)
    model, at, alias = ref.rpartition("@")
    model = model or registered_model_name or ""
    if at or (model and not _FULL_ID.fullmatch(ref)):
        found = store.resolve_alias(model, alias) if model else None
        if found is not None:
            return found
    if at:
        raise _not_found(store, f"No version of the registered model {model!r} has the alias {alias!r}.")
    return _by_id(store, ref, model)


def _latest(store: Store, experiment: str | None) -> RunRecord:
    found = store.search([experiment] if experiment else None, status="FINISHED", tags=TRAINED, limit=1)
    if not found:
        raise _not_found(store, f"No training has finished in {_place(store, experiment)}.")
    return found[0]


def _best(store: Store, experiment: str | None, metric: str | None) -> str:
    task = _latest(store, experiment).tags.get(TASK, "")
    if metric is None:
        if task not in TASKS:
            raise _not_found(store, f"The newest training in {_place(store, experiment)} names no task.")
        metric = TASKS[task].primary_metric
    tags = {**TRAINED, TASK: task} if task else TRAINED
    found = store.search(
        [experiment] if experiment else None,
        status="FINISHED",
        tags=tags,
        order=_order(metric, task),
        limit=1,
    )
    if not found or math.isnan(found[0].metrics.get(metric, math.nan)):
        raise _not_found(store, f"No training in {_place(store, experiment)} has the metric {metric!r}.")
    return found[0].run_id


def _order(metric: str, task: str) -> Order:
    try:
        return Order(metric, descending=known_metrics.parse_logged(metric, task).greater_is_better)
    except known_metrics.UnknownMetricError as error:
        raise RunNotFoundError(
            f"Which run is best by {metric!r} is not known: it is no metric of {task or 'any task'}.",
            hint=f"Metrics: {', '.join(error.known)}.",
        ) from error


def _by_id(store: Store, ref: str, model: str) -> str:
    found = store.search(id_prefix=ref.lower(), limit=2) if ref else []
    if len(found) == 1:
        return found[0].run_id
    if found:
        ids = ", ".join(run.run_id for run in found)
        raise RunNotFoundError(
            f"More than one run id begins with {ref!r}.", hint=f"Write more of it: {ids}, …"
        )
    tried = f"no run id in {public_uri(store.uri)} begins with it"
    tried = f"{tried}, and no version of {model!r} has it as an alias" if model else f"and {tried}"
    raise _not_found(store, f"{ref!r} is neither latest nor best, {tried}.")


def _not_found(store: Store, message: str) -> RunNotFoundError:
    recent = store.search(tags=TRAINED, limit=3)
    listed = ", ".join(f"{run.run_id[:8]} ({run.name}, {run.status})" for run in recent)
    hint = f"Recent runs: {listed}; `mmp runs` lists more." if recent else "`mmp train` makes the first run."
    return RunNotFoundError(message, hint=hint)


def _place(store: Store, experiment: str | None) -> str:
    return f"the experiment {experiment!r}" if experiment else public_uri(store.uri)


def _param(name: str, value: object) -> str:
    text = (
        json.dumps(value, ensure_ascii=False, default=str)
        if isinstance(value, list | tuple | dict)
        else str(value)
    )
    if len(text) > MAX_PARAM:
        _log.warning("The parameter %s has %d characters and is logged cut.", name, len(text))
    return _cut(text, MAX_PARAM)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user may have no name.
        return "unknown"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
