"""Runs end with their true status, and are found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mmp.errors import DataError, RunNotFoundError, TrackingError
from mmp.settings.config import Mlflow
from mmp.tracking import stores
from mmp.tracking.run import git_tags, redact, resolve_run, run
from mmp.tracking.stores.base import Dataset, Metric

from .conftest import settings

TRAIN = {"mmp.kind": "train", "mmp.task": "classification"}


def only(store):
    (found,) = store.search()
    return found


# -- the true status ---------------------------------------------------------------------------


def test_a_run_that_ends_is_finished_and_holds_what_was_logged(embedded, tmp_path):
    (tmp_path / "report.html").write_text("<p>")
    with run(embedded, "churn", "telco_1", {**TRAIN, "team": "growth"}) as active:
        active.log_params({"learning_rate": 0.1, "columns": ["a", "é"], "none": None, "depth": 6, "on": True})
        active.log_metrics({"accuracy": 0.5})
        active.log_metrics({"accuracy": 0.6}, prefix="validation_")
        active.log_history({"logloss": [0.7, 0.5, 0.4]}, prefix="train_")
        active.set_tags({"late": "yes"})
        active.log_dataset(Dataset("telco", "abc", "local", "{}"))
        active.log_text("name: telco\n", "settings/recipe.yaml")
        active.log_text("top", "log.txt")
        active.log_file(tmp_path / "report.html", "reports")
        assert only(embedded).status == "RUNNING"
    found = only(embedded)
    assert (found.status, found.name, found.experiment) == ("FINISHED", "telco_1", "churn")
    assert found.end_time_ms >= found.start_time_ms
    assert found.params == {
        "learning_rate": "0.1",
        "columns": '["a", "é"]',
        "none": "None",
        "depth": "6",
        "on": "True",
    }
    assert found.metrics == {"accuracy": 0.5, "validation_accuracy": 0.6, "train_logloss": 0.4}
    assert found.tags.items() >= {"team": "growth", "late": "yes", "mlflow.source.type": "LOCAL"}.items()
    assert {"mlflow.user", "mmp.version", "mmp.python"} <= set(found.tags)
    assert embedded.artifacts(active.run_id) == ["log.txt", "reports/report.html", "settings/recipe.yaml"]


@pytest.mark.parametrize(
    ("error", "status", "code", "text"),
    [
        (DataError("Column 'age' is not there.", hint="h"), "FAILED", "data", "Column 'age' is not there."),
        (ValueError("one\ntwo"), "FAILED", "bug", "ValueError: one"),
        (
            RuntimeError('relation "x" already exists'),
            "FAILED",
            "bug",
            'RuntimeError: relation "x" already exists',
        ),
        (StopIteration("s"), "FAILED", "bug", "StopIteration: s"),
        (KeyboardInterrupt(), "KILLED", "interrupted", "Interrupted (KeyboardInterrupt)."),
        (SystemExit(3), "KILLED", "interrupted", "Interrupted (3)."),
        (DataError("x" * 5000), "FAILED", "data", "x" * 999 + "…"),
        (DataError("password=hunter2 of s3cr3t"), "FAILED", "data", "password=*** of ***"),
    ],
)
def test_an_error_ends_the_run_and_goes_on_unchanged(embedded, error, status, code, text):
    def train():
        with run(embedded, "e", "r", secrets=["s3cr3t"]) as active:
            active.log_params({"a": 1})
            raise error

    with pytest.raises(type(error)) as caught:
        train()
    assert caught.value is error or isinstance(error, StopIteration)
    found = only(embedded)
    assert (found.status, found.params) == (status, {"a": "1"})
    assert (found.tags["mmp.error.code"], found.tags["mmp.error"]) == (code, text)


def test_a_store_that_no_longer_answers_does_not_hide_the_error(embedded):
    error = DataError("the first thing that went wrong")

    def train():
        with run(embedded, "e", "r") as active:
            active.log_params({"a": 1})
            embedded.close()
            raise error

    with pytest.raises(DataError) as caught:
        train()
    assert caught.value is error
    assert any("could not be marked FAILED" in note for note in error.__notes__)


def test_a_store_that_fails_at_the_end_fails_the_run(embedded):
    def train():
        with run(embedded, "e", "r") as active:
            active.log_params({"a": 1})
            active.flush()
            active.log_params({"a": 2})

    with pytest.raises(TrackingError, match="cannot become"):
        train()
    assert only(embedded).status == "FAILED"


def test_two_errors_in_a_row_make_two_failed_runs(embedded):
    for text in ("already exists", "again"):
        with pytest.raises(RuntimeError, match=text), run(embedded, "e", text):
            raise RuntimeError(text)
    assert {found.status for found in embedded.search()} == {"FAILED"}


INTERRUPTED = """
    import signal, sys, time
    from types import SimpleNamespace
    from mmp.tracking import stores
    from mmp.tracking.run import run
    store = stores.connect(SimpleNamespace(tracking_uri=sys.argv[1], artifact_root=None, s3_endpoint_url=None))
    stubborn = len(sys.argv) > 2
    try:
        with run(store, "e", "r") as active:
            active.log_params({"a": 1})
            try:
                print("ready", flush=True)
                time.sleep(30)
            finally:
                print("cleaning", flush=True)
                time.sleep(30 if stubborn else 0)
    except KeyboardInterrupt:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        sys.exit(130)
