"""Slow, broken and hostile clients, and very many of them; none of them is in the way of another."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.http_server import Load, read_all, serving

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def strict(project, run_ids):
    """A server with short deadlines and small bounds."""
    config = "serving: {request_timeout_seconds: 1, max_body_bytes: 20000, max_inflight: 4}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        yield running


def status(answer):
    return int(answer.split(b" ", 2)[1])


def test_a_body_that_says_that_it_is_too_long_is_not_read(strict):
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + b"Content-Length: 104857600\r\n\r\n")
        answer = read_all(client)
    assert status(answer) == 413
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_large"


def test_a_body_in_chunks_is_bounded_too(strict):
    memory = resident_kb(strict.process.pid)
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 100_000_000:
                client.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 100_000_000
    assert resident_kb(strict.process.pid) - memory < 20_000
    assert strict.post("/predict", strict.example).status == 200


def test_a_body_of_100_megabytes_is_refused(strict):
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        try:
            client.sendall(HEAD + b"Content-Length: 104857600\r\n\r\n")
            client.sendall(b"x" * 104_857_600)
        except OSError:
            return  # it was closed, which is as good
        assert status(read_all(client)) == 413


@pytest.mark.parametrize("path", ["/predict", "/explain", "/v2/models/people/infer"])
def test_expect_100_continue_of_a_large_body_is_refused_at_once(strict, path):
    head = HEAD.replace(b"/predict", path.encode())
    answer = strict.raw(head + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert status(answer) == 413


def test_a_head_is_bounded(strict):
    answer = strict.raw(b"GET /health HTTP/1.1\r\n" + b"X-A: " + b"a" * 100_000)
    assert status(answer) == 431
    answer = strict.raw(b"GET /" + b"a" * 100_000)
    assert status(answer) in {400, 431}


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n", HEAD + b"Content-Length: 10\r\n\r\n{"],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_a_client_that_stops_is_closed_in_time(strict, sent):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(sent)
        answer = read_all(client)
    assert time.monotonic() - started < 4
    assert not answer or status(answer) == 408


def test_a_client_that_drips_is_closed_in_time(strict):
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        with pytest.raises(OSError, match=r"."):
            drip(client)
    assert time.monotonic() - started < 6


def drip(client):
    for _ in range(200):
        client.sendall(b" ")
        threading.Event().wait(0.05)


def test_a_client_that_goes_away_leaves_nothing_behind(strict):
    body = json.dumps(strict.example).encode()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", strict.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:50])
    strict.wait_until(lambda: b"mmp_requests_in_flight 1\n" in strict.get("/metrics").body)
    assert strict.post("/predict", strict.example).status == 200
    assert not [line for line in strict.log() if "bug" in line]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(strict, sent):
    answer = strict.raw(sent)
    assert status(answer) in {400, 404, 408}
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error", "request_id"}
    assert not [line for line in strict.log() if "bug" in line]


def test_requests_in_a_row_on_one_connection_are_answered_in_order(strict):
    body = json.dumps(strict.example).encode()
    one = HEAD + b"Content-Length: %d\r\nX-Request-ID: %%d\r\n\r\n" % len(body)
    content = b"".join(one % number + body for number in range(20))
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as client:
        client.sendall(content + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_all(client)
    ids = [int(part.split(b"\r\n")[0]) for part in answer.split(b"x-request-id: ")[1:21]]
    assert ids == list(range(20))


def test_what_is_too_much_is_told_to_come_again_and_health_is_not(project, run_ids):
    config = "serving: {max_inflight: 2, request_timeout_seconds: 10}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config) as running, ExitStack() as held:
        body = json.dumps(running.example).encode()
        clients = []
        for _ in range(2):  # two that are in hand, waiting for the rest of their bodies
            client = held.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
            clients.append(client)
        running.wait_until(lambda: running.post("/predict", running_example(body)).status == 503)
        refused = running.post("/predict", running_example(body))
        assert refused.error["code"] == "busy"
        assert int(refused.headers["retry-after"]) >= 1
        assert running.get("/health").status == running.get("/ready").status == 200
        for client in clients:
            client.sendall(body[10:])
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert running.post("/predict", running_example(body)).status == 200


def running_example(body):
    return json.loads(body)


@pytest.mark.parametrize(("which", "number"), [("walked", 64), ("walked", 256), ("threaded", 64)])
def test_many_at_once_are_all_answered(project, run_ids, which, number):
    config = "serving: {max_inflight: 1024}\n"
    with serving(project, "--run-id", run_ids[which], config=config) as running:
        expected = running.post("/predict", running.example).json["probability"]
        with Load(running, "/predict", running.example, n_clients=number) as load:
            running.wait_until(lambda: len(load.answers) > 4 * number, 60)
        assert not load.wrong
        assert {code for code, _ in load.answers} == {200}
        assert {json.loads(body)["probability"] for _, body in load.answers} == {expected}


def test_a_thousand_connections_are_held(server):
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as held:
        clients = [
            held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            for _ in range(1000)
        ]
        for _ in range(2):
            for client in clients:
                client.sendall(head)
            for client in clients:
                answer = b""
                while not answer.endswith(b'{"status":"ok"}'):
                    answer += client.recv(4096)
                assert status(answer) == 200


def test_requests_on_threads_do_not_wait_for_ever(project, run_ids):
    config = "serving: {request_timeout_seconds: 0.05, max_body_bytes: 50000000}\n"
    with serving(project, "--run-id", run_ids["threaded"], config=config) as running:
        samples = [running.example] * 60_000
        reply = running.post("/predict/batch", {"samples": samples}, timeout=60)
        assert reply.status in {504, 408}
        assert running.get("/health").status == 200
        running.wait_until(lambda: running.post("/predict", running_json(samples[0])).status == 200)


def running_json(row):
    return dict(row)


def test_tls(project, run_ids, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*command, "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    config = f"serving: {{tls: {{cert: {cert}, key: {key}}}}}\n"
    with serving(project, "--run-id", run_ids["walked"], config=config, wait=False) as running:
        context = ssl.create_default_context(cafile=cert)

        def ask():
            with (
                socket.create_connection(("127.0.0.1", running.port), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as client,
            ):
                client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return read_all(client)

        running.wait_until(lambda: ask().startswith(b"HTTP/1.1 200"))
        assert b"200" not in running.raw(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")[:20]


def test_a_browser_of_another_origin_is_let_in_where_the_config_says_so(project, run_ids, server):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in server.ask("OPTIONS", "/predict", headers=asked).headers
    config = (
        "serving:\n  cors: {enabled: true, allow_origins: ['https://shop.example']}\n"
        f"  auth: {{enabled: true, type: api_key, secret_key: {'k' * 40}}}\n"
    )
    with serving(project, "--run-id", run_ids["walked"], config=config) as running:
        reply = running.ask("OPTIONS", "/predict", headers=asked)
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "https://shop.example"
        other = running.ask("OPTIONS", "/predict", headers={**asked, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        refused = running.post("/predict", {}, {"Origin": "https://shop.example"})
        assert refused.status == 401
        assert refused.headers["access-control-allow-origin"] == "https://shop.example"


def resident_kb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("which", ["server", "threaded"])
def test_different_rows_at_once_get_their_own_answers(which, request):
    running = request.getfixturevalue(which)
    rows = [{**running.example, "age (years)": age} for age in range(18, 88)]
    alone = [running.post("/predict", row).json["probability"] for row in rows]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda row: running.post("/predict", row).json["probability"], rows * 3))
    assert together == alone * 3


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"age (years)": "old"}, 422),
        ({"unheard of": 1}, 422),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_past_asgi_and_through_it_requests_are_answered_alike(server, change, status):
    headers = {name: value for name, value in change.items() if name == "Content-Type"}
    row = {**server.example, **{name: value for name, value in change.items() if name not in headers}}
    # a path with a query is none that the connection hands to the gate itself
    replies = [server.post(path, row, {**headers, "X-Request-ID": "7"}) for path in ("/predict", "/predict?")]
    assert replies[0] == replies[1]
    assert replies[0].status == status


def test_rows_that_one_turn_reads_are_refused_one_by_one(server):
    """Sent down many connections at once, so that the server finds them together."""
    bodies = [
        json.dumps(server.example).encode(),
        b"{}",
        b"nonsense",
        json.dumps(server.example).encode(),
    ] * 16
    with ExitStack() as held:
        clients = [
            held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in bodies
        ]
        for client, body in zip(clients, bodies, strict=True):
            client.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        answers = [read_all(client) for client in clients]
    assert [status(answer) for answer in answers] == [200, 422, 400, 200] * 16
    assert {answer.partition(b"probability")[2].partition(b"model_uri")[0] for answer in answers[::4]} == {
        answer.partition(b"probability")[2].partition(b"model_uri")[0] for answer in answers[3::4]
    }
