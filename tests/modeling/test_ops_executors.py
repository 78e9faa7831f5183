"""A generated pipeline gives a table and each of its rows alone the same numbers, to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.data.table import ColumnSpec
from mmp.errors import ArtifactError, DataError
from mmp.modeling import ops, pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target
from mmp.settings.steps import STEP_MODELS

quick = settings(max_examples=80, deadline=None, derandomize=True)

CELLS = {
    "integer": st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1)),
    "float": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-3, 3).map(float)),
    "boolean": st.booleans(),
    "text": st.sampled_from(["", "a", "b", "ü", "🙂", "12", "a=b", "missing"]).map(lambda text: text or None),
    "timestamp": st.one_of(
        st.integers(-(10**17), 10**17), st.integers(1_700_000_000_000_000, 1_701_000_000_000_000)
    ),
}
NAMES = {
    "integer": ["i", "j"],
    "float": ["f", "g x"],
    "boolean": ["b"],
    "text": ["t", "u[1]"],
    "timestamp": ["w"],
}
SPECS = [ColumnSpec(name, kind) for kind, names in NAMES.items() for name in names]


def step(kind, **parameters):
    return STEP_MODELS[kind](type=kind, **parameters)


STEPS = st.sampled_from(
    [
        step("simple_imputer", strategy="median", create_missing_indicators=True),
        step("simple_imputer", strategy="mean", columns="numeric"),
        step("simple_imputer", strategy="most_frequent"),
        step("constant_fill", fill_value=-1.5, columns="numeric"),
        step("constant_fill", fill_value="a", columns="categorical"),
        step("constant_fill"),
        step("one_hot_encoder", columns=("j", "b")),
        step("ordinal_encoder", columns=("i", "f")),
        step("target_encoder", columns=("i",)),
        step("standard_scaler"),
        step("standard_scaler", columns="[fgij]*"),
        step("min_max_scaler", clip=True),
        step("min_max_scaler", feature_range=(-1.0, 3.0)),
        step("robust_scaler"),
        step("kbins_discretizer", columns=("i", "f"), n_bins=3),
        step("kbins_discretizer", columns=("f", "b"), encode="onehot", strategy="uniform"),
        step("polynomial_features", columns=("i", "f", "b"), degree=3, include_bias=True),
        step("catboost_encoder", columns=("i", "b")),
    ]
)
LAST = [
    step("target_encoder", columns="t*"), step("one_hot_encoder"), step("ordinal_encoder"),
    step("catboost_encoder", columns="t*"),
]  # fmt: skip
DATES = [
    step("datetime_features"),
    step("datetime_features", parts=tuple(ops.PARTS)),
    step("datetime_features", parts=tuple(ops.PARTS), cyclic=True),
]


@st.composite
def tables(draw, most=12):
    rows = draw(st.integers(5, most))
    return {
        spec.name: draw(st.lists(st.one_of(CELLS[spec.kind], st.none()), min_size=rows, max_size=rows))
        for spec in SPECS
    }


def columns(cells):
    return {spec.name: column_of(spec.kind, cells[spec.name]) for spec in SPECS if spec.name in cells}


@st.composite
def pipelines(draw):
    """Return a fitted pipeline, its training cells, and other cells."""
    train = draw(tables())
    rows = len(train["i"])
    target = Target("classification", np.arange(rows, dtype=np.int32) % 3, ("x", "y", "z"))
    native = draw(st.booleans())
    steps = [draw(st.sampled_from(DATES)), *draw(st.lists(STEPS, max_size=4, unique_by=lambda s: s.type))]
    if not native:
        steps.append(draw(st.sampled_from(LAST)))
        steps.append(LAST[1])
    dtype = draw(st.sampled_from(["float32", "float64"]))
    try:
        with np.errstate(all="ignore"):
            fitted, _ = pipeline.fit(
                steps, columns(train), SPECS, target, seed=1, dtype=dtype, native_categories=native
            )
    except DataError:  # training has no value of a column that a step names
        fitted, _ = pipeline.fit(
            [DATES[0], LAST[1]], columns(train), SPECS, target, seed=1, dtype=dtype, native_categories=native
        )
    return fitted, train, draw(tables())


def bits(values):
    return np.ascontiguousarray(values).view(np.uint32 if values.dtype == np.float32 else np.uint64)


@quick
@given(made=pipelines())
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_columns_and_rows_agree_to_the_bit(made):
    fitted, train, other = made
    for cells in (train, other):
        matrix = fitted.matrix(columns(cells)).values
        assert matrix.flags.c_contiguous
        assert not np.isinf(matrix).any()
        for position in range(len(matrix)):
            row = fitted.row({name: column[position] for name, column in cells.items()})
            assert row.shape == (1, matrix.shape[1])
            assert row.dtype == matrix.dtype
            assert np.array_equal(bits(row), bits(matrix[position : position + 1])), (fitted.names, row)


@quick
@given(made=pipelines())
def test_state_gives_the_same_pipeline_back(made):
    fitted, _, other = made
    state, arrays = fitted.to_state()
    again = pipeline.FittedPipeline.from_state(json.loads(json.dumps(state, allow_nan=False)), arrays)
    assert (again.names, again.inputs, again.categorical) == (fitted.names, fitted.inputs, fitted.categorical)
    assert all(array.dtype != object for array in arrays.values())
    ours, theirs = fitted.matrix(columns(other)).values, again.matrix(columns(other)).values
    assert np.array_equal(bits(ours), bits(theirs))


@quick
@given(made=pipelines(), order=st.permutations([spec.name for spec in SPECS]))
def test_neither_order_nor_company_matters(made, order):
    fitted, _, other = made
    whole = fitted.matrix(columns(other)).values
    shuffled = {name: columns(other)[name] for name in order}
    assert np.array_equal(bits(fitted.matrix(shuffled).values), bits(whole))
    first = {name: column.take(slice(0, 1)) for name, column in columns(other).items()}
    assert np.array_equal(bits(fitted.matrix(first).values), bits(whole[:1]))


def test_a_row_is_the_same_in_every_block():
    cells = [f"city {number % 700}" if number % 5 else None for number in range(40_000)]
    values = {
        "t": column_of("text", cells),
        "f": column_of("float", [number / 3 for number in range(40_000)]),
    }
    specs = [ColumnSpec("t", "text"), ColumnSpec("f", "float")]
    target = Target("classification", np.arange(40_000, dtype=np.int32) % 2, (0, 1))
    steps = [step("target_encoder"), step("standard_scaler")]
    fitted, _ = pipeline.fit(steps, values, specs, target, seed=1, dtype="float32", native_categories=False)
    matrix = fitted.matrix(values).values
    for position in (0, 16_383, 16_384, 39_999):
        row = fitted.row({"t": cells[position], "f": position / 3})
        assert np.array_equal(bits(row), bits(matrix[position : position + 1]))


def test_beyond_float32_is_its_largest_number():
    fitted, trained = pipeline.fit(
        [],
        {"f": column_of("float", [1e300, -1e300, None])},
        [ColumnSpec("f", "float")],
        Target("regression", np.zeros(3)),
        seed=1,
        dtype="float32",
        native_categories=False,
    )
    largest = np.finfo(np.float32).max
    assert trained.values[:2, 0].tolist() == [largest, -largest]
    assert fitted.row({"f": 1e300})[0, 0] == largest


def test_an_unknown_op_is_refused():
    with pytest.raises(ArtifactError, match="'eval'"):
        ops.from_state({"op": "eval", "source": "x", "targets": ["y"]}, {})


@pytest.mark.parametrize("part", list(ops.PARTS))
def test_parts_are_those_of_the_calendar(part):
    import datetime as dt

    generator = np.random.default_rng(5)
    days = [
        dt.datetime(1, 1, 1),
        dt.datetime(2000, 2, 29, 23, 59, 59),
        dt.datetime(1900, 3, 1),
        dt.datetime(9999, 12, 31),
    ]
    days += [
        dt.datetime(1970, 1, 1) + dt.timedelta(seconds=int(s))
        for s in generator.integers(-(10**10), 10**10, 300)
    ]
    expected = {
        "year": lambda d: d.year,
        "quarter": lambda d: (d.month + 2) // 3,
        "month": lambda d: d.month,
        "day": lambda d: d.day,
        "day_of_week": lambda d: d.weekday(),
        "day_of_year": lambda d: d.timetuple().tm_yday,
        "hour": lambda d: d.hour,
        "minute": lambda d: d.minute,
        "second": lambda d: d.second,
        "is_weekend": lambda d: int(d.weekday() >= 5),
        "epoch_s": lambda d: int((d - dt.datetime(1970, 1, 1)).total_seconds()),
    }[part]
    moments = np.array([(day - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) for day in days])
    assert ops.date_part(part, moments).tolist() == [expected(day) for day in days]
    first, period = ops.PARTS[part].first, ops.PARTS[part].period
    assert not period or set(ops.date_part(part, moments)) <= set(range(first, first + period))
