"""Trees walked in NumPy: the booster's bits, or no walk."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmp.modeling.engines.compiled import _n_leaves, compiled, splits
from mmp.modeling.engines.walk import of_xgboost
from mmp.modeling.engines.xgboost import XGBoostModel, _learner, load

N_FEATURES = 5
OBJECTIVES = {
    "two classes": (2, {"objective": "binary:logistic"}),
    "deep": (2, {"objective": "binary:logistic", "max_depth": 11}),
    "by leaves": (2, {"objective": "binary:logistic", "grow_policy": "lossguide", "max_leaves": 30, "max_depth": 0}),
    "forest": (2, {"objective": "binary:logistic", "num_parallel_tree": 3}),
    "base score": (2, {"objective": "binary:logistic", "base_score": 0.9}),
    "three classes": (3, {"objective": "multi:softprob", "num_class": 3}),
    "number": (0, {"objective": "reg:squarederror"}),
    "absolute": (0, {"objective": "reg:absoluteerror"}),
    "huber": (0, {"objective": "reg:pseudohubererror"}),
    "counts": (0, {"objective": "count:poisson"}),
    "gamma": (0, {"objective": "reg:gamma"}),
    "tweedie": (0, {"objective": "reg:tweedie"}),
    "quantile": (0, {"objective": "reg:quantileerror", "quantile_alpha": 0.9}),
    "stumps": (0, {"objective": "reg:squarederror", "max_depth": 1}),
    "no splits": (0, {"objective": "reg:squarederror", "gamma": 1e9}),
}  # fmt: skip
CATEGORIES = {0: 3, 3: 40}  # levels of the features that hold codes
OBJECTIVES |= {
    f"categories, {name}": (n_classes, {**params, "max_cat_to_onehot": onehot, "max_depth": 5})
    for name, onehot, (n_classes, params) in (
        ("sets", 1, OBJECTIVES["two classes"]),
        ("single", 100, OBJECTIVES["two classes"]),
        ("both", 4, OBJECTIVES["three classes"]),
    )
}
NONE = {
    "another link": (2, {"objective": "binary:hinge"}),
    "several numbers": (0, {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}),
    "weighted trees": (0, {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.5}),
}


def train(n_classes, params, rounds=20):
    import xgboost

    rng = np.random.default_rng(5)
    values = rng.normal(size=(600, N_FEATURES)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    types = [
        "c" if position in CATEGORIES and "max_cat_to_onehot" in params else "q"
        for position in range(N_FEATURES)
    ]
    for position, levels in CATEGORIES.items():
        if types[position] == "c":
            codes = rng.integers(0, levels, 600)
            values[:, position] = np.where(np.isnan(values[:, position]), np.nan, codes)
    score = (
        np.nan_to_num(values[:, 0] + values[:, 3] % 7)
        + np.nan_to_num(values[:, 1]) ** 2
        + rng.normal(size=600) / 4
    )
    target = np.digitize(score, [0.5, 1.5][: n_classes - 1]) if n_classes else np.abs(score)
    booster = xgboost.train(
        {"nthread": 1, **params},
        xgboost.DMatrix(values, target, feature_types=types, enable_categorical=True),
        rounds,
    )
    return XGBoostModel(n_classes, N_FEATURES, 1, own=booster)


@pytest.fixture(scope="module", params=list(OBJECTIVES))
def model(request):
    return train(*OBJECTIVES[request.param])


@pytest.fixture(scope="module")
def walk(model):
    return of_xgboost(_learner(model.booster), N_FEATURES)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_row_has_the_boosters_bits(model, walk, data):
    cells = st.floats(width=32, allow_infinity=False)
    rows = data.draw(arrays(np.float32, (4, N_FEATURES), elements=cells))
    for position, levels in CATEGORIES.items():
        if walk.levels[position]:
            codes = st.sampled_from([*range(levels), np.nan])
            rows[:, position] = data.draw(arrays(np.float32, 4, elements=codes))
    np.testing.assert_array_equal(walk.many(rows), model.predict(rows))


def test_rows_at_the_thresholds_have_the_boosters_bits(model, walk):
    assert walk.agrees(model.predict, N_FEATURES)


def test_what_differs_in_one_bit_does_not_agree(model, walk):
    other = replace(walk, base=np.nextafter(walk.base, np.float32(np.inf)))
    rows = walk._edge_rows(N_FEATURES)
    assert other.agrees(model.predict, N_FEATURES) == np.array_equal(other.many(rows), walk.many(rows))
    assert not replace(walk, base=walk.base + np.float32(0.01)).agrees(model.predict, N_FEATURES)


@pytest.mark.parametrize("name", NONE)
def test_other_trees_have_no_walk_and_are_saved_without(name, tmp_path):
    model = train(*NONE[name])
    assert of_xgboost(_learner(model.booster), N_FEATURES) is None
    meta = model.save(tmp_path)
    assert "walk" not in meta
    rows = np.ones((3, N_FEATURES), np.float32)
    np.testing.assert_array_equal(load(tmp_path, meta).predict(rows), model.predict(rows))


def test_a_saved_model_predicts_few_rows_and_many_alike(model, tmp_path):
    loaded = load(tmp_path, model.save(tmp_path))
    assert loaded.walk is not None
    rows = np.random.default_rng(1).normal(size=(200, N_FEATURES)).astype(np.float32)
    for position in np.flatnonzero(loaded.walk.levels):
        rows[:, position] = np.arange(200) % CATEGORIES[position]
    together = loaded.predict(rows)
    np.testing.assert_array_equal(together, model.predict(rows))
    for place in range(0, 200, 20):
        np.testing.assert_array_equal(loaded.predict(rows[place : place + 7]), together[place : place + 7])
        assert loaded.one(rows[place : place + 1]) == together[place].tolist()


def test_many_rows_have_the_boosters_bits_at_the_thresholds(model, walk, tmp_path):
    loaded = load(tmp_path, model.save(tmp_path))
    expected = "xgboost's own call" if deep(walk) else "compiled trees"
    assert loaded.predictor() == loaded.predictor(33) == expected
    assert loaded.predictor(32) == "trees walked in NumPy"
    rows = walk._edge_rows(N_FEATURES, 5_000)
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))


def deep(walk):
    return max(map(_n_leaves, walk.trees())) > 256


def test_trees_come_out_of_a_walk_as_they_went_in(model, walk):
    stored = _learner(model.booster)["gradient_booster"]["model"]["trees"]
    made = [split for tree in walk.trees() for split in splits(tree)]
    assert len(made) == sum(sum(left >= 0 for left in tree["left_children"]) for tree in stored)
    thresholds = Counter(
        (tree["split_indices"][node], np.float32(tree["split_conditions"][node]))
        for tree in stored
        for node, left in enumerate(tree["left_children"])
        if left >= 0 and not tree["split_type"][node]
    )
    assert thresholds == Counter(
        (split.feature, np.float32(split.threshold)) for split in made if split.members is None
    )
    sets = [sorted(split.members) for split in made if split.members is not None]
    assert sum(map(len, sets)) == sum(sum(tree["categories_sizes"]) for tree in stored)


def test_a_walk_in_circles_is_not_followed_forever(walk):
    following = np.where(walk.following == np.arange(len(walk.value))[:, None], walk.following, walk.roots[0])
    assert len(list(replace(walk, following=following).trees())) == len(walk.roots)


def test_without_a_compiler_the_booster_predicts(model, tmp_path, monkeypatch):
    monkeypatch.setattr("mmp.modeling.engines.compiled._has_compiler", lambda: False)
    loaded = load(tmp_path, model.save(tmp_path))
    assert loaded.predictor() == "xgboost's own call"
    rows = np.random.default_rng(1).normal(size=(200, N_FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))


def test_compiled_trees_that_disagree_are_not_asked(model, tmp_path, monkeypatch):
    def one_bit_more(trees, base, **words):
        return compiled(trees, np.nextafter(base, np.float32(np.inf)) + np.float32(0.01), **words)

    loaded = load(tmp_path, model.save(tmp_path))
    monkeypatch.setattr("mmp.modeling.engines.xgboost.compiled", one_bit_more)
    assert loaded.predictor() == "xgboost's own call"


def test_a_booster_that_disagrees_is_not_asked(model, tmp_path, monkeypatch):
    monkeypatch.setattr("mmp.modeling.engines.compiled._has_compiler", lambda: False)
    loaded = load(tmp_path, model.save(tmp_path))
    shifted = replace(loaded, walk=replace(loaded.walk, base=loaded.walk.base + np.float32(0.5)))
    rows = np.zeros((100, N_FEATURES), np.float32)
    np.testing.assert_array_equal(shifted.predict(rows)[:5], shifted.predict(rows[:5]))
    assert shifted.predictor() == "trees walked in NumPy"


def test_few_rows_do_not_import_the_library(model, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    meta = model.save(folder)
    code = (
        "import sys, numpy as np; from pathlib import Path; from mmp.modeling.engines.xgboost import load;"
        f"load(Path({str(folder)!r}), {meta!r}).predict(np.zeros((32, {N_FEATURES}), np.float32));"
        "assert 'xgboost' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