"""


def interrupted(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_as_killed(tmp_path, number):
    process = interrupted(tmp_path / "mlruns")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 130
    found = only(stores.connect(settings(tmp_path / "mlruns")))
    assert (found.status, found.params) == ("KILLED", {"a": "1"})
    assert found.tags["mmp.error"] == f"Interrupted ({number.name})."


def test_the_second_interrupt_ends_the_process_at_once(tmp_path):
    process = interrupted(tmp_path / "mlruns", "stubborn")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == -signal.SIGINT


def test_signal_handlers_of_others_stay(embedded):
    def theirs(*_):
        pass

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        with run(embedded, "e", "r"):
            assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_in_a_thread(tmp_path):
    def train():
        store = stores.connect(settings(tmp_path / "mlruns"))
        with run(store, "e", "r"):
            pass

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert only(stores.connect(settings(tmp_path / "mlruns"))).status == "FINISHED"


# -- what is logged ----------------------------------------------------------------------------


def test_a_parameter_too_long_is_cut_with_a_warning(embedded, caplog):
    with run(embedded, "e", "r") as active:
        active.log_params({"long": "x" * 7000})
    assert only(embedded).params["long"] == "x" * 5999 + "…"
    assert "long" in caplog.text
    assert "7000" in caplog.text


def test_what_was_flushed_is_there_while_the_run_goes_on(embedded):
    with run(embedded, "e", "r") as active:
        active.log_params({"a": 1})
        assert only(embedded).params == {}
        active.flush()
        assert only(embedded).params == {"a": "1"}
        active.log_history({f"m{i}": [0.0] * 300 for i in range(10)})
        assert len(only(embedded).metrics) == 10


def test_git_commit_and_dirtiness(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    environment = os.environ.get("GIT_CEILING_DIRECTORIES")
    os.environ["GIT_CEILING_DIRECTORIES"] = str(tmp_path.parent)
    try:
        assert git_tags(tmp_path) == {}
        git("init", "-q")
        assert git_tags(tmp_path) == {}
        (tmp_path / "a").write_text("a")
        git("add", "a")
        git("commit", "-q", "-m", "a")
        (tmp_path / "untracked").write_text("a")
        tags = git_tags(tmp_path)
        assert (len(tags["mlflow.source.git.commit"]), tags["mmp.git.dirty"]) == (40, "false")
        (tmp_path / "a").write_text("b")
        assert git_tags(tmp_path) == {**tags, "mmp.git.dirty": "true"}
    finally:
        os.environ.pop("GIT_CEILING_DIRECTORIES")
        if environment is not None:
            os.environ["GIT_CEILING_DIRECTORIES"] = environment


def test_no_git_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_tags() == {}


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("http://anna:pa%40ss@host/x", "http://anna:***@host/x"),
        ("{'password': 'abc'}", "{'password': '***'}"),
        ("api_key=abc&x=1", "api_key=***&x=1"),
        ("column 'token' is missing", "column 'token' is missing"),
        ("password reset_at is no number: 3", "password reset_at is no number: 3"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text, safe):
    assert redact(text) == safe


def test_experiment_names():
    assert Mlflow().experiment("a") == Mlflow(experiment_prefix=None).experiment("a") == "a"
    assert Mlflow.model_construct(experiment_prefix="").experiment("a") == "a"
    assert Mlflow(experiment_prefix="team/x/").experiment("a") == "team/x/a"


# -- finding a run -----------------------------------------------------------------------------


@pytest.fixture
def trained(embedded):
    """Five runs, oldest first; their ids by name."""
    ids = {}
    rows = [
        ("first", "FINISHED", 0.7, TRAIN),
        ("best", "FINISHED", 0.9, TRAIN),
        ("plain", "FINISHED", 0.8, TRAIN),
        ("failed", "FAILED", 0.99, TRAIN),
        ("batch", "FINISHED", 0.999, {"mmp.kind": "batch-inference", "mmp.task": "classification"}),
    ]
    for start, (name, status, auc, tags) in enumerate(rows):
        made = embedded.create_run(embedded.experiment("churn"), name=name, tags=tags, start_time_ms=start)
        embedded.log_batch(made.run_id, metrics=[Metric("roc_auc", auc, 0), Metric("log_loss", auc, 0)])
        embedded.finish(made.run_id, status, end_time_ms=start)
        ids[name] = made.run_id
    return embedded, ids


def test_latest_and_best_are_trainings_that_finished(trained):
    store, ids = trained
    assert resolve_run(store, "latest") == ids["plain"]
    assert resolve_run(store, "latest", experiment="churn") == ids["plain"]
    assert resolve_run(store, "best", experiment="churn") == ids["best"]
    assert resolve_run(store, "best", metric="log_loss") == ids["first"], "less is better"


def test_an_alias_an_id_and_the_beginning_of_one(trained):
    store, ids = trained
    store.register("churn", ids["first"])
    store.set_alias("churn", "champion", "1")
    assert resolve_run(store, "champion", registered_model_name="churn") == ids["first"]
    assert resolve_run(store, "churn@champion") == ids["first"]
    assert resolve_run(store, "@champion", registered_model_name="churn") == ids["first"]
    assert resolve_run(store, ids["failed"], registered_model_name="churn") == ids["failed"]
    assert resolve_run(store, ids["batch"][:10]) == ids["batch"]
    assert resolve_run(store, ids["batch"][:10].upper(), registered_model_name="churn") == ids["batch"]


@pytest.mark.parametrize(
    ("ref", "options", "words"),
    [
        ("latest", {"experiment": "other"}, "No training has finished in the experiment 'other'"),
        ("best", {"experiment": "other"}, "No training has finished in the experiment 'other'"),
        ("best", {"metric": "accuracy"}, "has the metric 'accuracy'"),
        ("best", {"metric": "rmse"}, "no metric of classification"),
        ("champion", {}, "no run id in .* begins with it"),
        ("champion", {"registered_model_name": "churn"}, "no version of 'churn' has it as an alias"),
        ("churn@x", {}, "No version of the registered model 'churn' has the alias 'x'"),
        ("f" * 32, {}, "no run id"),
        ("", {}, "neither latest nor best, and no run id"),
        ("%", {}, "no run id"),
    ],
)
def test_a_reference_that_means_no_run_says_what_was_tried(trained, ref, options, words):
    store, _ = trained
    with pytest.raises(RunNotFoundError, match=words) as caught:
        resolve_run(store, ref, **options)
    assert caught.value.hint


def test_the_hint_lists_recent_trainings(trained, tmp_path):
    store, ids = trained
    with pytest.raises(RunNotFoundError) as caught:
        resolve_run(store, "zzz")
    assert f"{ids['failed'][:8]} (failed, FAILED)" in caught.value.hint
    assert "batch" not in caught.value.hint
    with pytest.raises(RunNotFoundError) as caught:
        resolve_run(stores.connect(settings(tmp_path / "empty")), "latest")
    assert "mmp train" in caught.value.hint


def test_the_beginning_of_two_ids_is_not_enough(embedded):
    ids = [
        embedded.create_run(embedded.experiment("e"), name="r", tags={}, start_time_ms=0).run_id
        for _ in range(17)
    ]
    twice = next(run_id[0] for run_id in ids if sum(other[0] == run_id[0] for other in ids) > 1)
    with pytest.raises(RunNotFoundError, match="More than one"):
        resolve_run(embedded, twice)


def test_a_full_logging_is_cheap(embedded, tmp_path):
    """No bar on time, which a busy machine cannot keep; a bound on how often the store is written to."""
    statements = []
    embedded._connection.set_trace_callback(statements.append)
    started = time.process_time()
    with run(embedded, "e", "r", TRAIN) as active:
        active.log_params({f"p{i}": i for i in range(60)})
        active.log_metrics({f"m{i}": i for i in range(60)})
        active.log_history({"loss": [1.0] * 200})
        active.log_dataset(Dataset("t", "d", "local", "{}"))
        for i in range(15):
            active.log_text("x" * 1000, f"f/{i}.txt")
    print(f"{time.process_time() - started:.4f} CPU s")
    assert sum(statement == "COMMIT" for statement in statements) <= 6
