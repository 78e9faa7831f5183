"""The MLflow server as a process, over the database `mlflow_db` and the folder of artifacts."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

from localdev import processes, python
from localdev.answer import Answer
from localdev.failure import Failure
from localdev.services import ALLOWED_HOSTS, SERVICES, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localdev.settings import Home

SERVICE = SERVICES["mlflow"]
STOP = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))
PATIENCE_S = 180


def start(home: Home) -> processes.Process:
    """Start the server; the database's password is in its environment only."""
    host, port = home.address(SERVICE)
    words = [word.format(bind=host, port=port, hosts=ALLOWED_HOSTS) for word in SERVICE.arguments]
    command = [str(python.interpreter(home.folder)), "-m", "mlflow", "server", *words]
    command.append(f"--artifacts-destination={home.artifacts}")
    return processes.start(home, SERVICE.name, command, None, **store(home))


def store(home: Home) -> dict[str, str]:
    """Return the environment in which MLflow finds its database; the address holds no password."""
    host, port = home.address(SERVICES["postgresql"])
    return {
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg://",
        "PGHOST": host,
        "PGPORT": str(port),
        "PGUSER": home.values["POSTGRES_USER"],
        "PGPASSWORD": home.values["POSTGRES_PASSWORD"],
        "PGDATABASE": home.values["MLFLOW_DB"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def ask(home: Home) -> Answer:
    """Read /health and /version."""
    try:
        health, version = get(home, "/health"), get(home, "/version")
    except (OSError, http.client.HTTPException, Failure) as error:
        return Answer(None, f"it does not answer as MLflow does ({error})")
    if health.strip() != "OK" or not version_of(version):
        return Answer(None, "it is not MLflow")
    if version_of(version) < SERVICE.min_version:
        return Answer(None, f"it is MLflow {version}, and 3.10 is needed")
    return Answer(version)


def get(home: Home, path: str, patience_s: float = 8) -> str:
    """Return what the server answers to a GET."""
    return _send(home, "GET", path, None, patience_s)


def call(home: Home, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Call the REST API."""
    told: dict[str, Any] = json.loads(
        _send(home, method, f"/api/2.0/mlflow/{path}", json.dumps(body), 60) or "{}"
    )
    return told


def _send(home: Home, method: str, path: str, body: str | None, patience_s: float) -> str:
    host, port = home.address(SERVICE)
    connection = http.client.HTTPConnection(host, port, timeout=patience_s)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read(50_000_000).decode("utf-8", "replace")
    finally:
        connection.close()
    if answer.status >= 400:
        raise Failure(f"MLflow answers {answer.status} to {path}: {text[:200]}")
    return text


def strays(home: Home) -> list[int]:
    """Return processes of the server that no note knows of: workers whose parent was killed."""
    return processes.marked(home, SERVICE.name)


def remove(home: Home) -> None:
    """Delete the artifacts; what is known of runs is in PostgreSQL."""
    if home.artifacts.exists():
        shutil.rmtree(home.artifacts)
