"""One coercion: a table read by mmp, by pandas, as records and cell by cell is the same table."""

from __future__ import annotations

import datetime as dt
import io
import math
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.data import files
from mmp.data.table import ColumnSpec, Table
from mmp.data.words import typed
from mmp.errors import DataError, MissingColumnsError
from mmp.modeling.columns import coerce, coerce_value, from_table

quick = settings(max_examples=60, deadline=None, derandomize=True)

MOMENT = dt.datetime(2024, 2, 29, 12, 30, 0, 250)
MICROSECONDS = int((MOMENT - dt.datetime(1970, 1, 1)) / dt.timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", 3, 3),
        ("integer", 3.0, 3),
        ("integer", "3", 3),
        ("integer", " -3 ", -3),
        ("integer", "3.0", 3),
        ("integer", np.int8(3), 3),
        ("integer", np.float32(3), 3),
        ("integer", Decimal("3.00"), 3),
        ("integer", math.nan, None),
        ("integer", " ", None),
        ("integer", pd.NA, None),
        ("integer", 2**63 - 1, 2**63 - 1),
        ("float", 3, 3.0),
        ("float", "1e-3", 0.001),
        ("float", np.float64("nan"), None),
        ("float", Decimal("0.5"), 0.5),
        ("float", Decimal("NaN"), None),
        ("float", "", None),
        ("boolean", True, True),
        ("boolean", np.False_, False),
        ("boolean", 1, True),
        ("boolean", 0.0, False),
        ("boolean", "true", True),
        ("boolean", "FALSE", False),
        ("boolean", " tRuE", True),
        ("boolean", "", None),
        ("text", "a", "a"),
        ("text", "", None),
        ("text", " ", " "),
        ("text", 7, "7"),
        ("text", 7.0, "7"),
        ("text", np.str_("a"), "a"),
        ("text", None, None),
        ("timestamp", MOMENT, MICROSECONDS),
        ("timestamp", MOMENT.replace(tzinfo=dt.UTC), MICROSECONDS),
        (
            "timestamp",
            MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(hours=9))),
            MICROSECONDS - 9 * 3600 * 10**6,
        ),
        ("timestamp", MOMENT.isoformat(), MICROSECONDS),
        ("timestamp", "2024-02-29 12:30:00.000250Z", MICROSECONDS),
        ("timestamp", "1970-01-02", 86_400_000_000),
        ("timestamp", "1970-01-02 00:00:00 UTC", 86_400_000_000),
        ("timestamp", "1970-01-02T00z", 86_400_000_000),
        ("timestamp", "1970-01-02 09:00 +0900", 86_400_000_000),
        ("timestamp", dt.date(1970, 1, 2), 86_400_000_000),
        ("timestamp", pd.Timestamp(MOMENT), MICROSECONDS),
        ("timestamp", np.datetime64(MOMENT, "ns"), MICROSECONDS),
        ("timestamp", pd.NaT, None),
        ("timestamp", np.datetime64("NaT", "us"), None),
    ],
)
def test_a_cell_is_read(kind, value, expected):
    spec = ColumnSpec("x", kind)
    read = coerce_value(spec, value)
    assert (read, type(read)) == (expected, type(expected))
    assert coerce([spec], [{"x": value}])["x"].to_list() == [expected]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("integer", True, "is not an integer"),
        ("integer", 30.9, "is not an integer"),
        ("integer", "30.9", "is not an integer"),
        ("integer", "１２", "is not an integer"),
        ("integer", "1_000", "is not an integer"),
        ("integer", math.inf, "is not an integer"),
        ("integer", 2**63, "does not fit into 64 bits"),
        ("integer", "9" * 20, "does not fit into 64 bits"),
        ("integer", "9" * 5000, "is not an integer"),
        ("float", "9" * 100_000 + "x", "is not a number"),
        ("float", True, "is not a number"),
        ("float", "abc", "is not a number"),
        ("float", "nan", "is not a number"),
        ("float", math.inf, "is not finite"),
        ("float", "1e999", "is not finite"),
        ("float", 10**400, "is not finite"),
        ("float", [1.0], "is not a number"),
        ("boolean", 2, "is not true or false"),
        ("boolean", "yes", "is not true or false"),
        ("boolean", 0.5, "is not true or false"),
        ("text", True, "is not text"),
        ("text", 1.5, "is not text"),
        ("text", b"a", "is not text"),
        ("text", 1e17, "has lost digits on its way through a float"),
        ("timestamp", 1_700_000_000, "is not a timestamp"),
        ("timestamp", "today", "is not a timestamp"),
        ("timestamp", 1.5, "is not a timestamp"),
    ],
)
def test_a_cell_is_refused(kind, value, reason):
    with pytest.raises(DataError, match=f"Column 'x' holds .*, which {reason}"):
        coerce_value(ColumnSpec("x", kind), value)
    with pytest.raises(DataError, match=f"Column 'x', row 0: .* {reason}"):
        coerce([ColumnSpec("x", kind)], [{"x": value}])


