"""Files to tables: CSV and Parquet, one or many, and what is said of those that cannot be read."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmp.data.buffers import values
from mmp.data.files import read, select, take
from mmp.errors import DataError, MissingColumnsError, SourceError


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes | pa.Table) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


def rows(table):
    return table.arrow.to_pylist()


# ── how a CSV file is written ───────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y",
        "a,b\r1,x\r2,y\r",
        "\ufeffa,b\n1,x\n2,y\n",
        "\n\n  \na,b\n1,x\n\n2,y\n   \n",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y\n",
        '"a","b"\n"1","x"\n2,y\n',
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV"])
def test_dialects(write, name, content):
    assert rows(read(write(name, content))) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_quotes(write):
    table = read(write("t.csv", 'n,text\n1,"two\nlines"\n2,"say ""hi"", you"\n3,"NA"\n4,5" nail\n'))
    assert table.arrow.column("text").to_pylist() == ["two\nlines", 'say "hi", you', None, '5" nail']


def test_a_delimiter_must_split_all_rows_alike(write):
    table = read(write("t.csv", "when;what, and where\n1,5;2\n2;3\n"))
    assert table.names == ("when", "what, and where")


def test_a_wide_table(write):
    names = [f"a rather long name of column {i}" for i in range(6000)]
    table = read(write("t.csv", ",".join(names) + "\n" + ",".join(map(str, range(6000))) + "\n"))
    assert table.names == tuple(names)
    assert table.arrow.column(5999).to_pylist() == [5999]


def test_one_column(write):
    assert rows(read(write("t.csv", "a\n1\n\n2\n"))) == [{"a": 1}, {"a": 2}]


def test_names_are_kept_as_they_stand(write):
    names = (" a b ", "x[0]<1>", "ünï", "😀", 'q"q', "two\nlines", "a.b", "a")
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    csv_file = write("t.csv", f"{header}\n1,2,3,4,5,6,7,8\n")
    assert read(csv_file).names == names
    parquet_file = write("t.parquet", pa.Table.from_arrays([pa.array([i]) for i in range(8)], list(names)))
    assert read(parquet_file).names == names
    for source in (csv_file, parquet_file):
        for name in names:
            assert read(source, columns=[name]).names == (name,)


def test_columns_come_in_the_order_asked_for(write):
    for source in (
        write("t.csv", "a,b,c\n1,2,3\n"),
        write("t.parquet", pa.table({"a": [1], "b": [2], "c": [3]})),
    ):
        assert rows(read(source, columns=["c", "a"])) == [{"c": 3, "a": 1}]


# ── what is wrong ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,b\n", "has a header and no rows"),
        ("a,b", "has a header and no rows"),
        ("a,b\n1,2\n3\n", "has 1 values on line 3, but 2 columns"),
        ("a,b\n1,2\n1,2,3\n", "has 3 values on line 3, but 2 columns"),
        ('a,b\n1,"x\ny"\n\n1,2,3\n', "has 3 values on line 5, but 2 columns"),
        ('a,b\n1,2\n3,"4\n5,6\n', "has a quote on line 3 that is not closed"),
        ("a,,c\n1,2,3\n", "a column without a name at position 2"),
        (",a\n1,2\n", "a column without a name at position 1"),
        ("a,b,a,b,c\n1,2,3,4,5\n", "'a' at positions 1, 3; 'b' at positions 2, 4"),
        (b"a,b\n1,x\n2,caf\xe9\n", "byte 0xe9 at offset 13, on line 3"),
        (b"caf\xe9,b\n1,x\n", "byte 0xe9 at offset 3, on line 1"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16"),
    ],
)
def test_broken_csv(write, content, says):
    for name in ("t.csv", "t.csv.gz"):
        source = write(name, content)
        with pytest.raises(SourceError) as caught:
            read(source)
        assert says in caught.value.message
        assert Path(source).name in caught.value.message


def test_ragged_row_far_down(write):
    with pytest.raises(SourceError, match="3 values on line 400002, but 2 columns"):
        read(write("t.csv", "a,b\n" + "1,2\n" * 400_000 + "1,2,3\n"))
    with pytest.raises(SourceError, match=r"0xff at offset 1600004, on line 400002"):
        read(write("t.csv", b"a,b\n" + b"1,2\n" * 400_000 + b"\xff,2\n"))


def test_broken_archives(write, tmp_path):
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    for name, data in {"cut": whole[: len(whole) // 2], "tail": whole[:-8], "plain": b"a,b\n1,2\n"}.items():
        (tmp_path / f"{name}.csv.gz").write_bytes(data)
        with pytest.raises(SourceError, match=rf"{name}.csv.gz cannot be read"):
            read(str(tmp_path / f"{name}.csv.gz"))


def test_flipped_bits_and_cuts_are_clean_errors(write, tmp_path):
    text = "n,x,when\n" + "".join(f'{i},"w {i % 9}",2024-01-{i % 28 + 1:02}\n' for i in range(200))
    arrow = pa.table({"n": list(range(200)), "x": [f"w{i % 9}" for i in range(200)]})
    pq.write_table(arrow, tmp_path / "t.parquet", write_page_checksum=True)
    write("t.csv", text)
    write("t.csv.gz", text)
    rng = np.random.default_rng(0)
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        whole = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(150):
            data = whole.copy()
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            (tmp_path / name).write_bytes(data[: rng.choice([len(data), rng.integers(len(data))])].tobytes())
            try:
                table = read(str(tmp_path / name))
            except DataError:
                continue
            if name == "t.parquet":
                assert table.arrow.column("x").to_pylist() == arrow["x"].to_pylist()


def test_broken_parquet(write, tmp_path):
    source = Path(write("t.parquet", pa.table({"a": list(range(10_000)), "b": ["x"] * 10_000})))
    data = source.read_bytes()
    for broken in (b"", b"PAR1", data[:-10], data[: len(data) // 2]):
        source.write_bytes(broken)
        with pytest.raises(SourceError, match=r"t\.parquet"):
            read(str(source))


@pytest.mark.parametrize(
    ("source", "says", "hint"),
    [
        ("telco.csv", "There is no file telco.csv", "Did you mean 'telco_churn.csv'?"),
        ("nowhere/t.csv", "There is no directory nowhere", ""),
        ("notes.txt", "ends in none of .csv, .csv.gz, .parquet", ""),
        ("empty", "Directory empty has no file", ""),
        ("*.parquet", "Glob *.parquet has no file", ""),
        ("ftp://host/t.csv", "neither a file of this machine", ""),
    ],
)
def test_no_such_source(write, tmp_path, monkeypatch, source, says, hint):
    write("telco_churn.csv", "a\n1\n")
    write("notes.txt", "")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as caught:
        read(source)
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_missing_columns_are_named_all_at_once(write):
    for source in (
        write("t.csv", "age,income\n1,2\n"),
        write("t.parquet", pa.table({"age": [1], "income": [2]})),
    ):
        with pytest.raises(MissingColumnsError) as caught:
            read(source, columns=["agee", "income", "zzz"])
        assert "'agee' (did you mean 'age'?), 'zzz' are not in" in caught.value.message


def test_a_relative_source_stays_in_its_base(write, tmp_path, monkeypatch):
    outside = write("outside/t.csv", "a\n1\n")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.csv").symlink_to(outside)
    for source in ("../outside/t.csv", "link.csv", "../outside", "../outside/*.csv"):
        with pytest.raises(SourceError, match="leads out of"):
            read(source, base_path=str(inside))
    assert read(outside, base_path=str(inside)).n_rows == 1
    assert read("outside/t.csv", base_path=str(tmp_path)).n_rows == 1


# ── several files ───────────────────────────────────────────────────────────


def test_directory_and_glob(write, tmp_path):
    write("d/b.csv", "x,n\nw,4\nNA,5.5\n")
    write("d/a.csv.gz", "n,x\n1,u\n2,v\n")
    write("d/_SUCCESS", "")
    write("d/.a.csv.crc", "?")
    expected = [{"n": n, "x": x} for n, x in [(1.0, "u"), (2.0, "v"), (4.0, "w"), (5.5, None)]]
    assert rows(read(str(tmp_path / "d"))) == expected
    assert rows(read("d/*.csv*", base_path=str(tmp_path))) == expected


def test_types_are_those_of_all_files(write, tmp_path):
    write("d/a.csv", "n\n1\n2\n")
    write("d/b.csv", "n\n\n")
    write("d/c.csv", "n\n007\n")
    table = read(str(tmp_path / "d"))
    assert (table.spec("n").kind, rows(table)) == ("text", [{"n": "1"}, {"n": "2"}, {"n": "007"}])


def test_parquet_files_unify(write, tmp_path):
    nothing = pa.array([None], pa.null())
    write("d/a.parquet", pa.table({"n": [1, 2], "x": ["u", "v"], "z": nothing.take(pa.array([0, 0]))}))
    write("d/b.parquet", pa.table({"z": [True], "x": pa.array(["w"]).dictionary_encode(), "n": [2.5]}))
    table = read(str(tmp_path / "d"))
    assert [spec.kind for spec in table.specs] == ["float", "text", "boolean"]
    assert rows(table)[2] == {"n": 2.5, "x": "w", "z": True}
    assert {column.num_chunks for column in table.arrow.columns} == {1}
    write("d/c.parquet", pa.table({"n": ["one"], "x": ["u"], "z": [False]}))
    with pytest.raises(DataError, match=r"Column 'n' is not of one type: .*c\.parquet"):
        read(str(tmp_path / "d"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_that_one_file_lacks(write, tmp_path, suffix):
    contents = {
        "csv": ("a,b\n1,2\n", "a\n1\n"),
        "parquet": (pa.table({"a": [1], "b": [2]}), pa.table({"a": [1]})),
    }
    for order in ((0, 1), (1, 0)):
        for name, which in zip(("one", "two"), order, strict=True):
            write(f"d/{name}.{suffix}", contents[suffix][which])
        with pytest.raises(SourceError) as caught:
            read(str(tmp_path / "d"))
        assert "column 'b'" in caught.value.message
        assert f"one.{suffix}" in caught.value.message
        assert f"two.{suffix}" in caught.value.message


def test_one_kind_of_file(write, tmp_path):
    write("d/a.csv", "a\n1\n")
    write("d/a.parquet", pa.table({"a": [1]}))
    with pytest.raises(SourceError, match="CSV and Parquet"):
        read(str(tmp_path / "d"))


# ── declared types ──────────────────────────────────────────────────────────

NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)
MICROSECONDS = int(NOON.timestamp()) * 10**6


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        *[
            (pa.array([1, None], type_), "integer", [1, None])
            for type_ in (pa.int8(), pa.uint16(), pa.uint64())
        ],
        (pa.array([0.5, float("nan"), None], pa.float32()), "float", [0.5, None, None]),
        (pa.array([Decimal("1.25"), None]), "float", [1.25, None]),
        (pa.array([True, None]), "boolean", [True, None]),
        (pa.array([None, None]), "float", [None, None]),
        (pa.array(["a", "", None]), "text", ["a", None, None]),
        (pa.array(["a", None], pa.large_string()), "text", ["a", None]),
        (pa.array(["a", None], pa.string_view()), "text", ["a", None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), "text", ["a", None, "a"]),
        (pa.array([3, None, 3]).dictionary_encode(), "integer", [3, None, 3]),
        (pa.array([date(2024, 1, 5), None]), "timestamp", [MICROSECONDS - 12 * 3600 * 10**6, None]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")), "timestamp", [MICROSECONDS]),
        (pa.array([NOON], pa.timestamp("ns", "Asia/Seoul")), "timestamp", [MICROSECONDS]),
    ],
)
def test_parquet_types(write, array, kind, expected):
    table = read(write("t.parquet", pa.table({"x": array})))
    assert table.spec("x").kind == kind
    column = table.arrow.column("x")
    found = column.cast(pa.int64()).to_pylist() if kind == "timestamp" else column.to_pylist()
    assert found == expected
    assert table.spec("x").has_nulls == (None in expected)


def test_columns_that_are_text_by_name(write):
    source = write("t.csv", "a,b,n\n01/02/2024,1.50,1\n13/02/2024,NA,2\n")
    assert rows(read(source, texts=["a", "b", "elsewhere"])) == [
        {"a": "01/02/2024", "b": "1.50", "n": 1},
        {"a": "13/02/2024", "b": None, "n": 2},
    ]


def test_a_decimal_becomes_the_nearest_float(write):
    cells = [Decimal(unscaled).scaleb(-2) for unscaled in range(-5000, 5000, 7)]
    column = read(write("t.parquet", pa.table({"x": pa.array(cells, pa.decimal128(12, 2))}))).arrow.column(
        "x"
    )
    assert column.to_pylist() == [float(cell) for cell in cells]


@pytest.mark.parametrize(
    ("array", "check"),
    [
        (pa.array([Decimal("1.25")]), "decimal"),
        (pa.array(["a", ""]), "blank_text"),
        (pa.array([1_700_000_000_000_000_001], pa.timestamp("ns")), "time_precision"),
        (pa.array([1_700_000_000_000_001_000], pa.timestamp("ns")), None),
    ],
)
def test_parquet_findings(write, array, check):
    findings = read(write("t.parquet", pa.table({"x": array}))).findings
    assert [finding.check for finding in findings] == ([check] if check else [])


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (pa.array([[1]]), "list"),
        (pa.array([{"a": 1}]), "struct"),
        (pa.array([b"x"]), "binary"),
        (pa.array([2**63], pa.uint64()), "integers past"),
    ],
)
def test_types_that_cannot_be_features(write, array, says):
    source = write("t.parquet", pa.table({"x": array, "y": [1]}))
    with pytest.raises(DataError, match=rf"'x' .*{says}"):
        read(source)
    assert read(source, columns=["y"]).n_rows == 1


def test_text_of_many_row_groups_is_one_dictionary(write, tmp_path):
    words = [f"w{i % 7}" for i in range(1000)]
    pq.write_table(pa.table({"x": words}), tmp_path / "t.parquet", row_group_size=100)
    column = read(str(tmp_path / "t.parquet")).arrow.column("x")
    assert column.num_chunks == 1
    assert len(column.chunk(0).dictionary) == 7
    assert column.to_pylist() == words


def test_empty_parquet(write):
    with pytest.raises(SourceError, match="no rows"):
        read(write("t.parquet", pa.table({"x": pa.array([], pa.int64())})))


# ── tables ──────────────────────────────────────────────────────────────────


def test_take_and_select(write):
    table = read(write("t.csv", 'n,x,blank\n1,u,1\n2,v," "\n3,NA,3\n'))
    part = select(take(table, np.array([2, 0])), ["x", "n"])
    assert rows(part) == [{"x": None, "n": 3}, {"x": "u", "n": 1}]
    assert part.specs == (table.spec("x"), table.spec("n"))
    assert part.findings == ()
    assert select(table, ["blank"]).findings == table.findings
    assert pa.types.is_dictionary(part.arrow.schema.field("x").type)


def test_values_of_a_slice(write):
    array = pa.array([True, False, True] * 7)
    assert values(array.slice(5, 11)).tolist() == array.slice(5, 11).to_pylist()


def test_reading_imports_no_pandas(write, tmp_path):
    write(
        "d/a.csv", "n,f,b,t,x,z,blank\n1,1.5,True,2024-01-05,u,007,1\nNA,+2,false,2024-01-06T10:00Z,v,008, \n"
    )
    write("d.parquet", pa.table({"n": [1], "f": [float("nan")], "x": ["u"], "t": [NOON], "e": [""]}))
    code = """
        import sys
        from mmp.data import files, fingerprint
        import numpy as np
        for source in sys.argv[1:]:
            table = files.take(files.read(source), np.array([0]))
            fingerprint.fingerprint(table)
        print(sorted({"pandas", "sklearn", "scipy"} & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "d"), str(tmp_path / "d.parquet")]
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": source}
    )
    assert done.stdout.strip() == "[]"


def test_text_of_digits_of_several_widths_takes_no_integer_for_a_value(tmp_path):
    from mmp.errors import DataError
    from mmp.modeling.columns import coerce

    (tmp_path / "t.csv").write_text("id\n007\n12\n")
    spec = read(str(tmp_path / "t.csv")).spec("id")
    assert spec.digits == 0
    with pytest.raises(DataError, match="leading zeros"):
        coerce([spec], [{"id": 7}])
    assert coerce([spec], [{"id": "007"}])["id"].to_list() == ["007"]
