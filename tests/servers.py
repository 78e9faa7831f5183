"""Real PostgreSQL, Redis and MLflow for tests: the native runner of mmp-local-dev, in a home and on ports of their own.

A test asks for `postgres`, `redis`, `mlflow` or `world` (the first two with the seed data and the features); what
it asks for is started once a session. Whoever ends the session, and however, a watcher stops the servers: it waits
for the end of a pipe that only pytest holds open.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

LOCAL_DEV = Path(__file__).parents[1] / "mmp-local-dev"
_WATCHER = """
import shutil, subprocess, sys
home, *down = sys.argv[1:]
sys.stdin.read()
code = subprocess.call(down)
shutil.rmtree(home, ignore_errors=True)
sys.exit(code)
"""


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL with the roles and databases of mmp-local-dev."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    db: str
    uri: str = field(repr=False)
    reader_uri: str = field(repr=False)


@dataclass(frozen=True)
class Redis:
    """A Redis with a password."""

    host: str
    port: int
    password: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True)
class Mlflow:
    """An MLflow server over that PostgreSQL."""

    host: str
    port: int
    uri: str


def free_ports(number):
    """Return ports that nothing listens on; all are held until all are known."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def watched(folder):
    """Return a process that stops the servers of a home and removes it when its stdin ends."""
    down = [sys.executable, str(LOCAL_DEV / "native.py"), "down", "--home", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-c", _WATCHER, str(folder), *down],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for pytest
    )


def new_values(**values):
    """Return what the `.env` of a home says: free ports and new passwords, but for the values given."""
    postgres, redis, mlflow = free_ports(3)
    return {
        "POSTGRES_HOST": "localhost",
        "POSTGRES_PORT": str(postgres),
        "POSTGRES_USER": "mlpipeline_user",
        "POSTGRES_PASSWORD": secrets.token_urlsafe(12),
        "POSTGRES_DB": "mlpipeline_db",
        "POSTGRES_READER_USER": "mlpipeline_reader",
        "POSTGRES_READER_PASSWORD": secrets.token_urlsafe(12),
        "MLFLOW_DB": "mlflow_db",
        "REDIS_HOST": "localhost",
        "REDIS_PORT": str(redis),
        "REDIS_PASSWORD": secrets.token_urlsafe(12),
        "MLFLOW_TRACKING_URI": f"http://localhost:{mlflow}",
        **values,
    }


def write_env(folder, values):
    """Write the `.env` of a home."""
    (folder / ".env").touch(0o600)
    (folder / ".env").write_text("\n".join([*(f"{name}={value}" for name, value in values.items()), ""]))


class Home:
    """A home of the native runner, and what runs in it."""

    def __init__(self, folder: Path, **values):
        self.folder = folder
        self.values = new_values(**values)
        write_env(folder, self.values)
        self.watcher = watched(folder)

    def run(self, *words):
        """Run a program of mmp-local-dev on this home; what it cannot do fails the test that asked."""
        clean = {name: value for name, value in os.environ.items() if name not in self.values}
        command = [sys.executable, *words, "--home", str(self.folder)]
        done = subprocess.run(command, cwd=LOCAL_DEV, env=clean, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{' '.join(words)}: {done.stderr or done.stdout}", pytrace=False)
        return done.stdout

    def up(self, *services):
        """Start services, those that run already included; what is not installed is installed."""
        self.run("native.py", "up", "--only", ",".join(services), "--install")

    def fill(self):
        """Load the seed data, register the features and materialize them."""
        self.run("-m", "localdev.seed")
        self.run("-m", "localdev.features")

    def close(self):
        """Stop everything and remove the home."""
        self.watcher.stdin.close()
        assert self.watcher.wait(60) == 0

    @property
    def postgres(self):
        v = self.values
        at = f"{v['POSTGRES_HOST']}:{v['POSTGRES_PORT']}/{v['POSTGRES_DB']}"
        return Postgres(
            v["POSTGRES_HOST"],
            int(v["POSTGRES_PORT"]),
            v["POSTGRES_USER"],
            v["POSTGRES_PASSWORD"],
            v["POSTGRES_DB"],
            f"postgresql://{v['POSTGRES_USER']}:{v['POSTGRES_PASSWORD']}@{at}",
            f"postgresql://{v['POSTGRES_READER_USER']}:{v['POSTGRES_READER_PASSWORD']}@{at}",
        )

    @property
    def redis(self):
        host, port, password = (self.values[f"REDIS_{part}"] for part in ("HOST", "PORT", "PASSWORD"))
        return Redis(host, int(port), password, f"redis://:{password}@{host}:{port}")

    @property
    def mlflow(self):
        uri = self.values["MLFLOW_TRACKING_URI"]
        return Mlflow("localhost", int(uri.rpartition(":")[2]), uri)


def new_home(**values):
    """Return a home of its own, for a test that stops servers or breaks them; the caller closes it."""
    folder = Path(tempfile.mkdtemp(prefix="mmp-infra-"))
    # PostgreSQL refuses root, and the user that it runs as instead must get in
    folder.chmod(0o711)
    return Home(folder, **values)


@pytest.fixture(scope="session")
def infra_home():
    """The home of this session's servers; none of them runs yet."""
    home = new_home()
    yield home
    home.close()


@pytest.fixture(scope="session")
def postgres(infra_home):
    """A PostgreSQL of this session."""
    infra_home.up("postgres")
    return infra_home.postgres


@pytest.fixture(scope="session")
def redis(infra_home):
    """A Redis of this session."""
    infra_home.up("redis")
    return infra_home.redis


@pytest.fixture(scope="session")
def mlflow(infra_home):
    """An MLflow server of this session, which keeps its runs in the session's PostgreSQL."""
    infra_home.up("postgres", "mlflow")
    return infra_home.mlflow


@pytest.fixture(scope="session")
def world(infra_home):
    """The home whose PostgreSQL and Redis hold the seed data and the features of mmp-local-dev."""
    infra_home.up("postgres", "redis")
    infra_home.fill()
    return infra_home
