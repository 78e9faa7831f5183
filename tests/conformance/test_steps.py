"""Every step of the catalog keeps the promises of a step; a new row is tested unasked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmp.catalog.steps import DATE_PARTS, STEPS
from mmp.data.table import ColumnSpec
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.ops import OPS, PARTS
from mmp.modeling.steps import FIT_FUNCTIONS
from mmp.modeling.target import Target
from mmp.modeling.training import Series
from mmp.settings.steps import STEP_MODELS

AVAILABLE = list(STEPS)
ROWS = 60
SUITABLE = {"numeric": "float", "categorical": "text", "datetime": "timestamp", "any": "float"}
TARGETS = {
    "binary": Target("classification", np.arange(ROWS, dtype=np.int32) % 2, ("no", "yes")),
    "multiclass": Target("classification", np.arange(ROWS, dtype=np.int32) % 3, (10, 20, 30)),
    "regression": Target("regression", np.arange(ROWS) / 7),
}


def cells(kind, shift=0):
    made = {
        "float": lambda n: n / 3,
        "text": lambda n: "abcd"[n % 4],
        "timestamp": lambda n: n * 10**11,
    }[kind]
    return [None if n % 7 == 3 else made(n + shift) for n in range(ROWS)]


def fit(step, kind, target):
    """Fit a step that is given `this` on a table that has `other` like it."""
    columns = {"this": column_of(kind, cells(kind)), "other": column_of(kind, cells(kind, 1))}
    specs = [ColumnSpec(name, kind) for name in columns]
    series = None
    if STEPS.get(step.type) and STEPS[step.type].of_series:
        series = Series((ColumnSpec("key", "text"),), ColumnSpec("at", "integer"))
        columns["key"] = column_of("text", [None if n % 11 == 5 else "xyz"[n % 3] for n in range(ROWS)])
        columns["at"] = column_of("integer", [n * 7 % 20 for n in range(ROWS)])
    rest = [STEP_MODELS["datetime_features"](type="datetime_features", columns="datetime")]
    fitted, trained = pipeline.fit(
        [step, *rest],
        columns,
        specs,
        target,
        seed=3,
        dtype="float32",
        native_categories=True,
        series=series,
    )
    return fitted, trained, columns


def test_the_table_and_the_functions_agree():
    assert set(AVAILABLE) == set(FIT_FUNCTIONS)
    assert set(DATE_PARTS) == set(PARTS)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", AVAILABLE)
def test_a_step(kind, target):
    column_kind = SUITABLE[STEPS[kind].fits]
    step = STEP_MODELS[kind](type=kind, columns="this")
    fitted, trained, columns = fit(step, column_kind, TARGETS[target])

    n_rows = ROWS if trained.rows is None else len(trained.rows)
    assert trained.values.shape == (n_rows, len(fitted.names))
    assert {op.name for op in fitted.ops} <= set(OPS)
    assert len({target for op in fitted.ops for target in op.targets}) == sum(
        len(op.targets) for op in fitted.ops
    )

    touched = {source for op in fitted.ops for source in op.sources} - {"other"}
    assert touched or n_rows < ROWS, "the step did nothing"
    own = [op for op in fitted.ops if "other" in op.sources]
    assert all(op.name in {"lookup", "date_part"} for op in own), "only what the rest of the recipe does"

    state, arrays = fitted.to_state()
    again = pipeline.FittedPipeline.from_state(json.loads(json.dumps(state, allow_nan=False)), arrays)
    whole = again.matrix(columns).values
    for position in range(ROWS):
        row = again.row({name: column.to_list()[position] for name, column in columns.items()})
        assert row.tobytes() == whole[position].tobytes()


@pytest.mark.parametrize("kind", AVAILABLE)
def test_two_fits_are_one(kind):
    step = STEP_MODELS[kind](type=kind)
    column_kind = SUITABLE[STEPS[kind].fits]
    _, first, _ = fit(step, column_kind, TARGETS["binary"])
    _, second, _ = fit(step, column_kind, TARGETS["binary"])
    assert first.values.tobytes() == second.values.tobytes()
