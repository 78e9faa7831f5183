"""What fit_model puts together: hyperparameters, weights, stopping, and refusals in one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmp.catalog.models import MODELS, find, row_for
from mmp.catalog.row import FEW_ROWS
from mmp.errors import DataError, SettingsError, TrainingError, UnknownNameError
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.modeling.hyperparameters import by_position, complete
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

RNG = np.random.default_rng(4)
MATRIX = Matrix(RNG.normal(size=(300, 4)).astype(np.float32), ("age", "fare [€]", "b", "c"))
CODES = (MATRIX.values[:, 0] + RNG.normal(size=300) > 0.8).astype(np.int32)
BINARY = Target("classification", CODES, ("No", "Yes"), 1)
THREE = Target("classification", np.arange(300, dtype=np.int32) % 3, ("a", "b", "c"))
NUMBERS = Target("regression", MATRIX.values[:, 0].astype(np.float64))
PLAIN = FitOptions(library_defaults=True)

every_weighted = pytest.mark.parametrize(
    "row",
    [row for row in MODELS.values() if row.task == "classification" and row.weighted],
    ids=lambda row: row.name,
)
every_row = pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)


def target_of(row):
    return BINARY if row.task == "classification" else NUMBERS


def rounds(row, n=8):
    name = row.rounds_param or ("n_estimators" if "n_estimators" in row.parameters else None)
    return {name: n} if name else {}


def positive(row, *, target=BINARY, options=None, **written):
    options = options or FitOptions(threads=1)
    return fit_model(row, rounds(row) | written, MATRIX, target, options=options).model.predict(MATRIX.values)


# -- hyperparameters


def test_defaults_of_the_library_are_left_alone_when_asked():
    row = find("XGBClassifier")
    params, _ = complete(row, {"max_depth": 3}, library_defaults=True)
    assert params == {"max_depth": 3}


@pytest.mark.parametrize("row", [row for row in MODELS.values() if row.cases], ids=lambda row: row.name)
def test_defaults_go_by_the_classes_and_their_rows_and_few_rows_have_the_last_word(row):
    for n_classes, rows_a_class, cases in (
        (2, FEW_ROWS, ()),
        (2, FEW_ROWS - 1, ("few_rows",)),
        (3, FEW_ROWS, ("many_classes",)),
        (3, FEW_ROWS - 1, ("many_classes", "few_rows")),
    ):
        codes = np.arange(n_classes * rows_a_class, dtype=np.int32) % n_classes
        target = Target("classification", codes, tuple(range(n_classes)))
        expected = {**row.fixed, **row.defaults}
        for case in cases:
            expected |= row.cases.get(case, {})
        assert complete(row, {}, target=target)[0] == expected
        written = dict.fromkeys(name for values in row.cases.values() for name in values)
        assert complete(row, written, target=target)[0].items() >= written.items()
        assert complete(row, {}, target=target, library_defaults=True)[0] == dict(row.fixed)


@every_row
def test_an_alias_takes_the_place_of_the_default(row):
    for alias, name in row.aliases.items():
        params, _ = complete(row, {alias: 3})
        assert params[name] == 3
        assert alias not in params


def test_two_names_of_one_hyperparameter_are_refused():
    with pytest.raises(SettingsError, match="'learning_rate' is written twice, once as 'eta'"):
        complete(find("XGBClassifier"), {"learning_rate": 0.1, "eta": 0.1})


@every_row
def test_an_unknown_hyperparameter_is_named_with_the_nearest(row):
    known = min(row.parameters)
    with pytest.raises(UnknownNameError, match="no hyperparameter") as raised:
        complete(row, {f"{known}x": 1})
    assert raised.value.hint.startswith("did you mean")


def test_what_mmp_sets_is_refused():
    with pytest.raises(SettingsError, match="'cat_features' is set by mmp"):
        complete(find("CatBoostClassifier"), {"cat_features": [1]})


@every_row
def test_what_has_no_effect_is_told(row):
    for name in row.ignored:
        params, findings = complete(row, {name: 1})
        assert params.get(name) == row.fixed.get(name)
        assert [finding.level for finding in findings] == ["info"]
        assert f"'{name}'" in findings[0].message


def test_seed_and_threads_written_as_hyperparameters_win():
    row = find("LGBMClassifier")
    params = fit_model(row, {"seed": 3, "num_threads": 1, "n_estimators": 2}, MATRIX, BINARY).params
    assert (params["random_state"], params["n_jobs"]) == (3, 1)


@pytest.mark.parametrize("name", ["XGBRegressor", "LGBMRegressor", "CatBoostRegressor"])
def test_constraints_name_features_as_the_user_does(name):
    row = find(name)
    falling = Target("regression", -MATRIX.values[:, 1].astype(np.float64))
    steps = np.zeros((50, 4), np.float32)
    steps[:, 1] = np.linspace(-2, 2, 50)
    written = rounds(row, 30)
    free = fit_model(row, written, MATRIX, falling, options=FitOptions(threads=1)).model.predict(steps)
    assert free[0] > free[-1]
    written["monotone_constraints"] = {"fare [€]": 1}
    bound = fit_model(row, written, MATRIX, falling, options=FitOptions(threads=1)).model.predict(steps)
    assert (np.diff(bound) >= 0).all()


def test_interaction_constraints_too():
    assert by_position({"interaction_constraints": [["b", "age"], ["c"]]}, MATRIX.names) == {
        "interaction_constraints": [[2, 0], [3]]
    }
    with pytest.raises(UnknownNameError, match="'agee', which is no feature") as raised:
        by_position({"monotone_constraints": {"agee": 1}}, MATRIX.names)
    assert raised.value.hint == "did you mean 'age'?"


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier"])
def test_interaction_constraints_are_taken(name):
    assert positive(find(name), interaction_constraints=[["b", "age"], ["c"]]).shape == (300, 2)


@pytest.mark.parametrize(
    "written", [{"boosting": "goss"}, {"data_sample_strategy": "goss"}, {"force_row_wise": True}]
)
def test_a_default_gives_way_to_what_it_excludes(written):
    assert positive(find("LGBMClassifier"), **written).shape == (300, 2)


def test_without_early_stopping_a_large_validation_split_is_looked_at_in_part():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30_000, 2)).astype(np.float32)
    target = Target("regression", values[:, 0].astype(np.float64))
    large = Matrix(values, ("a", "b"))
    positions = np.linspace(0, 29_999, 10_000).astype(np.int64)
    part = Matrix(values[positions], ("a", "b")), target.take(positions)
    row = find("XGBRegressor")
    histories = [
        fit_model(row, {"n_estimators": 3}, large, target, validation=validation).model.history
        for validation in ((large, target), part)
    ]
    assert histories[0] == histories[1]


# -- refusals


REFUSED = [
    ("XGBClassifier", {"max_depth": "deep"}, "max_depth"),
    ("XGBClassifier", {"eta": -1}, "learning_rate"),
    ("XGBRegressor", {"subsample": 3}, "subsample"),
    ("XGBClassifier", {"tree_method": "magic"}, "tree_method"),
    ("LGBMClassifier", {"num_leaves": "many"}, "num_leaves"),
    ("LGBMClassifier", {"num_leaves": 1}, "num_leaves"),
    ("LGBMClassifier", {"subsample": 3}, "subsample"),
    ("LGBMRegressor", {"boosting": "magic"}, "boosting_type"),
    ("CatBoostClassifier", {"max_depth": 99}, "depth"),
    ("CatBoostRegressor", {"learning_rate": "fast"}, "learning_rate"),
    ("CatBoostRegressor", {"bootstrap_type": "Magic"}, "bootstrap_type"),
    ("CatBoostRegressor", {"eval_metric": [1]}, "eval_metric"),
    ("RandomForestClassifier", {"max_depth": "deep"}, "max_depth"),
    ("RandomForestRegressor", {"n_estimators": 0}, "n_estimators"),
    ("LogisticRegression", {"C": -1}, "C"),
    ("LogisticRegression", {"solver": "magic"}, "solver"),
    ("LinearRegression", {"positive": "maybe"}, "positive"),
]


@pytest.mark.parametrize(("name", "written", "blamed"), REFUSED)
def test_a_refused_value_is_named_in_one_sentence(name, written, blamed, capfd):
    row = find(name)
    with pytest.raises(SettingsError, match=f"refused the hyperparameter '{blamed}: ") as raised:
        fit_model(row, written, MATRIX, target_of(row), options=FitOptions(threads=1))
    assert raised.value.exit_code == 2
    assert raised.value.__cause__ is not None
    message = raised.value.message
    assert "\n" not in message
    assert "/" not in message.replace("and/or", "")
    assert not any(word in message for word in ("Stack", ".cc:", ".cpp:", "0x"))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("XGBClassifier", {"objective": "binary:hinge"}),
        ("LGBMClassifier", {"objective": "regression"}),
        ("CatBoostClassifier", {"loss_function": "RMSE"}),
    ],
)
def test_an_objective_without_probabilities_is_refused(name, written):
    with pytest.raises(SettingsError, match="gives no probabilities"):
        fit_model(find(name), written, MATRIX, BINARY)


def test_a_linear_booster_is_refused():
    with pytest.raises(SettingsError, match="gblinear"):
        fit_model(find("XGBRegressor"), {"booster": "gblinear"}, MATRIX, NUMBERS)


@pytest.mark.parametrize("name", ["XGBRegressor", "LGBMRegressor", "CatBoostRegressor"])
@pytest.mark.parametrize("n", [0, -2, 2.5, "many", True])
def test_rounds_are_counted_from_one(name, n):
    with pytest.raises(SettingsError, match="is a whole number from 1, not"):
        fit_model(find(name), {"n_estimators": n}, MATRIX, NUMBERS)


@pytest.mark.parametrize(
    "name", ["XGBRegressor", "RandomForestClassifier", "LogisticRegression", "LinearRegression"]
)
def test_a_failure_without_a_hyperparameter_is_a_training_error(name):
    row = find(name)
    broken = Matrix(np.full((300, 4), np.inf, row.matrix_dtype), MATRIX.names)
    with pytest.raises(TrainingError, match=f"{name} could not be fitted: .*inf"):
        fit_model(row, rounds(row), broken, target_of(row), options=FitOptions(threads=1))


@every_row
def test_a_model_for_the_other_task_is_refused(row):
    other = NUMBERS if row.task == "classification" else BINARY
    with pytest.raises(SettingsError, match=f"is for {row.task}, and the task is {other.kind}"):
        fit_model(row, {}, MATRIX, other)


def test_no_rows_are_refused():
    empty = Matrix(np.empty((0, 4), np.float32), MATRIX.names)
    with pytest.raises(DataError, match="no training rows"):
        fit_model(find("XGBRegressor"), {}, empty, Target("regression", np.empty(0)))


def test_what_a_library_warns_of_becomes_a_finding():
    result = fit_model(find("LogisticRegression"), {"max_iter": 1, "solver": "saga"}, MATRIX, BINARY)
    assert [(finding.check, finding.level) for finding in result.findings] == [("fit", "warn")]
    assert "max_iter" in result.findings[0].message


# -- weights


@every_weighted
def test_balanced_weights_lift_the_rarer_class(row):
    balanced = positive(row, options=FitOptions(threads=1, class_weight="balanced"))
    assert balanced[:, 1].mean() > positive(row)[:, 1].mean() + 0.05


@every_weighted
def test_balanced_is_the_map_that_it_stands_for(row):
    counts = np.bincount(CODES)
    spelled = {"No": 300 / (2 * counts[0]), True: 300 / (2 * counts[1])}  # YAML reads Yes as true
    np.testing.assert_array_equal(
        positive(row, options=FitOptions(threads=1, class_weight="balanced")),
        positive(row, options=FitOptions(threads=1, class_weight=spelled)),
    )


@pytest.mark.parametrize("name", ["LGBMClassifier", "RandomForestClassifier", "LogisticRegression"])
def test_the_librarys_own_class_weight_means_the_same(name):
    row = find(name)
    np.testing.assert_array_equal(
        positive(row, class_weight={"Yes": 3}),
        positive(row, options=FitOptions(threads=1, class_weight={"Yes": 3})),
    )


def test_class_weights_written_twice_are_refused():
    with pytest.raises(SettingsError, match="written twice"):
        positive(find("LGBMClassifier"), class_weight="balanced", options=FitOptions(class_weight="balanced"))


def test_a_weight_for_an_unknown_class_is_refused():
    with pytest.raises(UnknownNameError, match="class_weight 'Yess' is not a class"):
        positive(find("XGBClassifier"), options=FitOptions(class_weight={"Yess": 2}))


def test_class_weights_are_not_for_regression():
    with pytest.raises(SettingsError, match="for classification"):
        fit_model(find("XGBRegressor"), {}, MATRIX, NUMBERS, options=FitOptions(class_weight="balanced"))


def test_another_word_than_balanced_is_refused():
    with pytest.raises(SettingsError, match="'blanced' is unknown"):
        positive(find("XGBClassifier"), options=FitOptions(class_weight="blanced"))


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier", "CatBoostClassifier"])
def test_scale_pos_weight_is_about_the_positive_class_on_either_side(name):
    row = find(name)
    turned = Target("classification", 1 - CODES, ("0 is positive", "1 is not"), 0)
    lifted = positive(row, target=turned, scale_pos_weight=5.0)[:, 0].mean()
    assert lifted > positive(row, target=turned)[:, 0].mean() + 0.05


def test_weights_for_an_estimator_without_them_are_refused():
    row = row_for("sklearn.neighbors.KNeighborsClassifier", "classification")
    with pytest.raises(SettingsError, match="takes no weights"):
        fit_model(row, {}, MATRIX, BINARY, options=FitOptions(class_weight="balanced"))


# -- what an estimator cannot take, in our words


def test_more_categories_than_histograms_have_bins_are_refused_with_the_step_to_add():
    codes = np.arange(300.0) % 280
    many = Matrix(np.stack((MATRIX.values[:, 0], codes), axis=1), ("age", "city"), {1: 280})
    with pytest.raises(DataError, match="at most 255 categories, and 'city' has 280") as raised:
        fit_model(find("HistGradientBoostingClassifier"), {}, many, BINARY)
    assert "target_encoder" in raised.value.hint


def test_a_class_of_one_row_cannot_be_calibrated():
    codes = CODES.copy()
    codes[7] = 2
    with pytest.raises(DataError, match="the class 'rare' has one training row"):
        fit_model(find("SVC"), {}, MATRIX, Target("classification", codes, ("No", "Yes", "rare")))


def test_a_metric_that_neighbours_cannot_be_searched_by_is_refused_by_its_name():
    with pytest.raises(SettingsError, match="refused the hyperparameter 'metric: cosine'"):
        fit_model(find("KNeighborsClassifier"), {"metric": "cosine"}, MATRIX, BINARY)


def test_more_neighbours_than_rows_are_refused_before_anybody_asks():
    with pytest.raises(SettingsError, match="refused the hyperparameter 'n_neighbors: 301'"):
        fit_model(find("KNeighborsRegressor"), {"n_neighbors": 301}, MATRIX, NUMBERS)


def test_a_constraint_that_the_library_would_apply_to_other_features_is_refused():
    mixed = Matrix(np.stack((MATRIX.values[:, 0], np.arange(300) % 3), axis=1), ("age", "city"), {1: 3})
    row = find("HistGradientBoostingRegressor")
    with pytest.raises(SettingsError, match="'interaction_cst' to other features"):
        fit_model(row, {"interaction_cst": [["age"], ["city"]]}, mixed, NUMBERS)
    fit_model(row, {"interaction_cst": [["age", "b"], ["c"]]}, MATRIX, NUMBERS)


# -- privacy


def test_a_model_that_holds_training_rows_says_so():
    (finding,) = fit_model(find("KNeighborsClassifier"), {}, MATRIX, BINARY).findings
    assert (finding.check, finding.level) == ("privacy", "warn")
    assert "the training rows" in finding.message
    assert fit_model(find("GaussianNB"), {}, MATRIX, BINARY).findings == ()


# -- the unit of the target


def test_a_default_counts_in_the_target_and_a_written_value_is_the_librarys_own():
    far = Target("regression", NUMBERS.values * 1000 + 5)
    spread = far.values.std()
    assert fit_model(find("Lasso"), {}, MATRIX, far).params["alpha"] == pytest.approx(1e-3 * spread)
    assert fit_model(find("Lasso"), {"alpha": 2.0}, MATRIX, far).params["alpha"] == 2.0
    svr = fit_model(find("SVR"), {"epsilon": 3.0}, MATRIX, far).params
    assert (svr["epsilon"], svr["C"]) == (3.0, pytest.approx(spread))
    assert "alpha" not in fit_model(find("Lasso"), {}, MATRIX, far, options=PLAIN).params


@pytest.mark.parametrize("name", ["HuberRegressor", "MLPRegressor", "Lasso", "SVR"])
def test_the_unit_of_the_target_does_not_matter(name):
    near, far = NUMBERS, Target("regression", NUMBERS.values * 1e6 - 4e7)
    outputs = [
        fit_model(find(name), {}, MATRIX, target).model.predict(MATRIX.values) for target in (near, far)
    ]
    np.testing.assert_allclose((outputs[1] + 4e7) / 1e6, outputs[0], atol=0.01)


# -- stopping


def test_early_stopping_without_validation_rows_is_refused():
    options = FitOptions(early_stopping=EarlyStopping(5))
    with pytest.raises(SettingsError, match="needs validation rows") as raised:
        fit_model(find("XGBClassifier"), {}, MATRIX, BINARY, options=options)
    assert "data.split.validation" in raised.value.hint


@every_row
def test_an_estimator_without_rounds_cannot_stop_early(row):
    if row.early_stopping:
        return
    options = FitOptions(early_stopping=EarlyStopping(5))
    target = target_of(row)
    with pytest.raises(SettingsError, match="cannot stop early"):
        fit_model(row, {}, MATRIX, target, validation=(MATRIX, target), options=options)


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier", "CatBoostClassifier"])
def test_a_metric_that_the_library_lacks_is_refused_with_those_it_has(name):
    options = FitOptions(early_stopping=EarlyStopping(5, "smape"))
    with pytest.raises(SettingsError, match="cannot stop early on 'smape'") as raised:
        fit_model(find(name), {}, MATRIX, BINARY, validation=(MATRIX, BINARY), options=options)
    assert "roc_auc" in raised.value.hint


@pytest.mark.parametrize("name", ["XGBClassifier", "LGBMClassifier", "CatBoostClassifier"])
def test_the_librarys_own_early_stopping_rounds_mean_the_same(name):
    row = find(name)
    noise = BINARY.take(np.random.default_rng(0).permutation(300))
    own = fit_model(
        row,
        {"early_stopping_rounds": 3},
        MATRIX,
        BINARY,
        validation=(MATRIX, noise),
        options=FitOptions(threads=1),
    ).model
    ours = fit_model(
        row,
        {},
        MATRIX,
        BINARY,
        validation=(MATRIX, noise),
        options=FitOptions(threads=1, early_stopping=EarlyStopping(3)),
    ).model
    assert own.best_iteration == ours.best_iteration is not None


def test_dart_cannot_stop_early():
    options = FitOptions(early_stopping=EarlyStopping(5))
    with pytest.raises(SettingsError, match="dart"):
        fit_model(
            find("LGBMClassifier"),
            {"boosting_type": "dart"},
            MATRIX,
            BINARY,
            validation=(MATRIX, BINARY),
            options=options,
        )


STOPPED = ["XGBClassifier", "LGBMClassifier", "CatBoostClassifier", "HistGradientBoostingClassifier"]


@pytest.mark.parametrize("name", STOPPED)
def test_three_classes_stop_early(name):
    options = FitOptions(threads=1, early_stopping=EarlyStopping(2, "log_loss"))
    model = fit_model(find(name), {}, MATRIX, THREE, validation=(MATRIX, THREE), options=options).model
    assert model.predict(MATRIX.values).shape == (300, 3)


def test_a_class_that_only_validation_rows_have_does_not_stop_histograms():
    known = np.flatnonzero(THREE.values != 1)
    matrix = replace(MATRIX, values=MATRIX.values[known])
    options = FitOptions(threads=1, early_stopping=EarlyStopping(2))
    row = find("HistGradientBoostingClassifier")
    model = fit_model(row, {}, matrix, THREE.take(known), validation=(MATRIX, THREE), options=options).model
    assert model.best_iteration is not None
    assert (model.predict(MATRIX.values)[:, 1] == 0).all()


@pytest.mark.parametrize("value", ["x", [1], 1.5, True])
@every_row
def test_a_seed_and_a_number_of_threads_are_whole_numbers(row, value):
    for name in filter(None, (row.seed_param, row.thread_param)):
        with pytest.raises(SettingsError, match=f"hyperparameter '{name}' is a whole number, not"):
            fit_model(row, {name: value}, MATRIX, target_of(row))
