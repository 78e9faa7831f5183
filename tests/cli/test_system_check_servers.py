"""`mmp system-check` and `mmp train` on real servers, and on ones that were stopped or do not let us in."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.cli import dev_project
from tests.cli.dev_project import ROOT
from tests.commands import call
from tests.servers import free_ports, new_home

from mmp.settings.load import load_config
from mmp.tracking.stores import connect

FRAUD = """
name: fraud
task_choice: classification
model: {{class_path: xgboost.XGBClassifier}}
data:
  loader: {{source_uri: rows.csv}}
  fetcher: {{type: feature_store, timestamp_column: event_timestamp, features: ["{view}:age"]}}
  data_interface: {{target_column: is_fraud, entity_columns: [user_id]}}
"""

pytestmark = pytest.mark.infra


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the dev config and no values of the shell's."""
    return dev_project.make(tmp_path, monkeypatch)


def check(project, home, *words, **changes):
    """Check with the values of a home, some changed; return how it ended and the checks by name."""
    done = call(
        "system-check",
        "-c",
        "configs/dev.yaml",
        "--json",
        *words,
        cwd=project,
        env={**home.values, **changes},
    )
    for name, value in home.values.items():
        assert not name.endswith("PASSWORD") or not value or value not in done.out + done.err
    return done, {one["name"]: one for one in done.json["checks"]}


def failing(checks):
    return {name for name, one in checks.items() if one["status"] == "fail"}


def test_everything_is_there(project, world, mlflow):
    (project / "fraud.yaml").write_text(FRAUD.format(view="user_demographics"))
    done, checks = check(project, world, "-r", "fraud.yaml")
    assert (done.code, failing(checks)) == (0, set()), done.out
    assert {checks[name]["status"] for name in ("tracking", "database", "redis", "feast", "contract")} == {
        "ok"
    }
    assert "who may only read" in checks["database"]["found"]
    assert "with a password" in checks["redis"]["found"]
    assert "experiment mmp" in checks["tracking"]["found"]


def test_a_check_makes_no_experiment(project, world, mlflow):
    config = project / "configs/dev.yaml"
    config.write_text(config.read_text().replace("experiment_name: mmp", "experiment_name: looked-at"))
    _, checks = check(project, world)
    assert checks["tracking"]["found"] == f"{mlflow.uri}, experiment looked-at: no runs yet"
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{mlflow.uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=looked-at")


def test_a_view_that_the_registry_lacks_is_named(project, world, mlflow):
    (project / "fraud.yaml").write_text(FRAUD.format(view="user_demografics"))
    done, checks = check(project, world, "-r", "fraud.yaml")
    assert (done.code, failing(checks)) == (5, {"feast"})
    assert "user_demografics" in checks["feast"]["found"]
    assert "user_demographics" in checks["feast"]["action"]


def test_a_wrong_password_is_refused_and_not_shown(project, world, mlflow):
    done, checks = check(project, world, POSTGRES_READER_PASSWORD="wr0ng@/:%")
    assert (done.code, failing(checks)) == (3, {"database"})
    assert "password authentication failed" in checks["database"]["found"]
    done, checks = check(project, world, REDIS_PASSWORD="wr0ng")
    assert (done.code, failing(checks)) == (5, {"redis"})
    assert "does not take the config's password" in checks["redis"]["found"]
    done, checks = check(project, world, REDIS_PASSWORD="")
    assert failing(checks) == {"redis"}
    assert "wr0ng" not in done.out


def test_a_role_that_may_write_is_warned_of(project, world, mlflow):
    owner = {"POSTGRES_READER_USER": "POSTGRES_USER", "POSTGRES_READER_PASSWORD": "POSTGRES_PASSWORD"}
    done, checks = check(project, world, **{name: world.values[other] for name, other in owner.items()})
    assert (done.code, checks["database"]["status"]) == (0, "warn")
    assert "may only SELECT" in checks["database"]["action"]


def test_what_is_stopped_is_found_and_the_rest_is_fine(project, world, mlflow):
    (port,) = free_ports(1)
    done, checks = check(project, world, MLFLOW_TRACKING_URI=f"http://localhost:{port}")
    assert (done.code, failing(checks)) == (6, {"tracking"})
    done, checks = check(project, world, REDIS_PORT=str(port))
    assert (done.code, failing(checks)) == (5, {"redis"})
    done, checks = check(project, world, POSTGRES_PORT=str(port))
    assert (done.code, failing(checks)) == (3, {"database", "feast"})


def test_a_password_of_any_characters_lets_us_in(project):
    home = new_home(POSTGRES_READER_PASSWORD="p@ss/w:rd%+?#&", POSTGRES_PASSWORD="o:w@n/er%")
    try:
        home.up("postgres")
        _, checks = check(project, home)
        assert checks["database"]["status"] == "ok", checks["database"]
    finally:
        home.close()


def test_a_training_with_the_dev_config_is_tracked_by_the_server(project, mlflow, mmp, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.uri)
    recipe = (ROOT / "recipes/models/classification/xgboost_classifier.yaml").read_text()
    (project / "small.yaml").write_text(recipe.replace("src/mmp", f"{ROOT}/src/mmp"))
    done = mmp(
        "train", "-c", "configs/dev.yaml", "-r", "small.yaml", "--json", "--set", "evaluation.plots=false"
    )
    assert done.code == 0, done.err
    with connect(load_config("configs/dev.yaml").value.mlflow) as store:
        assert store.uri == mlflow.uri
        run = store.get_run(done.json["run_id"])
    assert (run.status, run.artifact_uri.split(":")[0]) == ("FINISHED", "mlflow-artifacts")
    assert not (project / "mlruns").exists()
