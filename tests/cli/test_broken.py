"""Every broken recipe, config and table is met with a sentence that names the cause, and exit code 2 or 3."""

from __future__ import annotations

import gzip
import tempfile

import numpy as np
import pytest
from tests.commands import call

RECIPE = """\
name: broken
task_choice: classification
model:
  class_path: xgboost.XGBClassifier
  hyperparameters: {values: {n_estimators: 5}}
data:
  loader: {source_uri: table.csv}
  data_interface: {target_column: label, positive_class: "yes"}
"""


def table(n_rows=60):
    rng = np.random.default_rng(1)
    x, city, label = rng.random(n_rows), rng.choice(["Oslo", "Bergen"], n_rows), rng.random(n_rows) > 0.5
    return [
        "x,city,when,label",
        *(
            f"{x[row]:.4f},{city[row]},2024-01-{row % 28 + 1:02d},{'yes' if label[row] else 'no'}"
            for row in range(n_rows)
        ),
    ]


TABLE = table()


def with_column(name, values):
    """Return the table with one more column."""
    return "\n".join(
        [f"{TABLE[0]},{name}", *(f"{line},{value}" for line, value in zip(TABLE[1:], values, strict=False))]
    )


def with_labels(values):
    """Return the table with other labels."""
    return "\n".join(
        [TABLE[0], *(f"{line.rsplit(',', 1)[0]},{v}" for line, v in zip(TABLE[1:], values, strict=False))]
    )


# what is changed in the recipe, the exit code, and words of the sentence
RECIPES = {
    "an unknown key": (("task_choice", "task_choise"), 2, ["task_choise", "task_choice"]),
    "an unknown task": (("classification", "clasification"), 2, ["clasification", "classification"]),
    "a task to come": (("classification", "timeseries"), 2, ["timeseries", "not available"]),
    "a model that is not there": (("XGBClassifier", "XGBClasifier"), 2, ["XGBClasifier", "XGBClassifier"]),
    "a model of no library": (("xgboost.XGBClassifier", "nolib.Model"), 2, ["nolib"]),
    "a model of another task": (("XGBClassifier", "XGBRegressor"), 2, ["XGBRegressor", "XGBClassifier"]),
    "no dotted path": (("xgboost.XGBClassifier", "xgboost"), 2, ["class_path", "dotted"]),
    "a hyperparameter misspelt": (("n_estimators", "n_estimator"), 2, ["n_estimator", "n_estimators"]),
    "a hyperparameter out of range": (("{n_estimators: 5}", "{subsample: 7}"), 2, ["subsample", "7"]),
    "a hyperparameter of text": (("n_estimators: 5", "n_estimators: many"), 2, ["n_estimators", "many"]),
    "a metric that is not there": (
        ("data:", "evaluation: {metrics: [acuracy]}\ndata:"),
        2,
        ["acuracy", "'accuracy'"],
    ),
    "a metric of another task": (("data:", "evaluation: {metrics: [rmse]}\ndata:"), 2, ["rmse"]),
    "shares that do not add up": (
        ("data:\n", "data:\n  split: {train: 0.5, validation: 0.1, test: 0.1}\n"),
        2,
        ["0.7", "1"],
    ),
    "a split column that is not there": (
        ("data:\n", "data:\n  split: {strategy: temporal, temporal_column: whn}\n"),
        3,
        ["'whn'", "'when'"],
    ),
    "a step that is not there": (
        ("data:", "preprocessor: {steps: [{type: simple_imputr}]}\ndata:"),
        2,
        ["simple_imputr", "simple_imputer"],
    ),
    "a parameter of a step misspelt": (
        ("data:", "preprocessor: {steps: [{type: simple_imputer, strateg: mean}]}\ndata:"),
        2,
        ["strateg", "strategy"],
    ),
    "a step's column that is not there": (
        ("data:", "preprocessor: {steps: [{type: simple_imputer, columns: [xx]}]}\ndata:"),
        3,
        ["xx"],
    ),
    "a mean of text": (
        ("data:", "preprocessor: {steps: [{type: simple_imputer, strategy: mean, columns: [city]}]}\ndata:"),
        3,
        ["city"],
    ),
    "a target that is not there": (
        ("target_column: label", "target_column: lable"),
        3,
        ["'lable'", "'label'"],
    ),
    "a positive class that is not there": (('"yes"', '"yess"'), 2, ["yess", "yes"]),
    "an unset variable": (("table.csv", "'${NOWHERE}/table.csv'"), 2, ["NOWHERE"]),
    "a table that is not there": (("table.csv", "tabel.csv"), 3, ["tabel.csv", "table.csv"]),
    "a folder without tables": (("table.csv", "empty"), 3, ["empty"]),
    "a source of no known kind": (("table.csv", "table.xlsx"), 3, ["table.xlsx", ".csv"]),
    "a way out of the project": (("table.csv", "../outside.csv"), 2, ["outside.csv"]),
    "not YAML": (("name: broken", "name: [broken"), 2, ["recipe.yaml:"]),
    "a key twice": (("name: broken", "name: broken\nname: twice"), 2, ["name", "2"]),
    "an entity that is the target": (
        ("target_column: label", "target_column: label, entity_columns: [label]"),
        2,
        ["label"],
    ),
    "features that are not there": (
        ("target_column: label", "target_column: label, feature_columns: [x, citty]"),
        3,
        ["'citty'", "'city'"],
    ),
    "numbers asked of text": (
        ("task_choice: classification", "task_choice: regression"),
        2,
        ["XGBClassifier"],
    ),
}

