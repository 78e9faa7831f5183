"""Open-loop load: the search by itself, the client against real servers, and the command."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.commands import call, finish, start
from tests.http_server import QUIET
from tests.servers import free_ports

from mmp.serving.load import Level, Target, highest, measure, search


def level(rate, p99):
    return Level(rate, rate, 100, {}, p99 / 2, p99, p99, p99, 0.0)


@settings(max_examples=60, deadline=None)
@given(capacity=st.floats(1, 30_000), first=st.floats(10, 100), most=st.floats(200, 20_000))
def test_the_search_finds_what_a_server_can_do(capacity, first, most):
    asked = []

    def level_at(rate):
        asked.append(rate)
        return level(rate, 1.0 if rate <= capacity else math.inf)

    found = highest(search(level_at, 10.0, first=first, most=most), 10.0)
    assert len(asked) <= 40
    assert max(asked) <= most
    if capacity < first:
        assert found == 0
    else:
        assert found <= capacity
        assert found >= min(capacity, most) / 1.06 * 0.999


def test_one_bad_moment_is_not_believed():
    moments = iter([math.inf])

    def level_at(rate):
        return level(rate, next(moments, 1.0))

    assert highest(search(level_at, 10.0, first=50, most=400), 10.0) == 400


class Slow(BaseHTTPRequestHandler):
    """Answers one request at a time; another path has another manner."""

    protocol_version = "HTTP/1.1"
    turn = threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/slow":
            with Slow.turn:
                threading.Event().wait(0.05)
        if self.path == "/silent":
            threading.Event().wait(1.5)
        self.send_response(503 if self.path == "/busy" else 200)
        self.send_header("Content-Length", "2")
        if self.path == "/closing":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


def ask(address, path, rate, seconds, **options):
    return measure(Target.of(*address, path, [b"{}"], {}), rate, seconds=seconds, **options)


def test_waiting_counts_from_when_a_request_was_due(address):
    # 20 a second are answered, 40 are due: the last waits for half a second, though no answer takes longer than 50 ms
    found = ask(address, "/slow", 40, 0.8, most_connections=1, patience_s=30)
    assert not found.failed
    assert found.scheduled == 32
    assert found.max_ms > 500


def test_every_request_is_accounted_for(address):
    busy = ask(address, "/busy", 50, 0.4)
    assert (busy.failed, busy.p50_ms) == ({"503": 20}, math.inf)
    closing = ask(address, "/closing", 50, 0.4)
    assert (closing.failed, closing.scheduled) == ({}, 20)
    silent = ask(address, "/silent", 20, 0.4, patience_s=0.3)
    assert (silent.failed, silent.p99_ms) == ({"unanswered": 8}, math.inf)


def test_a_port_where_nobody_listens_fails_every_request():
    (port,) = free_ports(1)
    assert ask(("127.0.0.1", port), "/", 10, 0.4).failed == {"connection": 4}


COMMAND = ("bench-serve", "--seconds", 0.3, "--max-rate", 100, "--p99-ms", 2000)


@pytest.mark.infra
def test_the_command_starts_a_server_measures_it_and_compares(project, run_ids, tmp_path):
    saved = tmp_path / "curve.json"
    words = ("--run-id", run_ids["walked"], "-o", saved, "--json")
    done = call(*COMMAND, *words, cwd=project, env=QUIET)
    assert done.code == 0, done.err
    assert done.json == json.loads(saved.read_text())
    assert done.json["highest_rate"] == 100
    assert [each["rate"] for each in done.json["levels"]] == [50, 100]
    assert saved.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    better = {**done.json, "highest_rate": 1000}
    saved.write_text(json.dumps(better))
    worse = call(
        *COMMAND, "--run-id", run_ids["walked"], "--compare", saved, "--json", cwd=project, env=QUIET
    )
    assert (worse.code, worse.json["comparison"]["holds"]) == (7, False)


@pytest.mark.infra
def test_a_server_that_runs_is_measured_with_rows_of_ones_own(project, server, run_ids):
    url = f"http://127.0.0.1:{server.port}"
    rows = json.dumps([server.example, server.example])
    done = call(*COMMAND, "--url", url, "--input", rows, "--json", cwd=project, env=QUIET)
    assert done.code == 0, done.err
    assert done.json["run_id"] == run_ids["walked"]
    assert sum(sum(each["failed"].values()) for each in done.json["levels"]) == 0
    refused = call(*COMMAND, "--url", url, "--input", "{}", "--json", cwd=project, env=QUIET)
    assert (refused.code, refused.error["code"]) == (3, "data")
    other = call(*COMMAND, "--url", url, "--run-id", "0123456789", "--json", cwd=project, env=QUIET)
    assert other.code == 2
    assert server.is_ready()


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ((), 2, "nothing to load"),
        (("--url", "http://192.0.2.1:80"), 2, "no server on this machine"),
        (("--url", "https://localhost"), 2, "plain HTTP"),
        (("--run-id", "latest", "-o", "curve.txt"), 2, "no .json file"),
        (("--run-id", "latest", "--compare", "missing.json"), 2, "cannot be read"),
        (("--run-id", "no-such-run"), 6, "no-such-run"),
    ],
)
def test_what_cannot_be_measured_is_said(project, words, code, part):
    done = call(*COMMAND, *words, "--json", cwd=project, env=QUIET)
    assert done.code == code, done.err
    assert part in done.error["message"]


@pytest.mark.infra
def test_ctrl_c_ends_the_server_too(project, run_ids):
    words = ("bench-serve", "--run-id", run_ids["walked"], "--seconds", 30, "--max-rate", 50)
    process = start(*words, cwd=project, env=QUIET)
    line = process.stderr.readline()
    assert "on port" in line
    port = int(line.split("on port ")[1].split()[0])
    process.send_signal(signal.SIGINT)
    assert finish(process, 60).code == 130
    assert call("bench-serve", "--url", f"http://127.0.0.1:{port}", "--json", cwd=project).code == 2


@pytest.mark.infra
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_sigkill_ends_the_server_too(project, run_ids):
    words = ("bench-serve", "--run-id", run_ids["walked"], "--seconds", 30, "--max-rate", 50)
    process = start(*words, cwd=project, env=QUIET)
    assert "on port" in process.stderr.readline()
    (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ended = os.pidfd_open(int(server))
    try:
        process.kill()
        finish(process, 60)
        assert select.select([ended], [], [], 30)[0]
    finally:
        os.close(ended)
