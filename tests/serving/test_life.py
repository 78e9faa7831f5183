"""How servers start and end, and what happens to them between: workers die, aliases move, servers are away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from tests.commands import call
from tests.http_server import CONFIG, QUIET, Load, Running, serving, train_in
from tests.tables import write_mixed

from mmp.settings.load import load_config
from mmp.tracking.stores import connect


def in_words(outcome):
    return outcome.err + outcome.out


@pytest.mark.parametrize("which", ["walked", "threaded"])
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_nothing(project, run_ids, which, workers):
    with serving(project, "--run-id", run_ids[which], "--workers", workers) as running:
        with Load(running, "/predict", running.example, n_clients=6) as load:
            running.wait_until(lambda: len(load.answers) > 100)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
        answered = [code for code, _ in load.answers]
        assert set(answered) == {200}
        # refused connections came after the end; a request that was taken was answered
        closed = ("Refused", "Reset", "Broken pipe")
        assert all(any(word in error for word in closed) for error in load.wrong), load.wrong[:5]


def test_while_it_ends_it_says_so_and_answers_on(project, run_ids):
    with serving(project, "--run-id", run_ids["walked"]) as running:
        example = running.example
        running.process.send_signal(signal.SIGTERM)
        running.wait_until(lambda: running.get("/ready").status == 503)
        reply = running.get("/ready")
        assert reply.error["code"] == "draining"
        assert reply.headers["connection"] == "close"
        assert running.post("/predict", example).status == 200
        assert running.process.wait(30) == 0


def test_sigterm_with_a_stuck_upload_ends_in_time(project, run_ids):
    config = "serving: {request_timeout_seconds: 2}\n"
    with (
        serving(project, "--run-id", run_ids["walked"], config=config) as running,
        socket.create_connection(("127.0.0.1", running.port)) as client,
    ):
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        running.wait_until(lambda: b"in_flight 2\n" in running.get("/metrics").body)
        assert running.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_quiet_server_ends_with_0(project, run_ids, number):
    with serving(project, "--run-id", run_ids["walked"]) as running:
        assert running.stop(number) == 0


def children_of(pid):
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return sorted(int(word) for word in listed.stdout.split())


def test_workers_serve_together_and_one_that_dies_is_replaced(project, run_ids):
    with serving(project, "--run-id", run_ids["walked"], "--workers", 3) as running:
        workers = children_of(running.process.pid)
        assert len(workers) == 3
        with Load(running, "/predict", running.example, n_clients=8) as load:
            running.wait_until(lambda: len(load.answers) > 200)
            os.kill(workers[0], signal.SIGKILL)
            running.wait_until(lambda: len(set(children_of(running.process.pid)) - set(workers)) == 1)
            before = len(load.answers)
            running.wait_until(lambda: len(load.answers) > before + 300)
        assert {code for code, _ in load.answers} <= {200, 503}
        # what the dead worker had in hand is lost, and nothing else: one request a connection at most
        assert len(load.wrong) <= 8
        answered = sum(code == 200 for code, _ in load.answers)
        text = running.get("/metrics").body.decode()
        counted = next(line for line in text.splitlines() if 'route="/predict",status="200"' in line)
        # a worker counts when it has sent: the dead one may have answered what it had not counted
        assert abs(int(counted.rsplit(" ", 1)[1]) - answered) <= 8
        assert "mmp_workers 3" in text
        assert running.stop() == 0


def test_a_worker_is_replaced_while_the_tracking_store_is_away(project, run_ids, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    with serving(folder, "--run-id", run_ids["walked"], "--workers", 2) as running:
        workers = children_of(running.process.pid)
        shutil.rmtree(folder / "mlruns")
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        running.wait_until(lambda: not set(workers) & set(children_of(running.process.pid)))
        running.wait_until(running.is_ready)
        assert running.post("/predict", running.example).status == 200


def test_a_server_imports_neither_the_trainer_nor_what_wraps_it(project, run_ids):
    code = (
        "import sys, os, threading\n"
        "from mmp.cli.main import main\n"
        "import mmp.serving.server as server\n"
        "loaded = server._Worker._loaded\n"
        "def look(self):\n"
        "    served = loaded(self)\n"
        "    heavy = {'mlflow', 'sklearn', 'pandas', 'xgboost', 'scipy', 'feast'} & set(sys.modules)\n"
        "    print('heavy', sorted(heavy), flush=True)\n"
        "    os._exit(0)\n"
        "server._Worker._loaded = look\n"
        f"main(['serve-api', '--port', '0', '--run-id', {run_ids['walked']!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "heavy []" in done.stdout


@pytest.mark.parametrize(
    ("words", "config", "code", "sentence"),
    [
        (("--run-id", "deadbeef"), "", 6, "deadbeef"),
        ((), "", 2, "No model is named"),
        (("--run-id", "latest", "--host", "0.0.0.0"), "", 2, "--insecure"),
        (("--run-id", "latest"), "serving: {auth: {enabled: true}}\n", 2, "secret_key"),
        (("--run-id", "latest"), "serving: {auth: {enabled: true, secret_key: short}}\n", 2, "32 bytes"),
        (("--run-id", "latest"), "serving: {auth: {enabled: true, type: api_key}}\n", 2, "API keys"),
        (
            ("--run-id", "latest"),
            "serving: {cors: {enabled: true, allow_credentials: true}}\n", 2, "every origin",
        ),
        (("--run-id", "latest"), "serving: {enabled: false}\n", 2, "serving.enabled"),
        (("--run-id", "latest"), "serving: {tls: {cert: nowhere.pem, key: nowhere.pem}}\n", 2, "nowhere.pem"),
        (("--run-id", "latest"), "serving: {shadow: deadbeef}\n", 6, "deadbeef"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_said_in_a_sentence(project, run_ids, words, config, code, sentence):
    path = project / "configs" / "bad.yaml"
    path.write_text(CONFIG + config)
    outcome = call("serve-api", "--port", "0", *words, "-c", path, cwd=project, env=QUIET)
    assert outcome.code == code, in_words(outcome)
    assert sentence in in_words(outcome)
    assert "Traceback" not in in_words(outcome)


def test_a_port_that_is_taken_is_said(project, run_ids):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        outcome = call("serve-api", "--run-id", "latest", "--port", port, cwd=project, env=QUIET)
    assert outcome.code == 2
    assert f"127.0.0.1:{port}" in outcome.err


def test_insecure_binds_everywhere(project, run_ids):
    words = ("--run-id", run_ids["walked"], "--host", "0.0.0.0", "--insecure")
    with serving(project, *words) as running:
        assert running.get("/ready").status == 200


@pytest.fixture
def fresh(tmp_path):
    """A project of its own: a copy keeps its models where the original has them."""
    write_mixed(tmp_path / "table.csv")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "local.yaml").write_text(CONFIG)
    return tmp_path


def damage(folder, run_id):
    """Flip a bit in the middle of a model's trees."""
    (file,) = folder.glob(f"mlruns/artifacts/*/{run_id}/artifacts/model/estimator/trees.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_damaged_model_is_not_served(fresh):
    run_id = train_in(fresh, "small")
    damage(fresh, run_id)
    for workers in (1, 2):
        words = ("--port", 0, "--run-id", run_id, "--workers", workers)
        outcome = call("serve-api", *words, cwd=fresh, env=QUIET)
        assert outcome.code == 6
        assert "Traceback" not in outcome.err


def point(folder, alias, run_id):
    """Let an alias point to the model of a run."""
    settings = load_config(str(folder / "configs" / "local.yaml")).value.mlflow
    settings = settings.model_copy(update={"tracking_uri": f"sqlite:///{folder}/mlruns/mlflow.db"})
    with connect(settings) as store:
        store.set_alias("people", alias, store.register("people", run_id))


@pytest.fixture
def copy(project, run_ids, tmp_path):
    """A project that a test may change."""
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    return folder


FOLLOW = "serving: {model_alias: champion}\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_alias_that_moves_under_load_is_followed(copy, run_ids, workers):
    point(copy, "champion", run_ids["walked"])
    with serving(copy, "--workers", workers, config=FOLLOW) as running:
        assert running.get("/ready").json["run_id"] == run_ids["walked"]
        with Load(running, "/predict", running.example, n_clients=4) as load:
            running.wait_until(lambda: len(load.answers) > 50)
            point(copy, "champion", run_ids["threaded"])
            running.wait_until(
                lambda: all(run_ids["threaded"].encode() in body for _, body in load.answers[-100:])
            )
        assert not load.wrong
        assert {code for code, _ in load.answers} == {200}
        served = {json.loads(body)["model_uri"] for _, body in load.answers}
        assert served == {f"runs:/{run_ids[name]}/model" for name in ("walked", "threaded")}
        by_model = {
            json.loads(body)["model_uri"]: json.loads(body)["probability"] for _, body in load.answers
        }
        assert len(by_model) == 2
        assert running.get("/ready").json["run_id"] == run_ids["threaded"]


def test_a_successor_that_clients_would_not_understand_is_refused(copy, run_ids):
    write_mixed(copy / "other.csv", seed=9)
    text = (copy / "other.csv").read_text(encoding="utf-8").replace("income [€]", "wealth [€]")
    (copy / "other.csv").write_text(text, encoding="utf-8")
    other = train_in(copy, "other", table="other.csv")
    point(copy, "champion", run_ids["walked"])
    with serving(copy, config=FOLLOW) as running:
        point(copy, "champion", other)
        running.wait_until(lambda: any("refuses" in line.get("message", "") for line in running.log()))
        assert running.get("/ready").json["run_id"] == run_ids["walked"]
        assert running.post("/predict", running.example).status == 200
        point(copy, "champion", run_ids["threaded"])
        running.wait_until(lambda: running.get("/ready").json["run_id"] == run_ids["threaded"])


def test_a_successor_that_is_damaged_is_refused(fresh):
    good, bad = (train_in(fresh, "small") for _ in range(2))
    damage(fresh, bad)
    point(fresh, "champion", good)
    with serving(fresh, config=FOLLOW) as running:
        point(fresh, "champion", bad)
        running.wait_until(lambda: any(line.get("level") == "warning" for line in running.log()))
        assert running.get("/ready").json["run_id"] == good


def test_a_run_that_is_named_is_not_followed_anywhere(copy, run_ids):
    point(copy, "champion", run_ids["threaded"])
    with serving(copy, "--run-id", run_ids["walked"], config=FOLLOW) as running:
        assert running.get("/ready").json["run_id"] == run_ids["walked"]


def test_the_tracking_store_may_go_away_while_an_alias_is_followed(copy, run_ids):
    point(copy, "champion", run_ids["walked"])
    with serving(copy, config=FOLLOW) as running:
        (copy / "mlruns").rename(copy / "away")
        running.wait_until(lambda: any("asked again" in line.get("message", "") for line in running.log()))
        assert running.get("/ready").status == 200
        (copy / "away").rename(copy / "mlruns")
        point(copy, "champion", run_ids["threaded"])
        running.wait_until(lambda: running.get("/ready").json["run_id"] == run_ids["threaded"])


def test_a_shadow_answers_along_and_its_differences_are_counted(copy, run_ids):
    config = f"serving: {{shadow: {run_ids['threaded']}}}\n"
    rows = [running_row | {"age (years)": age} for age in range(20, 80) for running_row in [{}]]
    with serving(copy, "--run-id", run_ids["walked"], config=config) as running:
        example = running.example
        for row in rows:
            reply = running.post("/predict", {**example, **row})
            assert reply.json["model_uri"] == f"runs:/{run_ids['walked']}/model"
        running.post("/predict/batch", {"samples": [example] * 3})

        def counted(name):
            lines = running.get("/metrics").body.decode().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith(name + " "))

        running.wait_until(lambda: counted("mmp_shadow_rows_total") == len(rows) + 3)
        differing = [line for line in running.log() if line.get("shadow") == run_ids["threaded"]]
        assert counted("mmp_shadow_differing_total") == len(differing)
        assert all(
            set(line) <= {"time", "level", "shadow", "request_id", "prediction", "probability"}
            for line in differing
        )


def test_a_log_that_nobody_reads_stops_nothing(project, run_ids):
    words = ("-m", "mmp", "serve-api", "--port", "0", "--run-id", run_ids["walked"])
    process = subprocess.Popen(
        [sys.executable, *words], cwd=project, env={**os.environ, **QUIET}, stderr=subprocess.PIPE, text=True
    )
    running = Running(process)
    try:
        line = process.stderr.readline()
        running.port = int(line.rsplit(":", 1)[1])
        running.wait_until(running.is_ready)
        with Load(running, "/predict", running.example, n_clients=2) as load:
            running.wait_until(lambda: len(load.answers) > 3000, 60)
        assert not load.wrong
        assert {code for code, _ in load.answers} == {200}
        assert running.stop() == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
