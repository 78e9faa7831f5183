"""What `mmp get-recipe` writes holds together and trains as it is, for every model, on every table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables import write_mixed

from mmp.catalog.models import MODELS, find
from mmp.pipelines.authoring import files, recipes
from mmp.pipelines.authoring.recipes import Wish
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

PLAIN = ("evaluation.plots=false", "evaluation.explain={enabled: false}")
TABLES = {"classification": ["text", "awkward"], "regression": ["value"]}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(wish, table):
    while question := recipes.next_question(wish, table):
        wish = wish.settled(question.key, question.default)
    return wish


def authored(source, *, to="recipe.yaml", **words):
    """Write a recipe as the command does, and return it loaded."""
    wish, table = recipes.read(recipes.checked(Wish(data=str(source), **words)))
    draft = recipes.draft(completed(wish, table), table)
    files.write(Path(to), "recipe", draft.settings, draft.notes, replace=True)
    loaded = load_recipe(to)
    assert loaded.value == draft.recipe
    return loaded


def csv(path, columns):
    names, rows = list(columns), zip(*columns.values(), strict=True)
    lines = [",".join(json.dumps(n, ensure_ascii=False) for n in names)]
    path.write_text("\n".join([*lines, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("class_path", MODELS)
def test_every_model_trains_on_what_is_written_for_it(class_path, project):
    row = MODELS[class_path]
    for labels in TABLES[row.task]:
        write_mixed(project / "table.csv", labels, n_rows=520)
        recipe = authored("table.csv", model=class_path)
        assert recipe.value.task_choice == row.task
        assert recipe.value.data.data_interface.target_column == "label"
        assert recipe.value.data.data_interface.entity_columns == ("customer id",)
        assert recipe.findings == ()
        # pictures and explanations of every model have tests of their own
        plain = load_recipe("recipe.yaml", overrides=PLAIN)
        assert train(plain, load_config()).metrics["test"]
        params = {"values": dict(recipe.value.model.hyperparameters.values)}
        assert params["values"].items() <= dict(row.defaults).items()


@pytest.mark.parametrize("class_path", ["xgboost.XGBClassifier", "sklearn.linear_model.LogisticRegression"])
def test_the_steps_are_those_that_would_be_chosen(class_path, project):
    from mmp.pipelines.prepare import prepare, split_rows
    from mmp.pipelines.rows import labelled_rows, read_table
    from mmp.pipelines.source import find_source

    write_mixed(project / "table.csv", n_rows=200)
    written, config = authored("table.csv", model=class_path).value, load_config().value
    left_open = written.model_copy(update={"preprocessor": None})
    rows = labelled_rows(read_table(written, config, find_source(written, config, None)), written)
    parts, row = split_rows(rows, written), find(class_path)
    mine, theirs = prepare(rows, parts, written, row), prepare(rows, parts, left_open, row)
    assert mine.pipeline.names == theirs.pipeline.names
    for part in mine.matrices:
        np.testing.assert_array_equal(mine.matrices[part].values, theirs.matrices[part].values)


def test_without_a_table_every_model_has_a_recipe(project):
    for class_path, row in MODELS.items():
        wish = completed(Wish(target="y", model=class_path), None)
        draft = recipes.draft(wish, None)
        files.write(Path("r.yaml"), "recipe", draft.settings, draft.notes, replace=True)
        loaded = load_recipe("r.yaml")
        assert loaded.value == draft.recipe
        assert (loaded.value.task_choice, loaded.value.data.loader.source_uri) == (row.task, None)


# -- what a table says ------------------------------------------------------------------------------------


def drawn(n_rows=120, seed=1):
    rng = np.random.default_rng(seed)
    x, z = rng.random(n_rows).round(3), rng.integers(0, 30, n_rows)
    return rng, x, z


def test_a_copy_of_the_target_and_infinities_are_left_out_and_said(project):
    rng, x, z = drawn()
    label = np.where(x + rng.random(120) > 1, "yes", "no")
    broken = x.astype(object)
    broken[7] = "inf"
    path = csv(
        project / "t.csv",
        {"x": x, "copy": label, "recoded": np.where(label == "yes", "J", "N"), "broken": broken, "z": z, "label": label},
    )  # fmt: skip
    recipe = authored(path.name)
    assert recipe.value.data.data_interface.feature_columns == ("x", "z")
    text = Path("recipe.yaml").read_text()
    for words in (
        "'copy': it equals the target",
        "'recoded': it is the target",
        "'broken': it holds infinite",
    ):
        assert words in " ".join(text.replace("#", " ").split())
    assert train(recipe, load_config()).metrics["test"]["roc_auc"] < 1


def test_rows_of_one_key_stay_together(project):
    rng, x, _ = drawn(300)
    path = csv(
        project / "t.csv",
        {"uid": np.repeat(np.arange(60), 5) * 7 % 601, "x": x, "y": rng.random(300)},
    )
    recipe = authored(path.name)
    assert (recipe.value.data.split.strategy, recipe.value.data.split.group_column) == (
        "group",
        "uid",
    )
    assert recipe.value.data.data_interface.entity_columns == ("uid",)
    assert recipe.value.task_choice == "regression"
    train(recipe, load_config())


def test_a_table_in_the_order_of_time_is_split_by_it(project):
    rng, x, _ = drawn(200)
    days = np.datetime64("2024-01-01") + np.arange(200)
    path = csv(project / "t.csv", {"day": days, "x": x, "class": rng.integers(0, 3, 200)})
    recipe = authored(path.name)
    assert (recipe.value.data.split.strategy, recipe.value.data.split.temporal_column) == ("temporal", "day")
    train(recipe, load_config())
    only_time = authored(csv(project / "only.csv", {"day": days, "y": rng.random(200)}).name)
    assert only_time.value.data.split.strategy == "random"
    train(only_time, load_config())


def test_columns_called_as_words_of_a_recipe(project):
    rng, x, _ = drawn(120)
    days = rng.permutation(np.datetime64("2024-01-01") + np.arange(120)).astype(str)
    gaps = np.where(rng.random(120) < 0.1, "", x.astype(str))
    columns = {"datetime": days, "seen": days[::-1], "numeric": x, "z": gaps, "categorical": list("abc") * 40}
    path = csv(project / "t.csv", {**columns, "y": rng.random(120)})
    train(authored(path.name, model="sklearn.linear_model.LinearRegression"), load_config())


def test_a_small_or_lopsided_table_gets_a_split_that_it_allows(project):
    _, x, _ = drawn(24)
    path = csv(project / "t.csv", {"x": x, "label": ["a"] * 22 + ["b"] * 2})
    recipe = authored(path.name, model="xgboost.XGBClassifier")
    assert recipe.value.data.split.validation == 0
    assert recipe.value.model.early_stopping is None
    train(recipe, load_config())


def test_what_stands_at_the_end_is_taken_only_with_a_word(project, mmp):
    _, x, z = drawn()
    csv(project / "t.csv", {"id": np.arange(120), "x": x, "z": z})
    taken = mmp("get-recipe", "-d", "t.csv", "-o", "r.yaml", "--json")
    assert taken.code == 0
    assert "The target is taken to be 'z'; 'x' could be as well. --target says which." in taken.err
    named = mmp("get-recipe", "-d", "t.csv", "--target", "x", "-o", "s.yaml", "--json")
    assert named.json == {
        "path": "s.yaml",
        "files": ["s.yaml", ".mmp/schema/recipe.json", ".mmp/schema/config.json"],
    }
    assert "taken" not in named.err


@pytest.mark.parametrize(
    ("names", "target"),
    [
        ("x,label,price,last", "label"),
        ("x,price,y,z", "price"),
        ("x,y,other", "y"),
        ("Survived,fare,port", "Survived"),
        ("a,b,c", "c"),
    ],
)
def test_the_likeliest_target_comes_first(names, target, project):
    rng = np.random.default_rng(0)
    path = csv(project / "t.csv", {name: rng.random(30) for name in names.split(",")})
    _, table = recipes.read(Wish(data=path.name))
    assert recipes.next_question(Wish(), table).default == target


def test_a_parquet_file_elsewhere_goes_by_its_full_path(project, monkeypatch):
    rng, x, z = drawn()
    (project / "here").mkdir()
    pq.write_table(pa.table({"x": x, "z": z, "y": rng.random(120)}), project / "t.parquet")
    monkeypatch.chdir(project / "here")
    recipe = authored("../t.parquet")
    assert recipe.value.data.loader.source_uri == str((project / "t.parquet").resolve())
    train(recipe, load_config())


NAMES = st.one_of(
    st.sampled_from(
        ["Yes", "no", "1e-9", "012", "null", "a: b", "#x", "[a]", "${x}", "numeric*", "a[b]", "등급", "🚀", "~", "-", "a,b"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=8),
)  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=4, max_size=4, unique=True))
def test_any_names_of_columns(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    rng, x, z = drawn(60)
    city = rng.choice(["a", "b: c", "#d"], 60)
    label = np.where(x + 0.3 * rng.random(60) > 0.6, "Yes", "No")
    arrays = [pa.array(x), pa.array(z), pa.array(city.tolist()), pa.array(label.tolist())]
    pq.write_table(pa.Table.from_arrays(arrays, names), folder / "t.parquet")
    recipe = authored(
        folder / "t.parquet",
        to=folder / "r.yaml",
        target=names[3],
        model="sklearn.linear_model.LogisticRegression",
    )
    interface = recipe.value.data.data_interface
    assert interface.target_column == names[3]
    assert interface.positive_class in {"Yes", "No"}
    encoded = [step.columns for step in recipe.value.preprocessor.steps if step.type == "one_hot_encoder"]
    assert encoded in ([], [(names[2],)])


# -- the command ------------------------------------------------------------------------------------------


def test_the_file_points_to_a_schema_that_takes_it(project, mmp):
    import jsonschema
    import yaml

    write_mixed(project / "t.csv", n_rows=80)
    assert mmp("get-recipe", "-d", "t.csv", "-o", "deep/er/r.yaml", "-q").code == 0
    text = Path("deep/er/r.yaml").read_text()
    line = next(line for line in text.splitlines() if "$schema=" in line)
    schema = json.loads((Path("deep/er") / line.partition("$schema=")[2]).read_text())
    jsonschema.validate(yaml.safe_load(text), schema)
    assert sorted(path.name for path in project.rglob("*") if path.is_file()) == [
        "config.json", "r.yaml", "recipe.json", "t.csv",
    ]  # fmt: skip


def test_the_recipe_is_printed_where_no_file_is_named(project, mmp):
    printed = mmp("get-recipe", "--model", "LGBMRegressor", "--target", "price")
    assert printed.code == 0
    Path("r.yaml").write_text(printed.out)
    assert load_recipe("r.yaml").value.model.class_path == "lightgbm.LGBMRegressor"
    assert list(project.iterdir()) == [project / "r.yaml"]
    assert (
        mmp("get-recipe", "--model", "LGBMRegressor", "--target", "y", "--json").json["text"].startswith("#")
    )


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ([], "--target is missing", "Pass --target."),
        (["--target", "y"], "--task is missing", "classification"),
        (["--target", "y", "--task", "regresion"], "--task: there is no 'regresion'", "regression"),
        (
            ["--target", "y", "--model", "XGBClasifier"],
            "--model: there is no",
            "Did you mean 'XGBClassifier'?",
        ),
        (["--target", "y", "--task", "regression", "--model", "XGBClassifier"], "is for classification", ""),
        (["-d", "nowhere.csv"], "There is no file", ""),
        (["-d", "t.csv", "--target", "lable"], "lable", "label"),
        (["-d", "t.csv", "--entity", "label"], "label", ""),
        (["-d", "t.csv", "--task", "regression"], "is text, not a number", ""),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(words, message, hint, project, mmp):
    write_mixed(project / "t.csv", n_rows=80)
    refused = mmp("get-recipe", *words, "-o", "r.yaml", "--json")
    assert refused.code in {2, 3}
    assert message in refused.error["message"]
    assert hint in refused.error["hint"]
    assert list(project.iterdir()) == [project / "t.csv"]


def test_a_file_that_is_there_is_not_written_over(project, mmp):
    Path("r.yaml").write_text("mine")
    refused = mmp("get-recipe", "--model", "LGBMRegressor", "--target", "y", "-o", "r.yaml", "--json")
    assert (refused.code, refused.error["message"]) == (2, "r.yaml is there already.")
    assert Path("r.yaml").read_text() == "mine"
    assert mmp("get-recipe", "--model", "LGBMRegressor", "--target", "y", "-o", "r.yaml", "--force").code == 0
    assert load_recipe("r.yaml").value.name == "y_lgbmregressor"


def test_a_foreign_estimator_by_its_dotted_path(project, mmp):
    write_mixed(project / "t.csv", "value", n_rows=80)
    wrote = mmp("get-recipe", "-d", "t.csv", "--model", "sklearn.svm.LinearSVR", "-o", "r.yaml", "-q")
    assert wrote.code == 0, wrote.err
    trained = mmp("train", "-r", "r.yaml", "--json")
    assert trained.code == 0, trained.out


def test_a_wish_is_a_plain_value():
    assert replace(Wish(), target="y") == Wish().settled("target", "y")
