"""LightGBM's trees in machine code: the booster's bits, or the booster itself."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmp.modeling.engines import leafwise as module
from mmp.modeling.engines.compiled import Split, compiled, splits
from mmp.modeling.engines.leafwise import leafwise, n_leaves
from mmp.modeling.engines.lightgbm import LightGBMModel

N_FEATURES = 5
CATEGORIES = {0: 3, 3: 90}
COMPILED = {
    "two classes": (2, {"objective": "binary"}),
    "steep": (2, {"objective": "binary", "sigmoid": 2.5}),
    "unbalanced": (2, {"objective": "binary", "is_unbalance": True}),
    "three classes": (3, {"objective": "multiclass", "num_class": 3}),
    "number": (0, {"objective": "regression"}),
    "absolute": (0, {"objective": "regression_l1"}),
    "huber": (0, {"objective": "huber"}),
    "fair": (0, {"objective": "fair"}),
    "quantile": (0, {"objective": "quantile", "alpha": 0.9}),
    "percentage": (0, {"objective": "mape"}),
    "counts": (0, {"objective": "poisson"}),
    "gamma": (0, {"objective": "gamma"}),
    "tweedie": (0, {"objective": "tweedie"}),
    "many leaves": (0, {"objective": "regression", "num_leaves": 256, "min_data_in_leaf": 1}),
    "chains": (0, {"objective": "regression", "num_leaves": 60, "min_data_in_leaf": 1, "extra_trees": True}),
    "dart": (0, {"objective": "regression", "boosting": "dart"}),
    "sampled": (0, {"objective": "regression", "data_sample_strategy": "goss"}),
    "no missing": (0, {"objective": "regression", "use_missing": False}),
    "no splits": (0, {"objective": "regression", "min_gain_to_split": 1e9}),
    "categories": (2, {"objective": "binary", "max_cat_to_onehot": 1, "min_data_per_group": 5, "cat_smooth": 1}),
    "single categories": (0, {"objective": "regression", "max_cat_to_onehot": 100}),
    "categories of classes": (3, {"objective": "multiclass", "num_class": 3, "min_data_per_group": 5}),
}  # fmt: skip
BOOSTED = {
    "zeros": (0, {"objective": "regression", "zero_as_missing": True}),
    "linear leaves": (0, {"objective": "regression", "linear_tree": True}),
    "averages": (
        0,
        {"objective": "regression", "boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    ),
    "roots": (0, {"objective": "regression", "reg_sqrt": True}),
    "cross entropy": (2, {"objective": "cross_entropy_lambda"}),
    "one against all": (3, {"objective": "multiclassova", "num_class": 3}),
    "too many leaves": (0, {"objective": "regression", "num_leaves": 400, "min_data_in_leaf": 1}),
}


def train(n_classes, params, rounds=20):
    import lightgbm

    rng = np.random.default_rng(5)
    values = rng.normal(size=(900, N_FEATURES))
    values[rng.random(values.shape) < 0.1] = np.nan
    values[rng.random(values.shape) < 0.1] = 0.0
    known = CATEGORIES if "max_cat_to_onehot" in params or "min_data_per_group" in params else {}
    for position, levels in known.items():
        codes = rng.integers(0, levels, len(values))
        values[:, position] = np.where(np.isnan(values[:, position]), np.nan, codes)
    score = np.nan_to_num(values[:, 0] + values[:, 3] % 7) + np.nan_to_num(values[:, 1]) ** 2
    score += rng.normal(size=len(values)) / 4
    target = np.digitize(score, [0.5, 1.5][: n_classes - 1]) if n_classes else np.abs(score)
    all_params = {"verbosity": -1, "num_threads": 1, "deterministic": True, "seed": 1, **params}
    table = lightgbm.Dataset(values, target, categorical_feature=sorted(known), params=all_params)
    return LightGBMModel(n_classes, N_FEATURES, 1, booster=lightgbm.train(all_params, table, rounds))


@pytest.fixture(scope="module", params=list(COMPILED))
def both(request):
    model = train(*COMPILED[request.param])
    ready = model.ready_for(None)
    assert ready.predictor() == "compiled trees"
    codes = CATEGORIES if "categories" in request.param else {}
    return model, ready, codes


edges = st.sampled_from(
    [0.0, -0.0, 1e-35, -1e-35, 1.0000000180025095e-35, 5e-324, 1e-300, 1e300, -1e300, np.nan]
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_row_has_the_boosters_bits(both, data):
    model, ready, categories = both
    cells = edges | st.floats(-4, 4) | st.floats(allow_infinity=False)
    rows = data.draw(arrays(np.float64, (4, N_FEATURES), elements=cells))
    for position, levels in categories.items():
        codes = st.sampled_from([*range(levels + 40), np.nan])
        rows[:, position] = data.draw(arrays(np.float64, 4, elements=codes))
    np.testing.assert_array_equal(ready.predict(rows), model.predict(rows))


def test_many_rows_have_the_boosters_bits(both):
    model, ready, categories = both
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5_000, N_FEATURES))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    for position, levels in categories.items():
        rows[:, position] = rng.integers(0, levels + 3, len(rows))
    together = ready.predict(rows)
    np.testing.assert_array_equal(together, model.predict(rows))
    np.testing.assert_array_equal(ready.predict(rows[1_000:1_007]), together[1_000:1_007])
    assert ready.one(rows[3:4]) == together[3].tolist()


@pytest.mark.parametrize("name", BOOSTED)
def test_what_is_more_than_trees_stays_with_the_booster(name):
    model = train(*BOOSTED[name])
    ready = model.ready_for(None)
    assert ready.predictor() == model.predictor() == "lightgbm's own call"
    rows = np.random.default_rng(0).normal(size=(50, N_FEATURES))
    np.testing.assert_array_equal(ready.predict(rows), model.predict(rows))


def test_trees_that_disagree_are_not_used():
    model = train(*COMPILED["number"])
    text = model.booster.model_to_string()
    assert leafwise(text, N_FEATURES, model.predict) is not None
    assert leafwise(text, N_FEATURES, lambda rows: np.nextafter(model.predict(rows), np.inf)) is None


def test_what_goes_the_wrong_way_is_found(monkeypatch):
    model = train(*COMPILED["number"])
    text = model.booster.model_to_string()
    flipped = re.sub("^decision_type=.*$", lambda line: line[0].replace("10", "8"), text, flags=re.MULTILINE)
    assert flipped != text
    assert leafwise(flipped, N_FEATURES, model.predict) is None
    monkeypatch.setattr(module, "compiled", lambda trees, base, **_: compiled(trees, base, right="oge"))
    assert leafwise(text, N_FEATURES, model.predict) is None


def reaching(node, ranges, members):
    """Yield rows that come to each split of a tree, on either side of where it cuts."""
    if not isinstance(node, Split):
        return
    feature = node.feature
    if node.members is not None:
        inside = members.get(feature, frozenset(range(200))) & node.members
        outside = members.get(feature, frozenset(range(200))) - node.members
        for known, below in ((inside, node.right), (outside, node.left)):
            if known:
                yield row_of(ranges, members | {feature: known})
                yield from reaching(below, ranges, members | {feature: known})
        return
    low, high = ranges[feature]
    left = [*ranges[:feature], (low, min(high, node.threshold)), *ranges[feature + 1 :]]
    right = [*ranges[:feature], (max(low, node.threshold), high), *ranges[feature + 1 :]]
    yield from (row_of(left, members), row_of(right, members))
    yield from reaching(node.left, left, members)
    yield from reaching(node.right, right, members)


def row_of(ranges, members):
    """The greatest value that is not above a range's end, else the least that is above its beginning."""
    values = [
        high if high < np.inf else np.nextafter(low, np.inf) if low > -np.inf else 0.0 for low, high in ranges
    ]
    for feature, known in members.items():
        values[feature] = min(known)
    return values


