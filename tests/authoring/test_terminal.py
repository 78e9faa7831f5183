"""On a terminal the commands ask, and whoever backs out leaves nothing behind."""

from __future__ import annotations

import pytest
from tests.authoring.terminal import Terminal
from tests.tables import write_mixed

from mmp.settings.load import load_config, load_recipe


def test_a_recipe_by_questions(tmp_path):
    write_mixed(tmp_path / "t.csv", n_rows=100)
    with Terminal("get-recipe", "-o", "recipes/r.yaml", cwd=tmp_path) as terminal:
        terminal.expect("Which table?")
        terminal.answer("t.csv")
        shown = terminal.expect("> [label]")
        assert " 1  label  text" in shown
        terminal.answer()
        terminal.expect("> [classification]")
        terminal.answer("regresion")
        assert "there is no 'regresion'. Did you mean 'regression'?" in terminal.expect("> [classification]")
        terminal.answer("1")
        shown = terminal.expect("> [xgboost.XGBClassifier]")
        assert "lightgbm.LGBMClassifier  takes missing values and categories" in shown
        assert "Regressor" not in shown
        terminal.answer("LogisticRegression")
        terminal.expect("> [t_logisticregression]")
        terminal.answer("mine: #1")
        assert terminal.end() == 0, terminal.seen
        assert "train -r recipes/r.yaml" in terminal.seen
    recipe = load_recipe(tmp_path / "recipes/r.yaml").value
    assert (recipe.name, recipe.model.class_path) == ("mine: #1", "sklearn.linear_model.LogisticRegression")


def test_flags_are_not_asked_for_and_stdout_is_the_recipe_alone(tmp_path):
    write_mixed(tmp_path / "t.csv", n_rows=100)
    words = ("get-recipe", "--target", "label", "--model", "XGBClassifier", "--name", "r")
    with Terminal(*words, cwd=tmp_path, out=tmp_path / "r.yaml") as terminal:
        terminal.expect("Which table?")
        terminal.answer("t.csv")
        terminal.expect("What is predicted?")
        terminal.answer()
        assert terminal.end() == 0, terminal.seen
    assert (tmp_path / "r.yaml").read_text().startswith("# What to do.")
    assert load_recipe(tmp_path / "r.yaml").value.name == "r"
    with Terminal(*words, "-d", "t.csv", "--yes", "-o", "s.yaml", cwd=tmp_path) as terminal:
        assert terminal.end() == 0, terminal.seen
    assert load_recipe(tmp_path / "s.yaml").value.name == "r"


@pytest.mark.parametrize(("key", "answers"), [(b"\x03", 0), (b"\x03", 2), (b"\x04", 1)])
def test_backing_out_leaves_nothing(key, answers, tmp_path):
    write_mixed(tmp_path / "t.csv", n_rows=100)
    with Terminal("get-recipe", "-o", "recipes/r.yaml", cwd=tmp_path) as terminal:
        for question, answer in [("Which table?", "t.csv"), ("to be predicted?", ""), ("What is", "")][
            :answers
        ]:
            terminal.expect(question)
            terminal.answer(answer)
        terminal.expect("> ")
        terminal.press(key)
        assert terminal.end() == 130, terminal.seen
        assert "Interrupted." in terminal.seen
        assert "Traceback" not in terminal.seen
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_config_by_questions_and_nothing_written_over_without_a_yes(tmp_path):
    answers = [
        ("called?", "dev"),
        ("tracked?", "http://localhost:5002"),
        ("experiment", "churn"),
        ("Register", ""),
    ]
    with Terminal("get-config", "-o", "configs/dev.yaml", cwd=tmp_path) as terminal:
        for question, answer in answers:
            terminal.expect(question)
            terminal.answer(answer)
        assert terminal.end() == 0, terminal.seen
    config = load_config(tmp_path / "configs/dev.yaml").value
    assert (config.mlflow.tracking_uri, config.mlflow.experiment_name) == ("http://localhost:5002", "churn")
    before = (tmp_path / "configs/dev.yaml").read_text()
    for last, code in (("", 2), ("yes", 0)):
        with Terminal("get-config", "-o", "configs/dev.yaml", "--env", "x", cwd=tmp_path) as terminal:
            for question, answer in answers[1:]:
                terminal.expect(question)
                terminal.answer(answer)
            terminal.expect("configs/dev.yaml is there already. Write over it?")
            terminal.answer(last)
            assert terminal.end() == code, terminal.seen
        assert ((tmp_path / "configs/dev.yaml").read_text() == before) == (code == 2)
