"""Folds: each row of the rest judges once; sizes, classes, groups and windows as scikit-learn has them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from mmp.data.arrow import normalise
from mmp.data.folds import folds
from mmp.data.split import split
from mmp.data.table import Table
from mmp.errors import DataError, EmptySplitError, SettingsError
from mmp.settings.data import Split

DAY = 86_400_000_000
properties = hypothesis_settings(max_examples=40, deadline=None, derandomize=True)


def table(**columns) -> Table:
    arrays = {name: pa.chunked_array([pa.array(values)]) for name, values in columns.items()}
    return Table.of([normalise(name, array) for name, array in arrays.items()], "t.csv")


def run(data, k, *, rest=None, task="regression", seed=0, **keys):
    rest = np.arange(data.n_rows) if rest is None else rest
    settings = Split(strategy="cross_validation", folds=k, **keys)
    return folds(data, settings, rest, task=task, target="y", seed=seed)


def assert_partition(made, rest):
    judged = np.concatenate([fold.validation for fold in made])
    assert sorted(judged) == sorted(rest)
    for fold in made:
        assert sorted([*fold.train, *fold.validation]) == sorted(rest)
        assert (np.diff(fold.train) > 0).all()
        assert (np.diff(fold.validation) > 0).all()


@given(n_rows=st.integers(4, 200), k=st.integers(2, 12), seed=st.integers(0, 99), data=st.data())
@properties
def test_drawn(n_rows, k, seed, data):
    assume(n_rows >= k)
    rest = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=n_rows, max_size=n_rows)))
    rest = rest if len(rest) >= k else np.arange(n_rows)
    values = table(y=np.arange(n_rows, dtype=float))
    made = run(values, k, rest=rest, seed=seed)
    assert_partition(made, rest)
    theirs = [len(test) for _, test in KFold(k).split(rest)]
    assert [len(fold.validation) for fold in made] == theirs
    again = run(values, k, rest=rest, seed=seed)
    assert all((one.validation == other.validation).all() for one, other in zip(made, again, strict=True))


@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=5), k=st.integers(2, 8), seed=st.integers(0, 99)
)
@properties
def test_by_class(counts, k, seed):
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    assume(len(codes) >= k)
    assume(max(counts) >= k)
    made = run(table(y=[f"c{code}" for code in codes]), k, task="classification", seed=seed)
    assert_partition(made, np.arange(len(codes)))
    found = np.array([np.bincount(codes[fold.validation], minlength=len(counts)) for fold in made])
    assert (np.ptp(found, axis=0) <= 1).all()
    assert np.ptp(found.sum(axis=1)) <= 1
    if min(counts) >= k:
        theirs = StratifiedKFold(k, shuffle=True, random_state=seed).split(codes, codes)
        sizes = np.array([np.bincount(codes[test], minlength=len(counts)) for _, test in theirs])
        assert (np.sort(found, axis=0) == np.sort(sizes, axis=0)).all()


@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=30), k=st.integers(2, 6), seed=st.integers(0, 99)
)
@properties
def test_by_group(sizes, k, seed):
    assume(len(sizes) >= k)
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    data = table(y=np.arange(len(groups), dtype=float), g=[f"g{group}" for group in groups])
    made = run(data, k, seed=seed, group_column="g")
    assert_partition(made, np.arange(len(groups)))
    for fold in made:
        assert not set(groups[fold.train]) & set(groups[fold.validation])
        assert len(fold.validation)
    theirs = [len(test) for _, test in GroupKFold(k).split(groups, groups=groups)]
    assert max(len(fold.validation) for fold in made) == max(theirs)


@given(blocks=st.integers(2, 20), k=st.integers(2, 8), gap=st.integers(0, 6), seed=st.integers(0, 99))
@properties
def test_in_time(blocks, k, gap, seed):
    n_rows = blocks * (k + 1)
    order = np.random.default_rng(seed).permutation(n_rows)
    days = np.empty(n_rows, int)
    days[order] = np.arange(n_rows)
    data = table(t=pa.array(days * DAY, pa.timestamp("us")), y=np.arange(n_rows, dtype=float))
    theirs = TimeSeriesSplit(k, gap=gap)
    if gap >= blocks:
        with pytest.raises(EmptySplitError, match="Nothing is left to learn from before fold 1"):
            run(data, k, temporal_column="t", gap=gap)
        return
    for keys in ({"gap": gap}, {"gap": f"{gap + 1}d"}):
        made = run(data, k, temporal_column="t", **keys)
        for fold, (train, test) in zip(made, theirs.split(order), strict=True):
            assert (fold.train == np.sort(order[train])).all()
            assert (fold.validation == np.sort(order[test])).all()


@given(days=st.lists(st.integers(0, 30), min_size=12, max_size=200), k=st.integers(2, 5))
@properties
def test_rows_of_one_time_stay_together(days, k):
    times = np.array(days)
    assume(len(np.unique(times)) > k + 1)
    data = table(t=times, y=np.arange(len(times), dtype=float))
    for fold in run(data, k, temporal_column="t"):
        assert times[fold.train].max() < times[fold.validation].min()


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(EmptySplitError, match="There are 3 rows for 5 folds"):
        run(table(y=[1.0, 2.0, 3.0]), 5)
    with pytest.raises(EmptySplitError, match="'g' has 2 groups for 3 folds"):
        run(table(y=np.arange(9.0), g=["a", "b", "b"] * 3), 3, group_column="g")
    with pytest.raises(
        EmptySplitError, match=r"Class 'c' \(1 row\) is not among the rows that fold \d learns"
    ):
        run(table(y=["a"] * 5 + ["b"] * 5 + ["c"]), 3, task="classification")
    with pytest.raises(EmptySplitError, match="has 2 times for 4 parts"):
        run(table(y=np.arange(8.0), t=[1, 2] * 4), 3, temporal_column="t")
    with pytest.raises(SettingsError, match="no span of time"):
        run(table(y=np.arange(8.0), t=np.arange(8)), 3, temporal_column="t", gap="2d")
    with pytest.raises(DataError, match="missing in 1 of them"):
        run(table(y=np.arange(4.0), g=["a", "b", "c", None]), 2, group_column="g")


@pytest.mark.parametrize("column", [None, "group_column", "temporal_column"])
def test_the_test_share_is_held_out_first(column):
    rng = np.random.default_rng(1)
    times = rng.integers(0, 50, 200)
    data = table(y=rng.permutation(["a", "b"] * 100), d=times)
    settings = Split(strategy="cross_validation", folds=4, test=0.2, calibration=0.1, validation=0.0, train=0.7,
                     **({column: "d"} if column else {}))  # fmt: skip
    parts = split(data, settings, task="classification", target="y", seed=3)
    assert not len(parts.validation)
    assert abs(len(parts.test) - 40) <= 8
    assert abs(len(parts.train) - 140) <= 8
    made = folds(data, settings, parts.train, task="classification", target="y", seed=3)
    together = np.concatenate([np.concatenate([fold.train, fold.validation]) for fold in made])
    assert set(together) <= set(parts.train)
    if column == "group_column":
        assert not set(times[parts.train]) & set(times[parts.test])
    if column == "temporal_column":
        assert times[parts.train].max() < times[parts.test].min()
