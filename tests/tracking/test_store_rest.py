"""The tracking server's client: who may in, how long it waits, and what it says when it does not work."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

import pytest

from mmp.errors import TrackingError
from mmp.tracking import stores
from mmp.tracking.run import run
from mmp.tracking.stores.http import Credentials, Server

from .conftest import free_port, mlflow_server, serving, settings

NOW = 1_790_000_000_000


class Secret:
    def __init__(self, value):
        self.value = value

    def get_secret_value(self):
        return self.value


class Scripted(BaseHTTPRequestHandler):
    """Answers what the test laid down, one after the other; the last again and again."""

    protocol_version = "HTTP/1.1"

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, body))
        answers = self.server.answers
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        if status is None:
            self.close_connection = True
            return
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve

    def log_message(self, *_):
        pass


def scripted(*answers):
    return serving(Scripted, answers=list(answers), seen=[])


@pytest.fixture(autouse=True)
def no_credentials_around_us(monkeypatch):
    for variable in ("USERNAME", "PASSWORD", "TOKEN", "INSECURE_TLS"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{variable}", raising=False)


@pytest.fixture
def rest():
    """Connect to a server; every connection is closed at the end."""
    with ExitStack() as opened:
        yield lambda url, **more: opened.enter_context(stores.connect(settings(url, **more)))


CREATED = {"run": {"info": {"run_id": "a" * 32, "experiment_id": "1", "artifact_uri": "/x"}}}


def create(store):
    return store.create_run("1", name="r", tags={}, start_time_ms=NOW)


# -- real servers ------------------------------------------------------------------------------


@pytest.mark.infra
def test_basic_auth_and_a_token_and_credentials_in_the_url(rest, guarded_url, monkeypatch):
    url, password = guarded_url.url, "s3cret-pa$$"
    by_settings = rest(url, tracking_username="anna", tracking_password=Secret(password))
    in_url = rest(url.replace("://", "://anna:s3cret-pa%24%24@"))
    for store in (by_settings, in_url):
        assert store.uri == url
        assert store.experiment("guarded")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    assert rest(url).experiment("guarded")
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    assert rest(url, tracking_username="bob").experiment("guarded")


@pytest.mark.infra
def test_no_or_wrong_credentials_fail_at_once_and_are_not_shown(rest, guarded_url):
    started = time.monotonic()
    for username, password, words in ((None, None, "no credentials"), ("anna", "wr0ng", "not accepted")):
        store = rest(
            guarded_url.url, tracking_username=username, tracking_password=password and Secret(password)
        )
        with pytest.raises(TrackingError, match=words) as caught:
            store.experiment("e")
        assert "401" in str(caught.value)
        assert guarded_url.url in str(caught.value)
        assert "wr0ng" not in str(caught.value) + caught.value.hint
        assert "MLFLOW_TRACKING_USERNAME" in caught.value.hint
    good = rest(guarded_url.url, tracking_username="anna", tracking_password=Secret("s3cret-pa$$"))
    with pytest.raises(TrackingError, match=r"403.*not yours"):
        good.experiment("forbidden")
    assert time.monotonic() - started < 3


@pytest.mark.infra
def test_a_whole_run_on_a_guarded_server(rest, guarded_url, tmp_path):
    store = rest(guarded_url.url, tracking_username="anna", tracking_password=Secret("s3cret-pa$$"))
    with run(store, "guarded-run", "r", {"mmp.kind": "train"}) as active:
        active.log_params({"a": 1})
        active.log_history({"loss": [0.5, 0.25]})
        active.log_text("hello", "deep/hello.txt")
    found = store.get_run(active.run_id)
    assert (found.status, found.params, found.metrics) == ("FINISHED", {"a": "1"}, {"loss": 0.25})
    (written,) = store.download(active.run_id, "deep", tmp_path / "back")
    assert written.read_text() == "hello"


@pytest.mark.infra
def test_a_server_that_hands_out_local_paths(rest, tmp_path):
    files = tmp_path / "files"
    with mlflow_server(tmp_path / "s", "--no-serve-artifacts", "--default-artifact-root", str(files)) as url:
        store = rest(url, timeout_s=1.0)
        with run(store, "local", "r") as active:
            active.log_text("x", "a.txt")
        assert active.artifact_uri.startswith(str(files))
        assert store.artifacts(active.run_id) == ["a.txt"]
        version = store.register("m", active.run_id, folder="")
        assert version == "1"
    assert list(files.rglob("a.txt"))
    with pytest.raises(TrackingError, match="does not answer"):
        store.get_run(active.run_id)


@pytest.mark.infra
def test_trainings_side_by_side_on_a_server(rest, server_url):
    code = """
import sys
from mmp.tracking.run import run
from mmp.tracking.stores.rest import RestStore
for i in range(3):
    with run(RestStore(sys.argv[1]), "side-by-side", f"{sys.argv[2]}-{i}") as active:
        active.log_params({"worker": sys.argv[2]})
        active.log_text(sys.argv[2], "who.txt")
