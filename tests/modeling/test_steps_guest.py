"""Transformers by dotted path: scikit-learn's own, and a user's."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    TargetEncoder,
)
from tests.steps import step

from mmp.data.table import ColumnSpec
from mmp.errors import ArtifactError, DataError, SettingsError, UnknownNameError
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target
from mmp.settings.steps import ForeignStep

ROWS = 60
GENERATOR = np.random.default_rng(0)
TABLE = {
    "x": ("float", np.exp(GENERATOR.normal(size=ROWS)).tolist()),
    "n": ("integer", GENERATOR.integers(0, 9, ROWS).tolist()),
    "flag": ("boolean", (GENERATOR.random(ROWS) > 0.5).tolist()),
    "city": ("text", [None if row % 7 == 0 else "abcd"[row % 4] for row in range(ROWS)]),
    "when": ("timestamp", [row * 86_400_000_000 for row in range(ROWS)]),
}
NUMBERS = np.column_stack([np.array(TABLE[name][1], float) for name in ("x", "n")])
TARGET = Target("regression", GENERATOR.normal(size=ROWS))


def guest(path, columns=("x", "n"), **parameters):
    return ForeignStep(type=path, columns=columns, **parameters)


def fit(*steps, names=("x", "n"), table=TABLE, target=TARGET, trust=()):
    specs = [ColumnSpec(name, table[name][0]) for name in names]
    columns = {name: column_of(*table[name]) for name in names}
    return pipeline.fit(
        steps, columns, specs, target, seed=3, dtype="float64", native_categories=True, trust=trust
    )


def everything(names):
    return {name: column_of(*TABLE[name]) for name in names}


def restored(fitted, trust=()):
    state, arrays = fitted.to_state()
    return pipeline.FittedPipeline.from_state(json.loads(json.dumps(state)), arrays, trust)


@pytest.mark.parametrize(
    ("twin", "parameters"),
    [
        (PowerTransformer, {}),
        (QuantileTransformer, {"n_quantiles": 20}),
        (SplineTransformer, {"n_knots": 3}),
        (KBinsDiscretizer, {"encode": "onehot", "n_bins": 3}),
    ],
)
def test_columns_are_those_of_the_transformer_itself(twin, parameters):
    fitted, trained = fit(guest(f"sklearn.preprocessing.{twin.__name__}", **parameters))
    own = twin(**parameters).fit(NUMBERS)
    expected = own.transform(NUMBERS)
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    assert fitted.names == tuple(own.get_feature_names_out(["x", "n"]))
    np.testing.assert_allclose(trained.values, expected, rtol=1e-12, atol=1e-12)
    again = restored(fitted)
    made = again.matrix(everything(("x", "n"))).values
    np.testing.assert_allclose(made, expected, rtol=1e-12, atol=1e-12)
    for position in range(0, ROWS, 7):
        row = again.row({name: TABLE[name][1][position] for name in ("x", "n")})
        assert row.tobytes() == made[position : position + 1].tobytes()


def test_text_goes_through_a_table():
    names = ("city", "n")
    fitted, _ = fit(
        guest("sklearn.preprocessing.OneHotEncoder", ("city",), handle_unknown="ignore"), names=names
    )
    cells = np.array([[np.nan if cell is None else cell] for cell in TABLE["city"][1]], object)
    twin = OneHotEncoder(handle_unknown="ignore").fit(cells)
    expected = twin.transform(cells).toarray()
    assert fitted.names[1:] == tuple(twin.get_feature_names_out(["city"]))
    made = restored(fitted).matrix(everything(names)).values
    assert np.array_equal(made[:, 1:], expected)
    assert fitted.row({"city": "never seen", "n": 1})[0].tolist() == [1.0] + [0.0] * expected.shape[1]
    assert fitted.row({"city": None, "n": None})[0, -1] == 1.0


def test_text_may_come_out():
    steps = [
        guest("sklearn.impute.SimpleImputer", ("city",), strategy="most_frequent"),
        step("one_hot_encoder"),
    ]
    fitted, trained = fit(*steps, names=("city",))
    assert fitted.names == tuple(f"city={letter}" for letter in "abcd")
    assert trained.values.sum() == ROWS
    assert fitted.row({"city": None}).sum() == 1


def test_training_rows_get_what_fit_transform_gives():
    path, names = "sklearn.preprocessing.TargetEncoder", ("n",)
    fitted, trained = fit(guest(path, names, cv=3), names=names)
    cells = NUMBERS[:, 1:]
    twin = TargetEncoder(cv=3)
    np.random.seed(3)  # noqa: NPY002 - what the twin draws from
    np.testing.assert_allclose(trained.values, twin.fit_transform(cells, TARGET.values))
    np.testing.assert_allclose(fitted.matrix(everything(names)).values, twin.transform(cells))


def test_every_kind_of_column_arrives():
    columns = tuple(TABLE)
    path = "sklearn.preprocessing.FunctionTransformer"
    steps = [
        step("datetime_features", columns="when", parts=("day",)),
        step("one_hot_encoder", columns="city"),
        guest(path, ("x", "n", "flag", "when.day", "city=a"), feature_names_out="one-to-one"),
    ]
    fitted, trained = fit(*steps, names=columns)
    assert set(fitted.names) == {
        "x",
        "n",
        "flag",
        "when.day",
        "city=a",
        "city=b",
        "city=c",
        "city=d",
        "city is missing",
    }
    assert np.array_equal(trained.values, fitted.matrix(everything(columns)).values)


def test_the_run_is_told_that_it_is_slower():
    _, trained = fit(guest("sklearn.preprocessing.PowerTransformer"))
    (finding,) = trained.findings
    assert (finding.level, "slower" in finding.message) == ("info", True)


def test_mistakes_are_named():
    path = "sklearn.preprocessing.PowerTransformer"
    with pytest.raises(UnknownNameError, match="has no parameter 'methd'") as caught:
        fit(guest(path, methd="box-cox"))
    assert "method" in caught.value.hint
    with pytest.raises(DataError, match=r"PowerTransformer could not be fitted: .*'methode'"):
        fit(guest(path, method="methode"))
    with pytest.raises(DataError, match="could not be fitted: could not convert string to float") as caught:
        fit(guest(path, ("city",)), names=("city",))
    assert "columns" in caught.value.hint
    with pytest.raises(SettingsError, match=r"'collections\.OrderedDict' is no transformer"):
        fit(guest("collections.OrderedDict"))
    with pytest.raises(SettingsError, match="cannot be saved: Objects of type Birch"):
        fit(guest("sklearn.cluster.Birch"))
    with pytest.raises(SettingsError, match="cannot be made"):
        fit(guest("sklearn.compose.ColumnTransformer"))


def test_rows_that_it_refuses_are_an_error():
    fitted, _ = fit(guest("sklearn.preprocessing.OneHotEncoder", ("city",)), names=("city",))
    with pytest.raises(DataError, match=r"OneHotEncoder does not take these rows: .*unknown categories"):
        fitted.row({"city": "never seen"})


def test_an_empty_table_is_a_table():
    fitted, _ = fit(guest("sklearn.preprocessing.PowerTransformer"))
    nothing = {name: column.take(slice(0, 0)) for name, column in everything(("x", "n")).items()}
    assert fitted.matrix(nothing).values.shape == (0, 2)


OWN = """
import numpy as np
import pandas as pd

