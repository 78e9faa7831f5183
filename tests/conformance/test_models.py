"""Every row of the catalog, held to what mmp promises of a model; a new row is tested unasked."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace

import numpy as np
import pytest

from mmp import lookup
from mmp.catalog.models import MODELS, SPELLINGS, find, row_for
from mmp.errors import DataError
from mmp.modeling import engines
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

ROWS = list(MODELS.values())
CLASSIFIERS = [row for row in ROWS if row.task == "classification"]
BOOSTERS = [row for row in ROWS if row.early_stopping and row.engine != "sklearn"]
HISTOGRAMS = [row for row in ROWS if row.early_stopping and row.engine == "sklearn"]
N_ROWS = 240

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
every_classifier = pytest.mark.parametrize("row", CLASSIFIERS, ids=lambda row: row.name)
every_booster = pytest.mark.parametrize("row", BOOSTERS, ids=lambda row: row.name)


def small(row, **more):
    """Few rounds, but all else as the catalog says."""
    rounds = row.rounds_param or ("n_estimators" if "n_estimators" in row.parameters else None)
    return ({rounds: 12} if rounds else {}) | more


def matrix_for(row, *, n_features=5, n_rows=N_ROWS, seed=0):
    """Numbers, with missing values and a categorical column where the row takes them."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_rows, n_features))
    categorical = {}
    if row.native_categories and n_features > 1:
        values[:, -1] = rng.integers(0, 6, n_rows)
        categorical = {n_features - 1: 6}
    if row.handles_nulls:
        values[rng.random(values.shape) < 0.05] = np.nan
    names = tuple(f"feature [{position}] <é 🙂>" for position in range(n_features))
    return Matrix(values.astype(row.matrix_dtype), names, categorical)


def target_for(row, matrix, n_classes=2, classes=None):
    signal = np.nan_to_num(matrix.values[:, 0].astype(np.float64)) + 0.3 * np.nan_to_num(
        matrix.values[:, -1].astype(np.float64)
    )
    if row.task == "regression":
        return Target("regression", signal * 10 + 100)
    edges = np.quantile(signal, np.arange(1, n_classes) / n_classes)
    codes = np.digitize(signal, edges).astype(np.int32)
    return Target("classification", codes, classes or tuple(range(n_classes)), 1 if n_classes == 2 else None)


def fitted(row, matrix=None, target=None, options=None, **more):
    matrix = matrix if matrix is not None else matrix_for(row)
    target = target if target is not None else target_for(row, matrix)
    options = options or FitOptions(threads=1)
    return fit_model(row, small(row, **more), matrix, target, options=options)


# -- the rows as data


@every_row
def test_class_path_is_a_class_of_the_library(row):
    assert inspect.isclass(lookup.resolve(row.class_path))


def own_names(row):
    made = lookup.resolve(row.class_path)
    parents = made.__mro__ if row.engine == "xgboost" else (made,)
    names = {name for parent in parents for name in inspect.signature(parent.__init__).parameters}
    return names - {"self", "args", "kwargs"}


@every_row
def test_every_parameter_of_the_signature_has_its_place(row):
    assert own_names(row) <= row.names | row.reserved


@every_row
def test_every_parameter_is_one_of_the_library(row):
    ours = row.names
    if row.engine == "lightgbm":
        import lightgbm

        theirs = {
            name
            for names in lightgbm.basic._ConfigAliases._get_all_param_aliases().values()
            for name in names
        }
        assert ours - theirs - own_names(row) <= {"silent"}  # LightGBM 3 had it
    elif row.engine == "xgboost":
        for name in sorted(ours - own_names(row) - {"use_label_encoder", "num_boost_round"}):
            assert xgboost_knows(name), name
    else:
        assert ours <= own_names(row)


