"""What `mmp get-config` writes loads as it is, and holds no secret."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from mmp.settings.load import load_config


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_defaults_train_at_once(mmp):
    wrote = mmp("get-config", "-o", "configs/local.yaml", "--json")
    assert wrote.json["files"][0] == wrote.json["path"] == "configs/local.yaml"
    config = load_config("configs/local.yaml")
    assert (config.value.mlflow.tracking_uri, config.value.environment.name) == ("./mlruns", "local")
    assert config.findings == ()
    mmp("get-recipe", "--model", "LinearRegression", "--target", "y", "-o", "r.yaml")
    Path("t.csv").write_text("x,y\n" + "\n".join(f"{n},{n * 2 + n % 3}" for n in range(40)) + "\n")
    trained = mmp("train", "-r", "r.yaml", "-d", "t.csv", "--json")
    assert trained.code == 0, trained.out
    assert Path("mlruns").is_dir()


def test_every_word_stands_where_it_belongs(mmp):
    mmp("get-config", "-o", "c.yaml", "--env", "no", "--tracking", "https://runs.example.org:5000/x",
        "--experiment", "a: b #1", "--registered-model", "012")  # fmt: skip
    config = load_config("c.yaml").value
    assert (config.environment.name, config.mlflow.tracking_uri) == ("no", "https://runs.example.org:5000/x")
    assert (config.mlflow.experiment_name, config.mlflow.registered_model_name) == ("a: b #1", "012")
    text = Path("c.yaml").read_text()
    schema = json.loads(
        Path(next(line for line in text.splitlines() if "$schema=" in line).partition("=")[2]).read_text()
    )
    jsonschema.validate(yaml.safe_load(text), schema)


def test_what_is_off_is_right_when_it_is_taken_in(mmp):
    printed = mmp("get-config").out
    head, _, rest = printed.partition("environment:")
    lines = [
        line.replace("# ", "", 1) if _is_key(line) else line for line in f"environment:{rest}".splitlines()
    ]
    Path("c.yaml").write_text(head + "\n".join(lines) + "\n")
    config = load_config("c.yaml").value
    assert config.mlflow.registered_model_name == "churn"
    assert config.logging.retention_days == 30


def _is_key(line):
    word = line.strip().removeprefix("# ").partition(":")[0]
    return line.strip().startswith("# ") and word.islower() and word.replace("_", "").isalpha()


@pytest.mark.parametrize("uri", ["http://anna:s3cret@host:5000", "./a b", "", "${X}"])
def test_what_cannot_stand_there_is_refused(uri, mmp):
    refused = mmp("get-config", "--tracking", uri, "-o", "c.yaml", "--json")
    assert refused.code == 2
    assert refused.error["message"].startswith("--tracking")
    assert "s3cret" not in refused.out + refused.err
    assert not Path("c.yaml").exists()
