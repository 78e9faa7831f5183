from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmp.errors import SettingsError
from mmp.settings.environment import BadReferenceError, interpolate, read_env
from mmp.settings.load import load_config, load_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
RECIPE = """
name: a
task_choice: regression
model: {class_path: xgboost.XGBRegressor, threads: "${THREADS:2}"}
data:
  loader: {source_uri: "data/${DAY:today}.csv"}
  data_interface: {target_column: "${TARGET:y}"}
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "MMP_")) or name == "APP_ENV":
            monkeypatch.delenv(name)
    (tmp_path / "configs").mkdir()
    return tmp_path


@given(NAMES, st.text())
def test_a_value_is_taken_as_it_is(name, value):
    assert interpolate(f"${{{name}}}", {name: value}.get) == (value, True)
    assert interpolate(f"a ${{{name}}} b", {name: value}.get) == (f"a {value} b", False)


@given(NAMES, st.text(alphabet=st.characters(exclude_characters="${}", exclude_categories=["Cs", "Z", "Cc"])))
def test_a_default_stands_in_for_what_is_not_set(name, default):
    assert interpolate(f"${{{name}:{default}}}", {}.get)[0] == default
    assert interpolate(f"${{{name}:{default}}}", {name: "set"}.get)[0] == "set"


@given(st.text().filter(lambda text: "${" not in text))
def test_text_without_references_stays(text):
    assert interpolate(text, {}.get) == (text, False)


@given(NAMES)
def test_what_is_not_set_and_has_no_default_is_an_error_that_names_it(name):
    with pytest.raises(BadReferenceError, match=rf"\b{name}\b"):
        interpolate(f"x${{{name}}}", {}.get)


@given(st.text(), st.text())
def test_a_password_in_a_uri_may_hold_any_character(user, password):
    # surrogates have no UTF-8, and %41 is taken as encoded already
    user, password = (re.sub(r"%(?=[0-9A-Fa-f]{2})|[\ud800-\udfff]", "", text) for text in (user, password))
    values = {"USER": user, "PW": password, "HOST": "db", "DB": "x"}
    uri, _ = interpolate("postgresql://${USER}:${PW:none}@${HOST}:${PORT:5432}/${DB}?a=b@c", values.get)
    parts = urlsplit(uri)
    assert (parts.hostname, parts.port, parts.path, parts.query) == ("db", 5432, "/x", "a=b@c")
    assert (unquote(parts.username), unquote(parts.password)) == (user, password)


@pytest.mark.parametrize(
    ("text", "value", "read"),
    [
        ("redis://:${A}@h", "p%40ss", "redis://:p%40ss@h"),
        ("https://${A}@h/x", "anna:s3/cret", "https://anna:s3%2Fcret@h/x"),
        ("https://h/${A}", "a/b@c", "https://h/a/b@c"),
        ("s3://bucket/${A}/x@y", "a b", "s3://bucket/a b/x@y"),
        ("mail ${A}@h", "a b", "mail a b@h"),
    ],
)
def test_only_users_and_passwords_of_uris_are_encoded(text, value, read):
    assert interpolate(text, {"A": value}.get) == (read, False)


def test_the_dev_config_is_filled_by_the_local_infrastructure(project):
    (project / "configs/dev.yaml").write_text((CONFIGS / "dev.yaml").read_text())
    bare = load_config("configs/dev.yaml").value
    assert bare.mlflow.tracking_uri == "http://localhost:5002"
    assert bare.feature_store.feast_config.online_store.password is None
    (project / "mmp-local-dev").mkdir()
    (project / "mmp-local-dev/.env").write_text(
        "POSTGRES_PORT=6432\nPOSTGRES_PASSWORD=owns\nPOSTGRES_READER_PASSWORD='r/e@d'\n"
        "REDIS_PORT=7379\nREDIS_PASSWORD=0123\nMLFLOW_TRACKING_URI=http://localhost:6002\n"
    )
    config = load_config("configs/dev.yaml").value
    assert config.mlflow.tracking_uri == "http://localhost:6002"
    uri = config.data_source.config.connection_uri.get_secret_value()
    assert uri == "postgresql://mlpipeline_reader:r%2Fe%40d@localhost:6432/mlpipeline_db"
    feast = config.feature_store.feast_config
    assert feast.registry.get_secret_value().startswith(
        "postgresql+psycopg://mlpipeline_user:owns@localhost:6432/"
    )
    assert feast.online_store.connection_string.get_secret_value() == "localhost:7379"
    assert feast.online_store.password.get_secret_value() == "0123"
    assert (feast.offline_store.port, feast.offline_store.user) == (6432, "mlpipeline_reader")
    assert feast.offline_store.password.get_secret_value() == "r/e@d"


def test_an_empty_value_is_a_value_and_a_doubled_dollar_is_text():
    assert interpolate("${A:default}", {"A": ""}.get) == ("", True)
    assert interpolate("$${A}-${A}", {"A": "1"}.get) == ("${A}-1", False)
    assert interpolate("${A}", {"A": "${B}"}.get) == ("${B}", True)


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A", "${A:${B}}", "${A-B}"])
def test_what_is_no_reference_is_an_error(text):
    with pytest.raises(BadReferenceError):
        interpolate(text, {"A": "1", "B": "2"}.get)


def test_a_whole_reference_is_a_scalar_and_an_embedded_one_is_text(project, monkeypatch):
    (project / "r.yaml").write_text(RECIPE)
    recipe = load_recipe("r.yaml").value
    assert recipe.model.threads == 2
    assert recipe.data.loader.source_uri == "data/today.csv"
    monkeypatch.setenv("THREADS", "3")
    monkeypatch.setenv("DAY", "01")
    monkeypatch.setenv("TARGET", "012")
    recipe = load_recipe("r.yaml").value
    assert (recipe.model.threads, recipe.data.loader.source_uri) == (3, "data/01.csv")
    assert recipe.data.data_interface.target_column == "012"


@pytest.mark.parametrize(
    "password", ["12345", "1e5", "true", "0x10", "a: b #c", "'quoted'", "${OTHER}", "null-ish"]
)
def test_a_password_that_looks_like_something_else_stays_what_it_is(project, monkeypatch, password):
    (project / "configs/a.yaml").write_text(
        "mlflow: {tracking_password: '${PW}', tracking_username: '${PW}'}\n"
    )
    monkeypatch.setenv("PW", password)
    mlflow = load_config("configs/a.yaml").value.mlflow
    assert mlflow.tracking_password.get_secret_value() == password
    assert mlflow.tracking_username == password


def test_env_file_syntax(project):
    (project / ".env").write_text(
        '# comment\n\nexport A=1\nB = two words # not this\nC=\'single $X \\n\'\nD="double\\n\\"q\\""\n'
        "E=\"two\nlines\" # note\nF=\nG=a#b\nH='x' \n"
    )
    assert read_env(project / ".env") == {
        "A": "1", "B": "two words", "C": "single $X \\n", "D": 'double\n"q"', "E": "two\nlines", "F": "",
        "G": "a#b", "H": "x",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "line"), [("A=1\nnonsense\n", 2), ("A='1\n", 1), ('\nB="x\n', 2)])
def test_env_files_that_are_broken(project, text, line):
    (project / ".env").write_text(text)
    with pytest.raises(SettingsError, match=rf"\.env:{line}: "):
        read_env(project / ".env")


def test_the_order_of_env_files(project, monkeypatch):
    (project / "configs/dev.yaml").write_text(
        "environment: {description: '${ONE} ${TWO} ${THREE} ${FOUR}'}\n"
    )
    (project / ".env").write_text("ONE=project\n")
    (project / ".env.dev").write_text("ONE=named\nTWO=named\n")
    (project / "mmp-local-dev").mkdir()
    (project / "mmp-local-dev/.env").write_text("ONE=infra\nTWO=infra\nTHREE=infra\nFOUR=infra\n")
    monkeypatch.setenv("FOUR", "process")
    before = dict(os.environ)
    loaded = load_config("configs/dev.yaml")
    assert loaded.value.environment.description == "project named infra process"
    assert dict(os.environ) == before
    told = [finding.message for finding in loaded.findings]
    assert "From .env: ONE." in told
    assert "From .env.dev: TWO." in told
    assert any(message.startswith("ONE stands in .env and, differently, in .env.dev") for message in told)
    assert not any("FOUR" in message and message.startswith("From") for message in told)
    assert loaded.surroundings.values()["THREE"] == "infra"


def test_the_infra_file_is_for_dev_only_and_can_be_named(project, monkeypatch, tmp_path_factory):
    (project / "mmp-local-dev").mkdir()
    (project / "mmp-local-dev/.env").write_text("X=bundled\n")
    (project / "configs/prod.yaml").write_text("environment: {description: '${X:none}'}\n")
    assert load_config("configs/prod.yaml").value.environment.description == "none"
    (project / "configs/other.yaml").write_text("environment: {name: dev, description: '${X:none}'}\n")
    assert load_config("configs/other.yaml").value.environment.description == "bundled"
    named = tmp_path_factory.mktemp("infra")
    (named / ".env").write_text("X=named\n")
    monkeypatch.setenv("MMP_LOCAL_DEV", str(named))
    assert load_config("configs/other.yaml").value.environment.description == "named"


def test_which_config_is_loaded(project, monkeypatch):
    loaded = load_config()
    assert loaded.value.mlflow.tracking_uri == "sqlite:///mlruns/mlflow.db"
    assert [finding.level for finding in loaded.findings] == ["info"]
    for name in ("local", "prod", "named"):
        (project / f"configs/{name}.yaml").write_text("mlflow: {}\n")
    assert load_config().value.environment.name == "local"
    monkeypatch.setenv("APP_ENV", "prod")
    assert load_config().path == "configs/prod.yaml"
    monkeypatch.setenv("MMP_CONFIG", "configs/named.yaml")
    assert load_config().path == "configs/named.yaml"
    assert load_config("configs/local.yaml").path == "configs/local.yaml"


def test_a_config_that_was_named_and_is_not_there_is_an_error(project, monkeypatch):
    (project / "configs/base.yaml").write_text("mlflow: {}\n")
    (project / "configs/prod.yaml").write_text("mlflow: {}\n")
    for name, value in (("APP_ENV", "prd"), ("MMP_CONFIG", "configs/prd.yaml")):
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=r"no config at configs/prd\.yaml") as raised:
            load_config()
        assert raised.value.hint == "Did you mean 'configs/prod.yaml'?"


def test_environment_over_config_over_env_file_over_default(project, monkeypatch):
    (project / ".env").write_text("MLFLOW_TRACKING_URI=http://file\n")
    (project / "configs/a.yaml").write_text("mlflow: {experiment_name: x}\n")
    (project / "configs/b.yaml").write_text("mlflow: {tracking_uri: 'http://config'}\n")
    assert load_config("configs/a.yaml").value.mlflow.tracking_uri == "http://file"
    assert load_config("configs/b.yaml").value.mlflow.tracking_uri == "http://config"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://process")
    loaded = load_config("configs/b.yaml")
    assert loaded.value.mlflow.tracking_uri == "http://process"
    assert any(
        "MLFLOW_TRACKING_URI in the environment wins" in finding.message for finding in loaded.findings
    )


def test_credentials_of_the_environment_reach_the_config(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "0123")
    mlflow = load_config().value.mlflow
    assert mlflow.tracking_username == "ann"
    assert mlflow.tracking_password.get_secret_value() == "0123"


def test_credentials_in_the_tracking_uri_are_taken_out(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:p%40ss@host:1/x")
    mlflow = load_config().value.mlflow
    assert mlflow.tracking_uri == "https://host:1/x"
    assert mlflow.tracking_password.get_secret_value() == "p@ss"
