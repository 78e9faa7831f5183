"""JSON lines: what is read is what JSON says, in blocks and at once, and what is no line is a sentence."""

from __future__ import annotations

import gzip
import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmp.data import json_lines
from mmp.data.batches import BEGINNING, open_files
from mmp.data.files import read
from mmp.data.table import ColumnSpec
from mmp.errors import DataError, MissingColumnsError, SourceError
from mmp.modeling.columns import coerce

KINDS = ("integer", "float", "boolean", "text", "timestamp")
EXACT = 2**53 + 1


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="t.jsonl"):
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        content = "\n".join([*lines, ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(tmp_path / name)

    return write


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(json_lines, "PIECE_BYTES", 200)


# ── values ──────────────────────────────────────────────────────────────────

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=4) | st.sampled_from(["7", "00123", "0.5", "true", "2026-01-02", "", " "])
values = st.none() | st.booleans() | numbers | texts | st.sampled_from([EXACT, -EXACT, 3.0, 1e300, 2**63])


@settings(max_examples=300)
@given(st.lists(values, min_size=1, max_size=8), st.sampled_from(KINDS), st.sampled_from([None, 0, 5]))
@example([EXACT, 0.5], "integer", None)
@example([1, "2"], "float", None)
@example([True, 1], "boolean", None)
@example([10**80, 1], "float", None)
def test_cells_are_what_the_same_objects_are(cells, kind, digits):
    """A file of JSON lines is read as the list of its objects is, by the one coercion."""
    spec = ColumnSpec("x", kind, digits=digits if kind == "text" else None)
    assert outcome(spec, as_table(spec, cells)) == outcome(spec, [{"x": cell} for cell in cells])


def as_table(spec, cells):
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "t.jsonl")
        path.write_text("".join(json.dumps({"x": cell}) + "\n" for cell in cells))
        ((_, table),) = open_files(str(path), [spec]).tables(["x"], 0, BEGINNING)
        return table


def outcome(spec, source):
    try:
        return [(type(cell), cell) for cell in coerce([spec], source)["x"].to_list()]
    except DataError:
        return "refused"


def test_a_key_comes_as_it_was_written(write):
    keys = [ColumnSpec("n", "integer"), ColumnSpec("code", "text")]
    rows = [{"n": EXACT + i, "code": code} for i, code in enumerate(["007", 7, EXACT, None, ""])]
    batches = open_files(write(*rows), [], keys)
    assert [str(field.type) for field in batches.schema] == ["int64", "string"]
    ((_, table),) = batches.tables(["n", "code"], 0, BEGINNING)
    assert table.to_pylist() == [
        {"n": EXACT + i, "code": code} for i, code in enumerate(["007", "7", str(EXACT), None, ""])
    ]
    ((_, table),) = open_files(write({"n": 1}, {"n": "007"}), [], keys[:1]).tables(["n"], 0, BEGINNING)
    assert table.column("n").to_pylist() == ["1", "007"]


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_reading_goes_on_at_any_mark(write, small, name):
    rows = [
        {"n": i, "word": f"wörd {i % 7}", "more": [i]} | ({"late": i / 2} if i % 3 else {})
        for i in range(200)
    ]
    batches = open_files(write(*rows, name=name), [ColumnSpec("n", "integer"), ColumnSpec("late", "float")])
    read_all = list(batches.tables(["n", "late"], 0, BEGINNING))
    whole = [row for _, table in read_all for row in table.to_pylist()]
    assert whole == [{"n": row["n"], "late": row.get("late")} for row in rows]
    assert len({mark for mark, _ in read_all}) > (20 if name == "t.jsonl" else 0)
    for mark, _ in read_all[::5]:
        rest = [
            row for _, table in batches.tables(["n", "late"], mark.row + 1, mark) for row in table.to_pylist()
        ]
        assert rest == whole[mark.row + 1 :]


# ── whole tables ────────────────────────────────────────────────────────────


