"""Real stores for tests: an SQLite directory, the session's MLflow server, and servers with options of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmp.tracking import stores
from mmp.tracking.stores import sqlite
from mmp.tracking.stores.client import ClientStore

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_WORKSPACES": "false",
}


def settings(uri, **more):
    values = {
        "tracking_uri": str(uri),
        "tracking_username": None,
        "tracking_password": None,
        "s3_endpoint_url": None,
        "artifact_root": None,
        "timeout_s": 10.0,
        "required": True,
    }
    return SimpleNamespace(**(values | more))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port, path="/health"):
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def mlflow_server(directory: Path, *options: str):
    """Run `mlflow server` on a database of ours; yield its URL; leave no process behind."""
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    sqlite.create(directory / "server.db", next(iter(sqlite.KNOWN_REVISIONS)), str(directory / "artifacts"))
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{directory / 'server.db'}"),
        *options,
    ]
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | QUIET, stdout=log, stderr=log, cwd=directory, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((directory / "server.log").read_text())
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        # Uvicorn's parent and its worker are a session of their own.
        os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(10)


@pytest.fixture(scope="session")
def server_url(mlflow):
    """The session's MLflow server, which keeps artifacts itself, and everything else in PostgreSQL."""
    return mlflow.uri


@dataclass
class Guard:
    url: str
    seen: list


class _Guarding(BaseHTTPRequestHandler):
    """A reverse proxy that asks for credentials, as an ingress before a tracking server does."""

    protocol_version = "HTTP/1.1"
    accepted = ("Basic " + b64encode(b"anna:s3cret-pa$$").decode(), "Bearer t0ken")

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(self.headers.get("Authorization"))
        if self.headers.get("Authorization") not in self.accepted:
            return self._answer(401, b"who are you", "text/plain")
        if "forbidden" in self.path or b"forbidden" in body:
            return self._answer(
                403, b'{"error_code": "PERMISSION_DENIED", "message": "not yours"}', "application/json"
            )
        upstream = HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=20)
        headers = {k: v for k, v in self.headers.items() if k not in {"Authorization", "Host", "Connection"}}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        return self._answer(answer.status, content, answer.headers.get("Content-Type", "text/plain"))

    def _answer(self, status, content, kind):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = _serve

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler, **attributes):
    """Run a small HTTP server in this process; yield it with its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    for name, value in attributes.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def guarded_url(server_url):
    with serving(_Guarding, upstream_port=int(server_url.rsplit(":", 1)[1]), seen=[]) as (server, url):
        yield Guard(url, server.seen)


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory):
    """A database that MLflow itself made."""
    path = tmp_path_factory.mktemp("made-by-mlflow") / "mlflow.db"
    stores._made_by_mlflow(path, "/somewhere/artifacts")
    return path


@pytest.fixture
def embedded(tmp_path):
    """The embedded store in a directory of its own."""
    store = stores.connect(settings(tmp_path / "mlruns"))
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "client", pytest.param("rest", marks=pytest.mark.infra)])
def store(request, tmp_path):
    """Each of the three stores, empty but for what other tests left on the server."""
    if request.param == "sqlite":
        made = stores.connect(settings(tmp_path / "mlruns"))
    elif request.param == "client":
        path = tmp_path / "client" / "mlflow.db"
        path.parent.mkdir()
        sqlite.create(path, next(iter(sqlite.KNOWN_REVISIONS)), str(tmp_path / "client"))
        made = ClientStore(f"sqlite:///{path}", artifact_root=str(tmp_path / "client" / "artifacts"))
    else:
        made = stores.connect(settings(request.getfixturevalue("server_url")))
    yield made
    made.close()


@pytest.fixture
def model_folder(tmp_path):
    """An MLflow model of a dozen lines that needs no trainer."""
    import mlflow

    class Doubled(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input: list[float], params=None) -> list[float]:
            return [2 * value for value in model_input]

    folder = tmp_path / "a-model"
    mlflow.pyfunc.save_model(folder, python_model=Doubled(), pip_requirements=["mlflow"])
    yield folder
    shutil.rmtree(folder)
