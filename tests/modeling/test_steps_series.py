"""Steps of ordered series against pandas, on sorted frames; and what they leave for one row alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.steps import CATEGORIES, same, step

from mmp.data.table import ColumnSpec
from mmp.errors import DataError, SettingsError
from mmp.modeling import pipeline
from mmp.modeling.columns import column_of
from mmp.modeling.target import Target
from mmp.modeling.training import Series

quick = settings(max_examples=20, deadline=None, derandomize=True)

BIG = 2**53
KEYS = {
    "none": {},
    "integer": {"user": ("integer", st.sampled_from([BIG, BIG + 1, -3, None]))},
    "text": {"user": ("text", st.sampled_from(["007", "7", "ü", None]))},
    "pair": {
        "user": ("text", st.sampled_from(["a", "b", None])),
        "shop": ("integer", st.sampled_from([1, 2, BIG + 1, None])),
    },
    "three": {
        "user": ("text", st.sampled_from(["a", "b"])),
        "shop": ("boolean", st.booleans()),
        "on": ("timestamp", st.sampled_from([0, 10**15, None])),
    },
}
SMALL = {
    "float": st.one_of(st.floats(-100, 100, allow_subnormal=False), st.none()),
    "integer": st.one_of(st.integers(-9, 9), st.just(BIG + 1), st.none()),
    "boolean": CATEGORIES["boolean"],
    "text": st.sampled_from(["x", "y", "", None]).map(lambda text: text or None),
    "timestamp": st.one_of(st.integers(0, 10**16), st.none()),
}


@st.composite
def tables(draw, keys, kinds=tuple(SMALL), *, ties=True):
    """Return a table as cells by column: unsorted, with ties in time, nulls and rows without a key."""
    n_rows = draw(st.integers(3, 25))
    times = st.lists(st.integers(0, 12 if ties else 10**6), min_size=n_rows, max_size=n_rows, unique=not ties)
    table = {"at": draw(times)}
    for name, (_, cells) in KEYS[keys].items():
        table[name] = draw(st.lists(cells, min_size=n_rows, max_size=n_rows))
    for kind in kinds:
        cells = draw(st.lists(SMALL[kind], min_size=n_rows, max_size=n_rows))
        assume(any(cell is not None for cell in cells))
        table[kind] = cells
    return table


def typed(table, keys):
    kinds = {"at": "integer", **{name: kind for name, (kind, _) in KEYS[keys].items()}}
    return {name: column_of(kinds.get(name, name), cells) for name, cells in table.items()}


def fit(steps, table, keys, *, native=True):
    kinds = [kind for kind in SMALL if kind in table]
    series = Series(
        tuple(ColumnSpec(name, kind) for name, (kind, _) in KEYS[keys].items()), ColumnSpec("at", "integer")
    )
    rest = [step("datetime_features", parts=("epoch_s",))] if "timestamp" in table else []
    return pipeline.fit(
        [*steps, *rest],
        typed(table, keys),
        [ColumnSpec(kind, kind) for kind in kinds],
        Target("regression", np.zeros(len(table["at"]))),
        seed=1,
        dtype="float64",
        native_categories=native,
        series=series,
    )


def frame(table, keys):
    """Return the rows that are of a series as pandas sorts them, the series beside."""
    made = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in table.items()})
    made = made.dropna(subset=list(KEYS[keys])).sort_values("at", kind="stable")
    series = (
        made[list(KEYS[keys])].apply(tuple, axis=1) if KEYS[keys] and len(made) else pd.Series(0, made.index)
    )
    return made, series


def twin(table, keys, name, fill):
    """Return a column filled by pandas, in the order of the table; rows without a key as they were."""
    rows, series = frame(table, keys)
    filled = list(table[name])
    for _, part in rows.groupby(series.to_numpy(), sort=False) if len(rows) else ():
        for place, cell in zip(part.index, fill(part), strict=True):
            filled[place] = cell
    return [None if pd.isna(cell) else cell for cell in filled]


def column(fitted, trained, kind):
    """Return a training column as cells."""
    position = fitted.names.index(kind if kind != "timestamp" else "timestamp.epoch_s")
    return trained.values[:, position]


def numbers(kind, cells):
    """Return cells as the matrix holds them: text by its position among what training has left."""
    known = sorted({cell for cell in cells if cell is not None})
    made = {"text": known.index, "timestamp": lambda cell: cell // 10**6}.get(kind, float)
    return np.array([np.nan if cell is None else made(cell) for cell in cells], np.float64)


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("way", ["forward_fill", "backward_fill"])
@quick
@given(data=st.data())
def test_filled_is_what_pandas_fills(way, keys, limit, data):
    table = data.draw(tables(keys))
    fitted, trained = fit([step(way, columns=tuple(SMALL), limit=limit)], table, keys)
    for kind in SMALL:

        def fill(part, kind=kind):
            """Let pandas fill where the cells are from, which has one type for all kinds of them."""
            places = part.index.to_series().astype(float).where(part[kind].notna())
            filled = places.ffill(limit=limit) if way == "forward_fill" else places.bfill(limit=limit)
            return [None if np.isnan(place) else table[kind][int(place)] for place in filled]

        expected = twin(table, keys, kind, fill)
        same(column(fitted, trained, kind), numbers(kind, expected))


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("method", ["linear", "nearest", "zero", "polynomial", "spline"])
@pytest.mark.parametrize("keys", ["none", "integer", "pair"])
@quick
@given(data=st.data())
def test_interpolated_is_what_pandas_interpolates(keys, method, limit, data):
    order = data.draw(st.sampled_from([1, 2, 3]))
    table = data.draw(tables(keys, ("float", "integer"), ties=False))
    fitted, trained = fit([step("interpolation", method=method, order=order, limit=limit)], table, keys)
    for kind in ("float", "integer"):

        def fill(part, kind=kind):
            cells = part[kind].astype(float).set_axis(part["at"].astype(float))
            if cells.count() < 2:
                return cells.ffill(limit=limit).to_numpy()
            if method in {"polynomial", "spline"}:
                degree = int(min(order, cells.count() - 1))
                known = cells.dropna().index
                start, width = known[0], known[-1] - known[0]
                scaled = cells.set_axis((cells.index - start) / width)
                smoothing = {"s": 0} if method == "spline" else {}
                made = scaled.interpolate(
                    method=method, order=degree, limit=limit, limit_area="inside", **smoothing
                )
            else:
                word = {"linear": "index"}.get(method, method)
                made = cells.interpolate(method=word, limit=limit, limit_area="inside")
            inside = cells.bfill().notna().to_numpy()
            return np.where(inside, made.to_numpy(), cells.ffill(limit=limit).to_numpy())

        expected = numbers("float", twin(table, keys, kind, fill))
        ours = column(fitted, trained, kind)
        np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("keys", KEYS)
@quick
@given(data=st.data())
def test_one_row_is_answered_as_among_many(keys, data):
    table, other = data.draw(tables(keys)), data.draw(tables(keys))
    limit = data.draw(st.sampled_from([None, 1, 2]))
    steps = [
        step("interpolation", columns=("float",), limit=limit),
        step("forward_fill", columns=tuple(SMALL), limit=limit),
        step("backward_fill"),
        step("one_hot_encoder", columns=("boolean",)),
    ]
    fitted, _ = fit(steps, table, keys)
    state, arrays = fitted.to_state()
    again = pipeline.FittedPipeline.from_state(json.loads(json.dumps(state, allow_nan=False)), arrays)
    assert (again.keys, again.origins) == (fitted.keys, fitted.origins)
    assert {name for of in again.origins for name in of} <= set(SMALL)
    for cells in (table, other):
        columns = typed(cells, keys)
        whole = fitted.matrix(columns).values
        assert again.matrix(columns).values.tobytes() == whole.tobytes()
        for position in range(len(whole)):
            row = again.row({name: column[position] for name, column in cells.items()})
            assert row.tobytes() == whole[position].tobytes()
            alone = {name: column.take(slice(position, position + 1)) for name, column in columns.items()}
            assert again.matrix(alone).values.tobytes() == whole[position].tobytes()


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("kind", ["forward_fill", "interpolation"])
@quick
@given(data=st.data())
def test_a_new_row_gets_what_its_series_ended_with(keys, kind, data):
    table = data.draw(tables(keys, ("float", "integer")))
    other = data.draw(tables(keys, ("float", "integer")))
    limit = data.draw(st.sampled_from([None, 1, 2]))
    fitted, _ = fit([step(kind, limit=limit)], table, keys)
    rows, series = frame(table, keys)
    for name in ("float", "integer"):
        # what pandas fills one more row with, a missing one that comes last
        ends = {}
        for key, part in rows.groupby(series.to_numpy(), sort=False) if len(rows) else ():
            more = pd.concat([part[name].astype(float), pd.Series([np.nan])])
            ends[key] = more.ffill(limit=limit).iloc[-1]
        expected = []
        for position, cell in enumerate(other[name]):
            key = tuple(other[of][position] for of in KEYS[keys]) if KEYS[keys] else 0
            expected.append(float(cell) if cell is not None else ends.get(key, np.nan))
        ours = fitted.matrix(typed(other, keys)).values[:, fitted.names.index(name)]
        assert ours.tolist() == pytest.approx(expected, rel=1e-15, nan_ok=True)


def test_rows_of_one_time_stay_in_the_order_of_the_table():
    table = {"at": [5, 1, 5, 5], "user": ["a"] * 4, "float": [1.0, 9.0, None, 2.0]}
    fitted, trained = fit([step("forward_fill")], table, "text")
    assert trained.values[:, 0].tolist() == [1, 9, 1, 2]
    asked = {"user": ["a", "b", None], "float": [None] * 3}
    answers = fitted.matrix(typed(asked, "text")).values[:, 0]
    assert answers[0] == 2
    assert np.isnan(answers[1:]).all()


def test_a_key_is_no_feature_and_gives_no_other_its_name():
    table = {"at": [1, 2, 3], "user": ["a", "a", "b"], "float": [1.0, None, 2.0]}
    fitted, trained = fit([step("forward_fill"), step("standard_scaler")], table, "text")
    assert fitted.names == trained.names == ("float",)
    assert [spec.name for spec in fitted.inputs] == ["float"]
    assert [spec.name for spec in fitted.keys] == ["user"]
    assert fitted.origins == (("float",),)


def test_keys_are_asked_for_only_where_they_are_read():
    table = {"at": [1, 2, 3], "user": ["a", "a", "b"], "float": [1.0, None, 2.0], "integer": [1, 2, None]}
    steps = [
        step("drop_missing", columns=("float",)),
        step("forward_fill", columns=("float",)),
        step("drop_missing", columns=("float",), axis="columns", threshold=0.0),
    ]
    fitted, trained = fit(steps, table, "text")
    assert fitted.names == ("float", "integer")
    assert trained.rows.tolist() == [0, 2]
    filled, _ = fit([step("backward_fill")], table, "text")
    assert filled.keys == ()
    whole, _ = fit([step("forward_fill")], {name: table[name] for name in ("at", "float")}, "none")
    assert [op.name for op in whole.ops] == ["fill"]


def test_left_out_rows_are_no_neighbours():
    table = {"at": [1, 2, 3], "user": ["a"] * 3, "float": [1.0, None, 2.0], "integer": [7, 8, None]}
    steps = [step("drop_missing", columns=("float",)), step("forward_fill", columns=("integer",))]
    fitted, trained = fit(steps, table, "text")
    assert trained.values[:, 1].tolist() == [7, 7]
    assert fitted.row({"user": "a", "float": 1.0, "integer": None})[0].tolist() == [1, 7]


def test_backward_fill_says_what_it_cannot_do():
    table = {"at": [1, 2, 3], "float": [None, 1.0, 2.0], "integer": [1, 2, 3]}
    _, trained = fit([step("backward_fill")], table, "none")
    assert trained.values[:, 0].tolist() == [1, 1, 2]
    (finding,) = trained.findings
    assert (finding.check, finding.level, finding.column) == ("backward_fill", "warn", "float")


@pytest.mark.parametrize("kind", ["forward_fill", "backward_fill", "interpolation"])
def test_without_an_order_they_are_refused(kind):
    with pytest.raises(SettingsError, match="ordered series") as refused:
        pipeline.fit(
            [step(kind)],
            {"float": column_of("float", [1.0, None])},
            [ColumnSpec("float", "float")],
            Target("regression", np.zeros(2)),
            seed=1,
            dtype="float64",
            native_categories=False,
        )
    assert "timestamp_column" in refused.value.hint
    assert "strategy: temporal" in refused.value.hint


def test_what_cannot_be_ordered_or_interpolated_is_refused():
    with pytest.raises(DataError, match="missing in 1 training rows"):
        fit([step("forward_fill")], {"at": [1, None], "float": [1.0, None]}, "none")
    table = {"at": [1, 2], "float": [1.0, None], "text": ["a", None]}
    with pytest.raises(DataError, match="interpolation cannot take the text column 'text'"):
        fit([step("interpolation", columns=("text",))], table, "none")


@pytest.mark.parametrize("method", ["linear", "nearest", "zero", "polynomial", "spline"])
def test_between_two_values_of_one_time_is_one_of_them(method):
    table = {"at": [5, 5, 5], "float": [1.0, None, 2.0]}
    _, trained = fit([step("interpolation", method=method)], table, "none")
    assert trained.values[1, 0] in {1, 2}


def test_rows_without_a_key_are_left_as_they_are():
    table = {"at": [1, 2, 3], "user": [None] * 3, "float": [1.0, None, 2.0], "text": ["a", None, "b"]}
    fitted, trained = fit([step("forward_fill")], table, "text")
    same(trained.values, [[1, 0], [np.nan, np.nan], [2, 1]])
    assert np.isnan(fitted.row({"user": "a", "float": None, "text": None})).all()
