"""What was trained is what predicts: in this process, in a fresh one, on the command line, through MLflow."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from tests.commands import call
from tests.tables import KEY, recipe, write_mixed

from mmp.data import files
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

CLASSIFIERS = {
    "xgboost": ("xgboost.XGBClassifier", {"n_estimators": 8}),
    "lightgbm": ("lightgbm.LGBMClassifier", {"n_estimators": 8}),
    "catboost": ("catboost.CatBoostClassifier", {"iterations": 8}),
    "forest": ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 8}),
    "linear": ("sklearn.linear_model.LogisticRegression", {}),
}
REGRESSORS = {
    "xgboost": ("xgboost.XGBRegressor", {"n_estimators": 8}),
    "lightgbm": ("lightgbm.LGBMRegressor", {"n_estimators": 8}),
    "catboost": ("catboost.CatBoostRegressor", {"iterations": 8}),
    "forest": ("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 8}),
    "linear": ("sklearn.linear_model.LinearRegression", {}),
}
ANSWERS = {
    "text": {"no", "yes, gladly"},
    "numbers": {10, 20, 30},
    "awkward": {"<=50K", ">50K", "n/a?"},
    "value": None,
}

FRESH = textwrap.dedent("""
    import json, sys, warnings
    warnings.simplefilter("ignore")
    import mlflow, pandas
    mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
    frame = pandas.read_csv(sys.argv[1])
    answers = {}
    for run in sys.argv[2:]:
        model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
        answers[run] = model.predict(frame).to_dict("records")
    print(json.dumps(answers))
