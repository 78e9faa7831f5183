"""Text files in pieces: whatever stands in them, pieces are whole rows, and any of them can be the first."""

from __future__ import annotations

import csv
import gzip
import io
from functools import partial

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmp.data import delimited, pieces
from mmp.data.batches import BEGINNING, Mark, blocks, open_files
from mmp.data.pieces import end_of_csv_rows, end_of_lines
from mmp.data.table import ColumnSpec
from mmp.errors import SourceError

SPECS = [ColumnSpec("id", "integer"), ColumnSpec("word", "text"), ColumnSpec("n", "float")]
KEYS = [ColumnSpec("key", "text")]
NAMES = [spec.name for spec in (*SPECS, *KEYS)]
WORDS = ["plain", 'with "quotes"', "two\nlines", "two\r\nlines", ",", "", "ünï😀", '"', "\n\n", "end\r"]


def cut(content, n_bytes, delimiter=","):
    return list(pieces.pieces(io.BytesIO(content), partial(end_of_csv_rows, delimiter=delimiter), n_bytes))


def parsed(content):
    """The rows of two columns that Arrow finds, None where it finds that they are none."""
    if not content:
        return []
    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            pacsv.ReadOptions(column_names=["a", "b"], block_size=1 << 20),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(column_types={"a": pa.string(), "b": pa.string()}),
        )
    except pa.ArrowInvalid:
        return None
    return table.to_pylist()


raw = st.text(alphabet='a"\n\r', max_size=6)
written = raw.map(lambda word: '"' + word.replace('"', '""') + '"')
anything = st.lists(
    st.tuples(raw | written, raw | written, st.sampled_from(["\n", "\r\n", "\r"])), max_size=12
)


@settings(max_examples=400)
@given(anything, st.integers(1, 24))
@example([('a"', '"\na"', "\n"), ("a", "a", "\n")], 3)
@example([("a", '"a\r', "\r\n")], 4)
def test_the_rows_of_the_pieces_are_the_rows_of_the_file(rows, n_bytes):
    content = "".join(f"{one},{other}{end}" for one, other, end in rows).encode()
    whole = parsed(content)
    found = cut(content, n_bytes)
    assert b"".join(piece.content for piece in found) == content
    assert [piece.offset for piece in found] == [
        sum(len(piece.content) for piece in found[:n]) for n in range(len(found))
    ]
    if whole is not None:
        assert [row for piece in found for row in parsed(piece.content)] == whole


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=2, max_size=2), min_size=1, max_size=9),
    st.integers(1, 40),
)
def test_what_is_quoted_as_it_should_be_is_not_read_row_by_row(rows, n_bytes):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";").writerows(rows)
    content = out.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_end_by_reading", None)
        found = cut(content, n_bytes, ";")
    assert [
        row
        for piece in found
        for row in csv.reader(io.StringIO(piece.content.decode(), newline=""), delimiter=";")
    ] == rows
    assert all(piece.is_whole for piece in found)


def test_lines_end_with_one_character_only():
    assert [piece.content for piece in pieces.pieces(io.BytesIO(b"1\r\x0b2\n3"), end_of_lines, 2)] == [
        b"1\r\x0b2\n",
        b"3",
    ]


def test_a_row_without_an_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "MOST_ROW_BYTES", 1000)
    endless = io.BytesIO(b'"' + b"a\n" * 100_000)
    (found,) = pieces.pieces(endless, partial(end_of_csv_rows, delimiter=","), 64)
    assert not found.is_whole
    assert endless.tell() < 3000


# ── files ───────────────────────────────────────────────────────────────────


def table_of(n_rows):
    return [[7_000 + n, WORDS[n % len(WORDS)], n / 8, f"{n:05d}"] for n in range(n_rows)]


def write(path, rows, *, bom=False, end="\n", quoting=csv.QUOTE_NONNUMERIC, header="key,id,word,n"):
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    writer.writerows([key, number, word, n] for number, word, n, key in rows)
    content = (b"\xef\xbb\xbf" if bom else b"") + (header + end + out.getvalue()).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


DIALECTS = {
    "plain": {},
    "crlf": {"end": "\r\n"},
    "cr": {"end": "\r"},
    "bom": {"bom": True},
    "quoted": {"quoting": csv.QUOTE_ALL, "end": "\r\n"},
    "header of two lines": {"bom": True, "header": '\n\n"key",id,"word",n'},
}


