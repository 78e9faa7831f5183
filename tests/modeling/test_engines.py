"""Engines against the libraries' own scikit-learn classes, and what may be saved."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mmp.catalog.models import find, row_for
from mmp.errors import ArtifactError, MissingExtraError, SettingsError, UnknownNameError
from mmp.modeling import engines
from mmp.modeling.engines.base import FitJob, Stopping
from mmp.modeling.engines.sklearn import check_saveable
from mmp.modeling.fit import FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

RNG = np.random.default_rng(3)
N = 1500
VALUES = RNG.normal(size=(N, 6))
VALUES[:, 5] = RNG.integers(0, 12, N)
SIGNAL = VALUES[:, 0] + VALUES[:, 1] * VALUES[:, 2] + (VALUES[:, 5] % 3) + RNG.normal(size=N) * 0.3
VALUES[RNG.random(VALUES.shape) < 0.05] = np.nan
NAMES = tuple("abcdef")
TRAIN, VALID = np.arange(1000), np.arange(1000, N)

TARGETS = {
    "regression": Target("regression", SIGNAL),
    "binary": Target("classification", (SIGNAL > 1).astype(np.int32), (0, 1), 1),
    "three": Target("classification", np.digitize(SIGNAL, [0.3, 1.7]).astype(np.int32), (0, 1, 2)),
}
every_target = pytest.mark.parametrize("kind", TARGETS)
both_ways = pytest.mark.parametrize("stop", [False, True], ids=["all rounds", "early stopping"])


def matrix(dtype, rows=slice(None)):
    return Matrix(np.ascontiguousarray(VALUES[rows].astype(dtype)), NAMES, {5: 12})


def fitted(name, kind, params, *, stop=False, threads=2, weights=None):
    row = find(f"{name}{'Regressor' if kind == 'regression' else 'Classifier'}")
    target = TARGETS[kind]
    job = FitJob(
        row,
        params,
        matrix(row.matrix_dtype, TRAIN),
        target.take(TRAIN),
        validation=(matrix(row.matrix_dtype, VALID), target.take(VALID)) if stop else None,
        stopping=Stopping(5) if stop else None,
        weights=weights,
        seed=11,
        threads=threads,
    )
    return engines.fit(job), matrix(row.matrix_dtype).values


@every_target
@both_ways
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_estimators": 40, "max_depth": 3, "subsample": 0.7, "reg_alpha": 0.5, "learning_rate": 0.4},
        {"n_estimators": 30, "tree_method": "approx", "max_bin": 32, "colsample_bytree": 0.5},
        {"n_estimators": 20, "num_parallel_tree": 3, "colsample_bynode": 0.5, "grow_policy": "lossguide"},
        {"n_estimators": 15, "booster": "dart", "rate_drop": 0.3},
    ],
    ids=["defaults", "usual", "approx", "forests", "dart"],
)
def test_xgboost_gives_its_own_estimators_numbers(kind, stop, params):
    import xgboost

    model, values = fitted("XGB", kind, params, stop=stop)
    target = TARGETS[kind].values
    more = {"feature_types": ["q"] * 5 + ["c"], "enable_categorical": True, "random_state": 11, "n_jobs": 2}
    cls = xgboost.XGBRegressor if kind == "regression" else xgboost.XGBClassifier
    theirs = cls(**params, **more, early_stopping_rounds=5 if stop else None)
    watched = [(values[VALID], target[VALID])] if stop else None
    theirs.fit(values[TRAIN], target[TRAIN], eval_set=watched, verbose=False)
    expected = theirs.predict(values) if kind == "regression" else theirs.predict_proba(values)
    np.testing.assert_array_equal(model.predict(values), expected.astype(np.float64))
    if model.fitted is not None:
        np.testing.assert_array_equal(model.fitted, model.predict(values[TRAIN]))
    if stop:
        assert model.best_iteration == theirs.best_iteration
        ((name, history),) = theirs.evals_result()["validation_0"].items()
        assert model.history == {f"validation_{name}": tuple(history)}


def test_xgboost_remembers_what_it_answers_for_the_training_rows():
    model, values = fitted("XGB", "binary", {"n_estimators": 5})
    np.testing.assert_array_equal(model.fitted, model.predict(values[TRAIN]))
    assert fitted("XGB", "binary", {"n_estimators": 5}, stop=True)[0].fitted is None


@every_target
@both_ways
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_estimators": 40, "num_leaves": 7, "subsample": 0.7, "subsample_freq": 1, "reg_lambda": 2.0},
        {"n_estimators": 20, "boosting_type": "rf", "subsample": 0.6, "subsample_freq": 1},
    ],
    ids=["defaults", "usual", "rf"],
)
def test_lightgbm_gives_its_own_estimators_numbers(kind, stop, params):
    import lightgbm

    params = params | {"deterministic": True, "force_col_wise": True}
    model, values = fitted("LGBM", kind, params, stop=stop)
    target = TARGETS[kind].values
    cls = lightgbm.LGBMRegressor if kind == "regression" else lightgbm.LGBMClassifier
    theirs = cls(**params, random_state=11, n_jobs=2, verbosity=-1)
    more = (
        {
            "eval_X": values[VALID],
            "eval_y": target[VALID],
            "callbacks": [lightgbm.early_stopping(5, verbose=False)],
        }
        if stop
        else {}
    )
    theirs.fit(values[TRAIN], target[TRAIN], categorical_feature=[5], **more)
    expected = theirs.predict(values) if kind == "regression" else theirs.predict_proba(values)
    np.testing.assert_array_equal(model.predict(values), expected)
    if stop:
        assert model.best_iteration == theirs.best_iteration_ - 1


@every_target
@both_ways
def test_catboost_gives_its_own_estimators_numbers(kind, stop):
    import catboost

    params = {"iterations": 60, "depth": 4}
    model, values = fitted("CatBoost", kind, params, stop=stop)
    target = TARGETS[kind].values
    rows = [[*row[:5].tolist(), "missing" if np.isnan(row[5]) else str(int(row[5]))] for row in values]
    cls = catboost.CatBoostRegressor if kind == "regression" else catboost.CatBoostClassifier
    theirs = cls(**params, random_seed=11, thread_count=2, verbose=0, allow_writing_files=False)
    train = catboost.Pool(rows[:1000], target[TRAIN], cat_features=[5])
    valid = catboost.Pool(rows[1000:], target[VALID], cat_features=[5])
    theirs.fit(train, eval_set=valid if stop else None, early_stopping_rounds=5 if stop else None)
    everything = catboost.Pool(rows, cat_features=[5])
    expected = theirs.predict(everything) if kind == "regression" else theirs.predict_proba(everything)
    np.testing.assert_array_equal(model.predict(values), expected)


@pytest.mark.parametrize("kind", ["binary", "three"])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "saga"])
def test_logistic_regression_gives_its_own_estimators_numbers(kind, solver):
    from sklearn.linear_model import LogisticRegression

    values, target = np.nan_to_num(VALUES[:, :5]), TARGETS[kind]
    params = {"solver": solver, "tol": 1e-3, "C": 0.7}
    made = fit_model(find("LogisticRegression"), params, Matrix(values, NAMES[:5]), target)
    theirs = LogisticRegression(**params, random_state=42, max_iter=1000).fit(values, target.values)
    np.testing.assert_allclose(made.model.predict(values), theirs.predict_proba(values), rtol=1e-12)


@pytest.mark.parametrize("params", [{}, {"fit_intercept": False}, {"positive": True}])
def test_linear_regression_gives_its_own_estimators_numbers(params):
    from sklearn.linear_model import LinearRegression

    values = np.nan_to_num(VALUES[:, :5])
    made = fit_model(find("LinearRegression"), params, Matrix(values, NAMES[:5]), TARGETS["regression"])
    theirs = LinearRegression(**params).fit(values, SIGNAL)
    np.testing.assert_allclose(made.model.predict(values), theirs.predict(values), rtol=1e-10, atol=1e-12)


def test_probabilities_stay_finite_at_the_ends_of_the_scale():
    values = np.array([[-1.0], [1.0]] * 20)
    target = Target("classification", np.tile([0, 1], 20).astype(np.int32), (0, 1), 1)
    model = fit_model(find("LogisticRegression"), {}, Matrix(values, ("x",)), target).model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = model.predict(np.array([[-1e300], [1e300], [0.0]]))
    np.testing.assert_allclose(output, [[1, 0], [0, 1], [0.5, 0.5]], atol=1e-6)


def test_a_large_matrix_is_predicted_as_its_rows():
    values = np.random.default_rng(0).normal(size=(20_001, 3))
    target = Target("regression", values @ [1.0, 2.0, 3.0])
    model = fit_model(find("LinearRegression"), {}, Matrix(values, tuple("abc")), target).model
    output = model.predict(values)
    for start in (0, 8191, 8192, 20_000):
        np.testing.assert_array_equal(model.predict(values[start : start + 1]), output[start : start + 1])


@pytest.mark.parametrize("name", ["XGB", "LGBM", "CatBoost"])
def test_weights_count(name):
    weights = np.where(TARGETS["binary"].values[TRAIN] == 1, 20.0, 1.0)
    plain, values = fitted(name, "binary", {}, threads=1)
    weighted, _ = fitted(name, "binary", {}, threads=1, weights=weights)
    assert weighted.predict(values)[:, 1].mean() > plain.predict(values)[:, 1].mean()


@pytest.mark.parametrize("name", ["XGB", "LGBM", "CatBoost"])
@every_target
def test_threads_do_not_change_a_prediction(name, kind):
    from dataclasses import replace

    model, _ = fitted(name, kind, {}, threads=2)
    values = np.tile(VALUES.astype(find(f"{name}Regressor").matrix_dtype), (60, 1))  # enough for two threads
    np.testing.assert_array_equal(replace(model, threads=1).predict(values), model.predict(values))


# -- any estimator


FOREIGN = [
    ("sklearn.ensemble.AdaBoostClassifier", "three"),
    ("sklearn.ensemble.BaggingRegressor", "regression"),
    ("sklearn.gaussian_process.GaussianProcessClassifier", "binary"),
    ("sklearn.kernel_ridge.KernelRidge", "regression"),
    ("sklearn.linear_model.TheilSenRegressor", "regression"),
    ("sklearn.naive_bayes.BernoulliNB", "binary"),
    ("sklearn.neighbors.NearestCentroid", "three"),
]


@pytest.mark.parametrize(("path", "kind"), FOREIGN)
def test_any_sklearn_estimator_is_fitted_saved_and_loaded(path, kind, tmp_path):
    row = row_for(path, "regression" if kind == "regression" else "classification")
    values = np.nan_to_num(VALUES)
    target = TARGETS[kind]
    result = fit_model(row, {}, Matrix(values, NAMES), target, options=FitOptions(threads=1))
    model = result.model
    loaded = engines.load("sklearn", tmp_path, model.save(tmp_path))
    output = model.predict(values)
    np.testing.assert_array_equal(loaded.predict(values), output)
    for start, stop in ((0, 1), (1, 4), (4, N)):
        np.testing.assert_array_equal(model.predict(values[start:stop]), output[start:stop])
    assert output.shape == ((N,) if kind == "regression" else (N, target.n_classes))


def test_an_estimator_without_probabilities_is_refused():
    row = row_for("sklearn.linear_model.RidgeClassifier", "classification")
    with pytest.raises(SettingsError, match="no probabilities") as raised:
        fit_model(row, {}, Matrix(np.nan_to_num(VALUES), NAMES), TARGETS["binary"])
    assert "predict_proba" in raised.value.hint


@pytest.mark.parametrize(
    ("path", "task", "message"),
    [
        ("sklearn.kernel_ridge.KernelRidge", "classification", "no estimator for classification"),
        ("sklearn.naive_bayes.BernoulliNB", "regression", "no estimator for regression"),
        ("sklearn.preprocessing.StandardScaler", "classification", "no scikit-learn compatible estimator"),
        ("collections.OrderedDict", "classification", "no scikit-learn compatible estimator"),
        ("math.sqrt", "classification", "no scikit-learn compatible estimator"),
        ("sklearn.ensemble.StackingRegressor", "regression", "needs the hyperparameter 'estimators'"),
    ],
)
def test_what_is_no_estimator_for_the_task_is_refused(path, task, message):
    kind = "binary" if task == "classification" else "regression"
    with pytest.raises(SettingsError, match=message):
        fit_model(row_for(path, task), {}, Matrix(np.nan_to_num(VALUES), NAMES), TARGETS[kind])


def test_an_unknown_hyperparameter_of_a_foreign_estimator_is_named():
    row = row_for("sklearn.kernel_ridge.KernelRidge", "regression")
    with pytest.raises(UnknownNameError, match="no hyperparameter 'alfa'") as raised:
        fit_model(row, {"alfa": 1}, Matrix(np.nan_to_num(VALUES), NAMES), TARGETS["regression"])
    assert raised.value.hint == "did you mean 'alpha'?"


def test_seed_and_threads_go_where_the_signature_has_them():
    row = row_for("sklearn.ensemble.ExtraTreesClassifier", "classification")
    options = FitOptions(seed=5, threads=2)
    model = fit_model(
        row, {"n_estimators": 5}, Matrix(np.nan_to_num(VALUES), NAMES), TARGETS["binary"], options=options
    ).model
    assert model.estimator.random_state == 5
    assert model.estimator.n_jobs == 1  # for predictions, which threads would add up in any order


# -- what may be saved


PLUGIN = '''
from sklearn.linear_model import Ridge

class Mine(Ridge):
    """An estimator of the user's own."""
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "mmp_test_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "mmp_test_plugin.Mine"
    import sys

    sys.modules.pop("mmp_test_plugin", None)


