"""The embedded store: how its database comes to be, and what happens when many use it at once."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mmp.errors import RunNotFoundError, TrackingError
from mmp.tracking import stores
from mmp.tracking.stores import sqlite
from mmp.tracking.stores.base import Dataset, Metric
from mmp.tracking.stores.client import ClientStore
from mmp.tracking.stores.sqlite import SqliteStore

from .conftest import mlflow_server, settings

NOW = 1_790_000_000_000
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics", "datasets", "inputs", "input_tags",
          "experiments", "registered_models", "model_versions", "registered_model_aliases",
          "model_version_tags")  # fmt: skip

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def in_process(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# -- the database ------------------------------------------------------------------------------


def schema(path):
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return {row[:3]: _normal(row[3] or "") for row in rows}


def _normal(sql):
    # MLflow lists some constraints, and the values of some, in the order of a set.
    def in_order(found):
        return f"IN ({', '.join(sorted(re.split(', *', found[1])))})"

    lines = sorted(line.strip(" ,\t") for line in sql.splitlines())
    return re.sub(r"IN \(([^)]*)\)", in_order, "\n".join(lines))


def test_a_fresh_database_is_what_mlflow_makes(fresh_database, tmp_path):
    ours = tmp_path / "ours.db"
    known = sqlite.revision(fresh_database)
    assert known in sqlite.KNOWN_REVISIONS, "add its schema: docs/adr/0002 says how"
    sqlite.create(ours, known, "/somewhere/artifacts")
    assert schema(ours) == schema(fresh_database)
    for table in ("alembic_version", "workspaces", "experiments"):
        rows = [
            {
                key: value
                for key, value in dict(row).items()
                if key not in {"creation_time", "last_update_time"}
            }
            for path in (ours, fresh_database)
            for row in _rows(path, table)
        ]
        assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]
    with sqlite3.connect(ours) as one, sqlite3.connect(fresh_database) as other:
        for pragma in ("journal_mode", "page_size", "auto_vacuum", "encoding", "user_version"):
            assert one.execute(f"PRAGMA {pragma}").fetchone() == other.execute(f"PRAGMA {pragma}").fetchone()


def _rows(path, table):
    with sqlite3.connect(path) as db:
        db.row_factory = sqlite3.Row
        return db.execute(f"SELECT * FROM {table}").fetchall()


def test_the_installed_mlflow_is_one_we_know():
    assert stores._installed_revision() in sqlite.KNOWN_REVISIONS


def test_a_database_at_another_revision_is_left_to_mlflow(fresh_database, tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(fresh_database.read_bytes())
    assert isinstance(stores.connect(settings(path)), SqliteStore)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
    before = path.read_bytes()
    with pytest.raises(TrackingError, match="out-of-date") as caught:
        stores.connect(settings(path))
    assert "mlflow db upgrade sqlite:///" in caught.value.hint
    assert path.read_bytes() == before


def test_an_unknown_revision_that_mlflow_knows_is_written_through_it(fresh_database, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "KNOWN_REVISIONS", {"f00": "another MLflow"})
    made = stores.connect(settings(tmp_path / "new"))
    assert isinstance(made, ClientStore)
    run = made.create_run(made.experiment("e"), name="r", tags={}, start_time_ms=NOW)
    assert Path(run.artifact_uri).is_relative_to(tmp_path / "new" / "artifacts")


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("sqlite:///mlruns/mlflow.db", "mlruns/mlflow.db"),
        ("sqlite:///a.db", "a.db"),
        ("./mlruns", "mlruns/mlflow.db"),
        ("some dir/ü", "some dir/ü/mlflow.db"),
        ("runs.sqlite", "runs.sqlite"),
        (None, "mlruns/mlflow.db"),
    ],
)
def test_what_a_uri_names(uri, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = stores.connect(settings(uri) if uri else settings("", tracking_uri=None))
    assert store.uri == f"sqlite:///{tmp_path / database}"
    run = store.create_run(store.experiment("e"), name="r", tags={}, start_time_ms=NOW)
    root = (tmp_path / database).parent / "artifacts" / "1"
    assert run.artifact_uri == sqlite.path_uri(root / run.run_id / "artifacts")
    assert (tmp_path / database).is_file()


def test_an_absolute_uri_a_file_uri_and_an_artifact_root(tmp_path):
    for uri in (f"sqlite:///{tmp_path}/x/m.db", f"sqlite+pysqlite:///{tmp_path}/x/m.db"):
        assert stores.connect(settings(uri)).uri == f"sqlite:///{tmp_path}/x/m.db"
    assert stores.connect(settings(f"file://{tmp_path}/y%20z")).uri == f"sqlite:///{tmp_path}/y z/mlflow.db"
    store = stores.connect(settings(tmp_path / "w", artifact_root=str(tmp_path / "files")))
    run = store.create_run(store.experiment("e"), name="r", tags={}, start_time_ms=NOW)
    assert run.artifact_uri == f"{tmp_path}/files/1/{run.run_id}/artifacts"
    store = stores.connect(settings(tmp_path / "w", artifact_root="s3://bucket/runs/"))
    run = store.create_run(store.experiment("f"), name="r", tags={}, start_time_ms=NOW)
    assert run.artifact_uri == f"s3://bucket/runs/2/{run.run_id}/artifacts"


def test_what_is_written_together_is_seen_by_others_at_once_or_never(embedded):
    other = SqliteStore(embedded.path, artifact_root="unused")
    experiment = embedded.experiment("e")
    with embedded.together():
        run = embedded.create_run(experiment, name="r", tags={}, start_time_ms=NOW)
        with pytest.raises(RunNotFoundError):
            other.get_run(run.run_id)
        embedded.finish(run.run_id, "FINISHED", end_time_ms=NOW)
    assert other.get_run(run.run_id).status == "FINISHED"
    with pytest.raises(RunNotFoundError):
        create_and_fail(embedded, experiment)
    assert [record.run_id for record in other.search(["e"])] == [run.run_id]


def create_and_fail(store, experiment):
    with store.together():
        store.create_run(experiment, name="lost", tags={}, start_time_ms=NOW)
        store.finish("0" * 32, "FINISHED", end_time_ms=NOW)


def test_what_cannot_be_a_store_is_named(tmp_path):
    (tmp_path / "text.db").write_text("this is not a database, but it is long enough to look at")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE orders (id)")
    old = tmp_path / "old" / "1"
    old.mkdir(parents=True)
    (old / "meta.yaml").write_text("name: old")
    (tmp_path / "file").write_text("")
    for uri, words in {
        "sqlite:///:memory:": "names no file",
        "sqlite://": "names no file",
        str(tmp_path / "text.db"): "not a database",
        str(tmp_path / "other.db"): "not one of MLflow's",
        str(tmp_path / "old"): "old file store",
        f"sqlite:///{tmp_path}/file/x/m.db": "cannot be made",
    }.items():
        with pytest.raises(TrackingError, match=words):
            stores.connect(settings(uri))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(TrackingError, match="cannot be made"):
        stores.connect(settings(tmp_path / "mlruns"))


# -- the same rows as MLflow's -----------------------------------------------------------------


def _write_everything(store):
    run = store.create_run(
        store.experiment("same"), name="r", tags={"mlflow.user": "u", "a": "b"}, start_time_ms=NOW
    )
    nan, inf = float("nan"), float("inf")
    metrics = [Metric("m", v, NOW + i, i % 4) for i, v in enumerate([0.5, nan, inf, -inf, 3, 3, nan, 1e-300])]
    store.log_batch(
        run.run_id,
        params={"p": "1", "q": "é"},
        metrics=[*metrics, metrics[0]],
        tags={"mlflow.runName": "renamed"},
    )
    store.log_dataset(run.run_id, Dataset("t", "d", "local", "{}", "{}", "{}"))
    store.register("model", run.run_id, description="d", tags={"k": "v"})
    store.register("model", run.run_id)
    store.set_alias("model", "champion", "2")
    store.finish(run.run_id, "FAILED", end_time_ms=NOW + 99)
    return run.run_id


def test_every_row_is_the_row_that_mlflow_writes(tmp_path, fresh_database):
    tables = []
    for kind in ("sqlite", "client"):
        path = tmp_path / kind / "mlflow.db"
        path.parent.mkdir()
        path.write_bytes(fresh_database.read_bytes())
        root = str(path.parent)
        store = (
            SqliteStore(path, artifact_root=root) if kind == "sqlite" else ClientStore(f"sqlite:///{path}")
        )
        if kind == "client":
            # The client cannot say where an experiment's files go before it knows the id.
            store._client.create_experiment("same", f"{root}/1")
        run_id = _write_everything(store)
        store.close()
        ids = _generated_ids(path)
        tables.append({t: sorted(_plain(row, root, run_id, ids) for row in _rows(path, t)) for t in TABLES})
    assert tables[0] == tables[1]


def _generated_ids(path):
    found = {row["dataset_uuid"] for row in _rows(path, "datasets")}
    return found | {row["input_uuid"] for row in _rows(path, "inputs")}


def _plain(row, root, run_id, ids):
    def plain(key, value):
        if key in {"creation_time", "last_update_time", "last_updated_time"}:
            return None
        if value in ids:
            return "ID"
        return value.replace(root, "ROOT").replace(run_id, "RUN") if isinstance(value, str) else value

    return repr({key: plain(key, value) for key, value in dict(row).items()})


# -- many at once ------------------------------------------------------------------------------

TRAININGS = """
    import sys, time
    from types import SimpleNamespace
    from mmp.tracking import stores
    from mmp.tracking.run import run

    uri, start, worker = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    settings = SimpleNamespace(tracking_uri=uri, tracking_username=None, tracking_password=None,
                               s3_endpoint_url=None, artifact_root=None, timeout_s=10.0)
    time.sleep(max(0, start - time.time()))
    store = stores.connect(settings)
    for i in range(5):
        with run(store, f"shared-{i % 2}", f"{worker}-{i}", {"mmp.kind": "train"}) as active:
            active.log_params({f"p{k}": worker for k in range(30)})
            active.flush()
            active.log_history({"loss": [1 / (k + 1) for k in range(50)]})
            active.log_text(worker, "who.txt")
            store.register("model", active.run_id)
