"""`mmp system-check`: every check tells what it found, whatever the others find, and what to do about it."""

from __future__ import annotations

import shutil
import socket
import time

import pytest
from tests.cli import dev_project
from tests.cli.dev_project import ROOT
from tests.commands import call
from tests.servers import free_ports

NAMES = [
    "python",
    "packages",
    "tracking",
    "database",
    "redis",
    "feast",
    "disk",
    "output",
    "serving",
    "contract",
]
RECIPE = """
name: fraud
task_choice: classification
model: {class_path: xgboost.XGBClassifier}
data:
  loader: {source_uri: rows.csv}
  fetcher: {type: feature_store, timestamp_column: at, feature_views: {VIEW: {join_key: user_id, features: [a]}}}
  data_interface: {target_column: is_fraud}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the dev config, whose stores are on ports where nothing listens."""
    dev_project.make(tmp_path, monkeypatch)
    postgres, redis, mlflow, serving = free_ports(4)
    (tmp_path / "configs/local.yaml").write_text(f"serving: {{port: {serving}}}\n")
    (tmp_path / ".env.dev").write_text(
        f"POSTGRES_PORT={postgres}\nREDIS_PORT={redis}\nMLFLOW_TRACKING_URI=http://localhost:{mlflow}\n"
        "POSTGRES_PASSWORD=c4nary-owner\nPOSTGRES_READER_PASSWORD=c4nary-reader\nREDIS_PASSWORD=c4nary-redis\n"
    )
    return tmp_path


def checks(done):
    return {check["name"]: check for check in done.json["checks"]}


def statuses(done):
    return {name: check["status"] for name, check in checks(done).items()}


def test_without_servers_only_this_machine_is_checked(project):
    done = call("system-check", "--json", cwd=project)
    assert (done.code, done.json["ok"]) == (0, True)
    found = statuses(done)
    assert list(found) == NAMES
    skipped = {name for name, status in found.items() if status == "skipped"}
    assert skipped == {"database", "redis", "feast", "contract"}
    assert set(found.values()) <= {"ok", "skipped", "warn"}
    assert not (project / "mlruns").exists(), "a check makes no store"


def test_servers_that_are_not_there(project):
    begun = time.monotonic()
    done = call("system-check", "-c", "configs/dev.yaml", "--json", cwd=project)
    assert time.monotonic() - begun < 10
    assert done.code == 6, "that of the first that failed: tracking"
    found = checks(done)
    for name in ("tracking", "database", "redis", "feast"):
        assert found[name]["status"] == "fail"
        assert "does not answer" in found[name]["found"]
        assert found[name]["action"]
    assert found["disk"]["status"] == found["python"]["status"] == "ok"
    assert "c4nary" not in done.out + done.err


def test_what_to_do_is_said_when_asked(project):
    silent = call("system-check", "-c", "configs/dev.yaml", cwd=project)
    assert silent.code == 6
    assert "->" not in silent.out
    told = call("system-check", "-c", "configs/dev.yaml", "--actionable", cwd=project).out
    assert "-> On this machine `mmp dev up` starts it" in told
    assert "c4nary" not in told


def test_servers_that_are_frozen_are_given_up_in_time(project):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        env = {
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(port),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(port),
        }
        begun = time.monotonic()
        done = call("system-check", "-c", "configs/dev.yaml", "--json", cwd=project, env=env)
        assert time.monotonic() - begun < 12
    assert [check["status"] for check in done.json["checks"]].count("fail") == 4


def test_a_port_that_is_taken_is_a_warning(project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (project / "configs/local.yaml").write_text(f"serving: {{port: {port}}}\n")
        done = call("system-check", "--json", cwd=project)
    assert (done.code, statuses(done)["serving"]) == (0, "warn")
    (project / "configs/local.yaml").write_text("serving: {enabled: false}\n")
    assert statuses(call("system-check", "--json", cwd=project))["serving"] == "skipped"


def test_a_place_that_cannot_be_written_to(project):
    (project / "configs/local.yaml").write_text(
        "output: {inference: {config: {base_path: /proc/predictions}}}\n"
    )
    done = call("system-check", "--json", cwd=project)
    assert done.code == 2
    assert "/proc/predictions cannot be written to" in checks(done)["output"]["found"]


def test_a_package_that_is_missing_or_too_old(project, monkeypatch):
    from mmp.pipelines.system import machine

    lines = ["numpy>=99", "nonesuch-library>=1", "pyarrow>=18,<99", "far-away; sys_platform == 'nowhere'"]
    monkeypatch.setattr(machine.metadata, "requires", lambda _: lines)
    from mmp.pipelines.system.base import System
    from mmp.settings.load import load_config

    found = machine.packages(System(load_config(project / "configs/local.yaml").value))
    assert found.status == "fail"
    assert "nonesuch-library is not installed" in found.found
    assert "(needs >=99)" in found.found
    assert "pyarrow" not in found.found + found.action
    assert "far-away" not in found.found


def test_a_registry_in_a_file_is_read_by_feast(project):
    store = (ROOT / "configs/features-local.yaml").read_text().replace("recipes/features/store", ".")
    (project / "configs/files.yaml").write_text(store)
    done = call("system-check", "-c", "configs/files.yaml", "--json", cwd=project)
    feast = checks(done)["feast"]
    assert (done.code, feast["status"]) == (5, "fail")
    assert "data/registry.db" in feast["found"]
    assert "mmp features apply" in feast["action"]


@pytest.mark.parametrize(
    ("was", "is_now", "told"),
    [
        ('version: "1.1"', 'version: "1.10"', ""),
        ('version: "1.1"', 'version: "2.0"', "version >=1.1,<2 is required, 2.0 is provided"),
        ("    amount: numeric(12,2)", "    amount: real", "schemas.public.transactions.columns.amount"),
    ],
)
def test_a_clause_of_the_contract_that_is_broken_is_named(project, was, is_now, told):
    from mmp.pipelines.system.base import System
    from mmp.pipelines.system.contract import contract
    from mmp.settings.load import load_config

    infra = project / "mmp-local-dev"
    shutil.copytree(ROOT / "mmp-local-dev/localdev", infra / "localdev")
    text = (ROOT / "mmp-local-dev/dev-contract.yml").read_text()
    assert was in text
    (infra / "dev-contract.yml").write_text(text.replace(was, is_now))
    found = contract(System(load_config(project / "configs/local.yaml").value, infra=infra))
    assert (found.status, found.exit_code) == (("fail", 7) if told else ("ok", 0))
    assert told in found.found


def test_a_config_that_is_wrong_is_a_settings_error(project):
    (project / "configs/local.yaml").write_text("mlflow: {tracking_url: x}\n")
    done = call("system-check", "--json", cwd=project)
    assert (done.code, done.error["code"]) == (2, "settings")
