"""The embedded store: MLflow's own SQLite database, read and written without importing mlflow.

Importing mlflow costs more CPU time than all the rest of a small training. The tables are MLflow's,
so its UI, its client and its server work on the same file at the same time. They are written only
at a migration that this module was tested with (`KNOWN_REVISIONS`); any other is left to MLflow.

A transaction takes the write lock when it begins, is a few milliseconds long, and waits for its
turn, so that any number of trainings can share the file. The journal mode is the one MLflow
leaves (rollback): one file that can be copied, lie on a network disk and be mounted read-only.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
import uuid
import weakref
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.errors import TrackingError
from mmp.tracking.stores.base import (
    EXPERIMENT_TAGS,
    RUN_NAME,
    RUN_USER,
    Dataset,
    Metric,
    Order,
    RunInfo,
    RunRecord,
    Status,
    check_dataset,
    check_entries,
    deleted_experiment,
    run_not_found,
)
from mmp.tracking.stores.places import ForeignPlace, LocalPlace, Place, RunFiles, local_path, path_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

KNOWN_REVISIONS = {"dc11669786a5": "MLflow 3.17"}
"""Alembic revisions whose tables this module writes, and the MLflow that has them."""

SCHEMAS = Path(__file__).with_name("schemas")
WAIT_S = 60.0

_ATTEMPTS = 5
_LARGEST = 1.7976931348623157e308  # MLflow's stand-in for infinity in SQL
_MAX_VARIABLES = 500


class SqliteStore(RunFiles):
    """Runs in an SQLite database of MLflow's.

    Parameters
    ----------
    path : Path
        The database; it is there and its revision is known (see `stores.connect`).
    artifact_root : str
        URI or directory below which new experiments keep their files.
    s3_endpoint_url : str or None
        Where experiments keep their files in an S3-compatible store.
    """

    def __init__(self, path: Path, *, artifact_root: str, s3_endpoint_url: str | None = None) -> None:
        self.path = path.absolute()
        self.uri = database_uri(self.path)
        self.artifact_root = artifact_root
        self._s3_endpoint_url = s3_endpoint_url
        self._places: dict[str, Place] = {}
        self._lock = threading.RLock()
        self._connection = _connect(self.path)
        weakref.finalize(self, self._connection.close)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is written inside in one transaction: the disk is waited for once."""
        with self._transaction():
            yield

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created where there is none."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT experiment_id, lifecycle_stage FROM experiments"
                " WHERE name = ? AND workspace = 'default'",
                (name,),
            ).fetchone()
            if row is None:
                return self._create_experiment(db, name)
        experiment_id, stage = row
        if stage != "active":
            raise deleted_experiment(name, experiment_id, self.uri)
        return str(experiment_id)

    def _create_experiment(self, db: sqlite3.Connection, name: str) -> str:
        now = _now_ms()
        created = db.execute(
            "INSERT INTO experiments (name, lifecycle_stage, creation_time, last_update_time, workspace)"
            " VALUES (?, 'active', ?, ?, 'default')",
            (name, now, now),
        )
        experiment_id = str(created.lastrowid)
        db.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (f"{self.artifact_root.rstrip('/')}/{experiment_id}", experiment_id),
        )
        db.executemany(
            "INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)",
            [(key, value, experiment_id) for key, value in EXPERIMENT_TAGS.items()],
        )
        return experiment_id

    def create_run(
        self, experiment_id: str, *, name: str, tags: Mapping[str, str], start_time_ms: int
    ) -> RunInfo:
        """Create a run with status RUNNING."""
        tags = {**tags, RUN_NAME: name}
        check_entries({}, (), tags)
        run_id = uuid.uuid4().hex
        with self._transaction() as db:
            location = db.execute(
                "SELECT artifact_location FROM experiments"
                " WHERE experiment_id = ? AND lifecycle_stage = 'active'",
                (experiment_id,),
            ).fetchone()
            if location is None:
                raise TrackingError(f"There is no active experiment {experiment_id} in {self.uri}.")
            artifact_uri = f"{location[0].rstrip('/')}/{run_id}/artifacts"
            db.execute(
                "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id,"
                " status, start_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
                " VALUES (?, ?, 'UNKNOWN', '', '', ?, 'RUNNING', ?, '', 'active', ?, ?)",
                (run_id, name, tags.get(RUN_USER, "unknown"), start_time_ms, artifact_uri, experiment_id),
            )
            _write_tags(db, run_id, tags)
        return RunInfo(run_id, experiment_id, artifact_uri)

    def log_batch(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write parameters, metrics and tags in one transaction."""
        params, tags = params or {}, tags or {}
        check_entries(params, metrics, tags)
        with self._transaction() as db:
            self._active(db, run_id)
            _write_params(db, run_id, params)
            _write_metrics(db, run_id, metrics)
            _write_tags(db, run_id, tags)
            if RUN_NAME in tags:
                db.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", (tags[RUN_NAME], run_id))

    def log_dataset(self, run_id: str, dataset: Dataset) -> None:
        """Record a table as an input of the run."""
        check_dataset(dataset)
        with self._transaction() as db:
            experiment_id = self._active(db, run_id)
            dataset_id = _dataset_id(db, experiment_id, dataset)
            input_id = uuid.uuid4().hex
            added = db.execute(
                "INSERT OR IGNORE INTO inputs"
                " (input_uuid, source_type, source_id, destination_type, destination_id, step)"
                " VALUES (?, 'DATASET', ?, 'RUN', ?, 0)",
                (input_id, dataset_id, run_id),
            )
            if added.rowcount:
                db.execute(
                    "INSERT INTO input_tags (input_uuid, name, value) VALUES (?, 'mlflow.data.context', ?)",
                    (input_id, dataset.context),
                )

    def finish(self, run_id: str, status: Status, *, end_time_ms: int) -> None:
        """Write the final status."""
        with self._transaction() as db:
            self._active(db, run_id)
            db.execute(
                "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?", (status, end_time_ms, run_id)
            )

    # -- reading -----------------------------------------------------------------------------

    def get_run(self, run_id: str) -> RunRecord:
        """Return one run by its full id."""
        found = self._records("r.run_uuid = ?", [run_id])
        if not found:
            raise run_not_found(run_id, self.uri)
        return found[0]

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
        where, values = ["r.run_uuid GLOB ?"], [_glob(id_prefix)]
        if experiments is not None:
            where.append(f"e.name IN ({_marks(experiments)})")
            values += experiments
        if status is not None:
            where.append("r.status = ?")
            values.append(status)
        for key, value in (tags or {}).items():
            where.append("(SELECT t.value FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = ?) = ?")
            values += [key, value]
        return self._records(" AND ".join(where), values, order, limit)

    def _records(
        self, where: str, values: Sequence[str], order: Order | None = None, limit: int = 1
    ) -> list[RunRecord]:
        metric, direction = (order.metric, "DESC" if order.descending else "ASC") if order else ("", "ASC")
        with self._transaction("DEFERRED") as db:
            rows = db.execute(
                "SELECT r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.artifact_uri"  # noqa: S608
                " FROM runs r JOIN experiments e USING (experiment_id)"
                " LEFT JOIN latest_metrics m ON m.run_uuid = r.run_uuid AND m.key = ?"
                f" WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active' AND {where}"
                f" ORDER BY (m.value IS NULL) * 2 + coalesce(m.is_nan, 0), m.value {direction},"
                " r.start_time DESC, r.run_uuid LIMIT ?",
                (metric, *values, limit),
            ).fetchall()
            ids = [row[0] for row in rows]
            parts = [_by_run(db, table, ids) for table in ("params", "latest_metrics", "tags")]
        return [RunRecord(*row, *(part[row[0]] for part in parts)) for row in rows]

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
        source, now = f"{self.get_run(run_id).artifact_uri}/{folder}", _now_ms()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO registered_models (name, creation_time, last_updated_time, workspace)"
                " VALUES (?, ?, ?, 'default') ON CONFLICT (workspace, name)"
                " DO UPDATE SET last_updated_time = excluded.last_updated_time",
                (name, now, now),
            )
            (version,) = db.execute(
                "SELECT coalesce(max(version), 0) + 1 FROM model_versions"
                " WHERE name = ? AND workspace = 'default'",
                (name,),
            ).fetchone()
            db.execute(
                "INSERT INTO model_versions (name, version, creation_time, last_updated_time, description,"
                " current_stage, source, storage_location, run_id, status, workspace)"
                " VALUES (?, ?, ?, ?, ?, 'None', ?, ?, ?, 'READY', 'default')",
                (name, version, now, now, description or None, source, source, run_id),
            )
            db.executemany(
                "INSERT INTO model_version_tags (key, value, name, version, workspace)"
                " VALUES (?, ?, ?, ?, 'default')",
                [(key, value, name, version) for key, value in (tags or {}).items()],
            )
        return str(version)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias of a registered model point to a version."""
        with self._transaction() as db:
            known = db.execute(
                "SELECT 1 FROM model_versions WHERE name = ? AND version = ? AND workspace = 'default'"
                " AND current_stage <> 'Deleted_Internal'",
                (name, int(version)),
            ).fetchone()
            if known is None:
                raise TrackingError(f"The registered model {name!r} has no version {version}.")
            db.execute(
                "INSERT INTO registered_model_aliases (alias, version, name, workspace)"
                " VALUES (?, ?, ?, 'default') ON CONFLICT (workspace, name, alias)"
                " DO UPDATE SET version = excluded.version",
                (alias, int(version), name),
            )

    def resolve_alias(self, name: str, alias: str) -> str | None:
        """Return the run id behind an alias; None where model or alias is not there."""
        with self._transaction("DEFERRED") as db:
            row = db.execute(
                "SELECT v.run_id FROM registered_model_aliases a"
                " JOIN model_versions v USING (workspace, name, version)"
                " WHERE a.workspace = 'default' AND a.name = ? AND a.alias = ?"
                " AND v.current_stage <> 'Deleted_Internal'",
                (name, alias),
            ).fetchone()
        return row[0] if row else None

    # -- below -------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        db = self._connection
        try:
            with self._lock:
                if db.in_transaction:  # of `together`, which ends it
                    yield db
                    return
                _begin(db, kind)
                try:
                    yield db
                    db.execute("COMMIT")
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    def _active(self, db: sqlite3.Connection, run_id: str) -> str:
        row = db.execute(
            "SELECT experiment_id FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'", (run_id,)
        ).fetchone()
        if row is None:
            raise run_not_found(run_id, self.uri)
        return str(row[0])


def revision(path: Path) -> str | None:
    """Return the migration that a database is at; None where there is no database yet.

    Raises
    ------
    TrackingError
        Where the file is no SQLite database, or one that is not MLflow's.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        with closing(_connect(path)) as db:
            names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names:
                return None
            if not {"alembic_version", "experiments", "runs"} <= names:
                raise TrackingError(
                    f"{path} is an SQLite database, but not one of MLflow's.",
                    hint="Name another file in mlflow.tracking_uri; it is made when it is not there.",
                )
            row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return str(row[0]) if row else ""


def create(path: Path, known: str, artifact_root: str) -> None:
    """Write a fresh MLflow database at a known revision, as MLflow itself would.

    Parameters
    ----------
    path : Path
        Where to; a file that is not there.
    known : str
        The revision.
    artifact_root : str
        Where the default experiment keeps its files.

    Raises
    ------
    TrackingError
        Where it cannot be written.
    """
    script = (SCHEMAS / f"{known}.sql").read_text(encoding="utf-8")
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            _write_first(db, script, known, artifact_root)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def _write_first(db: sqlite3.Connection, script: str, known: str, artifact_root: str) -> None:
    now = _now_ms()
    db.executescript(f"BEGIN; {script}")
    db.execute("INSERT INTO alembic_version VALUES (?)", (known,))
    db.execute(
        "INSERT INTO workspaces (name, description)"
        " VALUES ('default', 'Default workspace for legacy resources')"
    )
    db.execute(
        "INSERT INTO experiments VALUES (0, 'Default', ?, 'active', ?, ?, 'default')",
        (f"{artifact_root.rstrip('/')}/0", now, now),
    )
    db.execute("COMMIT")


def database_uri(path: Path) -> str:
    """Return the URI by which MLflow opens a database.

    Examples
    --------
    >>> database_uri(Path("/data/50%/mlflow.db"))
    'sqlite:////data/50%25/mlflow.db'
    """
    return f"sqlite:///{str(path.absolute()).replace('%', '%25').replace('?', '%3F')}"


def default_artifact_root(path: Path) -> str:
    """Return where artifacts go that nobody gave another place: beside the database."""
    return path_uri(path.absolute().parent / "artifacts")


def _connect(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return db


def _begin(db: sqlite3.Connection, kind: str) -> None:
    # The busy timeout covers waiting for a lock. What it does not cover is SQLite refusing at once,
    # as while another process rolls back what a killed one left behind.
    for attempt in range(_ATTEMPTS):
        try:
            db.execute(f"BEGIN {kind}")
        except sqlite3.OperationalError as error:
            if attempt == _ATTEMPTS - 1 or error.sqlite_errorcode & 0xFF not in _BUSY:
                raise
            time.sleep(0.05 * 2**attempt)
        else:
            return


_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _unusable(path: Path, error: sqlite3.Error) -> TrackingError:
    hints = {
        "SQLITE_NOTADB": "The file is damaged or is something else; name another in mlflow.tracking_uri.",
        "SQLITE_BUSY": "Another program holds the database; end it and try again.",
        "SQLITE_READONLY": "The file or its directory is not writable for this user.",
        "SQLITE_CANTOPEN": "The directory is not there or not writable for this user.",
        "SQLITE_FULL": "The disk is full.",
    }
    name = getattr(error, "sqlite_errorname", "")
    hint = next((text for prefix, text in hints.items() if name.startswith(prefix)), "")
    return TrackingError(f"The tracking database {path} cannot be used: {error}.", hint=hint)


def _write_params(db: sqlite3.Connection, run_id: str, params: Mapping[str, str]) -> None:
    if not params:
        return
    known = dict(db.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run_id,)))
    for key, value in params.items():
        if known.get(key, value) != value:
            raise TrackingError(
                f"The parameter {key!r} of run {run_id} is {known[key]!r} and cannot become {value!r}."
            )
    db.executemany(
        "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
        [(key, value, run_id) for key, value in params.items() if key not in known],
    )


def _write_metrics(db: sqlite3.Connection, run_id: str, metrics: Sequence[Metric]) -> None:
    rows = [
        (m.name, _storable(m.value), m.timestamp_ms, run_id, m.step, math.isnan(m.value)) for m in metrics
    ]
    db.executemany(
        "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    latest = {row[0]: row for row in sorted(rows, key=lambda row: (row[4], row[2], row[1]))}
    db.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp,"
        " step = excluded.step, is_nan = excluded.is_nan"
        " WHERE (excluded.step, excluded.timestamp, excluded.value)"
        " > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)",
        latest.values(),
    )


def _storable(value: float) -> float:
    if math.isnan(value):
        return 0.0
    return max(-_LARGEST, min(_LARGEST, value))


def _write_tags(db: sqlite3.Connection, run_id: str, tags: Mapping[str, str]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
        [(key, value, run_id) for key, value in tags.items()],
    )


def _dataset_id(db: sqlite3.Connection, experiment_id: str, dataset: Dataset) -> str:
    key = (experiment_id, dataset.name, dataset.digest)
    db.execute(
        "INSERT OR IGNORE INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type,"
        " dataset_source, dataset_schema, dataset_profile) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (uuid.uuid4().hex, *key, dataset.source_type, dataset.source, dataset.schema, dataset.profile),
    )
    (dataset_id,) = db.execute(
        "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?", key
    ).fetchone()
    return str(dataset_id)


def _by_run(db: sqlite3.Connection, table: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {run_id: {} for run_id in ids}
    is_nan = "is_nan" if table == "latest_metrics" else "0"
    for start in range(0, len(ids), _MAX_VARIABLES):
        some = ids[start : start + _MAX_VARIABLES]
        select = f"SELECT run_uuid, key, value, {is_nan} FROM {table} WHERE run_uuid IN ({_marks(some)})"  # noqa: S608
        for run_id, key, value, nan in db.execute(select, some):
            found[run_id][key] = math.nan if nan else value
    return found


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)


def _glob(prefix: str) -> str:
    # Ids are letters and digits; anything else would be a pattern and can match nothing.
    return f"{prefix}*" if prefix.isalnum() or not prefix else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
