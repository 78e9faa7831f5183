"""What a process loads to train and to predict; each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, tempfile, pathlib
import numpy as np
from mmp.catalog.models import find
from mmp.modeling import engines, lean
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

if {enable}:
    lean.enable()
row = find({name!r})
rng = np.random.default_rng(0)
values = rng.normal(size=(200, 3))
codes = (values[:, 0] > 0).astype(np.int32)
values[:, 2] = rng.integers(0, 4, 200)
values = values.astype(row.matrix_dtype)
matrix = Matrix(values, ("a", "b", "c"), {{2: 4}} if row.native_categories else {{}})
target = Target("classification", codes, ("no", "yes"), 1) if row.task == "classification" else Target("regression", values[:, 0] * 1.0)
stop = EarlyStopping(3) if row.early_stopping else None
model = fit_model(row, {{}}, matrix, target, validation=(matrix, target), options=FitOptions(early_stopping=stop)).model
with tempfile.TemporaryDirectory() as folder:
    meta = model.save(pathlib.Path(folder))
    loaded = engines.load(row.engine, pathlib.Path(folder), meta)
    assert np.array_equal(loaded.predict(values), model.predict(values))
before = set(sys.modules)
assert "GOMP_SPINCOUNT" in __import__("os").environ
print(" ".join(sorted(before & {{"pandas", "sklearn", "pyarrow", "mlflow", "scipy", "joblib"}})))
if {enable}:
    import sklearn.linear_model, pandas  # afterwards both can be had
"""


def loaded(name, *, enable):
    environment = {k: v for k, v in os.environ.items() if k not in {"MMP_LEAN_IMPORTS", "GOMP_SPINCOUNT"}}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(name=name, enable=enable)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["XGBClassifier", "XGBRegressor", "LGBMClassifier", "LGBMRegressor"])
def test_boosters_train_and_predict_without_sklearn_and_pandas(name):
    assert loaded(name, enable=True) & {"pandas", "sklearn", "mlflow", "joblib"} == set()


def test_catboost_brings_no_sklearn():
    assert "sklearn" not in loaded("CatBoostClassifier", enable=True)


def test_a_library_users_process_imports_as_usual():
    assert "sklearn" in loaded("XGBClassifier", enable=False)


LOAD_LINEAR = """
import sys, pathlib
import numpy as np
from mmp.modeling import engines
model = engines.load("linear", pathlib.Path({folder!r}), {meta!r})
assert model.predict(np.zeros((2, 2))).shape == (2,)
print(" ".join(set(sys.modules) & {{"sklearn", "scipy", "pandas"}}))
"""


def test_a_linear_model_is_loaded_without_sklearn(tmp_path):
    import numpy as np

    from mmp.catalog.models import find
    from mmp.modeling.fit import fit_model
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target

    values = np.random.default_rng(0).normal(size=(20, 2))
    target = Target("regression", values.sum(axis=1))
    meta = fit_model(find("LinearRegression"), {}, Matrix(values, ("a", "b")), target).model.save(tmp_path)
    script = LOAD_LINEAR.format(folder=str(tmp_path), meta=meta)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_other_threads_import_meanwhile(monkeypatch):
    """The finder that keeps a package out looks at its own thread only."""
    import threading

    from mmp.modeling import lean

    finder = lean._Absent({"pandas"}, threading.get_ident())
    with pytest.raises(ModuleNotFoundError, match="kept out"):
        finder.find_spec("pandas", None)
    seen = []
    other = threading.Thread(target=lambda: seen.append(finder.find_spec("pandas", None)))
    other.start()
    other.join()
    assert seen == [None]