# what the file holds, the exit code, and words of the sentence
TABLES = {
    "an empty file": ("", 3, ["table.csv", "empty"]),
    "a header alone": (TABLE[0], 3, ["table.csv", "row"]),
    "a column twice": ("\n".join(["x,x,label", *["1,2,yes", "2,3,no"] * 20]), 3, ["'x'"]),
    "a row too long": ("\n".join([*TABLE[:9], "1,2,3,4,5,6", *TABLE[9:]]), 3, ["table.csv", "10"]),
    "one class": (with_labels(["yes"] * 60), 3, ["label", "yes"]),
    "a class too rare": (with_labels(["maybe", *["yes", "no"] * 29, "no"]), 2, ["positive_class", "3"]),
    "no labels": (with_labels([""] * 60), 3, ["label", "missing"]),
    "too few rows": ("\n".join(TABLE[:4]), 3, ["row"]),
    "a copy of the target": (
        with_column("copy", [line.rsplit(",", 1)[1] for line in TABLE[1:]]),
        3,
        ["'copy'", "'label'"],
    ),
    "infinity": (with_column("y", ["inf", *range(59)]), 3, ["'y'", "nfinite"]),
    "a number as every label": (with_labels([f"{row / 7:.3f}" for row in range(60)]), 3, ["label"]),
    "bytes that are not text": (b"x,label\n\xff\xfe,yes\n", 3, ["table.csv", "UTF-8"]),
    "a quote that does not end": (
        "\n".join([*TABLE[:5], '1,"Oslo,2024-01-01,yes', *TABLE[5:]]),
        3,
        ["table.csv"],
    ),
    "no header": ("\n".join(TABLE[1:]), 3, ["'label'"]),
    "one feature that says nothing": (
        "\n".join(["x,label", *["1,yes", "1,no"] * 30]),
        3,
        ["feature", "constant"],
    ),
}


