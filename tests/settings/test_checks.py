from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from mmp.catalog.metrics import METRICS, parse
from mmp.catalog.steps import STEPS
from mmp.catalog.tasks import TASKS
from mmp.errors import SettingsError
from mmp.lookup import DISTRIBUTIONS
from mmp.settings.checks import check, require
from mmp.settings.config import Config
from mmp.settings.load import load_config, load_recipe
from mmp.settings.recipe import Recipe
from mmp.settings.sources import source_path
from mmp.settings.steps import STEP_MODELS


def recipe(**changes):
    base = {
        "name": "a",
        "task_choice": "classification",
        "model": {"class_path": "xgboost.XGBClassifier"},
        "data": {"data_interface": {"target_column": "y", "entity_columns": ["id"]}},
    }
    return Recipe.model_validate(base | changes)


def steps(*given):
    return recipe(preprocessor={"steps": list(given)})


def told(made, level):
    return [finding.message for finding in check(made, Config()) if finding.level == level]


@pytest.mark.parametrize(
    ("first", "second", "warns"),
    [
        ({"type": "standard_scaler"}, {"type": "simple_imputer"}, True),
        ({"type": "ordinal_encoder"}, {"type": "simple_imputer"}, True),
        ({"type": "standard_scaler", "columns": ["a"]}, {"type": "simple_imputer", "columns": ["b"]}, False),
        (
            {"type": "standard_scaler", "columns": ["price_a"]},
            {"type": "simple_imputer", "columns": "price_*"},
            True,
        ),
        ({"type": "standard_scaler"}, {"type": "one_hot_encoder"}, False),
        ({"type": "simple_imputer"}, {"type": "standard_scaler"}, False),
        ({"type": "simple_imputer"}, {"type": "ordinal_encoder"}, False),
        ({"type": "simple_imputer"}, {"type": "drop_missing"}, True),
        ({"type": "drop_missing", "columns": "a"}, {"type": "constant_fill"}, False),
        ({"type": "min_max_scaler"}, {"type": "kbins_discretizer"}, True),
        ({"type": "robust_scaler"}, {"type": "catboost_encoder"}, False),
        ({"type": "tree_based_feature_generator"}, {"type": "catboost_encoder", "columns": "numeric"}, True),
    ],
)
def test_steps_in_the_wrong_order_warn(first, second, warns):
    assert bool(told(steps(first, second), "warn")) == warns


def test_a_fill_for_each_column_becomes_a_step_for_each():
    made = steps({"type": "constant_fill", "fill_value": {"a": 1, "b": "x"}}, {"type": "standard_scaler"})
    assert [(step.type, step.columns, step.position) for step in made.preprocessor.steps] == [
        ("constant_fill", ("a",), 0),
        ("constant_fill", ("b",), 0),
        ("standard_scaler", None, 1),
    ]


def test_shares_that_were_rounded_warn_only():
    made = recipe(
        data={"data_interface": {"target_column": "y"}, "split": {"train": 0.67, "validation": 0.17}}
    )
    assert told(made, "error") == []
    assert "in proportion" in told(made, "warn")[0]


def test_an_estimator_of_any_library_is_allowed():
    for path in ("sklearn.ensemble.GradientBoostingClassifier", "sklearn.svm.SVC", "XGBClassifier"):
        assert told(recipe(model={"class_path": path}), "error") == []


def test_class_weights_for_a_model_without_weights_are_refused():
    made = recipe(model={"class_path": "sklearn.neighbors.KNeighborsClassifier", "class_weight": "balanced"})
    assert told(made, "error") == [
        "KNeighborsClassifier takes no weights; leave it out, or choose another model"
    ]


def test_fixed_values_without_tuning_are_not_ignored_in_silence():
    made = recipe(
        model={"class_path": "xgboost.XGBClassifier", "hyperparameters": {"fixed": {"max_depth": 3}}}
    )
    assert told(made, "warn") == ["it has no effect while tuning_enabled is false; write it under values"]


def test_old_keys_are_told():
    made = recipe(model={"class_path": "xgboost.XGBClassifier", "library": "xgboost"})
    assert told(made, "info") == ["kept for old files, without effect: the library follows from class_path"]


def test_a_server_that_is_not_required_is_required_still():
    made = recipe(model={"class_path": "xgboost.XGBClassifier"})
    config = Config.model_validate({"mlflow": {"required": False}})
    found = [(finding.level, finding.message) for finding in check(made, config)]
    message = "it has no effect yet: a training needs its tracking server from start to end"
    assert found == [("warn", message)]
    assert check(made, Config()) == []


@pytest.mark.parametrize("section", ["auth", "cors"])
def test_what_guards_a_server_is_not_ignored_in_silence(section):
    keys = {"auth": {"secret_key": "x" * 32}, "cors": {"allow_origins": ["https://a.example"]}}[section]
    for given, warns in ((keys, True), (keys | {"enabled": False}, False), (keys | {"enabled": True}, False)):
        findings = check(recipe(), Config.model_validate({"serving": {section: given}}))
        told_of = [each for each in findings if f"serving.{section}" in each.where]
        assert [each.level for each in told_of] == ["warn"] * warns


