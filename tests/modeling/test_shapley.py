"""SHAP values of trees, against XGBoost's own and against the definition."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.modeling.engines.shapley import Forest, Tree
from mmp.modeling.engines.xgboost import XGBoostModel

CASES = {
    "stumps": {"max_depth": 1},
    "as usual": {"max_depth": 6},
    "deep, features again and again": {"max_depth": 12, "min_child_weight": 0.1, "reg_lambda": 0.01},
    "by leaves": {"max_leaves": 9, "grow_policy": "lossguide", "max_depth": 0},
    "several trees a round": {"num_parallel_tree": 3, "subsample": 0.5},
    "a count": {"objective": "count:poisson"},
    "no split": {"gamma": 1e9},
}


def boosted(params, *, classes=0, n_rows=400, n_features=5, rounds=8, missing=0.1):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(n_rows, n_features)).astype(np.float32).round(1)
    score = values[:, 0] * values[:, 1] + values[:, 2]
    values[rng.random(values.shape) < missing] = np.nan
    label = np.digitize(score, [-0.5, 0.5][: classes - 1]) if classes else np.exp(score / 3)
    objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(classes, "multi:softprob")
    params = {
        "objective": objective,
        "nthread": 1,
        **({"num_class": classes} if classes > 2 else {}),
        **params,
    }
    booster = xgboost.train(params, xgboost.DMatrix(values, label=label), rounds)
    return XGBoostModel(classes, n_features, own=booster), values


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_they_are_those_of_xgboost(case, classes):
    if classes and "objective" in CASES[case]:
        pytest.skip("another objective")
    model, values = boosted(CASES[case], classes=classes)
    assert model._forest is not None
    theirs = model._own_contributions(values)
    ours = model.contributions(values)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(1, np.abs(theirs).max()))
    np.testing.assert_allclose(ours.sum(axis=2), model.scores(values), atol=1e-4)


def test_a_row_has_the_same_parts_among_many():
    model, values = boosted({"max_depth": 5}, n_rows=1200)
    together = model._forest.parts(values)
    for row in (0, 511, 512, 1199):
        np.testing.assert_array_equal(model._forest.parts(values[row : row + 1])[0], together[row])


@pytest.mark.parametrize(
    "params", [{"booster": "dart", "rate_drop": 0.5}, {"multi_strategy": "multi_output_tree"}]
)
def test_what_are_no_plain_trees_is_left_to_the_library(params):
    model, values = boosted(params, classes=3 if "multi_strategy" in params else 0)
    assert model._forest is None
    if "booster" in params:
        parts = model.contributions(values)
        np.testing.assert_allclose(parts.sum(axis=2), model.scores(values), atol=1e-4)


def test_categories_are_left_to_the_library():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 9, (300, 1)).astype(np.float32)
    rows = xgboost.DMatrix(codes, label=codes[:, 0] % 2, feature_types=["c"], enable_categorical=True)
    model = XGBoostModel(0, 1, own=xgboost.train({"max_cat_to_onehot": 1}, rows, 4))
    assert model._forest is None
    np.testing.assert_allclose(model.contributions(codes).sum(axis=2), model.scores(codes), atol=1e-4)


@st.composite
def trees(draw):
    """A tree of any shape over three features."""
    left, right, feature, threshold, missing_left, cover, value = [], [], [], [], [], [], []

    def grow(weight, depth):
        node = len(left)
        for column, cell in zip(
            (left, right, feature, threshold, missing_left, cover, value),
            (-1, -1, draw(st.integers(0, 2)), draw(st.integers(-2, 2)), draw(st.booleans()), weight, 0.0),
            strict=True,
        ):
            column.append(cell)
        if depth < 5 and draw(st.booleans()):
            share = draw(st.floats(0.05, 0.95))
            left[node] = grow(weight * share, depth + 1)
            right[node] = grow(weight * (1 - share), depth + 1)
        else:
            value[node] = draw(st.integers(-9, 9))
        return node

    grow(100.0, 0)
    return Tree(
        np.array(left), np.array(right), np.array(feature), np.array(threshold, np.float32),
        np.array(missing_left), np.array(cover), np.array(value, np.float64),
    )  # fmt: skip


def expected(tree, row, known, node=0):
    """What a tree says where only some features are known: the definition, in a recursion."""
    left, right = int(tree.left[node]), int(tree.right[node])
    if left < 0:
        return float(tree.value[node])
    if (feature := int(tree.feature[node])) in known:
        cell = row[feature]
        goes_left = tree.missing_left[node] if np.isnan(cell) else cell < tree.threshold[node]
        return expected(tree, row, known, left if goes_left else right)
    share = tree.cover[left] / tree.cover[node]
    return share * expected(tree, row, known, left) + (1 - share) * expected(tree, row, known, right)


def shapley(tree, row, n_features=3):
    parts = np.zeros(n_features)
    for feature in range(n_features):
        others = [other for other in range(n_features) if other != feature]
        for size in range(n_features):
            weight = factorial(size) * factorial(n_features - size - 1) / factorial(n_features)
            for known in combinations(others, size):
                gain = expected(tree, row, {*known, feature}) - expected(tree, row, set(known))
                parts[feature] += weight * gain
    return parts


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    tree=trees(), row=st.lists(st.sampled_from([-3.0, -1.0, 0.0, 1.0, 3.0, np.nan]), min_size=3, max_size=3)
)
def test_they_are_those_of_the_definition(tree, row):
    values = np.array([row], np.float32)
    (parts,) = Forest.of([tree], [0]).parts(values)
    np.testing.assert_allclose(parts[0], shapley(tree, values[0]), atol=2e-5)