def hold(outcome, code, words):
    """Hold that a refusal is a sentence that names the cause."""
    assert outcome.code == code, outcome.err
    assert not outcome.out
    said = outcome.err[outcome.err.index("error:") :]
    assert not [word for word in words if word not in said], said
    for never in ("Traceback", "bug in mmp", "Errno", "pydantic", "pyarrow", "ValueError", "KeyError"):
        assert never not in outcome.err
    sentence = said.splitlines()[0]
    assert len(sentence) < 500


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "table.csv").write_text("\n".join(TABLE) + "\n")
    (tmp_path / "table.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_the_recipe_that_they_are_made_from_trains(project, mmp):
    assert mmp("train", "-r", "recipe.yaml").code == 0


@pytest.mark.parametrize("case", RECIPES)
def test_a_broken_recipe(case, project, mmp):
    (old, new), code, words = RECIPES[case]
    assert old in RECIPE
    (project / "recipe.yaml").write_text(RECIPE.replace(old, new, 1))
    hold(mmp("train", "-r", "recipe.yaml"), code, words)


# what only the library knows is known when it fits
FITTED = {"a hyperparameter out of range"}


@pytest.mark.parametrize("case", sorted(RECIPES.keys() - FITTED))
def test_validate_refuses_what_train_refuses(case, project, mmp):
    (old, new), code, words = RECIPES[case]
    (project / "recipe.yaml").write_text(RECIPE.replace(old, new, 1))
    hold(mmp("validate", "-r", "recipe.yaml"), code, words)


@pytest.mark.parametrize("case", TABLES)
def test_a_broken_table(case, project, mmp):
    content, code, words = TABLES[case]
    (project / "table.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    hold(mmp("train", "-r", "recipe.yaml"), code, words)
    hold(mmp("validate", "-r", "recipe.yaml"), code, words)


def test_a_class_too_rare_to_split(project, mmp):
    (project / "recipe.yaml").write_text(RECIPE.replace(', positive_class: "yes"', ""))
    (project / "table.csv").write_text(with_labels(["maybe", *["yes", "no"] * 29, "no"]))
    hold(mmp("train", "-r", "recipe.yaml"), 3, ["maybe", "1 row"])


def test_a_damaged_archive_and_a_damaged_parquet_file(project, mmp):
    packed = gzip.compress("\n".join(TABLE).encode())
    (project / "t.csv.gz").write_bytes(packed[: len(packed) // 2])
    (project / "t.parquet").write_bytes(b"PAR1" + b"\0" * 40)
    for name in ("t.csv.gz", "t.parquet"):
        hold(mmp("train", "-r", "recipe.yaml", "-d", name), 3, [name])


def test_all_problems_of_a_file_are_said_at_once(project, mmp):
    text = (
        RECIPE.replace("XGBClassifier", "XGBClasifier").replace("loader:", "loadr:").replace("name", "nam", 1)
    )
    (project / "recipe.yaml").write_text(text + "evaluation: {metrics: [acuracy], random_state: x}\n")
    outcome = mmp("train", "-r", "recipe.yaml")
    assert outcome.code == 2
    for words in (
        "did you mean 'name'",
        "recipe.yaml:4",
        "XGBClasifier",
        "recipe.yaml:7",
        "loadr",
        "recipe.yaml:9",
        "random_state",
        "acuracy",
    ):
        assert words in outcome.err


CONFIGS = {
    "an unknown key": ("mlflow: {tracking_url: ./mlruns}", ["tracking_url", "tracking_uri"]),
    "an unset variable": ("mlflow: {tracking_uri: '${NOWHERE}'}", ["NOWHERE"]),
    "a store that is none": ("mlflow: {tracking_uri: 'ftp://x/y'}", ["ftp"]),
    "an adapter that is none": ("data_source: {adapter_type: storag}", ["storag", "storage"]),
    "not a mapping": ("- a", ["config.yaml"]),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_broken_config(case, project, mmp):
    text, words = CONFIGS[case]
    (project / "config.yaml").write_text(text)
    outcome = mmp("train", "-r", "recipe.yaml", "-c", "config.yaml")
    hold(outcome, 6 if "store" in case else 2, words)


def test_a_server_that_is_not_there(project, mmp):
    (project / "config.yaml").write_text("mlflow: {tracking_uri: 'http://127.0.0.1:9', timeout_s: 1}")
    hold(mmp("train", "-r", "recipe.yaml", "-c", "config.yaml"), 6, ["127.0.0.1:9"])
    hold(mmp("runs", "-c", "config.yaml"), 6, ["127.0.0.1:9"])


ROWS = {
    "no object": ("5", ["JSON object"]),
    "no JSON": ("{", ["JSON"]),
    "no rows": ("[]", ["no rows"]),
    "a column that is missing": ('{"x": 1, "city": "Oslo"}', ["'when'"]),
    "a number that is none": ('{"x": "tall", "city": "Oslo", "when": "2024-01-01"}', ["'x'", "tall"]),
    "infinity": ('{"x": 1e999, "city": "Oslo", "when": "2024-01-01"}', ["'x'"]),
    "a time that is none": ('{"x": 1, "city": "Oslo", "when": "soon"}', ["'when'", "soon"]),
    "a file that is not there": ("nowhere.csv", ["nowhere.csv"]),
    "a JSON file that is not there": ("nowhere.json", ["nowhere.json"]),
}


def test_broken_rows(project, mmp):
    assert mmp("train", "-r", "recipe.yaml", "-q").code == 0
    for case, (rows, words) in ROWS.items():
        outcome = mmp("predict", "--run-id", "latest", "-i", rows, "-q")
        assert outcome.code == 3, case
        hold(outcome, 3, words)
    hold(mmp("evaluate", "--run-id", "latest", "-d", "nowhere.csv", "-q"), 3, ["nowhere.csv"])
    (project / "unlabelled.csv").write_text("x,city,when\n1,Oslo,2024-01-01\n")
    hold(mmp("evaluate", "--run-id", "latest", "-d", "unlabelled.csv", "-q"), 3, ["'label'"])
    (project / "strange.csv").write_text("x,city,when,label\n1,Oslo,2024-01-01,perhaps\n")
    hold(mmp("evaluate", "--run-id", "latest", "-d", "strange.csv", "-q"), 3, ["perhaps"])


def test_a_folder_without_runs_stays_as_it_is(project, mmp):
    before = {path for path in project.rglob("*") if "logs" not in path.parts}
    assert mmp("runs", "--json").json == {"runs": []}
    hold(mmp("predict", "--run-id", "latest", "-i", "table.csv"), 6, ["no runs yet", "mlruns"])
    hold(mmp("evaluate", "--run-id", "latest", "-d", "table.csv"), 6, ["no runs yet", "mlruns"])
    assert {path for path in project.rglob("*") if "logs" not in path.parts} == before


@pytest.mark.parametrize("model", ["XGBClassifier", "LogisticRegression"])
def test_a_temporary_directory_that_cannot_be_used(model, project, mmp, monkeypatch):
    path = {"XGBClassifier": "xgboost", "LogisticRegression": "sklearn.linear_model"}[model]
    text = RECIPE.replace("xgboost.XGBClassifier", f"{path}.{model}").replace("n_estimators: 5", "")
    (project / "recipe.yaml").write_text(text)
    monkeypatch.setattr(tempfile, "tempdir", str(project / "gone"))
    hold(mmp("train", "-r", "recipe.yaml"), 6, ["temporary directory", "TMPDIR"])


def test_a_run_that_failed_has_no_model_and_says_why(project, mmp):
    assert mmp("train", "-r", "recipe.yaml", "-d", "nowhere.csv").code == 3
    (run,) = mmp("runs", "--json").json["runs"]
    hold(mmp("predict", "--run-id", run["run_id"], "-i", "table.csv"), 6, ["FAILED", "no file nowhere.csv"])


def test_a_table_that_is_looked_for_in_another_directory(project, mmp, monkeypatch):
    monkeypatch.chdir(project / "empty")
    (project / "recipe.yaml").write_text(RECIPE.replace("table.csv", "data/table.csv"))
    hold(mmp("validate", "-r", "../recipe.yaml"), 3, ["no directory data", str(project / "empty")])


WITHOUT_MLFLOW = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "mlflow" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from mmp.cli.main import main
main()
"""


def test_pages_need_mlflow(project):
    hold(call("ui", program=("-c", WITHOUT_MLFLOW)), 2, ["MLflow's pages", "pip install"])
