"""Splits: disjoint, covering, of the shares asked for, in time, by group, from one seed; and the clear refusals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mmp.data.arrow import normalise
from mmp.data.split import PARTS, apportion, split
from mmp.data.table import Table
from mmp.errors import DataError, EmptySplitError, MissingColumnsError, SettingsError
from mmp.settings.data import Split

DAY = 86_400_000_000
SHARES = st.sampled_from(
    [
        {"train": 0.7, "validation": 0.15, "test": 0.15, "calibration": 0.0},
        {"train": 0.6, "validation": 0.1, "test": 0.2, "calibration": 0.1},
        {"train": 0.8, "validation": 0.0, "test": 0.2, "calibration": 0.0},
        {"train": 0.34, "validation": 0.33, "test": 0.0, "calibration": 0.33},
    ]
)
properties = hypothesis_settings(max_examples=60, deadline=None, derandomize=True)


def table(**columns) -> Table:
    arrays = {name: pa.chunked_array([pa.array(values)]) for name, values in columns.items()}
    return Table.of([normalise(name, array) for name, array in arrays.items()], "t.csv")


def run(
    data: Table, strategy: str = "random", task: str = "regression", target: str = "y", seed: int = 0, **keys
):
    return split(data, Split(strategy=strategy, **keys), task=task, target=target, seed=seed)


def parts_of(splits) -> dict[str, np.ndarray]:
    return {name: getattr(splits, name) for name in PARTS}


def assert_disjoint(splits, n_rows: int, *, covers: bool = True) -> None:
    parts = list(parts_of(splits).values())
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    if covers:
        assert len(together) == n_rows
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


@given(n_rows=st.integers(10, 500), shares=SHARES, seed=st.integers(0, 99))
@properties
def test_random(n_rows, shares, seed):
    data = table(y=np.arange(n_rows, dtype=float))
    splits = run(data, seed=seed, **shares)
    assert_disjoint(splits, n_rows)
    for name, part in parts_of(splits).items():
        assert abs(len(part) - shares[name] * n_rows) < 1
    again = parts_of(run(data, seed=seed, **shares))
    assert all((again[name] == part).all() for name, part in parts_of(splits).items())


@given(
    counts=st.lists(st.integers(4, 60), min_size=2, max_size=5),
    shares=SHARES,
    seed=st.integers(0, 99),
    kind=st.sampled_from(["text", "integer", "float"]),
)
@properties
def test_stratified(counts, shares, seed, kind):
    codes = np.repeat(np.arange(len(counts)), counts)
    labels = {"text": [f"c{code}" for code in codes], "integer": codes * 7 - 3, "float": codes / 2}[kind]
    splits = run(table(y=labels), task="classification", seed=seed, **shares)
    assert_disjoint(splits, len(codes))
    for name, part in parts_of(splits).items():
        found = np.bincount(codes[part], minlength=len(counts))
        for n_found, n_class in zip(found, counts, strict=True):
            wanted = shares[name] * n_class
            # a class gives each part that wants rows one at least, and that row comes from its largest part
            assert abs(n_found - wanted) < 1 or n_found == 1 or (n_class < 20 and n_found >= wanted - 3)
            assert (n_found > 0) == (shares[name] > 0)


def test_seeds_differ_and_decide():
    data = table(y=np.arange(1000.0))
    one, other = run(data, seed=1), run(data, seed=2)
    assert (one.train != other.train).any()
    assert (one.train == run(data, seed=1).train).all()


@given(
    days=st.lists(st.integers(0, 40), min_size=8, max_size=300),
    shares=SHARES,
    gap=st.sampled_from([None, 0, 3, "2d", "36h"]),
)
@properties
def test_temporal(days, shares, gap):
    times = np.array(days)
    wanted = [name for name in ("train", "validation", "calibration", "test") if shares[name]]
    assume(len(np.unique(times)) > len(wanted) + 5)
    data = table(t=pa.array(times * DAY, pa.timestamp("us")), y=np.arange(len(times), dtype=float))
    try:
        splits = run(data, "temporal", temporal_column="t", gap=gap, **shares)
    except EmptySplitError:
        assert gap  # the embargo took all that was left
        return
    assert_disjoint(splits, len(times), covers=not gap)
    parts = parts_of(splits)
    for earlier, later in pairwise(wanted):
        assert times[parts[earlier]].max() < times[parts[later]].min()
    after = times[parts[wanted[1]]].min()
    last = times[parts["train"]].max()
    assert after - last >= {"2d": 2, "36h": 1.5}.get(gap, 0)
    if gap == 3:
        assert len(times) - sum(len(part) for part in parts.values()) == 3
    assert len(parts["train"]) - shares["train"] * len(times) <= np.bincount(times).max() + 5


def test_temporal_takes_exact_shares_where_times_differ():
    order = np.random.default_rng(0).permutation(100)
    splits = run(table(t=order, y=order * 1.0), "temporal", temporal_column="t", calibration=0.1, train=0.6)
    assert order[splits.train].tolist() == sorted(range(60), key=order.tolist().index)
    assert {name: (order[part].min(), order[part].max()) for name, part in parts_of(splits).items()} == {
        "train": (0, 59), "validation": (60, 74), "calibration": (75, 84), "test": (85, 99)
    }  # fmt: skip


def test_few_times_still_fill_every_part():
    years = np.repeat([2019, 2020, 2021, 2022, 2023], 20)
    splits = run(table(t=years, y=years * 1.0), "temporal", temporal_column="t")
    assert [sorted(set(years[part])) for part in (splits.train, splits.validation, splits.test)] == [
        [2019, 2020, 2021], [2022], [2023]
    ]  # fmt: skip


@given(sizes=st.lists(st.integers(1, 12), min_size=6, max_size=80), shares=SHARES, seed=st.integers(0, 9))
@properties
def test_group(sizes, shares, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    data = table(g=[f"g{group}" for group in groups], y=groups * 1.0)
    splits = run(data, "group", group_column="g", seed=seed, **shares)
    assert_disjoint(splits, len(groups))
    parts = {name: set(groups[part].tolist()) for name, part in parts_of(splits).items()}
    assert sum(map(len, parts.values())) == len(sizes)
    for name, part in parts_of(splits).items():
        assert (len(part) > 0) == (shares[name] > 0)
        assert abs(len(part) - shares[name] * len(groups)) <= max(sizes) + 1
    again = run(data, "group", group_column="g", seed=seed, **shares)
    assert (again.train == splits.train).all()


def test_large_and_small_groups_go_everywhere():
    sizes = [50] * 20 + [1] * 1000
    groups = np.repeat(np.arange(len(sizes)), sizes)
    splits = run(table(g=groups, y=groups * 1.0), "group", group_column="g")
    for part in (splits.validation, splits.test):
        assert (groups[part] < 20).sum() == 150


def test_predefined():
    names = np.array(["train", "test", "validation", "train", "calibration", "test"])
    splits = run(table(part=names, y=[1.0] * 6), "predefined", split_column="part")
    for name, part in parts_of(splits).items():
        assert part.tolist() == np.flatnonzero(names == name).tolist()


LABELS = ["a"] * 50 + ["b"] * 50
REFUSALS = {
    "rare": ({"y": ["a"] * 50 + ["b"] * 2}, {"task": "classification"}, EmptySplitError,
             "Class 'b' has 2 rows, and the split has 3 parts"),
    "few rows": ({"y": [1.0, 2.0]}, {}, EmptySplitError, "The validation part (share 0.15) would have no row: the table has 2 rows"),
    "one class": ({"y": LABELS, "t": range(100)}, {"task": "classification", "strategy": "temporal",
                  "temporal_column": "t"}, EmptySplitError, "The validation part has only the class 'b' (15 rows)"),
    "one class in test": ({"y": ["a", "b"] * 45 + ["a"] * 10, "t": range(100)}, {"task": "classification", "train": 0.8,
                          "validation": 0.1, "test": 0.1, "strategy": "temporal", "temporal_column": "t"},
                          EmptySplitError, "The test part has only the class 'a' (10 rows)"),
    "unseen class": ({"y": ["a", "b"] * 40 + ["a", "b", "c", "d"] * 5, "t": range(100)}, {"task": "classification",
                     "strategy": "temporal", "temporal_column": "t"}, EmptySplitError,
                     "Class 'c' is in the validation part and not in train"),
    "no times": ({"y": [1.0] * 9, "t": [1, 2] + [2] * 7}, {"strategy": "temporal", "temporal_column": "t"},
                 EmptySplitError, "Column 't' has 2 times for 3 parts"),
    "null time": ({"y": [1.0] * 9, "t": [1, None] + [2] * 7}, {"strategy": "temporal", "temporal_column": "t"},
                  DataError, "Column 't' divides the rows and is missing in 1 of them"),
    "text time": ({"y": [1.0] * 2, "t": ["1 Jan", "2 Feb"]}, {"strategy": "temporal", "temporal_column": "t"},
                  DataError, "Column 't' is text and has no order in time"),
    "long gap": ({"y": [1.0] * 99, "t": range(99)}, {"strategy": "temporal", "temporal_column": "t", "gap": 40},
                 EmptySplitError, "Column 't' has 0 times for 2 parts"),
    "gap of nothing": ({"y": [1.0] * 99, "t": range(99)}, {"strategy": "temporal", "temporal_column": "t", "gap": "7d"},
                       SettingsError, "data.split.gap: '7d'"),
    "few groups": ({"y": [1.0] * 9, "g": ["u"] * 5 + ["v"] * 4}, {"strategy": "group", "group_column": "g"},
                   EmptySplitError, "Column 'g' has 2 groups for 3 parts"),
    "null group": ({"y": [1.0] * 4, "g": ["u", None, None, "v"]}, {"strategy": "group", "group_column": "g"},
                   DataError, "missing in 2 of them"),
    "no column": ({"y": [1.0] * 4, "user": list("abcd")}, {"strategy": "group", "group_column": "users"},
                  MissingColumnsError, "'users' (did you mean 'user'?) is not in t.csv"),
    "no key": ({"y": [1.0] * 4}, {"strategy": "group"}, SettingsError, "needs data.split.group_column"),
    "unknown part": ({"y": [1.0] * 3, "p": ["train", "test", "tset"]}, {"strategy": "predefined", "split_column": "p"},
                     DataError, "'tset', which is no part of a split (did you mean 'test'?)"),
    "no test": ({"y": [1.0] * 3, "p": ["train"] * 3}, {"strategy": "predefined", "split_column": "p"},
                EmptySplitError, "marks no row as test"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    columns, keys, kind, says = REFUSALS[case]
    with pytest.raises(kind) as caught:
        run(table(**columns), **keys)
    assert type(caught.value) is kind
    assert says in caught.value.message
    assert caught.value.hint


@given(n_rows=st.integers(0, 1000), shares=st.lists(st.floats(0, 1), min_size=1, max_size=5))
@properties
def test_apportion(n_rows, shares):
    assume(sum(shares) > 0.01)
    sizes = apportion(n_rows, shares)
    assert sizes.sum() == n_rows
    assert (np.abs(sizes - n_rows * np.array(shares) / sum(shares)) < 1).all()