def values(tables):
    return [
        (row["id"], row["word"], row["n"], row["key"])
        for table in tables
        for row in pa.table({name: table.column(name) for name in NAMES}).to_pylist()
    ]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(delimited, "PIECE_BYTES", 300)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_reading_goes_on_at_any_mark(tmp_path, small, dialect, suffix):
    for number in range(2):
        rows = table_of(120)[60 * number :][:60]
        write(tmp_path / f"{number}{suffix}", rows, **DIALECTS[dialect])
    batches = open_files(str(tmp_path), SPECS, KEYS)
    whole = values(table for _, table in batches.tables(NAMES, 0, BEGINNING))
    assert [(one, three, four) for one, _, three, four in whole] == [
        (i, n, key) for i, _, n, key in table_of(120)
    ]
    assert {word for _, word, _, _ in whole} == {None if word == "" else word for word in WORDS}
    marks = [mark for mark, _ in batches.tables(NAMES, 0, BEGINNING)]
    assert len(set(marks)) > (10 if suffix == ".csv" else 1)
    for mark in marks:
        for first in (mark.row, mark.row + 1, mark.row + 17):
            assert values(table for _, table in batches.tables(NAMES, first, mark)) == whole[first:]


def test_what_is_before_a_mark_is_not_read(tmp_path, small):
    source = write(tmp_path / "t.csv", table_of(400))
    batches = open_files(source, SPECS, KEYS)
    whole = values(table for _, table in batches.tables(NAMES, 0, BEGINNING))
    mark = [mark for mark, _ in batches.tables(NAMES, 0, BEGINNING)][20]
    content = bytearray((tmp_path / "t.csv").read_bytes())
    header = content.index(b"\n") + 1
    content[header : mark.offset] = b"," * (mark.offset - header)
    (tmp_path / "t.csv").write_bytes(content)
    assert values(table for _, table in batches.tables(NAMES, mark.row, mark)) == whole[mark.row :]
    with pytest.raises(SourceError):
        list(batches.tables(NAMES, 0, BEGINNING))


def test_blocks_say_where_to_read_on(tmp_path, small):
    batches = open_files(write(tmp_path / "t.csv", table_of(300)), SPECS, KEYS)
    made = list(blocks(batches, NAMES, first=0, mark=BEGINNING, most_rows=16, part_rows=50))
    whole = values(block.table for block in made)
    for block in made:
        after = block.first + block.table.num_rows
        assert block.mark.row <= after
        assert after - block.mark.row <= 30, "a piece is read again at most"
        rest = blocks(batches, NAMES, first=after, mark=block.mark, most_rows=16, part_rows=50)
        assert values(block.table for block in rest) == whole[after:]


def test_the_rows_of_a_file_are_guessed_by_its_bytes(tmp_path, small):
    write(tmp_path / "a.csv", table_of(300))
    write(tmp_path / "b.csv", table_of(100))
    batches = open_files(str(tmp_path), SPECS, KEYS)
    marks = [mark for mark, _ in batches.tables(NAMES, 0, BEGINNING)]
    assert batches.about(BEGINNING) is None
    guesses = [batches.about(mark) for mark in marks[5:]]
    assert all(380 < guess < 430 for guess in guesses)
    write(tmp_path / "c.csv.gz", table_of(9))
    assert open_files(str(tmp_path), SPECS, KEYS).about(Mark(10, 0, 300)) is None


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ('00999,999,"open\n', "has a quote on line 75 that is not closed"),
        ("00999,999,x\n", "has 3 values on line 75, but 4 columns"),
    ],
)
def test_what_is_wrong_far_down_is_told_by_its_line(tmp_path, small, suffix, rest, says):
    path = tmp_path / f"t{suffix}"
    write(path, [[n, "x", 0.5, f"{n:05d}"] for n in range(73)])
    content = gzip.decompress(path.read_bytes()) if suffix == ".csv.gz" else path.read_bytes()
    content += rest.encode() + b"01000,1000,x,1\n" * 50
    path.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)
    batches = open_files(str(path), SPECS, KEYS)
    with pytest.raises(SourceError, match=says):
        list(batches.tables(NAMES, 0, BEGINNING))