def test_zeros_come_back():
    spec = ColumnSpec("zip", "text", digits=5)
    assert [coerce_value(spec, value) for value in (123, 123.0, "00123", 12345)] == [
        "00123",
        "00123",
        "00123",
        "12345",
    ]


def test_a_column_has_its_own_time_format():
    spec = ColumnSpec("w", "timestamp", time_format="%d.%m.%Y %H:%M")
    assert coerce_value(spec, "29.02.2024 12:30") == coerce_value(spec, "2024-02-29T12:30")


def test_all_bad_cells_are_told_at_once():
    specs = [ColumnSpec("age", "integer"), ColumnSpec("on", "boolean"), ColumnSpec("ok", "float")]
    table = pa.table(
        {"age": ["1", "x", "x", "y" * 99], "on": [0, 1, 2, None], "ok": [1, 2, 3, 4], "more": [0] * 4}
    )
    with pytest.raises(DataError) as caught:
        coerce(specs, table, where="new.csv")
    message = str(caught.value)
    assert "Column 'age', row 1: 'x' is not an integer, row 3: 'yyyy" in message
    assert "(3 cells in all)" in message
    assert "Column 'on', row 2: 2 is not true or false." in message
    assert "ok" not in message
    assert len(message) < 300
    assert caught.value.where == "new.csv"


@pytest.mark.parametrize("source", ["table", "records"])
def test_all_missing_columns_are_told_with_the_nearest_names(source):
    table = pa.table({"Age": [1], "income": [2.0]})
    specs = [ColumnSpec("age", "integer"), ColumnSpec("incme", "float"), ColumnSpec("income", "float")]
    with pytest.raises(MissingColumnsError, match="Columns 'age', 'incme' are missing") as caught:
        coerce(specs, table if source == "table" else table.to_pylist())
    assert "did you mean 'Age'" in caught.value.hint
    assert "did you mean 'income'" in caught.value.hint


def test_a_column_that_one_record_lacks_is_missing():
    with pytest.raises(MissingColumnsError, match="Column 'b' is missing"):
        coerce([ColumnSpec("a", "integer"), ColumnSpec("b", "integer")], [{"a": 1, "b": 1}, {"a": 1}])


