"""Trees in machine code: a plain walk's bits, whatever the trees and the rows."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from functools import reduce
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmp.modeling.engines import compiled as module
from mmp.modeling.engines.compiled import Split, compiled, exponentials
from mmp.modeling.engines.libm import libm

N_FEATURES = 3
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.nextafter(np.float32(0), np.float32(1)))
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, SMALLEST, -SMALLEST, LARGEST, -LARGEST, 1 / 3]
numbers = st.sampled_from([float(np.float32(each)) for each in EDGES]) | st.floats(
    width=32, allow_nan=False, allow_infinity=False
)
leaves = st.floats(-100, 100, width=32)


def splits(children):
    """Splits of numbers on two features, and of categories on the third."""
    missing = st.sampled_from([-math.inf, math.inf])
    members = st.frozensets(st.integers(0, 40), min_size=1)
    return st.builds(Split, st.integers(0, 1), numbers, missing, children, children) | st.builds(
        Split, st.just(2), st.just(0.5), missing, children, children, members
    )


trees = st.recursive(leaves, splits, max_leaves=40)


def rows(n_rows, cells=numbers):
    codes = st.integers(0, 45).map(float) | st.just(math.nan)
    number_rows = arrays(np.float32, (n_rows, 2), elements=cells | st.just(math.nan))
    return st.tuples(number_rows, arrays(np.float32, (n_rows, 1), elements=codes)).map(np.hstack)


def walked(tree, row, right):
    """What a reader of `Split` would write."""
    while isinstance(tree, Split):
        value = float(row[tree.feature])
        if math.isnan(value):
            goes_right = tree.missing > (tree.threshold if tree.members is None else 0)
        elif tree.members is not None:
            goes_right = value in tree.members
        else:
            goes_right = value > tree.threshold if right == "ogt" else value >= tree.threshold
        tree = tree.right if goes_right else tree.left
    return tree


def summed(forest, base, row, right, dtype):
    each = len(forest) // len(base)
    groups = []
    for group, start in enumerate(base):
        own = forest[group * each : (group + 1) * each]
        groups.append(reduce(lambda sum_, tree: dtype(sum_ + dtype(walked(tree, row, right))), own, start))
    return groups


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("right", ["oge", "ogt"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_trees_give_what_a_plain_walk_gives(dtype, right, data):
    n_groups = data.draw(st.sampled_from([1, 1, 3]))
    n_trees = n_groups * data.draw(st.integers(1, 3))
    forest = data.draw(st.lists(trees, min_size=n_trees, max_size=n_trees))
    base = np.array(data.draw(st.lists(leaves, min_size=n_groups, max_size=n_groups)), dtype)
    values = data.draw(rows(data.draw(st.integers(1, 9)))).astype(dtype)
    found = compiled(forest, base, right=right)
    assert found is not None
    expected = np.array([summed(forest, base, row, right, dtype) for row in values], dtype).T
    np.testing.assert_array_equal(found.margins(values), expected)


@given(trees, rows(4), st.integers(1, 700))
@settings(max_examples=30, deadline=None)
def test_a_row_gives_the_same_wherever_it_stands(tree, few, n_rows):
    found = compiled([tree], np.zeros(1, np.float32))
    places = np.arange(n_rows) % len(few)
    np.testing.assert_array_equal(found.margins(few[places]), found.margins(few)[:, places])


@pytest.mark.parametrize("n_thresholds", [1, 15, 16, 17, 253, 254, 255, 256, 600])
def test_any_number_of_thresholds_is_counted(n_thresholds):
    thresholds = np.sort(np.random.default_rng(3).normal(size=n_thresholds).astype(np.float32))
    forest = [Split(0, float(each), (place % 2 and math.inf) or -math.inf, -1.0, 1.0)
              for place, each in enumerate(thresholds)]  # fmt: skip
    cells = np.concatenate(
        (thresholds, np.nextafter(thresholds, np.float32(-9)), [np.nan, -9, 9, np.inf, -np.inf])
    )
    values = cells.astype(np.float32)[:, None]
    found = compiled(forest, np.zeros(1, np.float32))
    expected = [sum(walked(tree, row, "oge") for tree in forest) for row in values]
    np.testing.assert_array_equal(found.margins(values)[0], expected)


def chain(n_leaves):
    tree = 0.0
    for place in range(1, n_leaves):
        tree = Split(0, float(n_leaves - place), -math.inf, tree, float(place))
    return tree


def test_trees_of_more_leaves_than_a_byte_counts_are_left_alone():
    base = np.zeros(1, np.float32)
    values = np.arange(-1, 300, dtype=np.float32)[:, None]
    tree = chain(256)
    found = compiled([tree], base)
    np.testing.assert_array_equal(found.margins(values)[0], [walked(tree, row, "oge") for row in values])
    assert compiled([chain(257)], base) is None


def test_trees_that_would_be_slow_are_left_alone():
    every_second = frozenset(range(0, 9000, 2))
    wide = [Split(0, 0.5, -math.inf, 0.0, 1.0, every_second)] * 300
    assert compiled(wide, np.zeros(1, np.float32)) is None, "more than a thousand columns of eight categories"
    many = [Split(0, 0.5, -math.inf, 0.0, 1.0, frozenset(range(0, 2080, 8)))]
    assert compiled(many, np.zeros(1, np.float32)) is None, "260 questions for a split"
    assert (
        compiled([many[0]._replace(members=frozenset(range(0, 2000, 8)))], np.zeros(1, np.float32))
        is not None
    )


@pytest.mark.parametrize(
    ("found", "is_enough"), [("0.44.0", False), ("0.45.0rc1", True), ("0.50.1", True), ("1.0.0", True)]
)
def test_an_old_llvmlite_is_none(found, is_enough, monkeypatch):
    monkeypatch.setattr(module, "version", lambda _name: found)
    monkeypatch.setattr(module, "_has_compiler", module._has_compiler.__wrapped__)
    assert (compiled([chain(3)], np.zeros(1, np.float32)) is not None) == is_enough


def test_where_llvm_cannot_compile_there_are_none(monkeypatch):
    from llvmlite import binding

    def refuse():
        raise RuntimeError("no such machine")

    monkeypatch.setattr(binding, "get_host_cpu_features", refuse)
    monkeypatch.setattr(module, "_code", module._code.__wrapped__)
    assert compiled([chain(3)], np.zeros(1, np.float32)) is None


def test_without_llvmlite_there_are_none(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", absent)
    monkeypatch.setattr(module, "_has_compiler", module._has_compiler.__wrapped__)
    assert compiled([chain(3)], np.zeros(1, np.float32)) is None


def test_a_matrix_of_another_type_or_order_is_taken_as_well():
    found = compiled([chain(9)], np.zeros(1, np.float32))
    values = np.random.default_rng(0).uniform(0, 9, (50, 2)).astype(np.float32)
    expected = found.margins(values)
    for other in (values.astype(np.float64), np.asfortranarray(values), np.repeat(values, 2, axis=0)[::2]):
        np.testing.assert_array_equal(found.margins(other), expected)


@pytest.mark.parametrize("feature", [2, -1])
def test_a_matrix_without_all_features_is_refused(feature):
    found = compiled([Split(feature, 0.5, -math.inf, 0.0, 1.0)], np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="features cannot do with 2"):
        found.margins(np.zeros((5, 2), np.float32))


def test_threads_do_not_disturb_each_other():
    found = compiled([chain(200)] * 20, np.zeros(1, np.float32))
    values = np.random.default_rng(1).uniform(0, 200, (20_000, 1)).astype(np.float32)
    expected, answers = found.margins(values), {}

    def run(place):
        answers[place] = found.margins(values)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers.values():
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponentials_are_the_c_librarys(dtype):
    values = np.random.default_rng(2).normal(0, 20, 1000).astype(dtype)
    own = values.copy()
    exponentials(own)
    if dtype is np.float32:
        np.testing.assert_array_equal(own, np.array([libm().expf(float(each)) for each in values], dtype))
    else:
        np.testing.assert_array_equal(own, [math.exp(each) for each in values])


@pytest.mark.parametrize("features", ["", "avx512bw"])
def test_both_sizes_of_tiles_give_the_same(features, monkeypatch):
    """A machine without AVX-512 has smaller tiles; what LLVM makes of them is the same on any."""
    from llvmlite import binding

    known = binding.get_host_cpu_features()
    for name in list(known):
        if name.startswith("avx512"):
            known[name] = known[name] and bool(features)
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: known)
    code = module._code.__wrapped__("float32", "oge")
    monkeypatch.setattr(module, "_code", lambda *_: code)
    found = compiled([chain(100)] * 5, np.zeros(1, np.float32))
    values = np.random.default_rng(4).uniform(-5, 105, (1_111, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        found.margins(values)[0], [5 * walked(chain(100), row, "oge") for row in values]
    )
    for n_rows in (1, 31, 33, 64, 127, 129, 600):
        np.testing.assert_array_equal(found.margins(values[:n_rows]), found.margins(values)[:, :n_rows])


def test_importing_it_loads_no_compiler():
    code = "import sys, mmp.modeling.engines.xgboost; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
