"""A table that mmp read, seen as columns."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.data.table import ColumnSpec, Table
from mmp.modeling.columns import as_float, coerce, column_of, from_table, take

quick = settings(max_examples=60, deadline=None, derandomize=True)

TYPED = {
    "integer": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "float": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    "boolean": st.one_of(st.none(), st.booleans()),
    "timestamp": st.one_of(st.none(), st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))),
    "text": st.one_of(st.none(), st.sampled_from(["a", "12", " ", "ü"])),
}


def normalised(cells, specs):
    types = {
        "integer": pa.int64(),
        "float": pa.float64(),
        "boolean": pa.bool_(),
        "text": pa.dictionary(pa.int32(), pa.string()),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    arrays = [pa.array(cells[spec.name], types[spec.kind]) for spec in specs]
    return Table(pa.Table.from_arrays(arrays, [spec.name for spec in specs]), tuple(specs))


@quick
@given(data=st.data())
def test_a_table_read_by_mmp_is_viewed_as_its_cells_are(data):
    specs = [ColumnSpec(kind, kind) for kind in TYPED]
    rows = data.draw(st.integers(0, 9))
    cells = {kind: data.draw(st.lists(TYPED[kind], min_size=rows, max_size=rows)) for kind in TYPED}
    viewed = from_table(normalised(cells, specs), specs)
    coerced = coerce(specs, normalised(cells, specs).arrow)
    for spec in specs:
        assert viewed[spec.name].to_list() == coerced[spec.name].to_list()
        assert viewed[spec.name].values.dtype == coerced[spec.name].values.dtype
    picked = take(viewed, np.arange(rows)[::-1])
    assert picked["text"].to_list() == viewed["text"].to_list()[::-1]


def test_viewing_copies_no_numbers():
    table = normalised({"x": [1.0, 2.0]}, [ColumnSpec("x", "float")])
    address = table.arrow.column("x").chunk(0).buffers()[1].address
    assert from_table(table, table.specs)["x"].values.ctypes.data == address


def test_numbers_as_floats():
    assert as_float(column_of("boolean", [True, None, False])).tolist()[::2] == [1.0, 0.0]
    assert np.isnan(as_float(column_of("integer", [1, None]))[1])
    with pytest.raises(TypeError):
        as_float(column_of("text", ["a"]))