TYPED = {
    "integer": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
    "float": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "boolean": st.one_of(st.none(), st.booleans()),
    "timestamp": st.one_of(st.none(), st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))),
    "text": st.one_of(st.none(), st.sampled_from(["a", "", "12", " ", "ü"])),
}
ARROW_TYPES = {
    "integer": [pa.int64(), pa.float64(), pa.string(), pa.decimal128(38, 0)],
    "float": [pa.float64(), pa.float32()],
    "boolean": [pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.dictionary(pa.int8(), pa.string())],
    "timestamp": [
        pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "Asia/Seoul"), pa.date32(), pa.date64(), pa.string(),
    ],
    "text": [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "type_"), [(kind, type_) for kind, types in ARROW_TYPES.items() for type_ in types]
)
@quick
@given(data=st.data())
def test_an_arrow_column_is_read_as_its_cells_are(kind, type_, data):
    cells = data.draw(st.lists(TYPED[kind], max_size=12))
    if kind == "boolean" and type_ != pa.bool_():
        as_text = pa.types.is_dictionary(type_)
        cells = [None if c is None else str(c) if as_text else int(c) for c in cells]
    if kind == "integer" and type_ == pa.string():
        cells = [None if c is None else str(c) for c in cells]
    if kind == "integer" and type_ == pa.float64():
        cells = [None if c is None else float(c) for c in cells]
    if kind == "timestamp" and type_ == pa.string():
        cells = [None if c is None else c.isoformat(" ") for c in cells]
    if type_ in (pa.date32(), pa.date64()):
        cells = [None if c is None else c.date() for c in cells]
    array = pa.chunked_array([pa.array(cells[:5], type_), pa.array(cells[5:], type_)])
    spec = ColumnSpec("x", kind)
    column = coerce([spec], pa.Table.from_arrays([array], ["x"]))["x"]
    expected = [coerce_value(spec, cell) for cell in cells]
    if kind == "timestamp" and str(type_).endswith("tz=Asia/Seoul]"):
        expected = [coerce_value(spec, cell) for cell in array.cast(pa.timestamp("us")).to_pylist()]
    assert column.to_list() == expected
    assert column.valid is None or not column.valid.all()
    sliced = coerce([spec], pa.Table.from_arrays([array], ["x"]).slice(1, 7))["x"]
    assert sliced.to_list() == expected[1:8]


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("integer", pa.array([1.5])),
        ("integer", pa.array([1e300])),
        ("integer", pa.array([2**64 - 1], pa.uint64())),
        ("integer", pa.array([True])),
        ("integer", pa.array([0], pa.timestamp("us"))),
        ("float", pa.array([math.inf])),
        ("float", pa.array([True])),
        ("boolean", pa.array([2])),
        ("text", pa.array([1.5])),
        ("text", pa.array([True])),
        ("text", pa.array([0], pa.timestamp("us"))),
        ("timestamp", pa.array([0])),
        ("timestamp", pa.array([2**62]).cast(pa.timestamp("s"))),
        ("timestamp", pa.array([[1]])),
    ],
)
def test_an_arrow_column_that_does_not_fit_is_refused(kind, array):
    with pytest.raises(DataError, match="Column 'x', row 0"):
        coerce([ColumnSpec("x", kind)], pa.Table.from_arrays([array], ["x"]))


@st.composite
def csv_tables(draw):
    rows = draw(st.integers(1, 12))

    def some(cells):
        return draw(st.lists(st.one_of(cells, st.just("")), min_size=rows, max_size=rows))

    return {
        "zip": some(st.integers(0, 99999).map(lambda n: f"{n:05d}")),
        "n": some(st.integers(-1000, 1000).map(str)),
        "x": some(st.integers(-10000, 10000).map(lambda n: str(n / 8))),  # pandas' parser may miss a last bit
        "on": some(st.sampled_from(["True", "False"])),
        "t": some(st.sampled_from(["red", "green", " ", "é"])),
        "w": some(
            st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1)).map(lambda d: d.isoformat(" "))
        ),
    }


CSV_SPECS = [
    ColumnSpec("zip", "text", digits=5),
    ColumnSpec("n", "integer"),
    ColumnSpec("x", "float"),
    ColumnSpec("on", "boolean"),
    ColumnSpec("t", "text"),
    ColumnSpec("w", "timestamp"),
]


@quick
@given(cells=csv_tables())
def test_what_pandas_reads_is_what_was_trained_on(cells):
    frame = pd.DataFrame(cells)
    text = frame.to_csv(index=False)
    by_pandas = pd.read_csv(io.StringIO(text))
    expected = {spec.name: [coerce_value(spec, cell) for cell in cells[spec.name]] for spec in CSV_SPECS}
    sources = {
        "records": by_pandas.to_dict("records"),
        "arrow": pa.Table.from_pandas(by_pandas, preserve_index=False),
        "text": frame.to_dict("records"),
    }
    for name, source in sources.items():
        read = coerce(CSV_SPECS, source)
        assert {key: column.to_list() for key, column in read.items()} == expected, name


