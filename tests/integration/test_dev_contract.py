"""What mmp requires of its infrastructure is provided, and what is provided is true."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmp.settings.load import load_config
from mmp.settings.stores import FeastConfig

ROOT = Path(__file__).parents[2]
LOCAL_DEV = ROOT / "mmp-local-dev"
REQUIRED, PROVIDED = (yaml.safe_load((place / "dev-contract.yml").read_text()) for place in (ROOT, LOCAL_DEV))
DEV = (ROOT / "configs/dev.yaml").read_text()
# what has a default that suits the infrastructure, and is no part of the contract
BESIDE = {"POSTGRES_SSLMODE"}


@pytest.fixture(scope="module")
def terms():
    sys.path.insert(0, str(LOCAL_DEV))
    from localdev import contract

    yield contract
    sys.path.remove(str(LOCAL_DEV))


def _put(contract, clause, value):
    """Return a contract with another value at a clause; without the clause where the value is None."""
    contract = copy.deepcopy(contract)
    *path, name = clause.split(".")
    place = contract
    for step in path:
        place = place[step]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return contract


def test_what_is_required_is_provided(terms):
    assert terms.gaps(REQUIRED, PROVIDED) == []


@pytest.mark.parametrize(
    ("clause", "value"),
    [
        ("version", "1.0"),
        ("version", "2.0"),
        ("environment.REDIS_PASSWORD", None),
        ("environment.POSTGRES_PASSWORD.secret", False),
        ("environment.POSTGRES_PORT.type", "text"),
        ("services.redis.minimum_version", "6.2"),
        ("services.mlflow.default_port", 5000),
        ("services.postgresql.protocol", "mysql"),
        ("roles.reader.schemas", ["public"]),
        ("schemas.public.transactions.columns.is_fraud", None),
        ("schemas.public.transactions.columns.amount", "double precision"),
        ("schemas.public.transactions.minimum_rows", 100),
        ("feast.project", "another"),
        ("feast.services.fraud_detection", ["user_demographics"]),
        ("verification", None),
    ],
)
def test_a_provider_that_falls_short_is_told_the_clause(terms, clause, value):
    assert [gap[0] for gap in terms.gaps(REQUIRED, _put(PROVIDED, clause, value))] == [clause]


@pytest.mark.parametrize(
    ("clause", "value"),
    [
        ("services.redis.minimum_version", "7.10"),
        ("schemas.features.user_demographics", {"columns": {"x": "text"}}),
    ],
)
def test_what_is_provided_in_addition_is_no_gap(terms, clause, value):
    assert terms.gaps(REQUIRED, _put(PROVIDED, clause, value)) == []


_PARTS = st.lists(st.integers(0, 40), min_size=1, max_size=4)


@given(_PARTS, _PARTS)
def test_versions_compare_number_by_number(terms, one, other):
    def text(parts):
        return ".".join(map(str, parts))

    n = max(len(one), len(other))
    first, second = (parts + [0] * (n - len(parts)) for parts in (one, other))
    assert (terms.version(text(one)) < terms.version(text(other))) == (first < second)
    assert terms.is_within(text(one), f">={text(other)}") == (first >= second)
    assert terms.is_within(text(one), f">{text(other)},<={text(other)}") is False


def test_ten_comes_after_nine(terms):
    assert terms.is_within("1.10", ">=1.9,<2")
    with pytest.raises(ValueError, match="quotes"):
        terms.version(1.10)
    with pytest.raises(ValueError, match="not a bound"):
        terms.is_within("1.1", "~1")


def test_variables_are_those_that_the_config_and_the_example_name():
    named = set(re.findall(r"\$\{(\w+)", DEV)) - BESIDE
    assert named == set(REQUIRED["environment"])
    example = re.findall(r"^(\w+)=", (LOCAL_DEV / ".env.example").read_text(), re.MULTILINE)
    assert example == list(PROVIDED["environment"])


def _values():
    """Return values as a new .env would have them."""
    ports = {
        f"{name}_PORT": str(PROVIDED["services"][it]["default_port"])
        for name, it in (("POSTGRES", "postgresql"), ("REDIS", "redis"))
    }
    mlflow = f"http://localhost:{PROVIDED['services']['mlflow']['default_port']}"
    text = {name: f"a-{name.lower()}" for name in PROVIDED["environment"]}
    return {
        **text,
        **ports,
        "POSTGRES_HOST": "localhost",
        "REDIS_HOST": "localhost",
        "MLFLOW_TRACKING_URI": mlflow,
    }


def test_the_config_reads_the_services_of_the_contract(monkeypatch):
    for name, value in _values().items():
        monkeypatch.setenv(name, value)
    config = load_config(ROOT / "configs/dev.yaml").value
    assert config.mlflow.tracking_uri == "http://localhost:5002"
    uri = config.data_source.config.connection_uri.get_secret_value()
    assert (
        uri == "postgresql://a-postgres_reader_user:a-postgres_reader_password@localhost:5432/a-postgres_db"
    )
    feast, said = config.feature_store.feast_config, PROVIDED["feast"]
    assert feast.online_store.connection_string.get_secret_value() == "localhost:6379"
    assert feast.online_store.password.get_secret_value() == "a-redis_password"
    assert (feast.online_store.type, feast.offline_store.type) == (
        said["online_store"],
        said["offline_store"],
    )
    assert feast.project == said["project"]
    assert feast.registry.get_secret_value().endswith(f"search_path%3D{said['registry']['schema']}")


def test_names_of_feasts_settings_are_the_configs():
    ours = {"entities", "views", "services"}
    assert set(PROVIDED["feast"]) - ours <= set(FeastConfig.model_fields)


def test_the_runner_keeps_to_the_contract(terms):
    from localdev.services import SERVICES

    for name, said in PROVIDED["services"].items():
        service = SERVICES[name]
        assert (service.port, service.protocol) == (said["default_port"], said["protocol"])
        assert service.min_version == (terms.version(said["minimum_version"]))
        assert service.port_variable in {said.get("port"), said.get("address")}


def _verified(infra, *words, **values):
    clean = {name: value for name, value in os.environ.items() if name not in infra.values}
    command = [sys.executable, PROVIDED["verification"], "--home", str(infra.folder), "--json", *words]
    done = subprocess.run(
        command, cwd=LOCAL_DEV, env={**clean, **values}, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    assert not any(
        infra.values[name] in done.stdout
        for name, said in PROVIDED["environment"].items()
        if said.get("secret")
    )
    told = json.loads(done.stdout)
    assert (done.returncode == 0) == told["holds"]
    return {clause["clause"]: clause["found"] for clause in told["clauses"] if not clause["holds"]}, told[
        "clauses"
    ]


@pytest.fixture(scope="module")
def infra(world):
    """All services, filled."""
    world.up("mlflow")
    return world


@pytest.mark.infra
def test_the_services_meet_the_contract(infra):
    broken, clauses = _verified(infra)
    assert broken == {}
    assert {"services.mlflow.artifacts", "feast.offline_store.point_in_time", "feast.online_store.read"} <= {
        it["clause"] for it in clauses
    }
    broken, again = _verified(infra, "--quick")
    assert broken == {}
    assert len(again) < len(clauses)


@pytest.mark.infra
@pytest.mark.parametrize(
    ("clause", "value"),
    [
        ("services.redis.minimum_version", "99.1"),
        ("services.postgresql.minimum_version", "99"),
        ("services.mlflow.minimum_version", "99"),
        ("services.mlflow.health_check", "/nowhere"),
        ("schemas.features.user_demographics.columns.age", "text"),
        ("schemas.features.user_demographics.columns.shoe_size", "integer"),
        ("schemas.public.transactions.minimum_rows", 60_000),
        ("schemas.public.orders", {"columns": {"a": "text"}, "minimum_rows": 0}),
        ("schemas.sales", {}),
        ("environment.SHOE_SIZE", {"type": "text"}),
    ],
)
def test_a_clause_that_does_not_hold_is_named(infra, tmp_path, clause, value):
    contract = tmp_path / "contract.yml"
    contract.write_text(yaml.safe_dump(_put(PROVIDED, clause, value)))
    broken, _ = _verified(infra, "--quick", "--contract", str(contract))
    assert list(broken) == [clause]


@pytest.mark.infra
def test_a_view_that_is_not_as_promised_is_named(infra, tmp_path):
    contract = tmp_path / "contract.yml"
    contract.write_text(yaml.safe_dump(_put(PROVIDED, "feast.views.user_demographics.ttl_days", 30)))
    # without --quick: Feast itself is asked
    broken, _ = _verified(infra, "--contract", str(contract))
    assert broken == {"feast.views.user_demographics": "ttl_days is 1095.0, not 30"}


@pytest.mark.infra
@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("POSTGRES_PASSWORD", "wrong", "services.postgresql.health_check"),
        ("POSTGRES_PORT", "1", "services.postgresql.health_check"),
        ("REDIS_PASSWORD", "wrong", "services.redis.health_check"),
        ("REDIS_PORT", "1", "services.redis.health_check"),
        ("MLFLOW_TRACKING_URI", "http://localhost:1", "services.mlflow.health_check"),
        ("POSTGRES_READER_PASSWORD", "wrong", "roles.reader.may"),
        ("POSTGRES_PORT", "many", "environment.POSTGRES_PORT"),
    ],
)
def test_a_service_that_is_not_there_is_named(infra, name, value, clause):
    broken, _ = _verified(infra, "--quick", **{name: value})
    assert clause in broken


@pytest.mark.infra
def test_a_reader_that_may_write_is_noticed(infra):
    import psycopg

    with psycopg.connect(infra.postgres.uri, autocommit=True) as owner:
        owner.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA features GRANT INSERT ON TABLES TO mlpipeline_reader"
        )
        try:
            broken, _ = _verified(infra, "--quick")
        finally:
            owner.execute(
                "ALTER DEFAULT PRIVILEGES IN SCHEMA features REVOKE INSERT ON TABLES FROM mlpipeline_reader"
            )
        left = owner.execute("SELECT relname FROM pg_class WHERE relname LIKE 'contract%'").fetchall()
    assert broken == {"roles.reader.schemas.features": "the reader may INSERT in features"}
    assert left == []
