"""Every built-in step against its scikit-learn twin: nulls, unseen categories, constants and extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from tests.steps import (
    CATEGORIES,
    as_objects,
    classes,
    exact,
    fit,
    matrix,
    quick,
    same,
    step,
    supervised,
    train_and_test,
)

from mmp.modeling.steps.folds import shuffled_folds, stratified_folds
from mmp.modeling.target import Target


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent"])
@quick
@given(data=train_and_test("float"))
def test_imputed_numbers_are_those_of_simple_imputer(strategy, data):
    cells, others = data
    # 1e300 twice overflows scikit-learn's sum as ours; not what is asked here
    cells, others = ([c if c is None or abs(c) < 1e299 else 7.5 for c in part] for part in (cells, others))
    fitted, trained = fit([step("simple_imputer", strategy=strategy)], "float", cells)
    twin = SimpleImputer(strategy=strategy).fit(as_objects("float", cells))
    np.testing.assert_allclose(
        trained.values, twin.transform(as_objects("float", cells)), rtol=1e-12, atol=1e-9
    )
    np.testing.assert_allclose(
        matrix(fitted, "float", others), twin.transform(as_objects("float", others)), rtol=1e-12, atol=1e-9
    )


@quick
@given(data=train_and_test("text"))
def test_imputed_text_is_that_of_simple_imputer(data):
    cells, others = data
    steps = [step("simple_imputer", strategy="most_frequent"), step("ordinal_encoder")]
    fitted, _ = fit(steps, "text", cells)
    twin = SimpleImputer(strategy="most_frequent")
    filled = twin.fit_transform(as_objects("text", cells))
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(filled)
    same(matrix(fitted, "text", others), codes.transform(twin.transform(as_objects("text", others))))


@pytest.mark.parametrize("kind", ["integer", "boolean"])
def test_integers_and_booleans_are_filled_as_numbers(kind):
    cells = [1, None, 0, 1, 1] if kind == "integer" else [True, None, False, True, True]
    _, median = fit([step("simple_imputer", strategy="median")], kind, cells)
    _, mean = fit([step("simple_imputer", strategy="mean")], kind, cells)
    assert median.values.ravel().tolist() == [1, 1, 0, 1, 1]
    assert mean.values.ravel().tolist() == [1, 0.75, 0, 1, 1]


@quick
@given(data=train_and_test("float"))
def test_missing_indicators_are_those_of_missing_indicator(data):
    cells, others = data
    fitted, _ = fit(
        [step("simple_imputer", strategy="constant", create_missing_indicators=True)], "float", cells
    )
    twin = MissingIndicator(features="missing-only", error_on_new=False).fit(as_objects("float", cells))
    expected = twin.transform(as_objects("float", others))
    assert fitted.names == ("x", "x is missing")[: 1 + expected.shape[1]]
    assert np.array_equal(matrix(fitted, "float", others)[:, 1:], expected)


@pytest.mark.parametrize("kind", list(CATEGORIES))
@quick
@given(data=st.data())
def test_one_hot_is_that_of_one_hot_encoder(kind, data):
    cells, others = data.draw(train_and_test(kind))
    if kind == "integer":
        cells, others = exact(cells), exact(others)
    fitted, trained = fit([step("one_hot_encoder", columns="x")], kind, cells)
    twin = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(as_objects(kind, cells))
    assert np.array_equal(trained.values, twin.transform(as_objects(kind, cells)))
    assert np.array_equal(matrix(fitted, kind, others), twin.transform(as_objects(kind, others)))


@pytest.mark.parametrize("kind", list(CATEGORIES))
@quick
@given(data=st.data())
def test_ordinals_are_those_of_ordinal_encoder(kind, data):
    cells, others = data.draw(train_and_test(kind))
    if kind == "integer":
        cells, others = exact(cells), exact(others)
    fitted, trained = fit([step("ordinal_encoder", columns="x", unknown_value=-7)], kind, cells)
    twin = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-7).fit(as_objects(kind, cells))
    same(trained.values, twin.transform(as_objects(kind, cells)))
    same(matrix(fitted, kind, others), twin.transform(as_objects(kind, others)))


@pytest.mark.parametrize(
    ("with_mean", "with_std"), [(True, True), (False, True), (True, False)], ids=["both", "std", "mean"]
)
@quick
@given(data=train_and_test("float"))
def test_scaling_is_that_of_standard_scaler(with_mean, with_std, data):
    cells, others = ([c if c is None or abs(c) < 1e299 else -3.25 for c in part] for part in data)
    fitted, _ = fit([step("standard_scaler", with_mean=with_mean, with_std=with_std)], "float", cells)
    twin = StandardScaler(with_mean=with_mean, with_std=with_std).fit(as_objects("float", cells))
    ours, theirs = matrix(fitted, "float", others), twin.transform(as_objects("float", others))
    spread = 1.0 if twin.scale_ is None else float(twin.scale_[0])
    largest = max(abs(cell) for cell in [*cells, *others, 1.0] if cell is not None)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * largest / spread, equal_nan=True)


@quick
@given(
    cells=st.lists(st.sampled_from([0.1, 0.1 + 1e-17, 1e20]), min_size=1, max_size=4).map(lambda c: c[:1] * 7)
)
def test_a_constant_column_is_only_shifted(cells):
    fitted, _ = fit([step("standard_scaler")], "float", cells)
    twin = StandardScaler().fit(as_objects("float", cells))
    assert fitted.ops[0].scale == twin.scale_[0] == 1.0


@quick
@given(
    codes=st.lists(st.integers(0, 4), min_size=5, max_size=200),
    folds=st.integers(2, 5),
    seed=st.integers(0, 99),
)
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_folds_are_those_of_stratified_k_fold(codes, folds, seed):
    codes = np.array(codes, np.int32)
    ours = stratified_folds(codes, folds, seed)
    if (np.bincount(codes) < folds).all():
        return  # scikit-learn refuses
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(codes, codes)
    for number, (_, test) in enumerate(splits):
        assert np.flatnonzero(ours == number).tolist() == test.tolist()


@quick
@given(rows=st.integers(5, 300), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_those_of_k_fold(rows, folds, seed):
    ours = shuffled_folds(rows, folds, seed)
    for number, (_, test) in enumerate(KFold(folds, shuffle=True, random_state=seed).split(np.zeros(rows))):
        assert np.flatnonzero(ours == number).tolist() == sorted(test.tolist())


@pytest.mark.parametrize("smooth", ["auto", 0.0, 3.5])
@pytest.mark.parametrize("outcome", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("kind", ["text", "integer"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_target_means_are_those_of_target_encoder(kind, outcome, smooth, data):
    cells, others, target = data.draw(supervised(kind, outcome))
    if kind == "integer":
        cells, others = exact(cells), exact(others)
    fitted, trained = fit(
        [step("target_encoder", columns="x", smooth=smooth)], kind, cells, target=target, seed=7
    )
    splitter = KFold if outcome == "regression" else StratifiedKFold
    twin = TargetEncoder(
        smooth=smooth,
        target_type="continuous" if outcome == "regression" else outcome,
        cv=splitter(5, shuffle=True, random_state=7),
    )
    expected = twin.fit_transform(as_objects(kind, cells), target.values)
    scale = np.abs(target.values).max()
    np.testing.assert_allclose(trained.values, expected, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(
        matrix(fitted, kind, others), twin.transform(as_objects(kind, others)), rtol=1e-12, atol=1e-12 * scale
    )


@pytest.mark.parametrize("outcome", ["binary", "regression"])
def test_a_random_target_does_not_correlate_with_its_own_encoding(outcome):
    generator = np.random.default_rng(3)
    cells = [f"id {number}" for number in generator.integers(0, 1500, 3000)]
    values = generator.integers(0, 2, 3000)
    target = classes(values.tolist()) if outcome == "binary" else Target("regression", values.astype(float))
    fitted, trained = fit([step("target_encoder")], "text", cells, target=target)
    assert abs(np.corrcoef(trained.values[:, 0], values)[0, 1]) < 0.05
    leaking = matrix(fitted, "text", cells)[:, 0]
    assert np.corrcoef(leaking, values)[0, 1] > 0.5  # what it would be without folds
