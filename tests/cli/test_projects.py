"""What `mmp init` makes, and what the repository itself brings, trains at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmp.catalog.tasks import TASKS
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

ROOT = Path(__file__).parents[2]
UNSEEN = ("validation", "cv", "out_of_fold")
# recipes that take features need stores, and are run by tests/features
RECIPES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.glob("recipes/**/*.yaml")
    if "type: feature_store" not in path.read_text()
)


@pytest.mark.parametrize("example", ["cancer", "diabetes"])
def test_a_new_project_trains_every_recipe_it_brings(example, tmp_path, monkeypatch, mmp):
    made = mmp("init", tmp_path / "deep" / "project", "--example", example, "--json").json
    project = tmp_path / "deep" / "project"
    assert made["path"] == str(project)
    assert sorted(made["files"]) == sorted(
        str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()
    )
    assert {"Dockerfile", "docker-compose.yml", ".gitignore", "README.md", "configs/local.yaml"} <= set(
        made["files"]
    )
    assert "{" not in (project / "README.md").read_text()
    monkeypatch.chdir(project)
    recipes = sorted(Path("recipes").glob("*.yaml"))
    assert len(recipes) == 4
    for path in recipes:
        assert mmp("validate", "-r", path).code == 0
        outcome = mmp("train", "-r", path, "--json")
        assert outcome.code == 0, outcome.out
        assert outcome.json["experiment"] == "project"
        assert outcome.json["warnings"] == []
        test = outcome.json["metrics"]["test"]
        assert test["roc_auc"] > 0.97 if example == "cancer" else test["r2"] > 0.3
    assert {path.name for path in project.iterdir()} - {name.split("/")[0] for name in made["files"]} == {
        "mlruns",
        "logs",
    }


def test_a_folder_that_holds_something_is_left_alone(tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    refused = mmp("init", "mine", "--json")
    assert (refused.code, refused.error["message"]) == (2, "mine is there already and not empty.")
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]
    Path("file").write_text("")
    assert mmp("init", "file").code == 2
    Path("empty").mkdir()
    assert mmp("init", "empty").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "mine"]


def test_a_name_of_any_letters(tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(tmp_path)
    outcome = mmp("init", "내 프로젝트: one #1")
    assert outcome.code == 0
    monkeypatch.chdir("내 프로젝트: one #1")
    trained = mmp("train", "-r", "recipes/cancer_xgboost.yaml", "--json")
    assert trained.json["experiment"] == "내 프로젝트: one #1"


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_every_recipe_of_the_repository_trains(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    result = train(load_recipe(path), load_config("configs/local.yaml"))
    # what a preset tries depends on the time, and what it tells on what it tried
    assert load_recipe(path).value.model.preset or not result.warnings
    primary = TASKS[result.task].primary_metric
    assert primary in result.metrics["test"]
    # folds stand in for a validation part
    judged = next(values for part in UNSEEN if (values := result.metrics.get(part)))
    assert any(primary in name for name in judged)


def test_there_are_recipes():
    assert len(RECIPES) >= 6
