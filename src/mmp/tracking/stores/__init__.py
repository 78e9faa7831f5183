"""Where runs are kept: the embedded SQLite database, a tracking server, or anything else MLflow reaches.

`connect` takes the ``mlflow`` section of a config and returns one of three stores that meet the
same Protocol (`stores.base.Store`). The first two import no mlflow.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mmp.errors import MissingExtraError, RunNotFoundError, TrackingError
from mmp.lookup import install_line
from mmp.tracking.stores import sqlite
from mmp.tracking.stores.base import public_uri
from mmp.tracking.stores.places import path_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.tracking.stores.base import Store, StoreSettings

DEFAULT_URI = "sqlite:///mlruns/mlflow.db"
DATABASE = "mlflow.db"

_SQLITE = re.compile(r"sqlite(\+pysqlite)?://(?P<path>/[^?]*)")
_FOREIGN = {"databricks", "databricks-uc", "mssql", "mysql", "oracle", "postgres", "postgresql", "uc"}
_DATABASE_SUFFIXES = {".db", ".sqlite", ".sqlite3"}


def connect(settings: StoreSettings, *, create: bool = True) -> Store:
    """Return the store that a config names, ready to use.

    Parameters
    ----------
    settings : StoreSettings
        The ``mlflow`` section of a config.
    create : bool
        Whether a local store is made where there is none.

    Returns
    -------
    Store
        The embedded store for ``sqlite:///…``, a directory or a file,
        a client of a server for ``http(s)://…``, and MLflow's own client for everything else.

    Raises
    ------
    TrackingError
        Where the URI names nothing that can hold runs, or what it names cannot be used.
    RunNotFoundError
        Where a local store is not there, and not to be made.
    """
    uri = settings.tracking_uri or DEFAULT_URI
    if urlsplit(uri).scheme in {"http", "https"}:
        return _server(uri, settings)
    path = _database_path(uri)
    if path is None:
        _refuse_unknown_scheme(uri)
        return _client(uri, settings, settings.artifact_root)
    if not create and sqlite.revision(path) is None:
        raise RunNotFoundError(
            f"There are no runs yet: {path} is not there.",
            hint="`mmp train` makes the first run; mlflow.tracking_uri says where runs are.",
        )
    artifact_root = settings.artifact_root or sqlite.default_artifact_root(path)
    if "://" not in artifact_root:
        artifact_root = path_uri(Path(artifact_root).absolute())
    if _prepared(path, artifact_root) in sqlite.KNOWN_REVISIONS:
        return sqlite.SqliteStore(path, artifact_root=artifact_root, s3_endpoint_url=settings.s3_endpoint_url)
    return _client(sqlite.database_uri(path), settings, artifact_root)


def _refuse_unknown_scheme(uri: str) -> None:
    scheme = urlsplit(uri).scheme
    known = {scheme.partition("+")[0], uri} & _FOREIGN
    if not known and not entry_points(group="mlflow.tracking_store", name=scheme):
        raise TrackingError(
            f"mlflow.tracking_uri names no store that MLflow has: {public_uri(uri)}.",
            hint="Write a directory, sqlite:///FILE, http(s)://HOST, or a database (postgresql://…, mysql://…).",
        )


def _server(uri: str, settings: StoreSettings) -> Store:
    from mmp.tracking.stores.http import Credentials
    from mmp.tracking.stores.rest import RestStore

    secret = settings.tracking_password
    password = secret.get_secret_value() if secret else None
    credentials = Credentials(
        username=os.environ.get("MLFLOW_TRACKING_USERNAME", settings.tracking_username),
        password=os.environ.get("MLFLOW_TRACKING_PASSWORD", password),
        token=os.environ.get("MLFLOW_TRACKING_TOKEN"),
    )
    return RestStore(
        uri,
        credentials,
        artifact_root=settings.artifact_root,
        timeout_s=settings.timeout_s,
        s3_endpoint_url=settings.s3_endpoint_url,
    )


def _client(uri: str, settings: StoreSettings, artifact_root: str | None) -> Store:
    from mmp.tracking.stores.client import ClientStore

    return ClientStore(
        uri,
        artifact_root=artifact_root,
        timeout_s=settings.timeout_s,
        s3_endpoint_url=settings.s3_endpoint_url,
    )


def _database_path(uri: str) -> Path | None:
    """Return the SQLite file that a URI or a path names; None where it names something else."""
    if uri.startswith("sqlite"):
        named = _SQLITE.fullmatch(uri)
        path = unquote(named["path"][1:]) if named else ""
        if path in {"", ":memory:"}:
            raise TrackingError(
                f"{uri} names no file that can keep runs.", hint=f"Write mlflow.tracking_uri: {DEFAULT_URI}"
            )
        return Path(path)
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"} or uri == "databricks":
        return None
    path_named = Path(unquote(parts.path) if parts.scheme else uri)
    if path_named.is_file() or path_named.suffix in _DATABASE_SUFFIXES:
        return path_named
    _refuse_file_store(path_named)
    return path_named / DATABASE


def _refuse_file_store(directory: Path) -> None:
    if (directory / DATABASE).exists():
        return
    if any(path.parent.name.isdecimal() for path in directory.glob("*/meta.yaml")):
        raise TrackingError(
            f"{directory} holds runs of MLflow's old file store, which MLflow no longer writes.",
            hint=f"Move them (mlflow migrate-filestore --source {directory} --target sqlite:///{directory}/{DATABASE})"
            " or name another place in mlflow.tracking_uri.",
        )


def _prepared(path: Path, artifact_root: str) -> str:
    """Return the revision of a database, which is made where it is not there."""
    found = sqlite.revision(path)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(path):
            found = sqlite.revision(path)
            return _made(path, artifact_root) if found is None else found
    except OSError as error:
        raise TrackingError(
            f"The tracking database {path} cannot be made: {error.strerror or error}.",
            hint="Name a directory that you can write to in mlflow.tracking_uri.",
        ) from error


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Let one process at a time make the database of a directory."""
    with path.with_name(f".{path.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(path: Path, artifact_root: str) -> str:
    """Make a database beside its place and move it there, whole."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        installed = _installed_revision()
        if installed in sqlite.KNOWN_REVISIONS:
            sqlite.create(partial, installed, artifact_root)
        else:
            _made_by_mlflow(partial, artifact_root)
        found = sqlite.revision(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return found or ""


def _installed_revision() -> str:
    """Return the newest migration of the installed MLflow, read from its files without importing it.

    MLflow refuses a database that is older or newer than itself, so a new one has to fit it.
    Without MLflow there is nothing to fit, and the newest known revision is taken.
    """
    from importlib.util import find_spec

    spec = find_spec("mlflow")
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    migrations = package / "store" / "db_migrations" / "versions"
    if not migrations.is_dir():
        return next(reversed(sqlite.KNOWN_REVISIONS))
    declared, superseded = set[str](), set[str]()
    for script in migrations.glob("*.py"):
        text = script.read_text(encoding="utf-8")
        declared.update(re.findall(r"^revision = [\"'](\w+)", text, re.MULTILINE))
        superseded.update(re.findall(r"^down_revision = [\"'](\w+)", text, re.MULTILINE))
    heads = declared - superseded
    return heads.pop() if len(heads) == 1 else ""


def _made_by_mlflow(path: Path, artifact_root: str) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore;"
        " SqlAlchemyStore(*sys.argv[1:])"
    )
    made = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", code, sqlite.database_uri(path), artifact_root],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        last = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        if "ModuleNotFoundError" in last:
            raise MissingExtraError(
                f"The installed MLflow cannot make a tracking database: {last}.",
                hint=install_line("mlflow"),
            )
        raise TrackingError(f"MLflow could not make the tracking database {path}: {last}.")
