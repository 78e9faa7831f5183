"""The baseline: JSON without a row in it, and bins that nothing can fall out of."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmp.data.table import ColumnSpec
from mmp.modeling.baseline import N_BINS, N_CATEGORIES, baseline, describe
from mmp.modeling.columns import Column
from mmp.modeling.target import Target


def shares(summary, values):
    counts = np.bincount(np.searchsorted(summary["edges"], values), minlength=len(summary["edges"]) + 1)
    return counts / len(values)


def psi(expected, actual):
    expected, actual = np.maximum(expected, 1e-4), np.maximum(actual, 1e-4)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


NUMBERS = hnp.arrays(
    np.float64,
    st.integers(1, 200),
    elements=st.sampled_from([0.0, 1.0, -2.5, 1e300, 5e-324]) | st.floats(-10, 10),
) | hnp.arrays(np.int64, st.integers(1, 200), elements=st.integers(-5, 5) | st.integers(-(2**62), 2**62))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(NUMBERS)
def test_stored_shares_are_those_of_the_training_values(values):
    kind = "float" if values.dtype == np.float64 else "integer"
    summary = json.loads(json.dumps(describe(Column(kind, values)), allow_nan=False))
    edges = np.array(summary["edges"], values.dtype)
    assert (np.diff(edges) > 0).all()
    assert shares({"edges": edges}, values) == pytest.approx(summary["shares"])
    assert sum(summary["shares"]) == pytest.approx(1)
    assert (summary["min"], summary["max"]) == (values.min(), values.max())


def test_numbers_without_ties_fall_evenly_into_ten_bins():
    values = np.random.default_rng(0).normal(size=10_000)
    summary = describe(Column("float", values))
    assert len(summary["shares"]) == N_BINS
    assert summary["shares"] == pytest.approx([0.1] * N_BINS, abs=1e-3)
    assert (summary["mean"], summary["std"]) == pytest.approx((values.mean(), values.std()))


@pytest.mark.parametrize("move", [100, -100])
@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 1, 1_000),
        np.r_[np.zeros(950), np.linspace(1, 2, 50)],
        np.r_[np.ones(950), np.linspace(-2, 0, 50)],
        np.zeros(1_000),
        np.arange(1_000) % 2,
    ],
    ids=["even", "mostly lowest", "mostly highest", "constant", "binary"],
)
def test_a_move_out_of_the_range_shows(values, move):
    summary = describe(Column("float" if values.dtype == np.float64 else "integer", values))
    assert psi(np.array(summary["shares"]), shares(summary, values + move)) > 1
    assert psi(np.array(summary["shares"]), shares(summary, values)) == 0


def test_a_rarer_value_shows():
    values = np.r_[np.zeros(50, np.int64), np.ones(950, np.int64)]
    summary = describe(Column("integer", values))
    assert psi(np.array(summary["shares"]), shares(summary, np.arange(1_000) % 2)) > 0.2


def test_missing_values_are_counted_and_left_out():
    column = Column("integer", np.array([5, -999, 7, -999]), np.array([True, False, True, False]))
    summary = describe(column)
    assert (summary["missing"], summary["min"], summary["max"], summary["mean"]) == (0.5, 5, 7, 6)


@pytest.mark.parametrize("kind", ["integer", "float", "boolean", "text", "timestamp"])
def test_a_column_without_values(kind):
    values = np.full(3, -1, np.int32) if kind == "text" else np.zeros(3, bool if kind == "boolean" else float)
    summary = describe(Column(kind, values, np.zeros(3, bool), ("a",) if kind == "text" else ()))
    assert summary["missing"] == 1
    assert summary["shares"] == []
    json.dumps(summary, allow_nan=False)


def test_text_keeps_the_frequent_categories():
    vocabulary = (*(f"city {position}" for position in range(200)), "nobody lives here")
    codes = np.repeat(np.arange(200, dtype=np.int32), np.arange(200, 0, -1))
    summary = describe(
        Column("text", np.r_[codes, np.full(100, -1, np.int32)], np.r_[codes >= 0, [False] * 100], vocabulary)
    )
    assert summary["categories"] == list(vocabulary[:N_CATEGORIES])
    assert summary["n_distinct"] == 200
    assert sum(summary["shares"]) + summary["other"] == pytest.approx(1)


def test_booleans_and_timestamps():
    flags = describe(Column("boolean", np.array([True, False, True, True])))
    assert (flags["categories"], flags["shares"]) == ([True, False], [0.75, 0.25])
    times = describe(Column("timestamp", np.array([1_700_000_000_000_000, 1_600_000_000_000_000])))
    assert (times["min"], times["max"]) == (1_600_000_000_000_000, 1_700_000_000_000_000)


def test_whole_of_two_classes():
    columns = {"age": Column("integer", np.arange(40)), "id": Column("integer", np.arange(40))}
    target = Target("classification", np.array([0, 1] * 20, np.int32), ("no", "yes"), 1)
    share = np.linspace(0, 1, 8)
    value = baseline(columns, [ColumnSpec("age", "integer")], target, np.column_stack([1 - share, share]))
    assert list(value["features"]) == ["age"]
    assert value["target"]["categories"] == ["no", "yes"]
    assert list(value["predictions"]) == ["prediction", "probability"]
    assert value["predictions"]["prediction"]["shares"] == [0.5, 0.5]
    assert value["predictions"]["probability"]["max"] == 1


def test_names_of_predictions_are_those_of_the_table_of_predictions():
    target = Target("classification", np.array([0, 1, 2], np.int32), ("a b", "c", "d"))
    value = baseline({}, [], target, np.eye(3))
    assert list(value["predictions"]) == ["prediction", "probability_a_b", "probability_c", "probability_d"]
    value = baseline({}, [], Target("regression", np.ones(3)), np.arange(5.0))
    assert list(value["predictions"]) == ["prediction"]
    assert value["predictions"]["prediction"]["n_rows"] == 5


def test_no_row_is_in_it():
    rng = np.random.default_rng(0)
    values = rng.normal(size=100_000)
    columns = {"amount": Column("float", values)}
    text = json.dumps(
        baseline(columns, [ColumnSpec("amount", "float")], Target("regression", values), values)
    )
    assert len(text) < 5_000
