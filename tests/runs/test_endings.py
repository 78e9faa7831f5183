"""However a training ends, its run says so, and the store goes on."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from tests.commands import call, finish, start
from tests.tables import KEY, recipe, write_mixed

from mmp.settings.load import load_config
from mmp.tracking.stores import connect

FOREVER = {"n_estimators": 2_000_000, "max_depth": 3}
QUICK = {"n_estimators": 5}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a table, and a recipe that fits for as long as it is let."""
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv")
    for name, values in (("long", FOREVER), ("quick", QUICK)):
        text = recipe(
            name,
            "classification",
            "xgboost.XGBClassifier",
            "table.csv",
            "label",
            entities=[KEY],
            values=values,
        )
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def runs():
    """Every run of this folder's store, the newest first."""
    store = connect(load_config().value.mlflow)
    found = store.search(limit=50)
    store.close()
    return found


def when_fitting(process, folder):
    """Wait until a training is in the middle of its fit."""
    until = time.monotonic() + 60
    while not any("prepare:" in log.read_text() for log in folder.glob("logs/*.log")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.4)
    assert process.poll() is None


def nothing_half_written(folder, run):
    """Hold that a run that did not finish has no model, and that no temporary file stayed."""
    artifacts = [path for path in folder.glob(f"mlruns/artifacts/*/{run.run_id}/**/*") if path.is_file()]
    assert not [path for path in artifacts if "model" in path.parts]
    assert not [path for path in folder.rglob("*") if "partial" in path.name or path.suffix == ".tmp"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_killed_and_says_so(project, number, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("temporary")
    process = start("train", "-r", "long.yaml", env={"TMPDIR": str(temporary)})
    when_fitting(process, project)
    process.send_signal(number)
    outcome = finish(process, timeout=30)
    assert outcome.code == 130
    assert "Interrupted" in outcome.err
    assert "Traceback" not in outcome.err
    assert not outcome.out
    (run,) = runs()
    assert run.status == "KILLED"
    assert run.tags["mmp.error"] == f"Interrupted ({number.name})."
    assert run.tags["mmp.error.code"] == "interrupted"
    nothing_half_written(project, run)
    assert not list(temporary.iterdir())


def test_a_killed_process_leaves_a_store_that_works(project):
    process = start("train", "-r", "long.yaml")
    when_fitting(process, project)
    process.kill()
    finish(process)
    (dead,) = runs()
    assert dead.status == "RUNNING", "nobody was left to say otherwise"
    nothing_half_written(project, dead)
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
    assert call("train", "-r", "quick.yaml").code == 0
    assert {run.status for run in runs()} == {"RUNNING", "FINISHED"}
    assert call("predict", "--run-id", "latest", "-i", "table.csv", "-q").code == 0


def test_bad_data_fails_the_run_with_the_error(project, mmp):
    (project / "bad.csv").write_text("label,x\n" + "yes,1\n" * 40)
    outcome = mmp("train", "-r", "quick.yaml", "-d", "bad.csv", "--json")
    assert outcome.code == 3
    (run,) = runs()
    assert run.status == "FAILED"
    assert run.tags["mmp.error"] == outcome.error["message"]
    assert run.tags["mmp.error.code"] == outcome.error["code"]
    nothing_half_written(project, run)
    refused = mmp("predict", "--run-id", run.run_id, "-i", "table.csv", "--json")
    assert refused.code == 6
    assert run.run_id in refused.error["message"]


def test_settings_that_cannot_be_carried_out_start_no_run(project, mmp):
    words = ("train", "-r", "quick.yaml", "--set", "model.hyperparameters.values.max_dept=3")
    assert mmp(*words).code == 2
    assert runs() == []


def test_what_the_library_refuses_is_an_error_of_training(project, mmp):
    words = ("train", "-r", "quick.yaml", "--set", "model.hyperparameters.values.booster=nope", "--json")
    outcome = mmp(*words)
    assert (outcome.code, outcome.error["code"]) == (4, "training")
    assert "nope" in outcome.error["message"]
    (run,) = runs()
    assert (run.status, run.tags["mmp.error.code"]) == ("FAILED", "training")


@pytest.mark.parametrize("kilobytes", [60, 1000])
def test_no_room_for_the_store_or_the_model_is_no_bug(project, kilobytes):
    change = "model.hyperparameters.values.n_estimators=3000"
    command = f"ulimit -f {kilobytes}; exec {sys.executable} -m mmp train -r quick.yaml --set {change}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: The" in done.stderr
    assert [run.status for run in runs()] == ([] if kilobytes == 60 else ["FAILED"])


def test_a_reader_that_goes_away_fails_nothing(project):
    process = start("train", "-r", "quick.yaml")
    process.stderr.close()
    process.stdout.close()
    assert process.wait(60) == 0
    assert [run.status for run in runs()] == ["FINISHED"]


def test_several_trainings_at_once_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv")
    names = {}
    for number in range(6):
        names[f"r{number}"] = recipe(
            f"r{number}",
            "classification",
            ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"][number % 2],
            "table.csv",
            "label",
            entities=[KEY],
            values={"n_estimators": 10 + number},
        )
        (tmp_path / f"r{number}.yaml").write_text(names[f"r{number}"])
    processes = {name: start("train", "-r", f"{name}.yaml", "--json") for name in names}
    outcomes = {name: finish(process) for name, process in processes.items()}
    assert {name: outcome.code for name, outcome in outcomes.items()} == dict.fromkeys(names, 0), outcomes
    found = {run.run_id: run for run in runs()}
    assert len(found) == 6
    digests = set()
    for name, outcome in outcomes.items():
        run = found[outcome.json["run_id"]]
        assert (run.status, run.tags["mmp.recipe"]) == ("FINISHED", name)
        (artifacts,) = tmp_path.glob(f"mlruns/artifacts/*/{run.run_id}/artifacts")
        assert (artifacts / "recipe.yaml").read_text() == names[name]
        (log,) = artifacts.glob("logs/*.log")
        assert log.name.startswith(f"mmp-{name}-")
        manifest = (artifacts / "model" / "mmp_manifest.json").read_text()
        assert run.run_id in manifest
        digests.add(manifest)
        assert run.metrics.keys() >= {"roc_auc", "train_roc_auc", "validation_roc_auc"}
    assert len(digests) == 6
    with closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as database:
        assert database.execute("select count(*) from experiments where name = 'mmp'").fetchone() == (1,)
