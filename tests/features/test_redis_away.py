"""`mmp predict` with a Redis that is stopped, frozen, emptied, or wants another password."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from tests.features import small_shop
from tests.features.small_shop import CONFIG, RECIPE
from tests.servers import new_home

from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

pytestmark = pytest.mark.infra

ROW = json.dumps({"customer_id": 7, "product_code": "0104", "amount": 50})


@pytest.fixture(scope="module")
def home():
    home = new_home()
    home.up("redis")
    yield home
    home.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, home):
    """The small shop, its features in Redis."""
    folder = tmp_path_factory.mktemp("shop")
    with small_shop.inside(folder, small_shop.build_in_redis(folder, home)):
        small_shop.fill()
        (folder / "run").write_text(train(load_recipe(RECIPE), load_config(CONFIG)).run_id)
    return folder


@pytest.fixture
def predict(folder, home, mmp, monkeypatch):
    """Predict one row; the online store is that of the home."""
    monkeypatch.chdir(folder)
    for name in ("REDIS_PORT", "REDIS_PASSWORD"):
        monkeypatch.setenv(name, home.values[name])
    return lambda: mmp("predict", "-c", CONFIG, "--run-id", (folder / "run").read_text(), "-i", ROW, "--json")


@pytest.fixture
def client(home):
    import redis

    with redis.Redis(port=home.redis.port, password=home.redis.password) as client:
        yield client


def refused(outcome):
    """Return what was said, in one sentence, without a password."""
    assert outcome.code == 5, outcome.out
    assert outcome.error["code"] == "feature_store"
    assert "\n" not in outcome.error["message"]
    assert outcome.error["hint"]
    return outcome.error["message"]


def test_a_frozen_store_is_an_error_within_the_budget(predict, client):
    assert predict().code == 0
    pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        message = refused(predict())
        assert time.monotonic() - began < 5
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "Redis" in message
    assert predict().code == 0


def test_a_wrong_password_is_an_error(predict, monkeypatch, home):
    monkeypatch.setenv("REDIS_PASSWORD", "another-one")
    message = refused(predict())
    assert "password" in message
    assert "another-one" not in message
    assert home.redis.password not in message


def test_an_emptied_store_has_nobody(predict, client, mmp):
    full = predict().json["prediction"]
    client.flushall()
    empty = predict().json["prediction"]
    assert empty["probability"] != full["probability"]
    differs = mmp("features", "parity", "-c", CONFIG, "--rows", 50, "--json")
    assert differs.code == 7
    assert {each["n_online"] for each in differs.json["views"]} == {0}
    # the watermarks say that all was written, so everything is written again only when asked for
    assert mmp("features", "materialize", "-c", CONFIG).code == 0
    assert mmp("features", "parity", "-c", CONFIG, "--rows", 50).code == 7
    assert mmp("features", "materialize", "-c", CONFIG, "--full").code == 0
    assert mmp("features", "parity", "-c", CONFIG, "--rows", 50).code == 0
    assert predict().json["prediction"] == full


def test_a_stopped_store_is_an_error_and_heals(predict, home):
    home.run("native.py", "down")
    assert "does not answer" in refused(predict())
    home.up("redis")
    assert predict().code == 0