def test_every_split_is_answered_as_the_booster_does(both, monkeypatch):
    model, ready, _ = both
    trees = []
    monkeypatch.setattr(module, "compiled", lambda found, base, **words: trees.extend(found))
    leafwise(model.booster.model_to_string(), N_FEATURES, model.predict)
    everything = [(-np.inf, np.inf)] * N_FEATURES
    rows = np.array(
        [row_of(everything, {}), *(row for tree in trees for row in reaching(tree, everything, {}))]
    )
    rows = np.clip(rows, -np.finfo(float).max, np.finfo(float).max)
    assert len(rows) > sum(1 for tree in trees for _ in splits(tree))
    np.testing.assert_array_equal(ready.predict(rows), model.predict(rows))


def test_compiling_must_be_worth_its_time():
    model = train(*COMPILED["number"])
    leaves = n_leaves(model.booster.model_to_string())
    assert leaves == sum(tree["num_leaves"] for tree in model.booster.dump_model()["tree_info"])
    assert model.ready_for(5 * 10**8 // leaves).trees is None
    assert model.ready_for(5 * 10**8 // leaves + 1).trees is not None


def test_without_a_compiler_the_booster_predicts(monkeypatch):
    monkeypatch.setattr("mmp.modeling.engines.compiled._has_compiler", lambda: False)
    assert train(*COMPILED["number"]).ready_for(None).trees is None


def test_threads_stay_as_they_were_asked_for():
    ready = train(*COMPILED["number"]).ready_for(None)
    assert ready.with_threads(2).trees is ready.trees
    assert replace(ready, trees=None).predictor() == "lightgbm's own call"
