"""A real `mmp serve-api` in a process of its own, and clients that behave and that do not."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.commands import call, start
from tests.tables import KEY, recipe

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
CONFIG = """\
environment: {name: local}
mlflow: {tracking_uri: ./mlruns, registered_model_name: people}
"""


ENCODED = "preprocessor: {steps: [{type: datetime_features}, {type: one_hot_encoder}]}"
MODELS = {
    # on the event loop, without its library
    "walked": ("xgboost.XGBClassifier", {"n_estimators": 10, "max_depth": 3}, (ENCODED,)),
    # on threads, several rows at a time
    "threaded": ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 20, "max_depth": 4}, ()),
}


def train_in(folder, name, model="walked", *, table="table.csv"):
    """Train one of `MODELS` in a project and return the run's id."""
    class_path, values, lines = MODELS[model]
    text = recipe(
        name, "classification", class_path, table, "label",
        entities=[f"'{KEY}'"], values=values, lines=lines,
    )  # fmt: skip
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    done = call("train", "-r", f"{name}.yaml", "--json", "-q", cwd=folder, env=QUIET)
    assert done.code == 0, done.err
    return done.json["run_id"]


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


@dataclass
class Running:
    """A server that runs."""

    process: object
    port: int = 0
    lines: list = field(default_factory=list)

    def ask(self, method, path, body=None, headers=None, *, port=None, timeout=30):
        """Send one request on a connection of its own; a body that is no bytes goes as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body, {**kind, **(headers or {})})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, path, body, headers=None, **options):
        return self.ask("POST", path, body, headers, **options)

    def raw(self, content, *, timeout=30):
        """Send bytes as they are, and return everything that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as client:
            client.sendall(content)
            return read_all(client)

    @property
    def example(self):
        return self.get("/model/schema").json["example"]

    def wait_until(self, happens, seconds=30):
        """Ask again and again, a moment apart, until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if happens():
                return
            assert self.process.poll() is None, "".join(self.lines)
            threading.Event().wait(0.02)
        raise AssertionError("".join(self.lines[-30:]))

    def is_ready(self):
        try:
            return self.get("/ready", timeout=5).status == 200
        except OSError:
            return False

    def log(self):
        """Return the lines of the log so far that are JSON."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def stop(self, number=signal.SIGTERM, timeout=30):
        """End it as an orchestrator does, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


def read_all(client):
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@contextmanager
def serving(folder, *words, config=None, env=None, wait=True):
    """Run a server on a free port until the end of the block."""
    if config is not None:
        path = folder / "configs" / f"serving-{time.monotonic_ns()}.yaml"
        path.write_text(CONFIG + config, encoding="utf-8")
        words = (*words, "-c", path)
    process = start("serve-api", "--port", 0, *words, cwd=folder, env={**QUIET, **(env or {})})
    running = Running(process)
    found = threading.Event()
    reader = threading.Thread(target=_collect, args=(process.stderr, running, found), daemon=True)
    reader.start()
    try:
        assert found.wait(60), "".join(running.lines)
        if wait:
            running.wait_until(running.is_ready)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(40)
        except Exception:
            process.kill()
            raise
        reader.join(5)
        process.stdout.close()
        process.stderr.close()


def _collect(stream, running, found):
    for line in stream:
        running.lines.append(line)
        if line.startswith("serving on "):
            running.port = int(line.rsplit(":", 1)[1])
            found.set()
    found.set()


class Load:
    """Requests from several threads for as long as the block lasts; what went wrong stands in `wrong`."""

    def __init__(self, running, path, body, *, n_clients=8):
        self.running, self.path, self.body = running, path, json.dumps(body).encode()
        self.stopped = threading.Event()
        self.answers, self.wrong = [], []
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(n_clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def _ask(self):
        connection = None
        while not self.stopped.is_set() and len(self.wrong) < 1000:
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=30)
            try:
                connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                self.answers.append((answer.status, answer.read()))
                is_over = answer.headers.get("Connection") == "close"
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                is_over = True
            if is_over:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