@quick
@given(cells=csv_tables())
def test_what_mmp_reads_is_what_pandas_reads(cells):
    text = pd.DataFrame(cells).to_csv(index=False)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "table.csv").write_text(text, "utf-8")
        table = files.read("table.csv", base_path=folder)
    ours = {name: column.to_list() for name, column in from_table(table, table.specs).items()}
    by_pandas = pd.read_csv(io.StringIO(text))
    for source in (by_pandas.to_dict("records"), pa.Table.from_pandas(by_pandas, preserve_index=False)):
        assert {name: column.to_list() for name, column in coerce(table.specs, source).items()} == ours


WORDS = {
    "number": r"[+-]?([0-9]{1,18}|[0-9]{1,9}\.[0-9]{0,9}|\.[0-9]{1,9})([eE][+-]?[0-9]{1,2})?",
    "boolean": r"(?i:true|false)",
    "time": r"(19[0-9]{2}|2024)-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    r"([ T]([01][0-9]|2[0-3])(:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?)?( ?(Z|z|UTC|[+-]0[0-9](:?[0-5][0-9])?))?)?",
    "date": r"(0?[1-9]|1[0-2])/(1[3-9]|2[0-8])/2024",
}


@pytest.mark.parametrize("pattern", WORDS.values(), ids=WORDS)
@quick
@given(data=st.data())
def test_what_the_reader_takes_for_a_value_is_coerced_to_it(pattern, data):
    cells = data.draw(st.lists(st.from_regex(pattern, fullmatch=True), min_size=1, max_size=4))
    column = typed("x", pa.chunked_array([[f" {cell}" for cell in cells]]))
    table = Table.of([column], "")
    read = from_table(table, table.specs)["x"]
    if column.spec.kind != "text":
        assert [coerce_value(column.spec, cell) for cell in cells] == read.to_list()


NO_PANDAS = """
import io, sys
import pyarrow as pa
from pyarrow import csv
from types import SimpleNamespace as Step
from mmp.data.table import ColumnSpec, Table
from mmp.modeling import columns, pipeline
from mmp.modeling.target import Target
import numpy as np

text = "i,f,b,t,w\\n" + "1,1.5,true,a,2024-01-01 00:00:01\\n,,,,\\n" * 5
kinds = {"i": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "t": pa.dictionary(pa.int32(), pa.string()),
         "w": pa.timestamp("us", "UTC")}
options = csv.ConvertOptions(column_types=kinds, strings_can_be_null=True)
arrow = csv.read_csv(io.BytesIO(text.replace("01\\n", "01Z\\n").encode()), convert_options=options).combine_chunks()
strings = csv.read_csv(io.BytesIO(text.encode()),
                       convert_options=csv.ConvertOptions(column_types=dict.fromkeys(kinds, pa.string())))
specs = [ColumnSpec("i", "integer"), ColumnSpec("f", "float"), ColumnSpec("b", "boolean"),
         ColumnSpec("t", "text"), ColumnSpec("w", "timestamp")]
table = Table(arrow, tuple(specs))
target = Target("classification", np.array([0, 1] * 5, np.int32), (0, 1))
steps = [Step(type="datetime_features", columns=None, parts=None, cyclic=True),
         Step(type="simple_imputer", columns=None, strategy="median", fill_value=None, create_missing_indicators=True),
         Step(type="target_encoder", columns=None, smooth="auto", cv=2),
         Step(type="standard_scaler", columns=None, with_mean=True, with_std=True)]
fitted, _ = pipeline.fit(steps, columns.from_table(table, specs), specs, target, seed=1, dtype="float32",
                         native_categories=False)
fitted.matrix(columns.coerce(specs, table.arrow))
fitted.matrix(columns.coerce(specs, strings))
fitted.row({spec.name: None for spec in specs})
heavy = {"pandas", "sklearn", "scipy", "mlflow", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""


def test_neither_pandas_nor_sklearn_is_imported():
    subprocess.run([sys.executable, "-c", NO_PANDAS], check=True)
