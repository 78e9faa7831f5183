from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from tests.servers import free_ports, new_values, watched, write_env

pytestmark = pytest.mark.infra
LOCAL_DEV = Path(__file__).parents[2] / "mmp-local-dev"
SERVICES = ["postgresql", "redis", "mlflow"]


class Home:
    """A home in a folder of its own, and native.py run on it."""

    def __init__(self, values=None):
        self.folder = Path(tempfile.mkdtemp(prefix="mmp-native-"))
        self.folder.chmod(0o711)
        self.watcher = watched(self.folder)
        odd = {
            "POSTGRES_PASSWORD": "o'w\"n\\er" + secrets.token_urlsafe(12),
            "REDIS_PASSWORD": "re\\d'i\"s" + secrets.token_urlsafe(12),
        }
        self.write(**(values or new_values(**odd)))

    def write(self, **values):
        self.values = values
        write_env(self.folder, values)

    def native(self, *words, code=0):
        done = self.start(*words)
        out, err = done.communicate(timeout=240)
        assert done.returncode == code, (out, err)
        return err if code else out

    def start(self, *words):
        command = [sys.executable, LOCAL_DEV / "native.py", *words, "--home", self.folder]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def status(self):
        return {one["name"]: one for one in json.loads(self.native("status", "--json"))["services"]}

    def port(self, service):
        return self.status()[service]["port"]

    def postgres(self, *, reader=False):
        import psycopg

        role = "POSTGRES_READER" if reader else "POSTGRES"
        return psycopg.connect(
            host="localhost",
            port=self.port("postgresql"),
            dbname=self.values["POSTGRES_DB"],
            user=self.values[f"{role}_USER"],
            password=self.values[f"{role}_PASSWORD"],
            autocommit=True,
        )

    def redis(self):
        import redis

        # a retry would say yes to what was done twice
        return redis.Redis(port=self.port("redis"), password=self.values["REDIS_PASSWORD"], retry=None)

    def mlflow(self, path, body=None, method=None, data=None):
        data = json.dumps(body).encode() if body is not None else data
        request = urllib.request.Request(
            f"{self.values['MLFLOW_TRACKING_URI']}/api/2.0/{path}",
            data,
            {"Content-Type": "application/json" if body is not None else "text/plain"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def log_run(self, number, end_time=None):
        """Log a finished run with one artifact and return its id."""
        at = int(time.time() * 1000) if end_time is None else end_time
        told = self.mlflow(
            "mlflow/runs/create", {"experiment_id": "0", "run_name": str(number), "start_time": at}
        )
        run = json.loads(told)["run"]["info"]["run_id"]
        path = f"mlflow-artifacts/artifacts/0/{run}/artifacts/number.txt"
        self.mlflow(path, data=str(number).encode(), method="PUT")
        self.mlflow("mlflow/runs/update", {"run_id": run, "status": "FINISHED", "end_time": at})
        return run

    def artifact(self, run):
        return self.mlflow(f"mlflow-artifacts/artifacts/0/{run}/artifacts/number.txt").decode()

    def runs(self):
        found = json.loads(self.mlflow("mlflow/runs/search", {"experiment_ids": ["0"], "max_results": 1000}))
        return {run["info"]["run_id"] for run in found.get("runs", [])}

    def close(self):
        self.native("down")
        self.native("reset", "--yes")
        self.watcher.stdin.close()
        assert self.watcher.wait(60) == 0


@pytest.fixture(scope="module")
def home():
    """All three services."""
    home = Home()
    home.native("up", "--install")
    yield home
    home.close()


@pytest.fixture
def small():
    """A home in which nothing runs yet."""
    home = Home()
    yield home
    home.close()


def test_up_again_changes_nothing_and_is_fast(home):
    before = home.status()
    assert {one["state"] for one in before.values()} == {"running"}
    assert list(before) == SERVICES
    assert all(set(one) >= {"state", "pid", "port", "version", "since"} for one in before.values())
    began = time.monotonic()
    home.native("up")
    assert time.monotonic() - began < 5  # 0.4 s on an idle machine
    assert home.status() == before


def test_the_reader_reads_and_writes_nothing(home):
    import psycopg

    with home.postgres() as owner:
        owner.execute("CREATE TABLE readable AS SELECT 7 AS x")
        owner.execute("CREATE TABLE features.readable AS SELECT 8 AS x")
    with home.postgres(reader=True) as reader:
        assert reader.execute("SELECT x FROM readable").fetchone() == (7,)
        assert reader.execute("SELECT x FROM features.readable").fetchone() == (8,)
        reader.execute("CREATE TEMP TABLE mine AS SELECT 1")
        for statement in ("DELETE FROM readable", "CREATE TABLE public.other (x int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


def test_a_password_is_needed_and_the_superuser_has_no_door(home):
    import psycopg

    at = f"host=127.0.0.1 port={home.port('postgresql')} connect_timeout=3"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{at} user=mlpipeline_user dbname=mlpipeline_db password=wrong")
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
        psycopg.connect(f"{at} user=postgres dbname=postgres password=postgres")


def test_no_password_is_seen_in_the_list_of_processes_or_in_a_log(home):
    secret = [home.values[name] for name in home.values if name.endswith("PASSWORD")]
    lists = [
        path.read_bytes().decode("utf-8", "replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and "pytest" not in path.read_bytes().decode("utf-8", "replace")
    ]
    logs = [path.read_text() for path in (home.folder / "data" / "logs").iterdir()]
    assert any("redis" in line for line in lists)
    assert len(logs) == 3
    assert not [text for text in [*lists, *logs, home.native("status")] if any(one in text for one in secret)]
    private = home.folder / "data" / "run" / "redis.conf"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_servers_listen_on_this_machine_only(home):
    own = {f"{one['port']:04X}" for one in home.status().values()}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, _, port = line.split()[1].partition(":")
            if port in own and line.split()[3] == "0A":
                assert address == "0100007F"


class Load(threading.Thread):
    """Does something again and again, and keeps what was acknowledged, until it fails."""

    def __init__(self, action):
        super().__init__()
        self.action, self.done, self.enough = action, [], threading.Event()

    def run(self):
        import psycopg
        import redis

        try:
            while True:
                self.done.append(self.action(len(self.done)))
                if len(self.done) == 10:
                    self.enough.set()
        except (OSError, psycopg.Error, redis.exceptions.RedisError):
            return


def test_nothing_acknowledged_is_lost_when_servers_are_killed(home):
    with home.postgres() as server:
        server.execute("CREATE TABLE load (x int)")
    rows, keys = home.postgres(), home.redis()

    def commit(number):
        rows.execute("INSERT INTO load VALUES (%s)", [number])
        return number

    def push(number):
        keys.rpush("load", number)
        return number

    loads = [Load(commit), Load(push), Load(home.log_run)]
    before = home.status()
    for load in loads:
        load.start()
    for load in loads:
        assert load.enough.wait(60)
    for name in reversed(SERVICES):
        os.kill(before[name]["pid"], signal.SIGKILL)
    # MLflow's worker outlived its parent and answered on; without the database it fails
    for load in loads:
        load.join(60)
        assert not load.is_alive()
    rows.close()
    home.native("up")
    after = home.status()
    assert {one["state"] for one in after.values()} == {"running"}
    assert all(after[name]["pid"] != before[name]["pid"] for name in SERVICES)
    with home.postgres() as server:
        kept = {x for (x,) in server.execute("SELECT x FROM load").fetchall()}
    assert kept >= set(loads[0].done)
    assert [int(x) for x in home.redis().lrange("load", 0, -1)][: len(loads[1].done)] == loads[1].done
    assert home.runs() >= set(loads[2].done)
    assert [home.artifact(run) for run in loads[2].done] == [str(n) for n in range(len(loads[2].done))]


def test_what_another_home_runs_is_used_and_never_stopped(home):
    other = Home(home.values)
    other.native("up")
    assert {one["state"] for one in other.status().values()} == {"external"}
    assert "nothing was running" in other.native("down")
    assert {one["state"] for one in home.status().values()} == {"running"}
    other.write(**home.values | {"POSTGRES_PASSWORD": "wrong", "REDIS_PASSWORD": "wrong"})
    told = other.native("up", code=1)
    assert "refuses POSTGRES_PASSWORD" in told
    assert "--port-offset" in told
    assert "refuses REDIS_PASSWORD" in other.native("up", "--only", "redis", code=1)
    other.close()
    assert {one["state"] for one in home.status().values()} == {"running"}


def test_pruning_removes_old_runs_with_their_artifacts(home):
    old = home.log_run(1, end_time=int((time.time() - 40 * 86_400) * 1000))
    young = home.log_run(2)
    assert (home.folder / "mlflow-artifacts" / "0" / old / "artifacts" / "number.txt").exists()
    assert "1 runs deleted" in home.native("prune", "--older-than", "30d")
    assert young in home.runs()
    assert old not in home.runs()
    assert home.artifact(young) == "2"
    assert not list((home.folder / "mlflow-artifacts" / "0" / old).rglob("*.txt"))
    assert "no age" in home.native("prune", "--older-than", "soon", code=2)


def test_a_backup_brings_everything_back(home):
    run = home.log_run(3)
    home.redis().set("kept", "yes")
    with home.postgres() as server:
        server.execute("CREATE TABLE kept AS SELECT 5 AS x")
    archive = Path(home.native("backup").strip())
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    home.native("reset", "--yes")
    assert {one["state"] for one in home.status().values()} == {"stopped"}
    broken = archive.with_name("broken.tar.gz")
    broken.write_bytes(archive.read_bytes()[:-200])
    assert "not a whole archive" in home.native("restore", str(broken), code=1)
    home.native("restore", str(archive))
    assert home.artifact(run) == "3"
    assert run in home.runs()
    assert home.redis().get("kept") == b"yes"
    with home.postgres(reader=True) as server:
        assert server.execute("SELECT x FROM kept").fetchone() == (5,)
    # and what comes after a restore is durable too
    home.redis().set("later", "yes")
    os.kill(home.status()["redis"]["pid"], signal.SIGKILL)
    home.native("up")
    assert home.redis().mget("kept", "later") == [b"yes", b"yes"]


def test_a_foreign_process_on_a_port_is_named_and_ports_can_move(small):
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", int(small.values["REDIS_PORT"])))
        foreign.listen()
        told = small.native("up", "--only", "redis", code=1)
        assert f"process {os.getpid()}" in told
        assert "--port-offset" in told
        (port,) = free_ports(1)
        small.native("up", "--only", "redis", "--port-offset", str(port - 6379))
    assert small.status()["redis"]["port"] == port
    assert small.status()["redis"]["state"] == "running"
    assert f"REDIS_PORT={port}\n" in (small.folder / ".env").read_text()
    # what is said by hand moves it too, and what ran where it was is stopped
    small.write(**small.values)
    small.native("up", "--only", "redis")
    assert small.port("redis") == int(small.values["REDIS_PORT"])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_what_runs_is_stopped_whatever_is_in_env(small):
    small.native("up", "--only", "redis")
    (small.folder / ".env").write_text("POSTGRES_PORT\n")
    assert "line 1 of" in small.native("status", code=1)
    assert "stopped: redis" in small.native("down")
    small.write(**small.values)
    assert small.status()["redis"]["state"] == "stopped"


def test_a_changed_password_is_noticed_and_can_be_given_to_the_database(small):
    small.native("up", "--only", "postgres")
    small.write(**small.values | {"POSTGRES_PASSWORD": "another"})
    assert "refuses POSTGRES_PASSWORD" in small.native("up", "--only", "postgres", code=1)
    small.native("down")
    assert "up --set-passwords" in small.native("up", "--only", "postgres", code=1)
    small.native("up", "--only", "postgres", "--set-passwords")
    with small.postgres() as server:
        assert server.execute("SELECT 1").fetchone() == (1,)


def test_notes_of_before_a_reboot_mislead_nobody(small):
    small.native("up", "--only", "postgres,redis")
    run = small.folder / "data" / "run"
    notes = {name: json.loads((run / f"{name}.json").read_text()) for name in ("postgresql", "redis")}
    for note in notes.values():
        os.kill(note["pid"], signal.SIGKILL)
    for name, note in notes.items():
        (run / f"{name}.json").write_text(json.dumps({**note, "pid": os.getpid()}))
    state = json.loads((run / "state.json").read_text())
    lock = Path(state["postgresql"]) / "postmaster.pid"
    lock.write_text(lock.read_text().replace(str(notes["postgresql"]["pid"]), str(os.getpid()), 1))
    small.native("up", "--only", "postgres,redis")
    assert [small.status()[name]["state"] for name in SERVICES] == ["running", "running", "stopped"]
    # without its note a server is still ours
    for name in notes:
        (run / f"{name}.json").unlink()
    assert "redis, postgresql" in small.native("down")
    assert {one["state"] for one in small.status().values()} == {"stopped"}


def test_a_start_and_a_reset_that_were_cut_off_are_made_good(small):
    first = small.start("up", "--only", "postgres")
    new = small.folder / "data" / "postgresql.new" / "base"
    while not new.exists():
        assert first.poll() is None
    first.kill()  # initdb goes on alone
    first.communicate()
    small.native("up", "--only", "postgres")
    small.native("down")
    # only a reset deletes data, however little is left of them
    (small.folder / "data" / "postgresql" / "PG_VERSION").unlink()
    assert "no PG_VERSION" in small.native("up", "--only", "postgres", code=1)
    small.native("reset", "--yes")
    small.native("up", "--only", "postgres")
    with small.postgres() as server:
        assert server.execute("SELECT 1").fetchone() == (1,)


def test_two_starts_at_once_make_one_server(small):
    both = [small.start("up", "--only", "redis") for _ in range(2)]
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert said[0][0] == said[1][0]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("POSTGRES_PORT", "line 1 of"),
        ("POSTGRES_PASSWORD=a\nPOSTGRES_READER_PASSWORD=b\nPOSTGRES_PORT=many", "POSTGRES_PORT in"),
        ("POSTGRES_PASSWORD=", "has no POSTGRES_PASSWORD"),
        ("POSTGRES_PASSWORD=a\nPOSTGRES_READER_PASSWORD=b\nPOSTGRES_DB=a b", "POSTGRES_DB in"),
    ],
)
def test_a_bad_env_is_one_sentence(small, lines, sentence):
    (small.folder / ".env").write_text(lines)
    told = small.native("up", code=1)
    small.write(**small.values)
    assert sentence in told
    assert told.count("\n") == 1


def test_a_home_that_cannot_be_written_is_one_sentence(small, tmp_path):
    (tmp_path / "file").write_text("")
    small_folder, small.folder = small.folder, tmp_path / "file" / "home"
    told = small.native("up", code=1)
    small.folder = small_folder
    assert "Not a directory" in told
    assert told.count("\n") == 1


def test_the_first_start_writes_an_env_for_its_owner_only(small):
    (small.folder / ".env").unlink()
    (port,) = free_ports(1)
    small.native("up", "--only", "redis", "--port-offset", str(port - 6379))
    env = small.folder / ".env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    text = env.read_text()
    small.native("up", "--only", "redis")
    assert env.read_text() == text
    assert small.port("redis") == port


def test_a_home_that_the_servers_user_may_not_enter_has_its_data_elsewhere(small):
    small.folder.chmod(0o700)
    small.native("up", "--only", "postgres")
    assert small.status()["postgresql"]["state"] == "running"
    place = Path(json.loads((small.folder / "data" / "run" / "state.json").read_text())["postgresql"])
    assert place.is_relative_to(small.folder) == (os.geteuid() != 0)
    small.native("reset", "--yes")
    assert not place.exists()