"""


def test_trainings_that_start_at_once_on_a_fresh_directory_all_are_there(tmp_path):
    start = time.time() + 1.5
    workers = [in_process(TRAININGS, tmp_path / "mlruns", start, worker) for worker in range(8)]
    ended = [(worker.communicate(timeout=100)[1], worker.returncode) for worker in workers]
    assert ended == [("", 0)] * 8
    store = stores.connect(settings(tmp_path / "mlruns"))
    found = store.search(status="FINISHED", limit=1000)
    assert {run.name for run in found} == {f"{worker}-{i}" for worker in range(8) for i in range(5)}
    assert {run.experiment for run in found} == {"shared-0", "shared-1"}
    for run in found:
        worker = run.name[0]
        assert set(run.params.values()) == {worker}
        assert Path(run.artifact_uri, "who.txt").read_text() == worker
        assert run.metrics == {"loss": 1 / 50}
    versions = [row["version"] for row in _rows(tmp_path / "mlruns" / "mlflow.db", "model_versions")]
    assert sorted(versions) == list(range(1, 41))
    left = {path.name for path in (tmp_path / "mlruns").iterdir()}
    assert left == {"mlflow.db", ".mlflow.db.lock", "artifacts"}


@pytest.mark.infra
def test_mlflow_s_server_and_trainings_share_the_file(tmp_path):
    with mlflow_server(tmp_path / "s", "--artifacts-destination", str(tmp_path / "s" / "artifacts")) as url:
        uris = [f"sqlite:///{tmp_path}/s/server.db"] * 4 + [url] * 2
        with stores.connect(settings(uris[0])) as first:
            # files of an experiment that the server makes are reached through it only
            for name in ("shared-0", "shared-1"):
                first.experiment(name)
        workers = [in_process(TRAININGS, uri, 0, name) for name, uri in enumerate(uris)]
        with stores.connect(settings(url)) as reader:
            while any(worker.poll() is None for worker in workers):
                reader.search(limit=50)
            ended = [(worker.communicate()[1], worker.returncode) for worker in workers]
            names = {run.name for run in reader.search(status="FINISHED", limit=1000)}
    assert ended == [("", 0)] * 6
    assert names == {f"{worker}-{i}" for worker in range(6) for i in range(5)}


def test_threads_share_a_store(embedded):
    run = embedded.create_run(embedded.experiment("e"), name="r", tags={}, start_time_ms=NOW)

    def log(number):
        for step in range(20):
            embedded.log_batch(run.run_id, metrics=[Metric(f"m{number}", step, NOW, step)])

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert embedded.get_run(run.run_id).metrics == {f"m{number}": 19 for number in range(4)}


def test_a_killed_training_leaves_a_readable_database_and_its_run(tmp_path):
    code = """
        import sys
        from types import SimpleNamespace
        from mmp.tracking import stores
        from mmp.tracking.stores.base import Metric
        store = stores.connect(SimpleNamespace(tracking_uri=sys.argv[1], artifact_root=None, s3_endpoint_url=None))
        run = store.create_run(store.experiment("e"), name="r", tags={}, start_time_ms=1)
        print(run.run_id, flush=True)
        for i in range(10 ** 9):
            store.log_batch(run.run_id, metrics=[Metric(f"m{k}", i, i, i) for k in range(200)])
    """
    for delay in (0.0, 0.03, 0.1):
        training = in_process(code, tmp_path / "mlruns")
        run_id = training.stdout.readline().strip()
        time.sleep(delay)
        training.send_signal(signal.SIGKILL)
        training.communicate()
        store = stores.connect(settings(tmp_path / "mlruns"))
        found = store.get_run(run_id)
        assert found.status == "RUNNING"
        assert len(found.metrics) in {0, 200}
        assert len(set(found.metrics.values())) <= 1, "a batch is there as a whole or not at all"
        store.finish(run_id, "FAILED", end_time_ms=NOW)
        with sqlite3.connect(store.path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_writer_waits_for_its_turn_and_says_so_when_it_does_not_come(embedded, monkeypatch):
    blocker = sqlite3.connect(embedded.path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    embedded._connection.execute("PRAGMA busy_timeout = 50")
    monkeypatch.setattr(sqlite, "_ATTEMPTS", 2)
    with pytest.raises(TrackingError, match="locked") as caught:
        embedded.experiment("e")
    assert "Another program" in caught.value.hint
    blocker.execute("ROLLBACK")
    assert embedded.experiment("e") == "1"
    blocker.close()


# -- what it costs -----------------------------------------------------------------------------


def test_neither_the_embedded_store_nor_the_server_s_client_imports_the_heavy(tmp_path):
    code = """
        import sys
        from types import SimpleNamespace
        from mmp.tracking import run, stores
        settings = SimpleNamespace(tracking_uri=sys.argv[1], tracking_username=None, tracking_password=None,
                                   s3_endpoint_url=None, artifact_root=None, timeout_s=0.5)
        store = stores.connect(settings)
        if sys.argv[1].startswith("http"):
            try:
                store.experiment("e")
            except run.TrackingError:
                pass
        else:
            with run.run(store, "e", "r") as active:
                active.log_text("x", "a.txt")
        heavy = {"mlflow", "pandas", "sqlalchemy", "requests", "numpy", "pyarrow", "urllib3", "pydantic"}
        print(sorted(heavy & set(sys.modules)))
    """
    for uri in (tmp_path / "mlruns", "http://127.0.0.1:9"):
        process = in_process(code, uri, cwd=tmp_path)
        assert process.communicate() == ("[]\n", "")


def test_a_link_among_the_artifacts_does_not_lead_out(embedded, tmp_path):
    from mmp.errors import ArtifactError

    run = embedded.create_run(embedded.experiment("e"), name="r", tags={}, start_time_ms=NOW)
    (tmp_path / "secret.txt").write_text("secret")
    root = Path(run.artifact_uri)
    (root / "model").mkdir(parents=True)
    (root / "model" / "weights").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ArtifactError, match="leads out"):
        embedded.download(run.run_id, "model", tmp_path / "back")
    assert not list((tmp_path / "back").glob("*"))


def test_a_directory_with_odd_characters_works_in_mlflow_too(tmp_path, monkeypatch):
    from mlflow.artifacts import download_artifacts

    odd = tmp_path / "a b%20#ü"
    odd.mkdir()
    monkeypatch.chdir(odd)
    store = stores.connect(settings("mlruns"))
    run = store.create_run(store.experiment("e"), name="r", tags={}, start_time_ms=NOW)
    (tmp_path / "x.txt").write_text("x")
    store.upload(run.run_id, tmp_path / "x.txt", "f")
    assert store.artifacts(run.run_id) == ["f/x.txt"]
    fetched = download_artifacts(run_id=run.run_id, artifact_path="f/x.txt", tracking_uri=store.uri)
    assert Path(fetched).read_text() == "x"


def test_a_store_that_is_only_read_is_not_made(tmp_path):
    where = settings(tmp_path / "mlruns")
    with pytest.raises(RunNotFoundError, match="no runs yet"):
        stores.connect(where, create=False)
    assert not list(tmp_path.iterdir())
    stores.connect(where).close()
    stores.connect(where, create=False).close()


@pytest.mark.parametrize("uri", ["ftp://x/y", "htp://anna:geheim@localhost:5000"])
def test_a_scheme_that_mlflow_has_no_store_for(uri):
    with pytest.raises(TrackingError, match=r"mlflow\.tracking_uri") as caught:
        stores.connect(settings(uri))
    assert "geheim" not in str(caught.value)