"""
    env = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    workers = [
        subprocess.Popen([sys.executable, "-c", code, server_url, str(i)], env=env, stderr=subprocess.PIPE)
        for i in range(4)
    ]
    assert [(worker.communicate(timeout=60)[1], worker.returncode) for worker in workers] == [(b"", 0)] * 4
    found = rest(server_url).search(["side-by-side"], status="FINISHED")
    assert sorted(one.name for one in found) == [f"{w}-{i}" for w in range(4) for i in range(3)]


# -- servers that do not answer ----------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_refused_server_fails_soon_and_is_named_without_credentials(rest, host):
    url = f"http://anna:s3cret@{host}:{free_port()}"
    started = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        rest(url).experiment("e")
    assert time.monotonic() - started < 10
    message = str(caught.value)
    assert f"http://{host}:" in message
    assert "does not answer" in message
    assert "s3cret" not in message
    assert caught.value.hint


def test_a_silent_server_fails_within_the_timeout(rest):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(TrackingError, match="too long"):
            rest(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3).experiment("e")
        assert time.monotonic() - started < 3


def test_a_server_that_comes_back_is_written_to(rest):
    answers = [(503, b"starting"), (None, b""), (500, {"message": "oops"}), (200, {})]
    with scripted(*answers) as (server, url):
        rest(url).log_batch("a" * 32, params={"a": "1"})
    assert len(server.seen) == 4
    assert len(set(server.seen)) == 1, "the same call each time"


def test_a_run_is_never_created_twice(rest):
    with scripted((503, b"busy"), (200, CREATED)) as (server, url):
        assert create(rest(url)).run_id == "a" * 32
    assert len(server.seen) == 2, "a busy server has not done it"
    for unsure in ((500, b"oops"), (502, b"gateway"), (None, b"")):
        refused = pytest.raises(
            TrackingError, match=f"fails: it answers {unsure[0]}" if unsure[0] else "does not answer"
        )
        with scripted(unsure, (200, CREATED)) as (server, url), refused:
            create(rest(url))
        assert len(server.seen) == 1


def test_a_connection_that_idled_is_not_used_again(rest):
    with scripted((200, CREATED)) as (_, url):
        store = rest(url)
        create(store)
        first = store._server._connection
        create(store)
        assert store._server._connection is first
        store._server._used_at -= 60
        create(store)
        assert store._server._connection is not first
        store.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html>hello</html>"), "not an MLflow tracking server"),
        ((200, b"[1]"), "not an MLflow tracking server"),
        ((404, b"<html>not found</html>"), "not an MLflow tracking server"),
        ((302, b""), "redirects"),
        ((403, b"Invalid Host header"), "403"),
        ((418, b"teapot"), "418"),
        (
            (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Bad name.\nStack"}),
            "refuses: Bad name.$",
        ),
    ],
)
def test_answers_that_are_not_mlflow_s(rest, answer, words):
    with scripted(answer) as (server, url), pytest.raises(TrackingError, match=words):
        rest(url).get_run("a" * 32)
    assert len(server.seen) == 1


def test_a_server_that_names_files_outside(rest, tmp_path):
    info = {
        "run_id": "a" * 32,
        "experiment_id": "1",
        "status": "RUNNING",
        "artifact_uri": "mlflow-artifacts:/1/a",
    }
    experiments = {"experiments": [{"experiment_id": "1", "name": "e"}]}
    with (
        scripted(
            (200, {"run": {"info": info}}), (200, experiments), (200, {"files": [{"path": "../../evil"}]})
        ) as (_, url),
        pytest.raises(TrackingError, match="leads out"),
    ):
        rest(url).download("a" * 32, "model", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_leaves_no_file(tmp_path):
    with scripted((200, {})) as (server, url):
        server.RequestHandlerClass = Cut
        target = tmp_path / "file"
        with pytest.raises(TrackingError), target.open("w+b") as file:
            Server(url, Credentials(), timeout_s=0.5).get_file("/x", file)


class Cut(Scripted):
    def _serve(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"short")
        self.close_connection = True

    do_GET = _serve


def test_pages_of_runs_are_followed(rest):
    def page(first, count, token):
        runs = [
            {"info": {"run_id": f"{i}", "experiment_id": "1", "status": "FINISHED", "artifact_uri": "/x"}}
            for i in range(first, first + count)
        ]
        return 200, {"runs": runs, "next_page_token": token}

    experiments = 200, {"experiments": [{"experiment_id": "1", "name": "e"}]}
    with scripted(experiments, page(0, 1000, "more"), page(1000, 500, "")) as (server, url):
        found = rest(url).search(limit=1700)
    assert [one.run_id for one in found] == [str(i) for i in range(1500)]
    bodies = [json.loads(body) for _, path, body in server.seen if path.endswith("runs/search")]
    assert [(body["max_results"], body["page_token"]) for body in bodies] == [(1000, ""), (700, "more")]


def test_tls_is_verified_unless_told_otherwise(rest, tmp_path, monkeypatch):
    key, certificate = _certificate(tmp_path)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with scripted((200, CREATED)) as (server, plain_url):
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = plain_url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(TrackingError, match="certificate is not trusted"):
            create(rest(url, timeout_s=0.5))
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        trusted = rest(url)
        assert create(trusted).run_id == "a" * 32
        trusted.close()
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "none.pem"))
        with pytest.raises(TrackingError, match="certificate cannot be read"):
            create(rest(url))
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
        careless = rest(url)
        assert create(careless).run_id == "a" * 32
        careless.close()


def _certificate(directory):
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (directory / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return directory / "key.pem", directory / "cert.pem"


def test_a_proxy_is_used_where_the_environment_names_one(rest, monkeypatch):
    for variable in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with scripted((200, CREATED)) as (server, url):
        monkeypatch.setenv("http_proxy", url)
        assert create(rest("http://tracking.invalid:5000/base")).run_id == "a" * 32
        monkeypatch.setenv("no_proxy", "tracking.invalid")
        with pytest.raises(TrackingError, match="does not answer"):
            create(rest("http://tracking.invalid:5000/base", timeout_s=0.2))
    assert server.seen[0][1] == "http://tracking.invalid:5000/base/api/2.0/mlflow/runs/create"
