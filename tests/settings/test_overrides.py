from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmp.errors import SettingsError
from mmp.settings.load import load_recipe

RECIPE = """
name: a
task_choice: classification
model: {class_path: catboost.CatBoostClassifier}
data: {data_interface: {target_column: y}}
preprocessor:
  steps:
    - {type: simple_imputer}
    - {type: catboost_encoder, sigma: 0.5}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("overrides") / "r.yaml"
    file.write_text(RECIPE)
    return file


def test_overrides_have_the_last_word(path):
    loaded = load_recipe(
        path,
        overrides=[
            "data.split.train=0.6", "data.split.validation=.25", "preprocessor.steps[1].sigma=1e-1",
            "evaluation.metrics=[f1, roc_auc]", "data.data_interface.target_column=012", "name='12'",
            'model.hyperparameters.values."a.b"=true', "evaluation={random_state: 7}", "evaluation.plots=false",
        ],
    )  # fmt: skip
    recipe = loaded.value
    assert (recipe.data.split.train, recipe.data.split.validation) == (0.6, 0.25)
    assert recipe.preprocessor.steps[1].sigma == 0.1
    assert (recipe.evaluation.metrics, recipe.evaluation.random_state, recipe.evaluation.plots) == (
        None,
        7,
        False,
    )
    assert (recipe.data.data_interface.target_column, recipe.name) == ("012", "12")
    assert recipe.model.hyperparameters.values == {"a.b": True}
    assert len(loaded.overrides) == 9
    assert sum(finding.check == "override" for finding in loaded.findings) == 9


def test_null_leaves_a_block_out(path):
    assert load_recipe(path, overrides=["preprocessor=null"]).value.preprocessor is None
    assert load_recipe(path, overrides=["preprocessor.steps=[]"]).value.preprocessor.steps == ()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.split.trian=1", r"--set: data\.split\.trian: .*did you mean 'train'"),
        ("data.split.train=much", r"--set: data\.split\.train: must be a number, not 'much'"),
        ("preprocessor.steps[7].sigma=1", "there is no such place"),
        ("name.x=1", "there is no such place"),
        ("data.split.train", "is not key=value"),
        ("=1", "is not key=value"),
        ("a[b]=1", "is not key=value"),
        ("evaluation.metrics=[f1", "this is not YAML"),
    ],
)
def test_overrides_that_are_wrong(path, override, says):
    with pytest.raises(SettingsError, match=says) as raised:
        load_recipe(path, overrides=[override])
    assert raised.value.exit_code == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="$", exclude_categories=["Cs", "Cc"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), JSON, max_size=3))
def test_any_value_can_be_set(path, values):
    text = yaml.safe_dump(values, default_flow_style=True, allow_unicode=True, width=10**6).strip()
    recipe = load_recipe(path, overrides=[f"model.hyperparameters.values={text}"]).value
    assert recipe.model.hyperparameters.values == values
