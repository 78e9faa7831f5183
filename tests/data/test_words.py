"""What a column of words is: by all of them, and as pandas has it where pandas has it right."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.data import files
from mmp.data.words import MISSING, digits


def read(folder: Path, *words: str) -> files.Table:
    """Return the table of one column `x` beside a column that keeps blank lines apart."""
    path = folder / "t.csv"
    path.write_text("k,x\n" + "".join(f"1,{word}\n" for word in words), encoding="utf-8", newline="")
    return files.read(str(path), columns=["x"])


def listed(table: files.Table, name: str = "x") -> list[object]:
    column = table.arrow.column(name)
    return column.cast(pa.int64()).to_pylist() if pa.types.is_timestamp(column.type) else column.to_pylist()


def microseconds(text: str) -> int:
    return pd.Timestamp(text).value // 1000


@pytest.mark.parametrize(
    ("words", "kind", "values"),
    [
        (["1", "NA", "3"], "integer", [1, None, 3]),
        (["9223372036854775807", "-9223372036854775808"], "integer", [2**63 - 1, -(2**63)]),
        (["+5", "6"], "integer", [5, 6]),
        (["0", "-0", "10"], "integer", [0, 0, 10]),
        ([" 12 ", "\t5"], "integer", [12, 5]),
        (["0", "1"], "integer", [0, 1]),
        (["9007199254740993", ""], "integer", [9007199254740993, None]),
        (["1", "2.5"], "float", [1.0, 2.5]),
        (["1e3", ".5", "5.", "1.E+2"], "float", [1000.0, 0.5, 5.0, 100.0]),
        (["inf", "-Infinity", "+inf", "1"], "float", [math.inf, -math.inf, math.inf, 1.0]),
        (["NA", "null"], "float", [None, None]),
        (["12345678901234567890", "1.5"], "float", [12345678901234567890.0, 1.5]),
        (["True", "FALSE", "true", "NaN"], "boolean", [True, False, True, None]),
        (["yes", "no"], "text", ["yes", "no"]),
        (["True", "1"], "text", ["True", "1"]),
        (["NAN", "1"], "text", ["NAN", "1"]),
        (["0x1F", "2"], "text", ["0x1F", "2"]),
        (["1_000", "2"], "text", ["1_000", "2"]),
        (["٣", "2"], "text", ["٣", "2"]),
        (["-007", "2"], "text", ["-007", "2"]),
        (["00123", "1.5"], "text", ["00123", "1.5"]),
        (["  ", "a"], "text", ["  ", "a"]),
        (["10:00", "11:30"], "text", ["10:00", "11:30"]),
        (["2024-02-30"], "text", ["2024-02-30"]),
    ],
)
def test_kind_and_values(tmp_path, words, kind, values):
    table = read(tmp_path, *words)
    assert table.spec("x").kind == kind
    assert listed(table) == values
    assert table.spec("x").has_nulls == (None in values)


@pytest.mark.parametrize(
    ("words", "instants", "time_format"),
    [
        (["2024-01-05", "2024-01-06"], ["2024-01-05", "2024-01-06"], None),
        (["2024-01-05T10:00:00Z", "2024-01-05 10:00"], ["2024-01-05 10:00"] * 2, None),
        (
            ["2024-01-05 10:00:00+09:00", "2024-01-05 01:00:00.5"],
            ["2024-01-05 01:00", "2024-01-05 01:00:00.5"],
            None,
        ),
        (["2024-01-05 10:00:00 UTC"], ["2024-01-05 10:00"], None),
        (["2024-01-05 10:00:00 +0100"], ["2024-01-05 09:00"], None),
        (["2024/01/05", "2024/1/6"], ["2024-01-05", "2024-01-06"], "%Y/%m/%d"),
        (["5.1.2024 9:05", "31.12.2023 10:15"], ["2024-01-05 09:05", "2023-12-31 10:15"], "%d.%m.%Y %H:%M"),
        (["1/2/2024", "13/2/2024"], ["2024-02-01", "2024-02-13"], "%d/%m/%Y"),
        (["1/2/2024", "2/13/2024"], ["2024-01-02", "2024-02-13"], "%m/%d/%Y"),
    ],
)
def test_times(tmp_path, words, instants, time_format):
    table = read(tmp_path, *words)
    assert table.spec("x").kind == "timestamp"
    assert listed(table) == [microseconds(instant) for instant in instants]
    assert table.spec("x").time_format == time_format
    assert [finding.check for finding in table.findings] == (["time_format"] if time_format else [])


@pytest.mark.parametrize(
    ("words", "check", "level", "says"),
    [
        (["1", "  ", "2.5", "\t"], "blank_text", "warn", "Column 'x' has 2 blank texts"),
        (["true", " "], "blank_text", "warn", "1 blank text"),
        (
            ["1"] * 20 + ["unknown"],
            "mixed_column",
            "warn",
            "1 of its 21 values are not numbers, such as 'unknown'",
        ),
        (["00123", "10115"], "leading_zeros", "info", "'00123'"),
        (["12345678901234567890", "1"], "big_integers", "info", "more digits than 64 bits"),
        (["1,5", "2,25"], "decimal_comma", "warn", "decimal comma"),
        (["1/2/2024", "3/4/2024"], "ambiguous_dates", "warn", "more than one"),
        (["31.02.2024"], "ambiguous_dates", "warn", "no one format"),
        (["2024-01-05 10:00:00.1234567"], "time_precision", "info", "cut to microseconds"),
    ],
)
def test_findings(tmp_path, words, check, level, says):
    quoted = [f'"{word}"' if "," in word else word for word in words]
    (finding,) = read(tmp_path, *quoted).findings
    assert (finding.check, finding.level, finding.column) == (check, level, "x")
    assert says in finding.message


def test_few_words_among_text_are_not_worth_a_warning(tmp_path):
    assert read(tmp_path, "1", "2", "a", "b").findings == ()


def test_the_last_value_counts_as_the_first(tmp_path):
    words = ["1"] * 300_000
    assert read(tmp_path, *words, "x").spec("x").kind == "text"
    assert read(tmp_path, *words, "007").spec("x").kind == "text"
    assert read(tmp_path, *words, "2.5").spec("x").kind == "float"
    assert read(tmp_path, *words, " 3").spec("x").kind == "integer"


def test_digits_of_one_width_and_of_several(tmp_path):
    assert read(tmp_path, "00123", "10115", "NA").spec("x").digits == 5
    assert read(tmp_path, "00123", "1011").spec("x").digits == 0
    assert digits(pa.array([], pa.string())) is None


def test_missing_words_are_those_of_pandas():
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(MISSING) == STR_NA_VALUES


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["+1", "-0", "1e5", ".5", "7.", " 8", "9 ", "inf", "-Infinity"]),
)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0\ufeff", exclude_categories=("Cs",)), max_size=6
)
COLUMNS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1).map(str), min_size=1),
    st.lists(NUMBERS, min_size=1),
    st.lists(st.sampled_from(["True", "False", "TRUE", "false"]), min_size=1),
    st.lists(st.one_of(NUMBERS, WORDS), min_size=1),
)


@st.composite
def columns(draw):
    words = draw(COLUMNS)
    gaps = draw(st.lists(st.sampled_from(range(len(words))), max_size=3))
    for gap in gaps:
        words[gap] = draw(st.sampled_from(MISSING))
    # pandas 2 takes the smallest integer for its own sign of a missing one
    return ["-1" if gaps and word == str(-(2**63)) else word for word in words]


@given(words=columns())
@settings(max_examples=250, deadline=None, derandomize=True)
def test_values_and_missing_positions_are_those_of_pandas(tmp_path_factory, words):
    import csv

    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["k", "x"], *([1, word] for word in words)])
    path = tmp_path_factory.mktemp("oracle") / "t.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    ours = files.read(str(path))
    theirs = pd.read_csv(path)["x"]
    spec = ours.spec("x")
    if any(
        finding.check in ("leading_zeros", "big_integers", "blank_text", "time_format")
        for finding in ours.findings
    ):
        return  # where we differ on purpose
    column = ours.arrow.column("x")
    assert [value is None for value in listed(ours)] == theirs.isna().tolist()
    if spec.kind in ("integer", "float"):
        assert pd.api.types.is_numeric_dtype(theirs)
        expected = theirs.to_numpy(np.float64)
        found = column.cast(pa.float64(), safe=False).to_pandas().to_numpy(np.float64)
        np.testing.assert_allclose(found, expected, rtol=1e-15, atol=0)
        if theirs.dtype == np.int64:
            assert spec.kind == "integer"
            assert listed(ours) == theirs.tolist()
    else:
        present = [value for value in theirs.tolist() if not (isinstance(value, float) and math.isnan(value))]
        assert [value for value in listed(ours) if value is not None] == present
