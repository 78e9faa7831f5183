from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import pytest
from tests import bundles

from mmp.data import files
from mmp.errors import ArtifactError, DataError, MissingColumnsError
from mmp.tracking import artifacts
from mmp.tracking.flavor import PyfuncWrapper, _load_pyfunc

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own, on being imported
    import mlflow.models
    import mlflow.pyfunc


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return bundles.write_csv(tmp_path_factory.mktemp("table") / "table.csv", labels="three")


@pytest.fixture(scope="module", params=["xgboost", "lightgbm", "catboost", "linear", "sklearn"])
def folder(request, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / request.param
    artifacts.write(bundles.train(table, engine=request.param), folder, run_id="run", recipe_digest="recipe")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)


@pytest.fixture(scope="module")
def wrapper(folder):
    return _load_pyfunc(str(folder))


@pytest.fixture(scope="module")
def expected(wrapper, table):
    return wrapper.bundle.predict(files.read(str(table)).arrow).records()


def _numbers(records):
    return [{name: value for name, value in row.items() if name != "user id"} for row in records]


READERS = {
    "as it comes": {},
    "nullable": {"dtype_backend": "numpy_nullable"},
    "arrow": {"dtype_backend": "pyarrow"},
    "all text": {"dtype": str},
    "objects": {"dtype": object},
    "dates": {"parse_dates": ["day", "seen at"]},
    "categories": {"dtype": {"city": "category", "zip": "category", "age": "category"}},
}


@pytest.mark.parametrize("reader", READERS)
def test_whatever_pandas_makes_of_the_training_file_is_predicted_alike(
    model, wrapper, table, expected, reader
):
    frame = pd.read_csv(table, **READERS[reader])
    assert _numbers(model.predict(frame).to_dict("records")) == _numbers(expected)
    answers = wrapper.predict(frame)
    assert _numbers(answers.to_dict("records")) == _numbers(expected)
    assert [int(key) for key in answers["user id"]] == [row["user id"] for row in expected]


def test_columns_go_by_name_and_others_are_ignored(model, table, expected):
    frame = pd.read_csv(table)
    shuffled = frame[frame.columns[::-1]].assign(more=1)
    assert _numbers(model.predict(shuffled).to_dict("records")) == _numbers(expected)


def test_the_index_comes_back(model, wrapper, table):
    frame = pd.read_csv(table).head(5)
    for index in (
        [7, 3, 3, 0, 1],
        pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a")]),
    ):
        there = frame.set_axis(index, axis=0)
        assert wrapper.predict(there).index.equals(there.index)
        assert model.predict(there).index.equals(there.index)


def test_rows_of_every_form_are_the_same_rows(wrapper, table, expected):
    frame = pd.read_csv(table).head(3)
    records = frame.to_dict("records")
    structured = frame.drop(columns=["city", "day", "seen at", "label", "nothing"])
    forms = [
        records,
        tuple(records),
        frame.to_dict("list"),
        {name: frame[name].to_numpy() for name in frame},
        {name: frame[name] for name in frame},
        files.read(str(table)).arrow.slice(0, 3),
    ]
    for form in forms:
        assert _numbers(wrapper.predict(form).to_dict("records")) == _numbers(expected[:3])
    assert _numbers(wrapper.predict(records[1]).to_dict("records")) == _numbers(expected[1:2])
    with pytest.raises(MissingColumnsError, match="'city'"):
        wrapper.predict(structured.to_records(index=False))


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_a_structured_array_goes_by_its_names(wrapper, table, expected, unit):
    frame = pd.read_csv(table, parse_dates=["day", "seen at"]).head(3)
    for name in ("day", "seen at"):
        frame[name] = frame[name].dt.tz_localize(None).astype(f"datetime64[{unit}]")
    array = np.asarray(frame.to_records(index=False))
    assert _numbers(wrapper.predict(array).to_dict("records")) == _numbers(expected[:3])


@pytest.mark.parametrize("value", [np.zeros((2, 8)), [[1, 2]], "rows", 7, None, [1, {}]])
def test_rows_without_names_are_refused(wrapper, value):
    with pytest.raises(DataError, match=r"cannot predict from a .* without column names"):
        wrapper.predict(value)


