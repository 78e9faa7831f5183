"""What a run writes down, as MLflow's own client reads it."""

from __future__ import annotations

import json
import os
import re
import warnings

import pytest
import yaml
from tests.commands import call
from tests.tables import KEY, recipe, write_mixed

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, on being imported
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    from mlflow import MlflowClient

ENTITIES = [KEY]
MORE = [
    "evaluation: {random_state: 7}",
    "metadata:",
    "  author: Anna",
    "  description: A small table.",
    "  tags: {team: growth, 'cost centre': '42'}",
    "tracking: {experiment: churn}",
]
CONFIG = """\
environment: {name: local}
mlflow: {tracking_uri: ./mlruns, experiment_name: unused, experiment_prefix: growth}
logging: {base_path: ./logs}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with one run of XGBoost that stopped early."""
    folder = tmp_path_factory.mktemp("logged")
    write_mixed(folder / "table.csv")
    (folder / "configs").mkdir()
    (folder / "configs" / "local.yaml").write_text(CONFIG)
    text = recipe(
        "small",
        "classification",
        "xgboost.XGBClassifier",
        "table.csv",
        "label",
        entities=ENTITIES,
        values={"n_estimators": 400, "max_depth": 3, "learning_rate": 0.3},
        lines=MORE,
    ).replace("  hyperparameters", "  early_stopping: {rounds: 5}\n  hyperparameters")
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def result(folder):
    env = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    outcome = call("train", "-r", "small.yaml", "--json", "-q", cwd=folder, env=env)
    assert outcome.code == 0, outcome.err
    return outcome.json


@pytest.fixture(scope="module")
def client(folder):
    return MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")


@pytest.fixture(scope="module")
def run(client, result):
    return client.get_run(result["run_id"])


@pytest.fixture
def artifact(folder, result):
    def path(name):
        (found,) = folder.glob(f"mlruns/artifacts/*/{result['run_id']}/artifacts/{name}")
        return found

    return path


def test_the_result_is_what_the_specification_says(result):
    assert set(result) >= {
        "run_id",
        "experiment",
        "model_uri",
        "metrics",
        "artifacts",
        "timings_s",
        "warnings",
    }
    assert result["model_uri"] == f"runs:/{result['run_id']}/model"
    assert set(result["metrics"]) == {"train", "validation", "test"}
    assert list(result["timings_s"]) == [
        "read",
        "check",
        "split",
        "prepare",
        "fit",
        "evaluate",
        "explain",
        "package",
        "log",
    ]
    assert {finding["check"] for finding in result["warnings"]} >= {"positive_class"}


def test_the_experiment_is_prefix_and_name(client, run, result):
    experiment = client.get_experiment(run.info.experiment_id)
    assert (experiment.name, result["experiment"]) == ("growth/churn", "growth/churn")
    assert re.fullmatch(r"small_\d{8}T\d{6}Z", run.info.run_name)
    assert run.info.status == "FINISHED"


def test_parameters(run):
    params = run.data.params
    assert (params["n_estimators"], params["max_depth"]) == ("400", "3")
    assert "subsample" in params, "the catalog's defaults are logged as well"
    assert params["data.data_interface.target_column"] == "label"
    assert params["model.class_path"] == "xgboost.XGBClassifier"
    assert params["model.early_stopping.rounds"] == "5"
    assert params["evaluation.random_state"] == "7"
    assert (params["dataset.rows"], params["dataset.columns"]) == ("240", "13")
    assert not [name for name in params if "hyperparameters.values" in name or name.startswith("metadata")]


def test_metrics_by_split(run, result):
    metrics = run.data.metrics
    for split, prefix in (("train", "train_"), ("validation", "validation_"), ("test", "")):
        for name, value in result["metrics"][split].items():
            assert metrics[prefix + name] == value
    assert {"accuracy", "roc_auc", "log_loss", "brier", "mcc", "f1_macro"} <= set(result["metrics"]["test"])


def test_the_evaluation_history_by_step(client, run, result):
    histories = [name for name in run.data.metrics if "logloss" in name]
    assert histories
    for name in histories:
        steps = [point.step for point in client.get_metric_history(result["run_id"], name)]
        assert sorted(steps) == list(range(len(steps)))
        assert 5 < len(steps) < 400, "it stopped early"


