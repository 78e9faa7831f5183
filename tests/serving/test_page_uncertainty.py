"""The page of a model that says how sure it is, in a real browser."""

from __future__ import annotations

import pytest
from tests.commands import call
from tests.http_server import CONFIG, QUIET, serving
from tests.serving.browser import PROGRAM, Browser
from tests.tables import KEY, recipe, write_mixed

pytestmark = [pytest.mark.infra, pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")]
SPLIT = "  split: {train: 0.5, validation: 0.1, test: 0.1, calibration: 0.3}"
EVALUATION = "evaluation: {plots: false, explain: {enabled: false}, intervals: {coverage: 0.875}}"
MODELS = {
    "value": ("mmp.modeling.quantile.QuantileEnsemble", {"quantiles": "[0.5, 0.995]", "n_estimators": 8}),
    "awkward": ("xgboost.XGBClassifier", {"n_estimators": 8}),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("labels", MODELS)
def test_it_shows_how_sure_the_answer_is(labels, browser, tmp_path):
    write_mixed(tmp_path / "table.csv", labels, n_rows=300)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/local.yaml").write_text(CONFIG)
    class_path, values = MODELS[labels]
    task = "regression" if labels == "value" else "classification"
    text = recipe(
        "sure", task, class_path, "table.csv", "label", entities=[f"'{KEY}'"], values=values,
        lines=(SPLIT, EVALUATION),
    )  # fmt: skip
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    done = call("train", "-r", "r.yaml", "--json", "-q", cwd=tmp_path, env=QUIET)
    assert done.code == 0, done.err
    with serving(tmp_path, "--run-id", done.json["run_id"]) as server:
        answer = server.post("/predict", server.example).json
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("!document.getElementById('columns').hidden")
        browser.run("document.querySelector('#ask [type=submit]').click()")
        browser.wait("document.querySelector('#answer .result') !== null")
        shown = browser.text("#answer")
    if labels == "awkward":
        assert f"87.5 % sure: {' or '.join(answer['prediction_set'])}" in shown
    else:
        assert "87.5 % sure: between" in shown
        assert "50 % at most" in shown
        assert "99.5 % at most" in shown