def test_an_unknown_type_is_refused_before_fitting_with_the_line_that_allows_it(plugin):
    row = row_for(plugin, "regression")
    empty = Matrix(np.empty((0, 6)), NAMES)  # a fit would fail on it
    with pytest.raises(
        SettingsError, match=r"cannot be saved safely: it holds mmp_test_plugin\.Mine"
    ) as raised:
        engines.fit(FitJob(row, {}, empty, Target("regression", np.empty(0))))
    assert "trust: [mmp_test_plugin.Mine]" in raised.value.hint


def test_a_trusted_type_is_saved_with_skops_and_wants_the_same_word_to_load(plugin, tmp_path):
    row = row_for(plugin, "regression")
    data = Matrix(np.nan_to_num(VALUES), NAMES)
    model = fit_model(row, {}, data, TARGETS["regression"], options=FitOptions(trust=[plugin])).model
    meta = model.save(tmp_path)
    assert meta["format"] == "skops"
    with pytest.raises(ArtifactError, match="not trusted"):
        engines.load("sklearn", tmp_path, meta)
    loaded = engines.load("sklearn", tmp_path, meta, trust=[plugin])
    np.testing.assert_array_equal(loaded.predict(data.values), model.predict(data.values))


def test_a_pickle_wants_the_word_in_both_places(plugin, tmp_path):
    row = row_for(plugin, "regression")
    data = Matrix(np.nan_to_num(VALUES), NAMES)
    model = fit_model(row, {}, data, TARGETS["regression"], options=FitOptions(allow_pickle=True)).model
    meta = model.save(tmp_path)
    assert meta["format"] == "pickle"
    with pytest.raises(ArtifactError, match="pickle"):
        engines.load("sklearn", tmp_path, meta)
    loaded = engines.load("sklearn", tmp_path, meta, trust=["pickle"])
    np.testing.assert_array_equal(loaded.predict(data.values), model.predict(data.values))


def test_pickle_is_not_used_where_skops_does():
    row = row_for("sklearn.neighbors.KNeighborsClassifier", "classification")
    assert check_saveable(row, {}, allow_pickle=True) == "skops"


def test_an_engine_of_another_version_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="engine 'torch'"):
        engines.load("torch", tmp_path, {})


def test_a_missing_library_gives_the_install_line():
    from mmp.modeling.lean import library

    with pytest.raises(MissingExtraError, match="'mmp_no_such_library' is needed"):
        library("mmp_no_such_library")
