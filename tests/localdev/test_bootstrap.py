"""`bootstrap.py` in a copy of the folder: which engine it takes, and that it fills, repeats, goes on and stops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "setup-dev-environment.sh"
KEPT_OUT = shutil.ignore_patterns("data", ".venv", ".env", "mlflow-artifacts", "backups", "__pycache__")


def copied(folder):
    shutil.copytree(ROOT / "mmp-local-dev", folder, ignore=KEPT_OUT)
    return folder


def run(folder, *words, **environment):
    command = [sys.executable, str(folder / "bootstrap.py"), *words]
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("POSTGRES_", "REDIS_", "MLFLOW_"))
    }
    return subprocess.run(
        command, env=env | environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def free_offset():
    """Return an offset at which the three ports are free."""
    for offset in range(20_000, 50_000, 111):
        with socket.socket() as a, socket.socket() as b, socket.socket() as c:
            try:
                for one, port in ((a, 5432), (b, 6379), (c, 5002)):
                    one.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return offset
    raise AssertionError("no ports are free")


def docker(folder, script):
    """Put a program named docker before all others."""
    folder.mkdir()
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def engines(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "mmp-local-dev"))
    from localdev import engines

    return engines


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", ""),
        ("exit 1", "no Docker engine answers"),
        ("exec sleep 60", "no Docker engine answers within 2 s"),
        ('test "$1" = version', "Docker has no Compose"),
    ],
)
def test_docker_is_taken_where_an_engine_answers_in_time(engines, monkeypatch, tmp_path, script, said):
    monkeypatch.setenv("PATH", docker(tmp_path / "bin", script))
    began = time.monotonic()
    assert engines.silence() == said
    assert time.monotonic() - began < 4


def test_docker_is_told_the_ports_and_the_user_and_no_password_as_a_word(tmp_path):
    folder = copied(tmp_path / "mmp-local-dev")
    told = tmp_path / "told"
    script = f'echo "$MLFLOW_PORT $LOCAL_DEV_UID $POSTGRES_PORT : $*" >> {told}; test "$3" != up || test "$5" != up && exit 0'
    path = docker(tmp_path / "bin", script)
    run(folder, "up", "--docker", "--port-offset", "7", PATH=path)
    secrets = [
        line.split("=")[1]
        for line in (folder / ".env").read_text().splitlines()
        if "PASSWORD=" in line and line[-1] != "="
    ]
    lines = told.read_text().splitlines()
    started = next(line for line in lines if " up " in line)
    assert started.startswith(
        f"5009 {os.geteuid() or 1000} 5439 : compose --file {folder}/docker-compose.yml"
    )
    assert started.endswith("up --detach --wait --wait-timeout 1800 postgresql redis mlflow")
    assert len(secrets) == 2
    assert not [secret for secret in secrets if secret in told.read_text()]


def test_docker_or_fail(tmp_path):
    folder = copied(tmp_path / "mmp-local-dev")
    done = run(folder, "up", "--docker", PATH=docker(tmp_path / "bin", "exit 1"))
    assert done.returncode == 1
    assert "no Docker engine answers" in done.stderr
    assert "--native" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["start"], ["up", "--native", "--docker"], ["up", "--port-offset", "x"], []]
)
def test_wrong_words_are_a_usage_error(words):
    done = run(ROOT / "mmp-local-dev", *words)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_the_script_finds_the_named_folder_then_the_sibling_then_the_bundled_one(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(SETUP, project)
    named, sibling, bundled = tmp_path / "named", tmp_path / "mmp-local-dev", project / "mmp-local-dev"

    def call(*words, **environment):
        env = os.environ | {"PYTHON": sys.executable} | environment
        env = {name: value for name, value in env.items() if name != "MMP_LOCAL_DEV" or environment}
        return subprocess.run(
            ["bash", str(project / SETUP.name), *words], env=env, capture_output=True, text=True, check=False
        )

    assert call().returncode == 2
    for folder in (bundled, sibling, named):
        folder.mkdir()
        (folder / "bootstrap.py").write_text(f"import sys; print({folder.name!r}, *sys.argv[1:])")
    assert call().stdout == "mmp-local-dev up\n"
    assert call(MMP_LOCAL_DEV=str(named)).stdout == "named up\n"
    assert call(MMP_LOCAL_DEV=str(tmp_path)).returncode == 2
    shutil.rmtree(sibling)
    assert (
        call("--port-offset", "5", "--native", "--reset").stdout
        == "mmp-local-dev up --port-offset 5 --native --reset\n"
    )
    assert call("--check").stdout == "mmp-local-dev check\n"
    assert call("--down").stdout == "mmp-local-dev down\n"
    wrong = call("--nonsense")
    assert (wrong.returncode, "--nonsense" in wrong.stderr) == (2, True)


@pytest.fixture
def home():
    """A copy of the folder that the servers' user can enter."""
    place = Path(tempfile.mkdtemp(prefix="mmp-bootstrap-"))
    place.chmod(0o711)
    folder = copied(place / "mmp-local-dev")
    folder.chmod(0o755)
    yield folder
    run(folder, "reset", "--yes")
    shutil.rmtree(place)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.infra
def test_a_setup_cut_off_goes_on_and_a_second_one_changes_nothing(home):
    offset = free_offset()
    words = ["up", "--native", "--port-offset", str(offset), "--json"]
    first = subprocess.Popen(
        [sys.executable, str(home / "bootstrap.py"), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in first.stderr:
        if line.startswith("redis"):
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stderr.close()
    env = (home / ".env").read_bytes()
    assert stat.S_IMODE((home / ".env").stat().st_mode) == 0o600

    done = run(home, *words, POSTGRES_PASSWORD="of something else")
    assert done.returncode == 0, done.stderr
    assert "none broken" in done.stderr
    services = {one["name"]: one for one in json.loads(done.stdout)["services"]}
    assert {one["state"] for one in services.values()} == {"running"}
    assert services["mlflow"]["address"] == f"http://localhost:{5002 + offset}"

    began = time.monotonic()
    again = run(home, "up")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - began < 10
    assert "the rows are there" in again.stderr
    assert "nothing to do" in again.stderr
    assert len(again.stdout.splitlines()) < 25
    assert (home / ".env").read_bytes() == env
    secrets = [
        line.split("=")[1] for line in env.decode().splitlines() if "PASSWORD=" in line and line[-1] != "="
    ]
    assert not [
        secret for secret in secrets if secret in done.stdout + done.stderr + again.stdout + again.stderr
    ]

    assert run(home, "check").returncode == 0
    assert run(home, "down").returncode == 0
    assert not [port for port in (5432, 6379, 5002) if is_open(port + offset)]
    assert run(home, "status").returncode == 1
    assert run(home, "reset").returncode == 2  # nobody was there to agree


@pytest.mark.infra
def test_a_port_that_others_have_is_named_with_them(home):
    offset = free_offset()
    with socket.create_server(("127.0.0.1", 5432 + offset)):
        done = run(home, "up", "--native", "--port-offset", str(offset))
    assert done.returncode == 1
    assert str(5432 + offset) in done.stderr
    assert str(os.getpid()) in done.stderr
    assert "--port-offset" in done.stderr
    assert not is_open(6379 + offset)
