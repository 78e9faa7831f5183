"""The page of a model with features from the store: the form asks for keys, the explanation tells of features."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.features import small_shop
from tests.features.small_shop import CONFIG, RECIPE
from tests.http_server import serving
from tests.serving.browser import PROGRAM, Browser

from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

pytestmark = [pytest.mark.infra, pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")]
PICTURES = Path(__file__).parents[2] / "build" / "page"
LABELS = "[...document.querySelectorAll('#ask label')].map((each) => each.innerText)"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    small_shop.build(folder)
    with (folder / CONFIG).open("a") as config:
        config.write("serving: {features_timeout_ms: 5000}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        small_shop.fill()
        run_id = train(load_recipe(RECIPE), load_config(CONFIG)).run_id
    with serving(folder, "-c", CONFIG, "--run-id", run_id) as running:
        yield running


def test_keys_are_asked_for_and_features_explain(server, tmp_path):
    PICTURES.mkdir(parents=True, exist_ok=True)
    browser = Browser(tmp_path)
    try:
        browser.size(1280, 900)
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("!document.getElementById('columns').hidden")
        required = server.get("/model/schema").json["request"]["required"]
        assert set(browser.run(LABELS)) == {*required, "order_id"}, "no feature of the store is asked for"
        row = {"customer_id": 7, "product_code": "0104", "amount": 50}
        for label, value in row.items():
            browser.focus(label)
            browser.type(str(value))
        browser.run("document.querySelector('#ask [type=submit]').focus()")
        browser.press("Space")
        browser.wait("document.querySelector('#drivers tr') && !document.querySelector('[aria-disabled]')")
        browser.shoot(PICTURES / "features.png")
        answer = server.post("/predict", row).json
        assert browser.text("#answer").startswith(f"{json.dumps(answer['prediction'])}\n")
        assert "probability" in browser.text("#answer")
        assert browser.text("#chances .is-chosen").startswith(json.dumps(answer["prediction"]))
        assert "and 8 of the feature store" in browser.text("#about")
        said = server.post("/explain", row).json["explanation"]["columns"]
        explained = {each["column"]: each["value"] for each in said}
        assert set(explained) - set(row), "features of the store are among what explains"
        assert any(name in browser.text("#drivers") for name in set(explained) - set(row))
        assert datetime.fromisoformat(explained["last_order_at"]).tzinfo == UTC
        day, clock = explained["last_order_at"].split("+")[0].split("T")
        assert f"{day} {clock}" in browser.text("#drivers")
    finally:
        browser.close()
