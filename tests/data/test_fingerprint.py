"""A fingerprint follows the values, and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.data.arrow import normalise
from mmp.data.files import read, take
from mmp.data.fingerprint import fingerprint
from mmp.data.table import Table

COLUMNS = {
    "n": pa.array([3, None, 1, 2]),
    "f": pa.array([0.5, 1.5, None, -2.0]),
    "b": pa.array([True, None, False, True]),
    "x": pa.array(["u", "v", None, "u"]),
    "t": pa.array([1, 2, None, 4], pa.timestamp("us", "UTC")),
}


def table(columns: dict[str, pa.Array]) -> Table:
    return Table.of([normalise(name, pa.chunked_array([array])) for name, array in columns.items()])


def test_same_from_any_file(tmp_path):
    arrow = pa.table(COLUMNS)
    pacsv.write_csv(arrow, tmp_path / "t.csv")
    pq.write_table(arrow, tmp_path / "t.parquet", row_group_size=2)
    found = {fingerprint(read(str(tmp_path / name))) for name in ("t.csv", "t.parquet")}
    assert len(found) == 1
    (one,) = found
    assert (one.n_rows, one.n_columns, len(one.digest)) == (4, 5, 64)
    assert one.schema == (
        ("n", "integer"),
        ("f", "float"),
        ("b", "boolean"),
        ("x", "text"),
        ("t", "timestamp"),
    )


def test_same_whatever_stands_in_the_buffers():
    words = pa.array(["unused", "v", "u"])
    other = pa.DictionaryArray.from_arrays(pa.array([2, 1, None, 2], pa.int32()), words)
    sliced = {name: pa.concat_arrays([array, array]).slice(4) for name, array in COLUMNS.items()}
    expected = fingerprint(table(COLUMNS))
    assert fingerprint(table({**COLUMNS, "x": other})) == expected
    assert fingerprint(table(sliced)) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {**COLUMNS, "n": pa.array([3, 0, 1, 2])},
        {**COLUMNS, "n": pa.array([3, None, 2, 1])},
        {**COLUMNS, "x": pa.array(["v", "u", None, "v"])},
        {**COLUMNS, "x": pa.array(["u", "v", "w", "u"])},
        {**COLUMNS, "n": COLUMNS["n"].cast(pa.float64())},
        {("m" if name == "n" else name): array for name, array in COLUMNS.items()},
        dict(reversed(COLUMNS.items())),
        {name: array.slice(0, 3) for name, array in COLUMNS.items()},
        {name: array for name, array in COLUMNS.items() if name != "t"},
    ],
)
def test_a_change_shows(changed):
    assert fingerprint(table(changed)).digest != fingerprint(table(COLUMNS)).digest


@given(words=st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=12), data=st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_rows_taken_and_put_back(words, data):
    import numpy as np

    whole = table({"x": pa.array(words, pa.string()), "n": pa.array(range(len(words)))})
    order = np.array(data.draw(st.permutations(range(len(words)))), np.int64)
    shuffled = take(whole, order)
    assert fingerprint(take(shuffled, np.argsort(order))) == fingerprint(whole)
    assert (fingerprint(shuffled) == fingerprint(whole)) == (order == np.arange(len(words))).all()