def test_unequal_columns_and_doubled_names_are_refused(wrapper, table):
    frame = pd.read_csv(table).head(2)
    columns = frame.to_dict("list")
    with pytest.raises(DataError, match="differ in length"):
        wrapper.predict(columns | {"age": [1]})
    with pytest.raises(DataError, match="differ in length"):
        wrapper.predict(columns | {"age": 1})
    with pytest.raises(DataError, match="'age' is in the data frame more than once"):
        wrapper.predict(pd.concat([frame, frame[["age"]]], axis=1))


def test_a_value_that_does_not_fit_is_named_with_its_row(wrapper, table):
    frame = pd.read_csv(table, dtype=object).head(3)
    frame.loc[1, "age"] = "old"
    with pytest.raises(DataError, match=r"'age', row 1: 'old'"):
        wrapper.predict(frame)


def test_keys_come_back_as_they_came(model, wrapper, table):
    frame = pd.read_csv(table).head(3)
    assert "user id" not in wrapper.predict(frame.drop(columns="user id")).columns
    assert "user id" not in model.predict(frame.drop(columns="user id")).columns
    large = [2**53 + 1, None, 2**53 + 3]
    for dtype in ("Int64", object):
        keys = pd.Series(large, dtype=dtype)
        answers = wrapper.predict(frame.assign(**{"user id": keys}))
        assert answers["user id"].dtype == keys.dtype
        assert answers["user id"].dropna().tolist() == [2**53 + 1, 2**53 + 3]
    through = model.predict(frame.assign(**{"user id": pd.Series(large, dtype="Int64")}))
    assert through["user id"].dropna().tolist() == [2**53 + 1, 2**53 + 3]
    # An object column with None is a float before MLflow passes it on: which key it was is lost.
    with pytest.raises(DataError, match=r"'user id' holds .*, a float that stands for several integers"):
        model.predict(frame.assign(**{"user id": pd.Series(large, dtype=object)}))


def test_single_rows_answer_as_the_whole(wrapper, table, expected):
    frame = pd.read_csv(table)
    for row in range(0, len(frame), 17):
        one = wrapper.predict(frame.iloc[[row]])
        assert _numbers(one.to_dict("records")) == _numbers(expected[row : row + 1])


def test_an_empty_frame_has_an_empty_answer(wrapper, table):
    answers = wrapper.predict(pd.read_csv(table).head(0))
    assert len(answers) == 0
    assert list(answers.columns) == ["user id", *wrapper.bundle.output_names]


def test_it_holds_a_bundle_and_nothing_else_and_is_never_pickled(wrapper):
    assert set(vars(wrapper)) == {"bundle"}
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(wrapper)


def test_mlflow_meets_the_same_refusal_of_a_damaged_model(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    with (copy / "bundle.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match=r"'bundle\.json' has"):
        mlflow.pyfunc.load_model(str(copy), suppress_warnings=True)


def test_an_edited_mlmodel_changes_nothing_but_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    text = (copy / "MLmodel").read_text()
    (copy / "MLmodel").write_text(text.replace("run_id: run", "run_id: ran"))
    with pytest.raises(ArtifactError, match="'MLmodel' is not the one that was written"):
        mlflow.pyfunc.load_model(str(copy), suppress_warnings=True)


def test_trust_for_mlflow_is_the_processes_not_the_models(folder, monkeypatch):
    monkeypatch.setenv("MMP_TRUST", "pickle, my.own.Type,")
    assert isinstance(_load_pyfunc(str(folder)), PyfuncWrapper)


def test_a_boosters_model_needs_no_scikit_learn(folder, table):
    if folder.name == "sklearn":
        pytest.skip("a model of scikit-learn's needs it")
    code = """
        import sys
        from importlib.abc import MetaPathFinder
        class Absent(MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name in {"sklearn", "skops"}:
                    raise ModuleNotFoundError(name, name=name)
        sys.meta_path.insert(0, Absent())
        import mlflow.pyfunc, pandas as pd
        model = mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
        print(len(model.predict(pd.read_csv(sys.argv[2]))))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(folder), str(table)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "200\n", done.stderr
