"""`python:`: a table from a function of the user's own, and what is said of one that makes none."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from mmp.data.files import read as read_file
from mmp.data.fingerprint import fingerprint
from mmp.data.sources import read
from mmp.errors import MissingColumnsError, SourceError, UnknownNameError

MODULE = """
import datetime
import pyarrow as pa

ROWS = {"id": [1, 2, None], "city": ["Köln", "", "東京"], "y": [0.5, float("nan"), 2.0]}
NUMBER = 3

def table():
    return pa.table(ROWS)

def reader():
    return pa.table(ROWS).to_reader(max_chunksize=2)

def frame():
    return pa.table(ROWS).to_pandas(types_mapper=None)

def indexed():
    return frame().set_index("city")

def filtered():
    return frame()[frame().y > 1]

def mixed():
    frame_ = frame()
    frame_["odd"] = [1, "x", datetime.date(2026, 1, 1)]
    return frame_

def twice():
    return pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])

def nothing():
    return table().slice(0, 0)

def records():
    return [{"id": 1}]

def needs(argument):
    return table()

class Refused(Exception):
    pass

def refused():
    raise Refused("postgresql://me:c4n4ry@db/shop is away")

def late():
    def batches():
        yield from table().to_batches()
        raise Refused("the cursor is gone")
    return pa.RecordBatchReader.from_batches(table().schema, batches())
"""


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    (tmp_path / "shop_tables.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("shop_tables", None)


@pytest.mark.parametrize("name", ["table", "reader"])
def test_arrow_is_the_same_table_as_its_file(tmp_path, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = read(f"python:shop_tables.{name}")
    assert table.source == f"python:shop_tables.{name}"
    assert [spec.kind for spec in table.specs] == ["integer", "text", "float"]
    assert table.arrow.column("city").to_pylist() == ["Köln", None, "東京"]
    assert table.arrow.column("y").to_pylist() == [0.5, None, 2.0]
    rows = {"id": [1, 2, None], "city": ["Köln", "", "東京"], "y": [0.5, float("nan"), 2.0]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    assert fingerprint(table) == fingerprint(read_file(str(tmp_path / "t.parquet")))


def test_a_pandas_index_is_a_column_where_it_has_a_name():
    frame = read("python:shop_tables.frame")
    assert frame.arrow.column("id").to_pylist() == [1.0, 2.0, None]
    assert set(read("python:shop_tables.indexed").names) == {"id", "city", "y"}
    filtered = read("python:shop_tables.filtered")
    assert filtered.names == ("id", "city", "y")
    assert filtered.n_rows == 1


def test_columns_are_chosen():
    assert read("python:shop_tables.reader", columns=["y", "id"]).names == ("y", "id")
    with pytest.raises(MissingColumnsError, match=r"'citi' \(did you mean 'city'\?\) is not in python:"):
        read("python:shop_tables.reader", columns=["citi"])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("records", "python:shop_tables.records returned list, which is no table"),
        ("NUMBER", "python:shop_tables.NUMBER is no function"),
        ("needs", r"python:shop_tables.needs failed: TypeError: needs\(\) missing 1 required"),
        ("refused", r"python:shop_tables.refused failed: Refused: postgresql://me:\*\*\*@db/shop is away"),
        ("late", "python:shop_tables.late failed: Refused: the cursor is gone"),
        ("mixed", "python:shop_tables.mixed failed: .* column odd"),
        ("twice", "more than one column of the same name: 'a' at positions 1, 2"),
        ("nothing", "python:shop_tables.nothing has no rows"),
    ],
)
def test_what_is_no_table_is_said_with_the_name_of_the_function(name, says):
    with pytest.raises(SourceError, match=says) as raised:
        read(f"python:shop_tables.{name}")
    assert "c4n4ry" not in str(raised.value)


def test_a_function_that_is_not_there():
    with pytest.raises(UnknownNameError, match="has no 'tabel'") as raised:
        read("python:shop_tables.tabel")
    assert "table" in raised.value.hint


def test_a_table_of_arrow_needs_no_pandas(tmp_path):
    code = """
        import sys
        from mmp.data.sources import read
        from mmp.data.buffers import wrap
        import numpy as np
        import pyarrow as pa
        sys.modules["lean"] = module = type(sys)("lean")
        module.f = lambda: pa.Table.from_arrays([wrap(np.arange(3), pa.int64())], ["a"])
        assert read("python:lean.f").n_rows == 3
        assert "pandas" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