def test_kinds_are_those_of_the_values(write, small):
    rows = [
        {
            "i": EXACT + n, "f": n if n % 2 else n / 4, "b": n % 3 == 0, "t": f"{n:03d}", "day": f"2026-01-{n % 28 + 1:02d}",
            "mixed": n if n % 2 else f"{n}", "big": 2**64 + n, "none": None,
        } | ({"late": "x"} if n > 50 else {})
        for n in range(90)
    ]  # fmt: skip
    table = read(write(*rows))
    kinds = {spec.name: spec.kind for spec in table.specs}
    assert kinds == {
        "i": "integer", "f": "float", "b": "boolean", "t": "text", "day": "timestamp", "mixed": "integer",
        "big": "text", "none": "float", "late": "text",
    }  # fmt: skip
    assert table.spec("t").digits == 3
    found = table.arrow.to_pylist()
    for row, expected in zip(found, rows, strict=True):
        assert (row["i"], row["f"], row["b"], row["t"]) == tuple(
            expected[name] for name in ("i", "f", "b", "t")
        )
        assert row["day"].date().isoformat() == expected["day"]
        assert (row["mixed"], row["big"], row["late"]) == (
            int(expected["mixed"]),
            str(expected["big"]),
            expected.get("late"),
        )


def test_times_that_are_texts_to_a_model_stay_texts(write):
    path = write({"day": "2026-01-02"}, {"day": "2026-01-03"})
    assert read(path).spec("day").kind == "timestamp"
    assert read(path, texts=["day"]).spec("day").kind == "text"


def test_nothing_is_missing_and_not_a_number(write):
    table = read(write('{"x": NaN, "y": ""}', '{"x": 1.5, "y": "NA"}', "{}", "", "   "))
    assert table.arrow.to_pylist() == [{"x": None, "y": None}, {"x": 1.5, "y": "NA"}, {"x": None, "y": None}]
    assert math.isinf(read(write('{"x": 1e999}')).arrow.column("x")[0].as_py())


def test_columns_and_files(write, tmp_path):
    write({"a": 1, "b": {"c": 1}}, name="1.jsonl")
    write({"a": 2, "d": "x"}, name="2.jsonl.gz")
    write({"row": 1}, name="o.csv.rejected.jsonl")
    assert read(str(tmp_path), columns=["d", "a"]).arrow.to_pylist() == [
        {"d": None, "a": 1},
        {"d": "x", "a": 2},
    ]
    with pytest.raises(MissingColumnsError, match="'e'"):
        read(str(tmp_path), columns=["e"])
    (tmp_path / "3.csv").write_text("a\n1\n")
    with pytest.raises(SourceError, match="holds CSV and JSON lines files"):
        read(str(tmp_path))


# ── what is wrong ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"a": [1]}', "holds a list for 'a', and a column has one value a row"),
        ('{"a": {"b": 1}}', "holds an object for 'a'"),
        ('{"a": 1, "a": 2}', "is no JSON object: the key 'a' stands twice in one object"),
        ('{"a": 1} {"a": 2}', "is no JSON object: Extra data"),
        ('{"a": 1', "is no JSON object: Expecting ','"),
        ("[1, 2]", "is no JSON object: [1, 2]"),
        ("null", "is no JSON object: null"),
        ("a,b", "is no JSON object: Expecting value"),
        ('{"a": "\\ud800"}', "is no JSON object: 'utf-8' codec can't encode"),
        ('{"a": ' + "[" * 100_000, "is no JSON object: maximum recursion depth"),
        ('{"a": ' + "1" * 5000 + "}", "is no JSON object: Exceeds the limit"),
    ],
)
def test_a_line_that_is_none_is_told_by_its_number(write, small, name, line, says):
    source = write(*({"a": n} for n in range(57)), "", line, {"a": 1}, name=name)
    for read_it in (
        read,
        lambda path: list(open_files(path, [ColumnSpec("a", "integer")]).tables(["a"], 0, BEGINNING)),
    ):
        with pytest.raises(SourceError) as caught:
            read_it(source)
        assert caught.value.message.startswith(f"Line 59 of {source} {says}")


def test_files_that_are_none(write, tmp_path):
    for content, says in (
        (b"", "has no rows"),
        (b"\n\n", "has no rows"),
        ("{}".encode("utf-16"), "is not UTF-8"),
        (b'{"a":"\xff"}', "is not UTF-8"),
    ):
        (tmp_path / "t.jsonl").write_bytes(content)
        with pytest.raises(SourceError, match=says):
            read(str(tmp_path / "t.jsonl"))
        with pytest.raises(SourceError):
            open_files(str(tmp_path / "t.jsonl"), [])
    (tmp_path / "t.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    assert read(str(tmp_path / "t.jsonl")).arrow.to_pylist() == [{"a": 1}]
