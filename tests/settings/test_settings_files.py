"""Every recipe and config in the folders loads, or says exactly what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from mmp.errors import SettingsError
from mmp.settings.checks import check, require
from mmp.settings.config import Config
from mmp.settings.document import Branch, Leaf, read
from mmp.settings.load import load_config, load_recipe
from mmp.settings.schema import schema

RECIPES = Path(__file__).parent.parent / "recipes"
CONFIGS = Path(__file__).parent / "configs"


def files(folder):
    found = sorted(folder.glob("*.yaml"))
    assert found
    return pytest.mark.parametrize("path", found, ids=[path.stem for path in found])


def plain(tree):
    """The values as an editor sees them: nothing interpolated."""
    if isinstance(tree, Leaf):
        return tree.value
    assert isinstance(tree, Branch)
    values = {str(key): plain(child) for key, (_, child) in tree.children.items()}
    return list(values.values()) if tree.is_sequence else values


def expected(path):
    return re.findall(r"^# expect: (.*)$", path.read_text(), re.MULTILINE)


def assert_says(error, path):
    lines = error.message.splitlines()
    for pattern in expected(path):
        assert any(re.search(pattern, line) for line in lines), f"{pattern}\nnot in\n{error.message}"
    assert len(lines) == len(expected(path)), error.message
    assert error.exit_code == 2


@files(RECIPES / "valid")
def test_a_valid_recipe_loads_and_checks(path):
    recipe = load_recipe(path)
    database = {"adapter_type": "sql", "config": {"connection_uri": "sqlite:///orders.db"}}
    feast = {"provider": "feast", "feast_config": {"project": "shop", "registry": "registry.db"}}
    mlflow = {"registered_model_name": "sales"}
    config = Config.model_validate({"data_source": database, "feature_store": feast, "mlflow": mlflow})
    errors = [finding for finding in check(recipe, config) if finding.level == "error"]
    if "# available: later" in path.read_text():
        assert errors
        assert all("not available" in error.message for error in errors)
    else:
        assert not errors


@files(RECIPES / "invalid")
def test_an_invalid_recipe_says_what_is_wrong(path):
    with pytest.raises(SettingsError) as raised:
        require(check(load_recipe(path), Config()))
    assert_says(raised.value, path)


@files(CONFIGS / "valid")
def test_a_valid_config_loads(path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert load_config(path).value.environment.name


@files(CONFIGS / "invalid")
def test_an_invalid_config_says_what_is_wrong(path):
    with pytest.raises(SettingsError) as raised:
        load_config(path)
    assert_says(raised.value, path)


@files(RECIPES / "valid")
def test_the_json_schema_takes_valid_recipes(path):
    instance = plain(read(path, what="recipe").root)
    instance["task_choice"] = instance["task_choice"].lower()  # the loader takes any case, editors one
    for step in (instance.get("preprocessor") or {}).get("steps") or []:
        words = {"infrequent_if_exist": "ignore", "onehot-dense": "onehot"}  # of 1.x
        step.update({key: words[value] for key, value in step.items() if str(value) in words})
    jsonschema.validate(instance, schema("recipe"), jsonschema.Draft202012Validator)


@files(CONFIGS / "valid")
def test_the_json_schema_takes_valid_configs(path):
    text = path.read_text()
    instance = plain(read(path, what="config").root)
    if 'port: "8000"' in text:  # the loader reads quoted numbers, editors mark them
        instance["serving"]["port"], instance["logging"]["level"] = 8000, "INFO"
    jsonschema.validate(instance, schema("config"), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("kind", ["recipe", "config"])
def test_the_json_schema_is_one_and_describes_every_key(kind):
    made = schema(kind)
    jsonschema.Draft202012Validator.check_schema(made)
    for name, definition in {kind: made, **made["$defs"]}.items():
        for key, prop in definition.get("properties", {}).items():
            assert prop.get("description", "").endswith("."), f"{name}.{key}"
        assert definition.get("additionalProperties") is False or name == "ForeignStep"


def test_the_json_schema_refuses_a_typing_error():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "a", "nam": "b"}, schema("recipe"))
