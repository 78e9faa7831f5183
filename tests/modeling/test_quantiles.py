"""The model of quantiles over every base of the catalog."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from mmp import lookup
from mmp.catalog import quantiles
from mmp.catalog.models import find, row_for
from mmp.errors import SettingsError
from mmp.modeling import engines
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.quantile import QuantileEnsemble
from mmp.modeling.target import Target

LEVELS = [0.995, 0.5, 0.1]
N_ROWS = 300
every_base = pytest.mark.parametrize("base", quantiles.BASES.values(), ids=lambda row: row.name)
stopping_base = pytest.mark.parametrize(
    "base", [row for row in quantiles.BASES.values() if row.early_stopping], ids=lambda row: row.name
)


def matrix_for(row, seed=0, n_rows=N_ROWS):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, (n_rows, 4))
    if row.handles_nulls:
        values[rng.random(values.shape) < 0.05] = np.nan
    return Matrix(values.astype(row.matrix_dtype), ("a", "b", "c", "d"), {})


def target_for(matrix, seed=1):
    rng = np.random.default_rng(seed)
    known = np.nan_to_num(matrix.values.astype(np.float64))
    noise = rng.normal(size=len(known)) * (0.2 + np.abs(known[:, 1]))
    return Target("regression", 100 + 10 * (known[:, 0] + noise))


def fitted(base, levels=LEVELS, *, options=None, validation=None, matrix=None, **more):
    row = find("QuantileEnsemble", {"base": base.class_path})
    rounds = {base.rounds_param: 15} if base.rounds_param else {}
    matrix = matrix or matrix_for(base)
    written = {**rounds, "base": base.class_path, "quantiles": levels, **more}
    return fit_model(
        row, written, matrix, target_for(matrix), validation=validation,
        options=options or FitOptions(seed=3, threads=1),
    )  # fmt: skip


@every_base
def test_quantiles_rise_and_the_median_is_the_prediction(base):
    matrix = matrix_for(base)
    model = fitted(base).model
    output = model.predict(matrix.values)
    assert model.columns == ("pred_p10", "pred_p50", "pred_p99.5")
    assert output.shape == (N_ROWS, 4)
    assert output.dtype == np.float64
    assert (np.diff(output[:, 1:], axis=1) >= 0).all()
    assert (output[:, 0] == output[:, 2]).all()
    below = (target_for(matrix).values[:, None] <= output[:, 1:]).mean(axis=0)
    assert np.abs(below - [0.1, 0.5, 0.995]).max() < 0.2


@every_base
def test_a_row_by_itself_no_rows_and_what_was_saved_answer_the_same(base, tmp_path):
    matrix = matrix_for(base)
    model = fitted(base).model
    output = model.predict(matrix.values)
    meta = model.save(tmp_path)
    again = engines.load("quantiles", tmp_path, meta, n_threads=1)
    for one in (model, again, model.with_threads(1)):
        np.testing.assert_array_equal(one.predict(matrix.values), output)
        assert [one.one(matrix.values[[row]]) for row in range(25)] == output[:25].tolist()
        assert one.predict(matrix.values[:0]).shape == (0, 4)
    assert again.columns == model.columns
    assert again.libraries == (base.engine,)


@every_base
def test_one_quantile_is_the_librarys_own(base):
    matrix, level = matrix_for(base), 0.9
    result = fitted(base, [level])
    params = {name: value for name, value in result.params.items() if name not in quantiles.DEFAULTS}
    if base.engine == "xgboost":
        params.pop("tree_method", None)
    silent = {"lightgbm": {"verbose": -1}, "catboost": {"verbose": False, "allow_writing_files": False}}
    twin = lookup.resolve(base.class_path)(
        **params, **base.quantile.asking([level]), **silent.get(base.engine, {})
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin.fit(matrix.values, target_for(matrix).values)
        expected = twin.predict(matrix.values)
    np.testing.assert_allclose(result.model.predict(matrix.values)[:, 0], expected, rtol=1e-6)


@every_base
def test_where_quantiles_cross_they_are_sorted(base):
    """Neighbouring levels of few rounds cross somewhere, and what comes out does not."""
    levels = [0.45, 0.47, 0.5, 0.53, 0.55]
    matrix = matrix_for(base, n_rows=80)
    model = fitted(base, levels, matrix=matrix).model
    apart = np.column_stack([one.predict(matrix.values) for one in model.inside])
    output = model.predict(matrix.values)[:, 1:]
    np.testing.assert_array_equal(output, np.sort(apart, axis=1))
    assert (np.diff(output, axis=1) >= 0).all()


@stopping_base
def test_it_stops_early_by_its_own_loss(base):
    validation = matrix_for(base, seed=9)
    options = FitOptions(seed=3, threads=1, early_stopping=EarlyStopping(3, quantiles.LOSS))
    rounds = {base.rounds_param: 400, "learning_rate": 0.3}
    result = fitted(base, options=options, validation=(validation, target_for(validation, 2)), **rounds)
    assert 0 <= result.model.best_iteration < 399
    assert result.model.history
    assert all(not set(name) & set(":=,") for name in result.model.history)  # MLflow takes no such names
    with pytest.raises(SettingsError, match="cannot stop early on 'rmse'"):
        fitted(
            base,
            options=FitOptions(threads=1, early_stopping=EarlyStopping(3, "rmse")),
            validation=(validation, target_for(validation)),
        )


@every_base
def test_the_prediction_is_explained(base):
    matrix = matrix_for(base)
    model = fitted(base).model
    explained, rows = model.explained, matrix.values[:20]
    assert explained.predict(rows).shape == (20,)
    parts = explained.contributions(rows)
    if parts is not None:
        assert parts.shape == (20, 1, 5)
        np.testing.assert_allclose(parts.sum(axis=2)[:, 0], explained.predict(rows), rtol=1e-4)


@pytest.mark.parametrize(
    ("levels", "middle"), [([0.9], 0.9), ([0.1, 0.9], 0.1), ([0.2, 0.6, 0.9], 0.6), ([0.25, 0.75], 0.25)]
)
def test_without_a_median_the_prediction_is_the_nearest_the_lower_of_two(levels, middle):
    base = find("LGBMRegressor")
    model = fitted(base, levels).model
    output = model.predict(matrix_for(base).values)
    np.testing.assert_array_equal(output[:, 0], output[:, 1 + levels.index(middle)])


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([], "a list of numbers"), (0.5, "a list of numbers"), ("0.5", "a list of numbers"),
        ([0.5, 1.0], "1.0 does not"), ([0, 0.5], "0 does not"), ([True], "True does not"),
        ([0.5, "x"], "'x' does not"), ([0.5, 0.9, 0.5], "0.5 is there twice"),
    ],
)  # fmt: skip
def test_quantiles_that_are_none(levels, words):
    with pytest.raises(SettingsError, match=words):
        fitted(find("LGBMRegressor"), levels)


def test_the_loss_is_not_for_the_recipe_to_set():
    for name, base in (("objective", "XGBRegressor"), ("alpha", "LGBMRegressor"), ("app", "LGBMRegressor")):
        with pytest.raises(SettingsError, match=f"'{name}' is set by mmp"):
            fitted(find(base), **{name: 1})


def test_names_of_old_files_and_bases_lead_to_it():
    old = "mmp.models.custom.quantile_ensemble.QuantileRegressorEnsemble"
    row = row_for(old, "regression", {"base_class_path": "xgboost.XGBRegressor"})
    assert (row.class_path, row.base.name) == (quantiles.CLASS_PATH, "XGBRegressor")
    assert row.aliases["base_class_path"] == "base"
    assert find("QuantileEnsemble").base.name == "LGBMRegressor"
    assert find(quantiles.CLASS_PATH, {"base": "CatBoostRegressor"}).base.name == "CatBoostRegressor"


def test_what_has_no_loss_for_quantiles_is_no_base():
    row = find("QuantileEnsemble", {"base": "sklearn.linear_model.Ridge"})
    matrix = matrix_for(row)
    with pytest.raises(SettingsError, match="Ridge has no loss for quantiles") as error:
        fit_model(row, {"base": "sklearn.linear_model.Ridge"}, matrix, target_for(matrix))
    assert "xgboost.XGBRegressor" in error.value.hint


def test_the_estimator_gives_what_the_model_gives():
    base = quantiles.BASES["xgboost.XGBRegressor"]
    matrix = matrix_for(base)
    values, target = np.nan_to_num(matrix.values), target_for(matrix).values
    estimator = QuantileEnsemble(base.class_path, LEVELS, {"n_estimators": 15}, random_state=3)
    clone(estimator).fit(values, target)
    given = Matrix(values, matrix.names, {})
    output = (
        fit_model(
            find("QuantileEnsemble", {"base": base.class_path}),
            {"base": base.class_path, "quantiles": LEVELS, "n_estimators": 15},
            given,
            Target("regression", target),
            options=FitOptions(seed=3, threads=1),
        )
        .model.predict(values)
    )  # fmt: skip
    estimator.fit(values, target)
    np.testing.assert_array_equal(estimator.predict(values), output[:, 0])
    np.testing.assert_array_equal(estimator.predict_quantiles(values), output[:, 1:])
    assert estimator.columns_ == ("pred_p10", "pred_p50", "pred_p99.5")


@parametrize_with_checks(
    [QuantileEnsemble("sklearn.linear_model.QuantileRegressor", [0.5], {"alpha": 0.0})],
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