def test_the_target_is_no_slice():
    (message,) = told(recipe(evaluation={"slices": ["city", "y"]}), "error")
    assert "'y' is the target" in message


def test_require_lists_the_errors_and_lets_the_rest_pass():
    made = recipe(
        model={"class_path": "xgboost.XGBRegressor", "library": "x"}, evaluation={"metrics": ["acc"]}
    )
    with pytest.raises(SettingsError) as raised:
        require(check(made, Config()))
    assert len(raised.value.message.splitlines()) == 2
    require([finding for finding in check(made, Config()) if finding.level != "error"])


def test_signing_that_is_required_is_not_ignored():
    config = Config.model_validate({"signing": {"required": True}})
    assert [finding.where for finding in check(recipe(), config)] == ["signing.required"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.csv").write_text("a\n1\n")
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "data/a.csv").write_text("a\n1\n")
    (work / "data/out.csv").symlink_to(tmp_path / "outside/secret.csv")
    monkeypatch.chdir(work)
    return tmp_path


@pytest.mark.parametrize(
    "uri", ["../outside/secret.csv", "data/out.csv", "data/../../outside/*.csv", "../outside"]
)
def test_a_source_does_not_lead_outside(project, uri):
    with pytest.raises(SettingsError, match="leads out of"):
        source_path(uri)


def test_a_source_starts_from_the_base_path_or_here(project):
    assert source_path("data/a.csv") == "data/a.csv"
    assert source_path("a.csv", "data") == "data/a.csv"
    assert source_path("./data/a.csv", "./data") == "data/a.csv"
    assert source_path("*.csv", "data") == "data/*.csv"
    assert source_path("not_there.csv", "data") == "data/not_there.csv"
    absolute = str(project / "outside/secret.csv")
    assert source_path(absolute) == absolute
    assert source_path("secret.csv", str(project / "outside")) == absolute


@pytest.mark.parametrize("uri", ["postgresql://db/shop", "abfs://bucket/a.csv"])
def test_sources_to_come_are_refused(uri):
    with pytest.raises(SettingsError, match="cannot be read in this version yet"):
        source_path(uri)


def test_a_password_in_a_source_is_not_repeated():
    with pytest.raises(SettingsError) as raised:
        source_path("postgresql://u:c4n4ry@h/x")
    assert "c4n4ry" not in raised.value.message + raised.value.hint


def test_settings_import_no_heavy_library():
    code = (
        "import sys, mmp.settings.load, mmp.settings.checks as c;"
        "heavy = {'numpy','pyarrow','pandas','sklearn','xgboost','lightgbm','catboost','mlflow','scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_checks_import_no_booster(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: a\ntask_choice: classification\nmodel: {class_path: sklearn.svm.SVC}\n"
        "data: {data_interface: {target_column: y}}\n"
    )
    code = (
        "import sys; from mmp.settings.load import *; from mmp.settings.checks import check;"
        f"assert not [f for f in check(load_recipe({str(path)!r}), load_config()) if f.level == 'error'];"
        "assert 'sklearn' not in sys.modules and 'numpy' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path)


def test_tasks_measure_what_the_metrics_table_has():
    for task in TASKS.values():
        if task.available:
            for name in (*task.metrics, task.primary_metric):
                assert parse(name, task.name).name == name
            known = {row.name for row in METRICS.values() if task.name in row.tasks}
            assert set(task.metrics) <= known


def test_every_step_of_the_catalog_has_a_model_with_its_parameters():
    assert STEP_MODELS.keys() == STEPS.keys()
    for row in STEPS.values():
        fields = STEP_MODELS[row.type].model_fields
        assert row.parameters.keys() <= fields.keys()
        made = steps({"type": row.type}).preprocessor.steps[0]
        for name, parameter in row.parameters.items():
            assert getattr(made, name) == parameter.default, (row.type, name)


def test_frozen():
    made = recipe()
    with pytest.raises(ValueError, match="frozen"):
        made.name = "b"
    with pytest.raises(ValueError, match="frozen"):
        made.data.split.train = 0.5


def test_loaded_findings_carry_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "name: a\ntask_choice: classification\nmodel:\n  class_path: xgboost.XGBClassifier\n  library: xgboost\n"
        "data: {data_interface: {target_column: y}}\n"
    )
    findings = check(load_recipe("r.yaml"), load_config())
    assert [finding.where for finding in findings] == ["r.yaml:5: model.library"]


def test_what_install_lines_name_is_what_our_extras_bring(pytestconfig):
    import tomllib

    text = (pytestconfig.rootpath / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"].values()
    brought = {re.split(r"[^\w-]", requirement)[0] for requirements in extras for requirement in requirements}
    assert {name for line in DISTRIBUTIONS.values() for name in line.split()} <= brought
