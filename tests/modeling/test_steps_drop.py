"""Steps that leave out rows and columns."""

from __future__ import annotations

import numpy as np
import pytest
from tests.steps import step

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target

TABLE = {
    "a": ("float", [1.0, None, 3.0, 4.0, 5.0, 6.0]),
    "b": ("integer", [None, None, 3, 4, 5, 6]),
    "c": ("text", ["x", "y", None, "x", "y", "z"]),
    "d": ("float", [0.5] * 6),
}
TARGET = Target("classification", np.array([0, 1, 0, 1, 0, 1], np.int32), (0, 1))


def fit(*steps, table=TABLE):
    columns = {name: column_of(*cells) for name, cells in table.items()}
    specs = [ColumnSpec(name, kind) for name, (kind, _) in table.items()]
    return pipeline.fit(steps, columns, specs, TARGET, seed=1, dtype="float64", native_categories=True)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, [3, 4, 5]),
        ({"columns": "a"}, [0, 2, 3, 4, 5]),
        ({"columns": ("a", "b")}, [2, 3, 4, 5]),
        ({"columns": ("a", "b"), "threshold": 0.5}, [0, 2, 3, 4, 5]),
    ],
)
def test_rows_with_gaps_are_left_out_of_training_alone(settings, left):
    fitted, trained = fit(step("drop_missing", **settings))
    assert trained.rows.tolist() == left
    assert len(trained.values) == len(left)
    (finding,) = trained.findings
    assert f"{6 - len(left)} of 6 training rows" in finding.message
    everything = fitted.matrix({name: column_of(*cells) for name, cells in TABLE.items()})
    assert len(everything.values) == 6


def test_what_comes_after_learns_from_the_rows_that_are_left():
    steps = [
        step("drop_missing", columns="b"),
        step("standard_scaler", columns="a"),
        step("target_encoder", columns="c", cv=2),
    ]
    fitted, trained = fit(*steps)
    np.testing.assert_allclose(trained.values[:, 0].mean(), 0, atol=1e-12)
    assert len(trained.values) == 4
    assert fitted.ops[0].shift == 4.5


def test_rows_are_left_out_twice():
    _, trained = fit(step("drop_missing", columns="a"), step("drop_missing", columns="c"))
    assert trained.rows.tolist() == [0, 3, 4, 5]
    assert len(trained.findings) == 2


def test_columns_with_gaps_are_left_out_and_asked_of_nobody():
    fitted, trained = fit(
        step("simple_imputer", columns="a"), step("drop_missing", axis="columns", threshold=0.2)
    )
    assert fitted.names == trained.names == ("a", "c", "d")
    assert [spec.name for spec in fitted.inputs] == ["a", "c", "d"]
    assert "'b' is missing in 33.3%" in trained.findings[0].message
    assert fitted.row({"a": None, "c": "x", "d": 1.0}).tolist() == [[3.8, 0.0, 1.0]]


def test_without_gaps_nothing_is_left_out():
    _, trained = fit(step("drop_missing", columns="d"))
    assert trained.rows is None
    assert trained.findings == ()


def test_some_row_and_some_column_must_be_left():
    table = {"a": TABLE["b"], "b": ("float", [1.0, 2.0, None, None, None, None])}
    with pytest.raises(DataError, match="leaves no training row"):
        fit(step("drop_missing"), table=table)
    with pytest.raises(DataError, match="leave no feature"):
        fit(step("drop_missing", axis="columns"), table=table)
