"""Whatever dies at any moment, the same command goes on, and the output is the same to the byte."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import random
import resource
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.batch.project import make, score
from tests.commands import call, finish, start

from mmp.data.files import read
from mmp.settings.load import load_config
from mmp.tracking.stores import connect

ROWS = 40_000
COMMAND = ("batch-inference", "--run-id", "latest", "-d", "big.parquet", "--part-rows", "1000", "--json")
ENV = {"OMP_NUM_THREADS": "2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder)
        table = read("table.csv").arrow
        with pq.ParquetWriter("big.parquet", table.schema) as writer:
            for _ in range(ROWS // 500):
                writer.write_table(table)
        for name in ("undisturbed.parquet", "undisturbed.csv"):
            score(data="big.parquet", output=name, part_rows=1000)
    return folder


def until(process, done):
    """Wait until something is true, or the process has ended; tell whether it has not."""
    while process.poll() is None:
        if done():
            return True
    return False


def parts_done(output):
    path = Path(f"{output}.mmp-parts/parts.jsonl")
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_batch_that_is_killed_again_and_again_goes_on(folder, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(folder)
    output = tmp_path / f"o.{suffix}"
    rng, killed, resumed = random.Random(5), 0, []
    while killed < 6:
        before = parts_done(output)
        goal = before + rng.randrange(1, 9)
        process = start(*COMMAND, "-o", output, env=ENV, cwd=folder)
        if not until(process, lambda goal=goal: parts_done(output) >= goal):
            break
        process.send_signal(signal.SIGKILL)
        finish(process)
        killed += 1
        assert not output.exists()
        assert parts_done(output) >= before
        resumed.append(parts_done(output))
    assert killed >= 3
    done = parts_done(output)
    last = call(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert last.code == 0, last.err
    assert last.json["rows"] == ROWS
    assert last.json["resumed_parts"] == done > 0
    assert output.read_bytes() == (folder / f"undisturbed.{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, f"{output.name}.manifest.json"]


def write_csv(path, table, **options):
    """Write rows with line breaks in their cells, as a spreadsheet does."""
    out = io.StringIO(newline="")
    rows = table.to_pylist()
    for row in rows[::3]:
        row["city"] = 'New\r\n"York"'
    writer = csv.DictWriter(out, rows[0], quoting=csv.QUOTE_ALL, **options)
    writer.writeheader()
    for _ in range(ROWS // len(rows)):
        writer.writerows(rows)
    content = codecs.BOM_UTF8 + out.getvalue().encode()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_csv_file_is_gone_on_with_where_it_was_left(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(folder)
    write_csv(tmp_path / name, read("table.csv").arrow, lineterminator="\r\n")
    output, words = tmp_path / "o.csv", list(COMMAND)
    words[4] = str(tmp_path / name)
    process = start(*words, "-o", output, env=ENV, cwd=folder)
    assert until(process, lambda: parts_done(output) >= 33)
    process.kill()
    finish(process)
    lines = (tmp_path / "o.csv.mmp-parts/parts.jsonl").read_text().splitlines()
    row, _, offset = json.loads(lines[-1])["mark"]
    last = call(*words, "-o", output, env=ENV, cwd=folder)
    assert last.code == 0, last.err
    assert last.json["resumed_parts"] == len(lines)
    assert f"note: It goes on with part {len(lines) + 1}" in last.err
    if name == "t.csv":
        assert offset > 4_000_000
        assert 0 < row <= len(lines) * 1000
    else:
        assert (row, offset) == (0, 0)
        assert "t.csv.gz is compressed, and read again from its beginning" in last.err
    score(data=str(tmp_path / name), output=str(tmp_path / "same.csv"), part_rows=1000)
    assert output.read_bytes() == (tmp_path / "same.csv").read_bytes()


def test_a_part_that_is_not_as_it_was_written_is_made_again(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    output = tmp_path / "o.parquet"
    process = start(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert until(process, lambda: parts_done(output) >= 6)
    process.kill()
    finish(process)
    part = tmp_path / "o.parquet.mmp-parts/parts/part-00003.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with (tmp_path / "o.parquet.mmp-parts/parts.jsonl").open("ab") as file:
        file.write(b'{"rows": 1000, "rej')  # a line that was cut
    last = call(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert last.json["resumed_parts"] == 3
    with connect(load_config(None).value.mlflow) as store:
        statuses = [run.status for run in store.search(tags={"mmp.kind": "batch"}, limit=2)]
    assert statuses == ["FINISHED", "KILLED"]
    assert output.read_bytes() == (folder / "undisturbed.parquet").read_bytes()


def test_an_interrupt_ends_the_run_as_killed_and_the_next_goes_on(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    output = tmp_path / "o.parquet"
    process = start(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert until(process, lambda: parts_done(output) >= 2)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    last = call(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert last.json["resumed_parts"] >= 2
    assert output.read_bytes() == (folder / "undisturbed.parquet").read_bytes()


def test_two_runs_to_one_output_do_not_meet(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    output = tmp_path / "o.parquet"
    process = start(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert until(process, lambda: parts_done(output) >= 1)
    process.send_signal(signal.SIGSTOP)
    second = call(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert second.code == 3
    assert second.error["message"] == f"Another process is writing {output}."
    process.send_signal(signal.SIGCONT)
    assert finish(process).code == 0
    assert output.read_bytes() == (folder / "undisturbed.parquet").read_bytes()


def test_a_full_disk_is_a_sentence_and_room_lets_it_go_on(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    output = tmp_path / "o.csv"
    limited = start(
        *COMMAND, "-o", output, env=ENV, cwd=folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000)),
    )  # fmt: skip
    ended = finish(limited)
    assert ended.code == 3, ended.err
    assert "cannot be written: File too large" in ended.error["message"]
    assert not output.exists()
    assert not list(tmp_path.rglob("*.partial")), "what is not whole takes no room"
    last = call(*COMMAND, "-o", output, env=ENV, cwd=folder)
    assert last.json["resumed_parts"] > 0
    assert output.read_bytes() == (folder / "undisturbed.csv").read_bytes()


def test_a_changed_input_starts_over_and_says_so(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    table = pq.read_table("big.parquet")
    pq.write_table(table.slice(0, 20_000), tmp_path / "in.parquet")
    output, words = tmp_path / "o.parquet", list(COMMAND)
    words[4] = str(tmp_path / "in.parquet")
    process = start(*words, "-o", output, env=ENV, cwd=folder)
    assert until(process, lambda: parts_done(output) >= 2)
    process.kill()
    finish(process)
    pq.write_table(table, tmp_path / "in.parquet")
    last = call(*words, "-o", output, env=ENV, cwd=folder)
    assert (last.json["resumed_parts"], last.json["rows"]) == (0, ROWS)
    assert "was begun with other things: the input changed; it starts over." in last.err
    assert output.read_bytes() == (folder / "undisturbed.parquet").read_bytes()


def test_a_read_only_directory_is_a_sentence(folder, tmp_path):
    # root writes to a closed directory, but nobody writes here
    ended = call(*COMMAND, "-o", "/proc/o.parquet", env=ENV, cwd=folder)
    assert ended.code == 3
    assert "cannot be written" in ended.error["message"]