class Clip:
    "What lies beyond a quantile of the training rows becomes it."

    def __init__(self, quantile=0.9):
        self.quantile = quantile

    def fit(self, X, y=None):
        self.upper_ = X.quantile(self.quantile).to_dict()
        return self

    def transform(self, X):
        assert isinstance(X, pd.DataFrame)
        return X.clip(upper=pd.Series(self.upper_), axis=1)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_clip.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own_clip", None)


@pytest.mark.usefixtures("own")
def test_a_class_of_ones_own_is_trusted_by_name_before_and_after():
    clip = guest("own_clip.Clip", quantile=0.5)
    with pytest.raises(SettingsError, match=r"cannot be saved safely: it holds own_clip\.Clip") as caught:
        fit(clip)
    assert "package: {trust: [own_clip.Clip]}" in caught.value.hint
    fitted, trained = fit(clip, trust=["own_clip.Clip"])
    np.testing.assert_allclose(trained.values, np.minimum(NUMBERS, np.quantile(NUMBERS, 0.5, axis=0)))
    with pytest.raises(ArtifactError, match=r"not trusted: own_clip\.Clip"):
        restored(fitted)
    again = restored(fitted, trust=["own_clip.Clip"])
    assert np.array_equal(again.matrix(everything(("x", "n"))).values, trained.values)


def test_a_class_that_is_gone_is_an_error(own, monkeypatch):
    fitted, _ = fit(guest("own_clip.Clip"), trust=["own_clip.Clip"])
    state, arrays = fitted.to_state()
    sys.modules.pop("own_clip")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(own)])
    with pytest.raises(ArtifactError, match=r"own_clip\.Clip cannot be loaded"):
        pipeline.FittedPipeline.from_state(state, arrays, ["own_clip.Clip"])


def test_equal_guests_give_equal_bytes():
    first, second = (fit(guest("sklearn.preprocessing.PowerTransformer"))[0].to_state()[1] for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
