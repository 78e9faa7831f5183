"""Requests of keys: what they get from Redis, and what happens while Redis is away."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from tests.features import small_shop
from tests.features.small_shop import CONFIG, RECIPE
from tests.http_server import Load, serving
from tests.servers import new_home

from mmp.features import repository
from mmp.features.online import OnlineReader
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.serving.answers import Refusal
from mmp.serving.lookup import OnlineLookup
from mmp.serving.telemetry import Telemetry
from mmp.settings.load import load_config, load_recipe

pytestmark = pytest.mark.infra

ROW = {"customer_id": 7, "product_code": "0104", "amount": 50}


@pytest.fixture(scope="module")
def home():
    home = new_home()
    home.up("redis")
    yield home
    home.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, home):
    """The small shop, its features in Redis; a run without defaults and one with."""
    folder = tmp_path_factory.mktemp("shop")
    with small_shop.inside(folder, small_shop.build_in_redis(folder, home)):
        small_shop.fill()
        runs = {
            policy: train(
                load_recipe(RECIPE, overrides=[f"data.fetcher.on_missing={policy}"]), load_config(CONFIG)
            ).run_id
            for policy in ("null", "default")
        }
    (folder / "runs.json").write_text(json.dumps(runs))
    return folder


@pytest.fixture(scope="module")
def environment(home):
    return {name: home.values[name] for name in ("REDIS_PORT", "REDIS_PASSWORD")}


@pytest.fixture
def serve(folder, environment):
    runs = json.loads((folder / "runs.json").read_text())
    return lambda policy: serving(folder, "-c", CONFIG, "--run-id", runs[policy], env=environment)


@pytest.fixture
def redis_pid(environment):
    import redis

    with redis.Redis(port=int(environment["REDIS_PORT"]), password=environment["REDIS_PASSWORD"]) as client:
        return client.info("server")["process_id"]


def test_a_request_has_keys_and_what_no_store_knows(serve, mmp, folder, environment, monkeypatch):
    with serve("null") as running:
        schema = running.get("/model/schema").json
        assert set(schema["request"]["required"]) == set(ROW)
        answer = running.post("/predict", ROW).json
        assert {name: answer[name] for name in ("customer_id", "product_code")} == {
            "customer_id": 7, "product_code": "0104",
        }  # fmt: skip
        rows = [{**ROW, "customer_id": number} for number in range(1, 40)]
        together = running.post("/predict/batch", {"samples": rows}).json["predictions"]
        alone = [running.post("/predict", row).json for row in rows]
        assert [row["probability"] for row in together] == [row["probability"] for row in alone]
        run_id = running.get("/ready").json["run_id"]
        refused = running.post("/predict", {"amount": 50, "customer_id": None})
        paths = {detail["path"] for detail in refused.error["details"]}
        assert refused.status == 422
        assert paths == {"customer_id", "product_code"}
        explained = running.post("/explain", ROW).json
        assert explained["probability"] == answer["probability"]
        assert b"mmp_feature_store_seconds_count" in running.get("/metrics").body
    monkeypatch.chdir(folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = mmp("predict", "-c", CONFIG, "--run-id", run_id, "-i", json.dumps(ROW), "--json")
    assert said.json["prediction"]["probability"] == answer["probability"]


def test_an_unknown_entity_is_404_where_the_recipe_says_error(serve, folder, environment, monkeypatch):
    unknown = {**ROW, "customer_id": 999_999}
    with serve("null") as running:
        assert running.post("/predict", unknown).status == 200
        run_id = running.get("/ready").json["run_id"]
    monkeypatch.chdir(folder)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = load_config(CONFIG).value
    features = replace(load_model(run_id, config).bundle.features, on_missing="error")
    store = repository.complete(config.feature_store).feast_config.online
    with OnlineReader.open(features, store, timeout_s=1) as reader:
        known, refused = OnlineLookup(reader, Telemetry(()))([ROW, unknown]).rows
    assert set(known) > set(ROW)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (404, "unknown_entity")


@pytest.mark.parametrize("policy", ["null", "default"])
def test_a_frozen_redis_costs_its_budget_and_heals(serve, redis_pid, policy):
    with serve(policy) as running:
        healthy = running.post("/predict", ROW).json["probability"]
        os.kill(redis_pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            reply = running.post("/predict", ROW)
            assert time.monotonic() - started < 1.5
            if policy == "null":
                assert reply.status == 503
                assert reply.error["code"] == "feature_store"
                assert int(reply.headers["retry-after"]) >= 1
            else:
                assert reply.status == 200
                assert reply.json["degraded"] is True
            running.wait_until(lambda: running.get("/ready").status == 503)
            assert running.get("/ready").error["code"] == "degraded"
            assert running.get("/health").status == 200
        finally:
            os.kill(redis_pid, signal.SIGCONT)
        running.wait_until(lambda: running.get("/ready").status == 200)
        running.wait_until(lambda: running.post("/predict", ROW).json.get("probability") == healthy)
        assert "degraded" not in running.post("/predict", ROW).json


def test_redis_that_is_stopped_under_load_is_503_and_heals(serve, home):
    with serve("null") as running:
        with Load(running, "/predict", ROW, n_clients=4) as load:
            running.wait_until(lambda: len(load.answers) > 30)
            home.run("native.py", "down")
            running.wait_until(lambda: any(code == 503 for code, _ in load.answers[-5:]))
            threading.Event().wait(1)
            home.up("redis")
            mark = len(load.answers)
            running.wait_until(
                lambda: len(load.answers) > mark + 50 and {c for c, _ in load.answers[-20:]} == {200}
            )
        assert not load.wrong
        assert {code for code, _ in load.answers} == {200, 503}
        assert not [line for line in running.log() if "bug" in line]