def test_tags(run):
    tags = run.data.tags
    assert (tags["mmp.kind"], tags["mmp.task"]) == ("train", "classification")
    assert (tags["mmp.model"], tags["mmp.recipe"]) == ("xgboost.XGBClassifier", "small")
    assert (tags["team"], tags["cost centre"], tags["mmp.author"]) == ("growth", "42", "Anna")
    assert tags["mlflow.note.content"] == "A small table."
    assert {"mmp.version", "mmp.python", "mmp.version.xgboost", "mmp.recipe.digest"} <= set(tags)
    assert "mlflow.source.git.commit" not in tags, "this folder is in no repository"


def test_the_manifest_is_the_one_in_the_tag(run, artifact):
    import hashlib

    content = artifact("model/mmp_manifest.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() in run.data.tags.values()


def test_the_table_is_an_input_of_the_run(run):
    (entry,) = run.inputs.dataset_inputs
    assert entry.dataset.name == "table.csv"
    assert json.loads(entry.dataset.profile)["num_rows"] == 240
    assert run.data.params["dataset.digest"].startswith(entry.dataset.digest)
    columns = {
        column["name"]: column["type"] for column in json.loads(entry.dataset.schema)["mlflow_colspec"]
    }
    assert columns["age (years)"] == "long"
    assert columns["zip"] == "string"
    assert columns["is active?"] == "boolean"
    assert columns["seen at"] == "datetime"


def test_the_files(folder, artifact, result, client):
    assert artifact("recipe.yaml").read_text() == (folder / "small.yaml").read_text()
    assert yaml.safe_load(artifact("config.yaml").read_text()) == yaml.safe_load(CONFIG)
    assert "xgboost" in artifact("model/environment.lock").read_text()
    assert "fit: xgboost.XGBClassifier" in artifact("logs/*.log").read_text()
    listed = {item.path for item in client.list_artifacts(result["run_id"])}
    assert listed == {"model", "recipe.yaml", "config.yaml", "logs", "plots", "explain", "evaluation"}
    named = {item.path for item in client.list_artifacts(result["run_id"], "model")}
    wanted = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json"}
    assert {f"model/{name}" for name in wanted} <= named


def test_a_repository_is_noted(folder, tmp_path):
    import subprocess

    for name in ("table.csv", "small.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "small.yaml"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    (tmp_path / "small.yaml").write_text((tmp_path / "small.yaml").read_text() + "# later\n")
    run_id = call("train", "-r", "small.yaml", "--json", cwd=tmp_path).json["run_id"]
    tags = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").get_run(run_id).data.tags
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (tags["mlflow.source.git.commit"], tags["mmp.git.dirty"]) == (head.stdout.strip(), "true")


CANARIES = {
    "literal": "kanarie-literal-3141",
    "shell": "kanarie-shell-5926",
    "dotenv": "kanarie-dotenv-5358",
    "url": "kanarie-url-9793",
}


def test_no_secret_is_written_anywhere(folder, tmp_path):
    for name in ("table.csv", "small.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "configs").mkdir()
    (tmp_path / ".env").write_text(f"FROM_DOTENV={CANARIES['dotenv']}\n")
    (tmp_path / "configs" / "local.yaml").write_text(f"""\
mlflow:
  tracking_uri: ./mlruns
  tracking_username: anna
  tracking_password: {CANARIES["literal"]}
data_source:
  adapter_type: storage
  config:
    base_path: .
    storage_options: {{key: anna, secret: "${{FROM_SHELL}}"}}
output:
  inference:
    adapter_type: sql
    config: {{connection_uri: "postgresql://anna:{CANARIES["url"]}@db/x", table: t}}
serving:
  auth: {{enabled: false, type: jwt, secret_key: "${{FROM_DOTENV}}"}}
""")
    # a secret in a sentence of ours as well: the run fails after it has begun
    (tmp_path / "bad.csv").write_text("label,x\n" + "yes,1\n" * 30)
    env = {"FROM_SHELL": CANARIES["shell"]}
    trained = call("train", "-r", "small.yaml", "-v", cwd=tmp_path, env=env)
    assert trained.code == 0, trained.err
    failed = call("train", "-r", "small.yaml", "-d", "bad.csv", "-v", cwd=tmp_path, env=env)
    assert failed.code == 3, failed.err
    validated = call("validate", "-r", "small.yaml", "-v", cwd=tmp_path, env=env)
    written = [path for top in ("mlruns", "logs") for path in (tmp_path / top).rglob("*") if path.is_file()]
    assert [path for path in written if path.name == "config.yaml"]
    texts = {str(path): path.read_bytes() for path in written}
    for outcome in (trained, failed, validated):
        texts |= {f"{id(outcome)} {name}": getattr(outcome, name).encode() for name in ("out", "err")}
    for canary in CANARIES.values():
        assert not [place for place, content in texts.items() if canary.encode() in content]