""")


def in_a_fresh_process(folder, table, run_ids):
    """Predict through MLflow, several models in one process: importing MLflow takes longest."""
    command = [sys.executable, "-c", FRESH, table, *run_ids]
    return json.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True).stdout)


@pytest.mark.parametrize("labels", ANSWERS)
def test_every_library_predicts_the_same_numbers_everywhere(labels, tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(tmp_path)
    table = write_mixed(tmp_path / "table.csv", labels)
    task = "regression" if labels == "value" else "classification"
    trained = {}
    for library, (path, values) in (REGRESSORS if task == "regression" else CLASSIFIERS).items():
        text = recipe(library, task, path, "table.csv", "label", entities=[KEY], values=values)
        (tmp_path / f"{library}.yaml").write_text(text)
        trained[library] = train(load_recipe(f"{library}.yaml"), load_config())

    fresh = in_a_fresh_process(tmp_path, str(table), [result.run_id for result in trained.values()])
    answers = set()
    for library, result in trained.items():
        bundle = load_model(result.run_id, load_config().value).bundle
        expected = bundle.predict(files.read(str(table)).arrow).records()
        assert fresh[result.run_id] == expected, library
        assert mmp("predict", "--run-id", result.run_id, "-i", table, "--json").json == {
            "predictions": expected,
            "run_id": result.run_id,
        }
        assert [row[KEY] for row in expected][:2] == [9_007_199_254_740_993, 9_007_199_254_740_994]
        answers |= {(type(row["prediction"]), row["prediction"]) for row in expected}
    if task == "regression":
        assert len(answers) > 100
    else:
        assert answers == {(type(label), label) for label in ANSWERS[labels]}


def test_the_model_has_learned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv", "text", n_rows=600)
    for library, (path, values) in CLASSIFIERS.items():
        text = recipe(library, "classification", path, "table.csv", "label", entities=[KEY], values=values)
        (tmp_path / "r.yaml").write_text(text)
        metrics = train(load_recipe("r.yaml"), load_config()).metrics
        assert metrics["test"]["roc_auc"] > 0.8, (library, metrics["test"])


def test_any_file_format_is_the_same_table(tmp_path, monkeypatch, mmp):
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    table = write_mixed(tmp_path / "table.csv")
    (tmp_path / "parts").mkdir()
    arrow = files.read(str(table)).arrow
    pq.write_table(arrow.slice(0, 100), tmp_path / "parts" / "1.parquet")
    pq.write_table(arrow.slice(100), tmp_path / "parts" / "2.parquet")
    path, values = CLASSIFIERS["xgboost"]
    text = recipe("r", "classification", path, "table.csv", "label", entities=[KEY], values=values)
    (tmp_path / "r.yaml").write_text(text)
    outcomes = [mmp("train", "-r", "r.yaml", "-d", data, "--json").json for data in ("table.csv", "parts")]
    assert outcomes[0]["metrics"] == outcomes[1]["metrics"]
    answers = [mmp("predict", "--run-id", "latest", "-i", data, "--json").json for data in ("table.csv",)]
    rows = [mmp("predict", "--run-id", outcomes[0]["run_id"], "-i", "table.csv", "--json").json]
    assert answers[0]["predictions"] == rows[0]["predictions"]


# what a booster itself requires is there with it
NEEDS = {"lightgbm": {"lightgbm", "scipy"}, "linear": set()}


@pytest.mark.parametrize("library", NEEDS)
def test_the_serving_extra_is_enough_to_predict(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = write_mixed(tmp_path / "table.csv", "awkward")
    path, values = CLASSIFIERS[library]
    text = recipe("r", "classification", path, "table.csv", "label", entities=[KEY], values=values)
    (tmp_path / "r.yaml").write_text(text)
    result = train(load_recipe("r.yaml"), load_config())
    (model,) = tmp_path.glob(f"mlruns/**/{result.run_id}/artifacts/model")
    absent = {"sklearn", "skops", "scipy", "xgboost", "lightgbm", "catboost"} - NEEDS[library]
    absent |= {"typer", "rich", "sqlalchemy", "alembic", "flask", "matplotlib", "docker", "graphene"}
    code = textwrap.dedent(f"""
        import json, sys, warnings
        from importlib.machinery import PathFinder

        class Without(PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                return None if name.partition(".")[0] in {absent!r} else super().find_spec(name, path, target)

        sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
        warnings.simplefilter("ignore")
        import mlflow.pyfunc, pandas
        model = mlflow.pyfunc.load_model(sys.argv[1])
        print(json.dumps(model.predict(pandas.read_csv(sys.argv[2])).to_dict("records")))
    """)
    command = [sys.executable, "-c", code, model, table]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    expected = load_model(result.run_id, load_config().value).bundle.predict(files.read(str(table)).arrow)
    assert json.loads(answer.stdout) == expected.records()


def test_one_row_and_rows_on_stdin(tmp_path, monkeypatch, mmp):
    monkeypatch.chdir(tmp_path)
    table = write_mixed(tmp_path / "table.csv", "text")
    path, values = CLASSIFIERS["xgboost"]
    text = recipe("r", "classification", path, "table.csv", "label", entities=[KEY], values=values)
    (tmp_path / "r.yaml").write_text(text)
    result = train(load_recipe("r.yaml"), load_config())
    rows = files.read(str(table)).arrow.slice(0, 3).drop_columns("label").to_pylist()
    rows = [
        {name: getattr(value, "isoformat", lambda v=value: v)() for name, value in row.items()}
        for row in rows
    ]
    expected = mmp("predict", "--run-id", result.run_id, "-i", table, "--json").json["predictions"][:3]
    single = mmp("predict", "--run-id", result.run_id, "-i", json.dumps(rows[0]), "--json").json
    assert single == {"prediction": expected[0], "run_id": result.run_id}
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert mmp("predict", "--run-id", "latest", "-i", "rows.json", "--json").json["predictions"] == expected
    with (tmp_path / "rows.json").open() as standard_input:
        piped = call("predict", "--run-id", "latest", "-i", "-", stdin=standard_input)
    assert [json.loads(line) for line in piped.out.splitlines()] == expected
    # the example of a run is a request that its model answers
    example = mmp("predict", "--run-id", "latest", "-i", json.dumps(result.example), "--json")
    assert set(example.json["prediction"]) >= {"prediction", "probability"}
