"""Trees as arrays of nodes against scikit-learn's own, and what they make of training rows."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from tests.steps import classes, step

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling import pipeline
from mmp.modeling.columns import Column
from mmp.modeling.steps.trees import trees_of
from mmp.modeling.target import Target

NAMES = ("a", "b", "c")


def table(rows):
    return {
        name: Column("float", column.copy(), ~np.isnan(column) if np.isnan(column).any() else None)
        for name, column in zip(NAMES, rows.T, strict=True)
    }


def fit(rows, target, **settings):
    specs = [ColumnSpec(name, "float") for name in NAMES]
    made = step("tree_based_feature_generator", **settings)
    return pipeline.fit([made], table(rows), specs, target, seed=5, dtype="float64", native_categories=False)


def numbers(seed, n_rows=200, gaps=0.1):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n_rows, 3)).round(1)
    rows[generator.random(rows.shape) < gaps] = np.nan
    return rows


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), depth=st.sampled_from([1, 3, None]), gaps=st.sampled_from([0.0, 0.2]))
def test_leaves_are_those_of_apply(seed, depth, gaps):
    rows, others = numbers(seed, 80, gaps), numbers(seed + 1, 60, 0.2)
    forest = RandomForestRegressor(4, max_depth=depth, random_state=seed).fit(rows, np.nansum(rows, axis=1))
    # thresholds themselves, and doubles that float32 rounds to them or past them
    edges = np.concatenate([tree.tree_.threshold for tree in forest.estimators_])
    edges = edges[np.isfinite(edges)]  # it is infinite where what is missing is parted from the rest
    near = np.concatenate(
        [edges, np.nextafter(edges, np.inf), np.float64(edges.astype(np.float32)) * (1 + 2.0**-25)]
    )
    others = np.concatenate([others, np.repeat(near[:, None], 3, axis=1)])
    targets = tuple(f"tree {number}" for number in range(4))
    op = trees_of(forest, NAMES, targets, n_classes=0)
    starts = np.repeat(op.roots, np.diff([*op.roots, len(op.features)]))
    object.__setattr__(op, "values", (np.arange(len(starts)) - starts)[:, None].astype(float))
    made = table(others)
    op.apply(made)
    leaves = np.column_stack([made[target].values for target in targets])
    assert np.array_equal(leaves, forest.apply(others))
    walk = op.row_function()
    for row, expected in zip(others, leaves, strict=True):
        cells = {name: None if np.isnan(x) else float(x) for name, x in zip(NAMES, row, strict=True)}
        walk(cells)
        assert [cells[target] for target in targets] == expected.tolist()


@pytest.mark.parametrize("outcome", ["binary", "multiclass", "regression"])
def test_features_are_what_each_tree_says(outcome):
    rows, others = numbers(1), numbers(2)
    score = np.nan_to_num(rows).sum(axis=1)
    if outcome == "regression":
        target, forest = Target("regression", score), RandomForestRegressor
    else:
        codes = (score > 0).astype(int) + (score > 2 if outcome == "multiclass" else 0)
        target, forest = classes(codes.tolist()), RandomForestClassifier
    fitted, trained = fit(rows, target, n_estimators=3, max_depth=4)
    twin = forest(3, max_depth=4, random_state=5).fit(rows, target.values)
    said = [
        tree.predict(others) if outcome == "regression" else tree.predict_proba(others)
        for tree in twin.estimators_
    ]
    expected = {
        "regression": np.column_stack,
        "multiclass": np.hstack,
        "binary": lambda p: np.hstack(p)[:, 1::2],
    }
    ours = fitted.matrix(table(others)).values
    np.testing.assert_allclose(ours[:, 3:], expected[outcome](said), rtol=1e-12)
    assert np.array_equal(ours[:, :3], others, equal_nan=True)
    assert trained.values.shape == (200, ours.shape[1])
    assert fitted.names[3] == ("tree 1:0" if outcome == "multiclass" else "tree 1")


@pytest.mark.parametrize("outcome", ["binary", "regression"])
def test_a_random_target_does_not_correlate_with_its_own_features(outcome):
    rows, values = numbers(3, 2000), np.random.default_rng(4).integers(0, 2, 2000)
    target = classes(values.tolist()) if outcome == "binary" else Target("regression", values.astype(float))
    fitted, trained = fit(rows, target, max_depth=12)
    assert abs(np.corrcoef(trained.values[:, 3:].mean(axis=1), values)[0, 1]) < 0.06
    leaking = fitted.matrix(table(rows)).values[:, 3:].mean(axis=1)
    assert np.corrcoef(leaking, values)[0, 1] > 0.4  # what it would be without folds


def test_a_seed_of_its_own_is_the_seed():
    rows, target = numbers(6), Target("regression", np.arange(200.0))
    first, second, other = (fit(rows, target, random_state=seed)[1].values for seed in (1, 1, 2))
    assert first.tobytes() == second.tobytes() != other.tobytes()


def test_a_loaded_pipeline_needs_no_scikit_learn(monkeypatch):
    fitted, _ = fit(numbers(7), Target("regression", np.arange(200.0)))
    state, arrays = fitted.to_state()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    again = pipeline.FittedPipeline.from_state(state, arrays)
    assert again.row({"a": 1.0, "b": None, "c": 1e300}).shape == (1, 13)


def test_folds_need_rows():
    with pytest.raises(DataError, match="tree_based_feature_generator needs 5 rows"):
        fit(numbers(8, 4), Target("regression", np.arange(4.0)))