def xgboost_knows(name):
    import xgboost

    values = {"sample_type": "uniform", "normalize_type": "tree", "tweedie_variance_power": 1.5}
    objective = {"tweedie_variance_power": "reg:tweedie", "huber_slope": "reg:pseudohubererror"}
    params = {
        "validate_parameters": True,
        "objective": objective.get(name, "reg:squarederror"),
        "booster": "dart"
        if name in {"sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop"}
        else "gbtree",
        name: values.get(name, 1),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        xgboost.train(params, xgboost.DMatrix(np.ones((4, 1)), label=np.ones(4)), 1)
    return not any("are not used" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("row", [r for r in ROWS if r.engine == "lightgbm"], ids=lambda row: row.name)
def test_aliases_mean_the_same_to_lightgbm(row):
    import lightgbm

    groups = [set(names) for names in lightgbm.basic._ConfigAliases._get_all_param_aliases().values()]
    for alias, name in row.aliases.items():
        assert any({alias, name} <= group for group in groups), (alias, name)


@pytest.mark.parametrize("row", [r for r in ROWS if r.engine == "catboost"], ids=lambda row: row.name)
def test_aliases_mean_the_same_to_catboost(row):
    import catboost

    for alias, name in row.aliases.items():
        with pytest.raises(catboost.CatBoostError):  # both at once are refused
            catboost.CatBoost({alias: 3, name: 3}).get_all_params()


@every_row
def test_names_of_a_row_agree(row):
    assert row.defaults.keys() <= row.parameters
    assert all(values.keys() <= row.defaults.keys() for values in row.cases.values())
    assert row.search_space.keys() <= row.parameters
    assert set(row.aliases.values()) <= row.parameters
    assert not row.aliases.keys() & row.parameters
    assert not row.parameters & (row.ignored | row.reserved)
    for name in (row.seed_param, row.thread_param, row.rounds_param):
        assert name is None or name in row.parameters
    assert row.early_stopping == bool(row.stopping_metrics)


SKLEARN = [row for row in ROWS if row.engine in ("sklearn", "linear")]
every_estimator = pytest.mark.parametrize("row", SKLEARN, ids=lambda row: row.name)


@every_estimator
def test_what_a_row_says_of_an_estimator_is_what_the_library_says(row):
    made = lookup.resolve(row.class_path)
    tags = made().__sklearn_tags__()
    assert row.handles_nulls == tags.input_tags.allow_nan
    assert row.sparse == tags.input_tags.sparse
    assert row.weighted == ("sample_weight" in inspect.signature(made.fit).parameters)
    assert row.task == tags.estimator_type.replace("ier", "ication").replace("or", "ion")
    assert row.calibrated == (
        row.task == "classification" and not hasattr(made(**row.fixed), "predict_proba")
    )
    assert row.fixed.keys() <= row.reserved | row.ignored


@every_estimator
@pytest.mark.parametrize("n_classes", [2, 3])
def test_it_is_the_librarys_own_estimator(row, n_classes):
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    matrix = matrix_for(row)
    target = target_for(row, matrix, n_classes)
    result = fitted(row, matrix, target, FitOptions(seed=3, threads=1))
    own = {"categorical_features": sorted(matrix.categorical)} if row.native_categories else {}
    twin = lookup.resolve(row.class_path)(**result.params, **own)
    if row.calibrated:
        twin = CalibratedClassifierCV(
            twin, ensemble=False, cv=StratifiedKFold(5, shuffle=True, random_state=3)
        )
    if row.scale_target:
        twin = TransformedTargetRegressor(twin, transformer=StandardScaler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin.fit(matrix.values, target.values)
    expected = twin.predict(matrix.values) if row.task == "regression" else twin.predict_proba(matrix.values)
    np.testing.assert_allclose(result.model.predict(matrix.values), expected, rtol=1e-6, atol=1e-9)


@every_row
def test_every_spelling_finds_the_row(row):
    assert find(row.class_path) is row
    assert find(row.name) is row
    assert find(f"{lookup.resolve(row.class_path).__module__}.{row.name}") is row


def test_spellings_lead_to_rows():
    assert set(SPELLINGS.values()) <= set(MODELS)


def test_what_is_not_in_the_catalog_gets_a_cautious_row():
    row = row_for("sklearn.gaussian_process.GaussianProcessRegressor", "regression")
    assert (row.engine, row.handles_nulls, row.parameters) == ("sklearn", False, frozenset())


# -- a model


@every_row
@pytest.mark.parametrize("n_classes", [2, 3])
def test_shapes(row, n_classes):
    matrix = matrix_for(row)
    output = fitted(row, matrix, target_for(row, matrix, n_classes)).model.predict(matrix.values)
    assert output.dtype == np.float64
    assert output.flags.c_contiguous or output.ndim == 1
    if row.task == "regression":
        assert output.shape == (N_ROWS,)
    else:
        assert output.shape == (N_ROWS, n_classes)
        np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-6)
        assert (output >= 0).all()


@every_row
def test_it_learns(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    output = fit_model(row, {}, matrix, target, options=FitOptions(threads=1)).model.predict(matrix.values)
    if row.task == "regression":
        assert np.mean((output - target.values) ** 2) < 0.3 * np.var(target.values)
    else:
        assert np.mean(output.argmax(axis=1) == target.values) > 0.85


@every_row
@pytest.mark.parametrize("n_classes", [2, 4, 12])
def test_one_row_is_the_same_as_many_to_the_bit(row, n_classes):
    matrix = matrix_for(row, n_features=9)
    model = fitted(row, matrix, target_for(row, matrix, n_classes)).model
    together = model.predict(matrix.values)
    for start, stop in ((0, 1), (1, 2), (2, 3), (3, 10), (10, 77), (77, N_ROWS)):
        np.testing.assert_array_equal(model.predict(matrix.values[start:stop]), together[start:stop])


@every_row
def test_no_rows_give_an_empty_answer(row):
    matrix = matrix_for(row)
    output = fitted(row, matrix).model.predict(matrix.values[:0])
    assert output.shape == ((0, 2) if row.task == "classification" else (0,))
    assert output.dtype == np.float64


@every_row
def test_another_number_of_columns_is_refused(row):
    model = fitted(row).model
    with pytest.raises(ValueError, match="5 columns"):
        model.predict(np.zeros((3, 4)))


@every_row
def test_one_feature(row):
    matrix = matrix_for(row, n_features=1)
    assert len(fitted(row, matrix).model.predict(matrix.values)) == N_ROWS


@every_row
@pytest.mark.parametrize("position", [0, 2])
def test_a_constant_feature_does_no_harm(row, position):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    matrix.values[:, position] = 7
    assert np.isfinite(fitted(row, matrix, target).model.predict(matrix.values)).all()


@every_classifier
@pytest.mark.parametrize(
    "classes", [(10, 20, 30), ("<=50K", ">50K", "é 🙂"), (-1.5, 0.0, 2.5)], ids=["int", "text", "float"]
)
def test_labels_do_not_change_the_model(row, classes):
    matrix = matrix_for(row)
    plain = target_for(row, matrix, 3)
    expected = fitted(row, matrix, plain).model.predict(matrix.values)
    output = fitted(row, matrix, replace(plain, classes=classes)).model.predict(matrix.values)
    np.testing.assert_array_equal(output, expected)


@every_classifier
def test_a_class_without_training_rows_has_its_column(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix, 3)
    target.values[target.values == 1] = 0
    output = fitted(row, matrix, target).model.predict(matrix.values)
    assert output.shape == (N_ROWS, 3)
    assert output[:, 1].max() < 0.1


@every_row
def test_two_fits_share_nothing(row):
    matrix = matrix_for(row)
    first = fitted(row, matrix).model
    before = first.predict(matrix.values)
    again = np.random.default_rng(5).permutation(N_ROWS)
    target = target_for(row, matrix).take(again)
    fitted(row, matrix, target)
    np.testing.assert_array_equal(first.predict(matrix.values), before)


@every_row
def test_fitting_and_predicting_leave_the_matrix_alone(row):
    matrix = matrix_for(row)
    before = matrix.values.copy()
    fitted(row, matrix).model.predict(matrix.values)
    np.testing.assert_array_equal(matrix.values, before)


@every_row
@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_seed_makes_two_runs_equal(row, n_threads):
    matrix = matrix_for(row)
    options = FitOptions(seed=7, threads=n_threads)
    first, second = (fitted(row, matrix, options=options).model.predict(matrix.values) for _ in range(2))
    np.testing.assert_array_equal(first, second)


# one tree draws only where two splits are equally good, a linear model only the order of its steps
DRAWING = [r for r in ROWS if r.seed_param and r.engine != "linear" and "DecisionTree" not in r.name]


@pytest.mark.parametrize("row", DRAWING, ids=lambda row: row.name)
def test_another_seed_makes_another_model(row):
    matrix = matrix_for(row)
    first, second = (
        fitted(row, matrix, options=FitOptions(seed=seed, threads=1)).model.predict(matrix.values)
        for seed in (1, 2)
    )
    assert not np.array_equal(first, second)


@every_row
@pytest.mark.parametrize("n_classes", [2, 3])
def test_saved_and_loaded_it_predicts_the_same_to_the_bit(row, n_classes, tmp_path):
    matrix = matrix_for(row)
    model = fitted(row, matrix, target_for(row, matrix, n_classes)).model
    meta = model.save(tmp_path)
    loaded = engines.load(row.engine, tmp_path, meta)
    np.testing.assert_array_equal(loaded.predict(matrix.values), model.predict(matrix.values))
    assert loaded.engine == row.engine


@every_row
def test_loading_takes_the_files_and_nothing_else(row, tmp_path, capfd):
    model = fitted(row).model
    (tmp_path / "a").mkdir()
    meta = model.save(tmp_path / "a")
    # XGBoost's trees are beside it, for single rows
    assert {path.name for path in (tmp_path / "a").iterdir()} - {"trees.npz"} == {row.file}
    (tmp_path / "a").rename(tmp_path / "b")
    engines.load(row.engine, tmp_path / "b", meta)
    assert capfd.readouterr() == ("", "")


@every_row
def test_a_fit_prints_nothing(row, capfd):
    fitted(row)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("row", [r for r in ROWS if r.handles_nulls], ids=lambda row: row.name)
def test_nulls_may_come_where_training_had_none(row):
    matrix = matrix_for(row)
    whole = Matrix(np.nan_to_num(matrix.values), matrix.names, matrix.categorical)
    model = fitted(row, whole, target_for(row, whole)).model
    assert np.isfinite(model.predict(np.full((2, 5), np.nan, row.matrix_dtype))).all()


@pytest.mark.parametrize("row", [r for r in ROWS if not r.handles_nulls], ids=lambda row: row.name)
def test_nulls_are_refused_with_the_step_to_add(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    matrix.values[3, 1] = np.nan
    with pytest.raises(DataError, match="takes no missing values") as raised:
        fitted(row, matrix, target)
    assert "simple_imputer" in raised.value.hint


@pytest.mark.parametrize("row", [r for r in ROWS if r.native_categories], ids=lambda row: row.name)
def test_categories_are_used_as_categories(row):
    """Codes whose order says nothing: one split by sets tells them apart, thresholds do not."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 40, 2000)
    odd = codes % 2
    values = np.stack((rng.normal(size=2000), codes), axis=1).astype(row.matrix_dtype)
    target = (
        Target("regression", odd * 1.0)
        if row.task == "regression"
        else Target("classification", odd.astype(np.int32), (0, 1), 1)
    )
    written = {row.rounds_param: 40, "learning_rate": 0.3} | (
        {"colsample_bytree": 1.0} if "colsample_bytree" in row.parameters else {}
    )
    matrix = Matrix(values, ("noise", "code"), {1: 40})
    model = fit_model(row, written, matrix, target, options=FitOptions(threads=1)).model
    output = model.predict(values)
    score = output if row.task == "regression" else output[:, 1]
    assert score[odd == 1].min() > score[odd == 0].max()
    unseen = model.predict(np.array([[0.0, np.nan]], row.matrix_dtype))
    assert np.isfinite(unseen).all()


@every_row
def test_one_class_or_one_number_is_refused(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    target.values[:] = target.values[0]
    with pytest.raises(DataError, match="nothing to learn"):
        fitted(row, matrix, target)


@every_row
def test_the_full_parameters_come_back(row):
    params = fitted(row, options=FitOptions(seed=3, threads=1)).params
    assert set(row.defaults) <= set(params)
    assert row.seed_param is None or params[row.seed_param] == 3
    assert row.thread_param is None or params[row.thread_param] == 1


# -- boosters


@every_booster
def test_early_stopping_cuts_the_model_at_its_best_round(row):
    metric = "rmse" if row.task == "regression" else "log_loss"
    matrix, other = matrix_for(row), matrix_for(row, seed=1)
    target, noise = target_for(row, matrix), target_for(row, matrix_for(row, seed=2))
    options = FitOptions(threads=1, early_stopping=EarlyStopping(3, metric))
    result = fit_model(
        row, {row.rounds_param: 200}, matrix, target, validation=(other, noise), options=options
    )
    (history,) = [values for name, values in result.model.history.items() if name.startswith("validation_")][
        :1
    ]
    best = result.model.best_iteration
    assert best == int(np.argmin(history))
    assert len(history) == best + 4
    shorter = fit_model(
        row, {row.rounds_param: best + 1, **fixed_rate(row)}, matrix, target, options=FitOptions(threads=1)
    )
    if row.engine != "catboost":  # its learning rate goes by the number of rounds
        np.testing.assert_array_equal(shorter.model.predict(other.values), result.model.predict(other.values))


@pytest.mark.parametrize("row", HISTOGRAMS, ids=lambda row: row.name)
@pytest.mark.parametrize("metric", [None, "rmse or log_loss"])
def test_histograms_stop_early_on_our_validation_rows_and_are_cut_at_their_best_round(row, metric, tmp_path):
    metric = metric and ("rmse" if row.task == "regression" else "log_loss")
    matrix, other = matrix_for(row), matrix_for(row, seed=1)
    target, watched = target_for(row, matrix), target_for(row, other)
    options = FitOptions(threads=1, early_stopping=EarlyStopping(3, metric))
    rate = {"learning_rate": 0.5}
    result = fit_model(row, rate, matrix, target, validation=(other, watched), options=options)
    history, best = result.model.history["validation_score"], result.model.best_iteration
    assert best == int(np.argmax(history))
    assert len(history) == best + 4
    assert (result.params["early_stopping"], result.params["n_iter_no_change"]) == (True, 3)
    shorter = fit_model(
        row, {**rate, row.rounds_param: best + 1}, matrix, target, options=FitOptions(threads=1)
    )
    expected = shorter.model.predict(other.values)
    np.testing.assert_array_equal(expected, result.model.predict(other.values))
    (tmp_path / "m").mkdir()
    meta = result.model.save(tmp_path / "m")
    loaded = engines.load(row.engine, tmp_path / "m", meta)
    np.testing.assert_array_equal(expected, loaded.predict(other.values))


@pytest.mark.parametrize("row", HISTOGRAMS, ids=lambda row: row.name)
def test_histograms_that_watch_themselves_can_be_saved(row, tmp_path):
    scoring = {"early_stopping": True, "scoring": "r2" if row.task == "regression" else "accuracy"}
    matrix = matrix_for(row)
    model = fitted(row, matrix, target_for(row, matrix), **scoring).model
    loaded = engines.load(row.engine, tmp_path, model.save(tmp_path))
    np.testing.assert_array_equal(model.predict(matrix.values), loaded.predict(matrix.values))


@pytest.mark.parametrize("row", HISTOGRAMS, ids=lambda row: row.name)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_histograms_know_every_stopping_metric(row, n_classes):
    matrix = matrix_for(row)
    target = target_for(row, matrix, n_classes)
    for name, pair in row.stopping_metrics.items():
        if pair[n_classes > 2]:
            options = FitOptions(threads=1, early_stopping=EarlyStopping(50, name))
            result = fit_model(row, small(row), matrix, target, validation=(matrix, target), options=options)
            assert len(result.model.history["validation_score"]) == 12, name
            assert result.findings == ()


def fixed_rate(row):
    return {"learning_rate": 0.1} if row.engine == "catboost" else {}


@every_booster
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_stopping_metric_is_one_of_the_library(row, n_classes):
    matrix = matrix_for(row)
    target = target_for(row, matrix, n_classes)
    for name, pair in row.stopping_metrics.items():
        if not pair[n_classes > 2]:
            continue
        options = FitOptions(threads=1, early_stopping=EarlyStopping(50, name))
        result = fit_model(row, small(row), matrix, target, validation=(matrix, target), options=options)
        assert all(len(values) == 12 for values in result.model.history.values()), name
        assert result.findings == ()


@every_booster
def test_history_is_there_without_early_stopping_and_changes_nothing(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    watched = fit_model(
        row, small(row), matrix, target, validation=(matrix, target), options=FitOptions(threads=1)
    )
    assert all(len(values) == 12 for values in watched.model.history.values())
    assert watched.model.history
    assert watched.model.best_iteration is None
    np.testing.assert_array_equal(
        watched.model.predict(matrix.values), fitted(row, matrix, target).model.predict(matrix.values)
    )


@every_booster
def test_every_round_is_reported(row):
    matrix = matrix_for(row)
    target = target_for(row, matrix)
    seen = []
    result = fit_model(
        row,
        small(row),
        matrix,
        target,
        validation=(matrix, target),
        options=FitOptions(threads=1),
        on_iteration=lambda step, values: seen.append((step, dict(values))),
    )
    assert [step for step, _ in seen] == list(range(12))
    assert [{name: values[step] for name, values in result.model.history.items()} for step in range(12)] == [
        values for _, values in seen
    ]
