"""Both compose files are what an engine takes, and say what the native runner says."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from tests.localdev.compose import ROOT, UnsetError, fill, load, problems

INFRA = "mmp-local-dev/docker-compose.yml"
SECRETS = {
    "POSTGRES_PASSWORD": "owner-canary",
    "POSTGRES_READER_PASSWORD": "reader-canary",
    "REDIS_PASSWORD": "redis-canary",
}
ENV = dict(
    line.split("=", 1)
    for line in (ROOT / "mmp-local-dev/.env.example").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
FILES = [pytest.param(INFRA, id="infra"), pytest.param("docker-compose.yml", id="app")]


@pytest.fixture
def infra():
    return load(INFRA, **(ENV | SECRETS))


def flags(service):
    """Return the flags of a command, each with its value."""
    return dict(
        word[2:].split("=", 1) for word in service["command"] if word.startswith("--") and "=" in word
    )


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("${A:-x}", {"A": ""}, "x"),
        ("${A-x}", {"A": ""}, ""),
        ("${A:-x}:5432", {"A": "9"}, "9:5432"),
        ("$$A ${B:-}", {"A": "no"}, "$A "),
    ],
)
def test_variables_are_filled_in_as_compose_does(text, values, expected):
    assert fill(text, values) == expected


@pytest.mark.parametrize("path", FILES)
def test_an_engine_would_take_it(path):
    assert problems(load(path, **(ENV | SECRETS))) == []


@pytest.mark.parametrize("path", FILES)
def test_everything_is_pinned_local_and_named_by_its_service(path):
    for name, service in load(path, **(ENV | SECRETS))["services"].items():
        assert "container_name" not in service
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "build" in service or re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", service["image"]), name
        assert "ports" not in service or {"healthcheck", "restart"} <= service.keys(), name


def test_without_passwords_nothing_starts():
    with pytest.raises(UnsetError, match=r"write \.env first"):
        load(INFRA)


def test_the_project_and_its_services_have_the_names_of_the_contract(infra):
    assert infra["name"] == "mmp-local-dev"
    always = {name for name, service in infra["services"].items() if "profiles" not in service}
    assert always == {"postgresql", "redis", "mlflow"}
    profiles = {profile for service in infra["services"].values() for profile in service.get("profiles", [])}
    assert profiles == {"setup", "auth", "s3"}


def test_the_app_has_a_profile_for_each_use():
    services = load("docker-compose.yml")["services"]
    assert {name: service["profiles"] for name, service in services.items()} == {
        name: [name] for name in ("train", "batch", "serve", "mlflow")
    }
    assert services["mlflow"]["ports"] == ["127.0.0.1:5000:5000"]


def test_versions_meet_the_contract(infra):
    major = {
        name: int(re.search(r":(\d+)", infra["services"][name]["image"])[1])
        for name in ("postgresql", "redis")
    }
    assert major["postgresql"] >= 16
    assert major["redis"] >= 7


@pytest.mark.parametrize("name", ["postgresql", "redis", "mlflow"])
def test_the_native_runner_starts_the_same_servers(infra, monkeypatch, name):
    monkeypatch.syspath_prepend(str(ROOT / "mmp-local-dev"))
    from localdev.services import ALLOWED_HOSTS, SERVICES

    native, service = SERVICES[name], infra["services"][name]
    command = " ".join(service["command"])
    hosts = flags(service).get("allowed-hosts", "").split(",")
    for argument in native.arguments:
        text = argument.format(bind="0.0.0.0", port=native.port, hosts=",".join(hosts))
        assert text in command.replace("--", "") or text in command, argument
    assert name != "mlflow" or set(ALLOWED_HOSTS.split(",")) <= set(hosts)
    assert service["ports"] == [f"127.0.0.1:{native.port}:{native.port}"]
    assert set(service.get("depends_on", {})) == set(native.needs)


def test_both_have_the_same_services(infra, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "mmp-local-dev"))
    from localdev.services import SERVICES

    assert set(SERVICES) == {name for name, service in infra["services"].items() if "profiles" not in service}
    for name in ("postgresql", "redis"):
        version = re.search(r":(\d+)\.(\d+)", infra["services"][name]["image"])
        assert tuple(map(int, version.groups())) >= SERVICES[name].min_version
    pinned = re.search(
        r"^mlflow==(.+?) ", (ROOT / "mmp-local-dev/requirements.txt").read_text(), re.MULTILINE
    )[1]
    assert tuple(map(int, pinned.split("."))) >= SERVICES["mlflow"].min_version


def test_no_secret_is_on_a_command_line(infra):
    for service in infra["services"].values():
        words = yaml.safe_dump([service.get("command"), service.get("healthcheck")])
        assert not [secret for secret in SECRETS.values() if secret in words]


def test_mlflow_runs_as_the_rules_say(infra):
    mlflow = infra["services"]["mlflow"]
    assert flags(mlflow)["workers"] == "1"
    assert {"localhost:*", "127.0.0.1:*", "mlflow:*"} <= set(flags(mlflow)["allowed-hosts"].split(","))
    assert mlflow["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert mlflow["environment"]["PGDATABASE"] == "mlflow_db"
    assert "./mlflow-artifacts:/mlflow-artifacts" in mlflow["volumes"]
    assert mlflow["user"] == "1000:1000"
    assert mlflow["ports"] == ["127.0.0.1:5002:5002"]


def test_health_checks_use_what_the_images_have(infra):
    tools = {
        name: " ".join(service["healthcheck"]["test"])
        for name, service in infra["services"].items()
        if "ports" in service
    }
    assert {name: re.match(r"CMD(?:-SHELL)? (\S+)", words)[1] for name, words in tools.items()} == {
        "postgresql": "pg_isready",
        "redis": "redis-cli",
        "mlflow": "python",
        "mlflow-auth": "python",
        "s3": "wget",
    }


@pytest.mark.parametrize("folder", [".", "mmp-local-dev/mlflow"])
def test_images_are_pinned_hashed_and_not_root(folder):
    text = (ROOT / folder / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM .+ AS (\w+)$", text, re.MULTILINE)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - set(stages)
    assert bases
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)
    assert "--require-hashes" in text
    assert re.search(r"^USER (?!root)\w+$", text, re.MULTILINE)


def test_the_projects_of_mmp_init_get_the_same_image():
    here, theirs = (
        (ROOT / folder / "Dockerfile").read_text(encoding="utf-8")
        for folder in (".", "src/mmp/templates/project")
    )
    for line in ("WORKDIR /app", "USER app", 'ENTRYPOINT ["mmp"]', 'CMD ["--help"]'):
        assert line in here
        assert line in theirs


def test_requirements_have_hashes_and_name_no_place():
    text = (ROOT / "mmp-local-dev/requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z][\w.-]*(?:\[[\w,-]+\])?==[^\\]+\\\n    --hash=", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.MULTILINE)) > 100
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_requirements_are_the_versions_of_the_lock():
    lock, ours = (
        dict(
            re.findall(
                r"^(mlflow|feast|psycopg|redis|boto3)==(\S+)",
                (ROOT / path).read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
        for path in ("requirements.lock", "mmp-local-dev/requirements.txt")
    )
    assert ours == lock


def _has_compose():
    docker = shutil.which("docker")
    return (
        docker
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not _has_compose(), reason="docker has no compose here")
@pytest.mark.parametrize("path", FILES)
def test_compose_itself_takes_it(path, tmp_path):
    env = tmp_path / ".env"
    env.write_text("".join(f"{name}={value}\n" for name, value in (ENV | SECRETS).items()))
    command = [
        "docker",
        "compose",
        "--env-file",
        str(env),
        "-f",
        str(ROOT / path),
        "--profile",
        "*",
        "config",
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
