"""Gates: a limit that is not kept ends the run FAILED, with its model and without a registered version."""

from __future__ import annotations

import pytest
from tests.judged import CONFIG, content, crown, trained
from tests.tables import KEY, recipe, write_mixed

from mmp.errors import GateError, SettingsError
from mmp.pipelines.model import load_model
from mmp.settings.load import load_config
from mmp.tracking.stores import connect

LOGISTIC = "sklearn.linear_model.LogisticRegression"
OFF = "plots: false, explain: {enabled: false}"


def gated(gates, target="label", **values):
    lines = [f"evaluation: {{gates: {{{gates}}}, {OFF}}}"]
    return trained("awkward", target=target, lines=lines, **values)


def newest():
    with connect(load_config("config.yaml").value.mlflow) as store:
        return store.search(limit=1)[0]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv", "awkward", n_rows=600)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def test_limits_that_are_kept_are_told(project):
    result = gated("roc_auc: {min: 0.5}, log_loss: {max: 2}, f1_macro: {min: 0.1, max: 1}")
    (finding,) = [finding for finding in result.warnings if finding.check == "gates"]
    assert finding.level == "info"
    assert finding.message.count("is at least") == 2
    assert [gate["holds"] for gate in content(project, result.run_id, "summary.json")["gates"]] == [True] * 4


def test_a_limit_that_is_not_kept_fails_the_run_and_keeps_the_model(project):
    with pytest.raises(GateError) as caught:
        gated("roc_auc: {min: 0.5}, log_loss: {max: 0.001}, mcc: {min: 1}")
    assert caught.value.exit_code == 7
    assert "2 gates do not hold: log_loss" in caught.value.message
    run = newest()
    assert (run.status, run.tags["mmp.error.code"]) == ("FAILED", "gate")
    assert run.metrics["log_loss"] > 0.001
    assert [gate["holds"] for gate in content(project, run.run_id, "summary.json")["gates"]] == [
        True,
        False,
        False,
    ]
    config = load_config("config.yaml").value
    assert load_model(run.run_id, config).bundle.metrics["test"]["log_loss"] == run.metrics["log_loss"]
    crown(run.run_id)  # what a human decides is another matter


def test_a_failed_run_is_not_registered(project):
    with pytest.raises(GateError):
        gated("log_loss: {max: 0.001}")
    assert gated("log_loss: {max: 9}")
    with connect(load_config("config.yaml").value.mlflow) as store:
        store.set_alias("churn", "first", "1")
        assert store.get_run(store.resolve_alias("churn", "first")).status == "FINISHED"


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_no_worse_than_the_champion(metric, project):
    first = gated(f"{metric}: {{vs: champion}}")  # there is none yet
    assert any("is no model yet" in finding.message for finding in first.warnings)
    crown(first.run_id)
    gated(f"{metric}: {{vs: champion}}")
    with pytest.raises(GateError, match=f"{metric} .* is worse than .* of champion"):
        gated(f"{metric}: {{vs: champion, tolerance: 0.001}}", C=1e-5)
    apart = abs(newest().metrics[metric] - first.metrics["test"][metric])
    gated(f"{metric}: {{vs: champion, tolerance: {apart * 1.01}}}", C=1e-5)
    with pytest.raises(GateError, match="by more than"):
        gated(f"{metric}: {{vs: champion, tolerance: {apart * 0.99}}}", C=1e-5)


def test_another_alias(project):
    crown(gated("log_loss: {max: 9}").run_id, "candidate")
    with pytest.raises(GateError, match="of candidate"):
        gated("log_loss: {vs: candidate}", C=1e-5)


def test_a_champion_that_cannot_be_asked_lets_nothing_pass(project):
    crown(gated("log_loss: {max: 9}").run_id)
    for path in project.glob("mlruns/artifacts/*/*/artifacts/model/baseline.json"):
        path.write_text("{}")
    with pytest.raises(GateError, match="champion could not be asked"):
        gated("log_loss: {vs: champion}")


@pytest.mark.parametrize(("gates", "words"), [
    ("rok_auc: {min: 0.5}", "did you mean 'roc_auc'"),
    ("roc_auc: {}", "it limits nothing"),
    ("roc_auc: {min: 0.9, max: 0.8}", "nothing is at least 0.9 and at most 0.8"),
])  # fmt: skip
def test_gates_that_cannot_be_are_refused(gates, words, project):
    with pytest.raises(SettingsError, match=words):
        gated(gates)


@pytest.mark.parametrize("asked", [
    "evaluation.gates={recall_nowhere: {min: 0.1}}",
    "evaluation.threshold={optimise: recall_nowhere}",
    "evaluation.metrics=[roc_auc, recall_nowhere]",
    "model.hyperparameters.optimization_metric=recall_nowhere",
])  # fmt: skip
@pytest.mark.parametrize("verb", ["validate", "plan", "train"])
def test_a_class_that_is_not_there_is_told_before_anything_is_fitted(verb, asked, project, mmp):
    write_mixed(project / "table.csv", "text", n_rows=200)
    text = recipe("r", "classification", LOGISTIC, "table.csv", "label", entities=[KEY])
    (project / "r.yaml").write_text(text, encoding="utf-8")
    outcome = mmp(verb, "-r", "r.yaml", "--set", asked)
    assert outcome.code == 2, outcome.err
    assert "'recall_nowhere' asks for class 'nowhere', which the target does not have" in outcome.err
    assert "\nfit " not in outcome.err


def test_a_champion_of_another_target_is_told_in_one_sentence(project, mmp):
    crown(gated("log_loss: {max: 9}").run_id)
    text = (project / "table.csv").read_text(encoding="utf-8").replace("label", "answer", 1)
    (project / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(GateError, match=r"asked: it predicts 'label', as classification\.$"):
        gated("log_loss: {vs: champion}", target="answer")


def test_a_gate_needs_test_rows_and_a_registered_model(project, mmp):
    with pytest.raises(SettingsError, match="held against the test split"):
        trained("awkward", lines=["  split: {train: 0.8, validation: 0.2, test: 0}",
                                  f"evaluation: {{gates: {{roc_auc: {{min: 0.5}}}}, {OFF}}}"])  # fmt: skip
    (project / "config.yaml").write_text("environment: {name: none}\n")
    with pytest.raises(SettingsError, match=r"write mlflow\.registered_model_name"):
        gated("roc_auc: {vs: champion}")


def test_exit_code_and_words(project, mmp):
    gated("log_loss: {max: 9}")
    outcome = mmp(
        "train", "-r", "r.yaml", "-c", "config.yaml", "--set", "evaluation.gates.log_loss.max=0.001"
    )
    assert outcome.code == 7
    assert "A gate does not hold: log_loss" in outcome.err
    assert "keeps the model" in outcome.err
