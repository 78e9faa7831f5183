"""Rows that cannot be predicted: an error that names them, or left out and written down."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.csv as pacsv
import pytest
from tests.batch.project import make, score
from tests.tables import KEY, recipe

from mmp.errors import DataError, SettingsError
from mmp.pipelines.batch import batch_inference
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

REJECT = "output: {inference: {on_bad_row: reject, max_bad_rows: 4}}\n"
BAD = {
    130: ("age (years)", "old"),
    131: ("income [€]", "inf"),
    300: ("is active?", "maybe"),
    499: (KEY, "007"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder)
        rows = read(folder / "table.csv")
        for row, (column, word) in BAD.items():
            rows[row][column] = word
        write(folder / "bad.csv", rows)
        write(folder / "good.csv", [row for number, row in enumerate(rows) if number not in BAD])
    (folder / "reject.yaml").write_text((folder / "configs/local.yaml").read_text() + REJECT)
    return folder


@pytest.fixture(autouse=True)
def _project(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture
def rejects(monkeypatch):
    monkeypatch.setenv("MMP_CONFIG", "reject.yaml")


def read(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def lines_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_an_error_names_row_column_and_value(tmp_path):
    with pytest.raises(DataError) as caught:
        score(data="bad.csv", output=str(tmp_path / "o.csv"), part_rows=100)
    said = str(caught.value)
    assert "row 130, column 'age (years)': 'old' is not a number" in said or "'old' is not an integer" in said
    assert "row 131, column 'income [€]'" in said
    assert caught.value.where == "bad.csv"
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("part_rows", [50, 10_000])
def test_rejected_rows_are_left_out_and_written_down(tmp_path, rejects, part_rows):
    result = score(data="bad.csv", output=str(tmp_path / "o.csv"), part_rows=part_rows)
    assert (result.rows, result.rejected) == (496, 4)
    score(data="good.csv", output=str(tmp_path / "good.csv"))
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "good.csv").read_bytes()
    lines = lines_of(result.rejected_output)
    assert [(line["row"], line["column"]) for line in lines] == [
        (n, column) for n, (column, _) in BAD.items()
    ]
    assert lines[3]["reason"] == "'007' is not written as an integer is"
    assert lines[3]["keys"] == {KEY: "007"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "good.csv", "good.csv.manifest.json", "o.csv", "o.csv.manifest.json", "o.csv.rejected.jsonl",
    ]  # fmt: skip


def test_what_is_done_without_bad_rows_is_kept_when_they_may_be_left_out(tmp_path, monkeypatch):
    output = str(tmp_path / "o.csv")
    with pytest.raises(DataError, match="row 130"):
        score(data="bad.csv", output=output, part_rows=50)
    monkeypatch.setenv("MMP_CONFIG", "reject.yaml")
    result = score(data="bad.csv", output=output, part_rows=50)
    assert (result.resumed_parts, result.rows, result.rejected) == (2, 496, 4)
    monkeypatch.delenv("MMP_CONFIG")
    with pytest.raises(SettingsError, match="complete but for 4 bad rows that were left out"):
        score(data="bad.csv", output=output, part_rows=50)


def test_parts_with_bad_rows_are_not_kept_when_they_are_an_error(tmp_path, rejects, monkeypatch):
    rows = read(Path("bad.csv"))
    rows[498]["age (years)"] = "young"
    write(tmp_path / "worse.csv", rows)
    source, output = str(tmp_path / "worse.csv"), str(tmp_path / "o.csv")
    with pytest.raises(DataError, match="max_bad_rows is 4"):
        score(data=source, output=output, part_rows=50)
    monkeypatch.delenv("MMP_CONFIG")
    with pytest.raises(DataError, match="row 130"):
        score(data=source, output=output, part_rows=50)


def test_above_the_limit_the_batch_fails(tmp_path, rejects):
    rows = read(Path("bad.csv"))
    rows[7]["age (years)"] = "young"
    write(tmp_path / "worse.csv", rows)
    with pytest.raises(DataError, match=r"5 rows cannot be predicted, and .*max_bad_rows is 4"):
        score(data=str(tmp_path / "worse.csv"), output=str(tmp_path / "o.csv"), part_rows=100)
    assert not (tmp_path / "o.csv").exists()


def test_what_is_complete_is_held_to_a_lower_limit_too(tmp_path, rejects, monkeypatch):
    output = str(tmp_path / "o.csv")
    assert score(data="bad.csv", output=output).rejected == 4
    lower = Path("reject.yaml").read_text(encoding="utf-8").replace("max_bad_rows: 4", "max_bad_rows: 3")
    (tmp_path / "lower.yaml").write_text(lower, encoding="utf-8")
    monkeypatch.setenv("MMP_CONFIG", str(tmp_path / "lower.yaml"))
    with pytest.raises(SettingsError, match=r"complete but for 4 bad rows .*max_bad_rows is 3"):
        score(data="bad.csv", output=output)


def test_rows_that_the_model_refuses_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    n = 200
    write(tmp_path / "t.csv", [{"id": row, "x": row % 7, "y": 2.5 * (row % 7)} for row in range(n)])
    steps = "preprocessor: {steps: []}"
    text = recipe(
        "line",
        "regression",
        "sklearn.linear_model.LinearRegression",
        "t.csv",
        "y",
        entities=["id"],
        lines=[steps],
    )
    (tmp_path / "r.yaml").write_text(text)
    config = load_config(None)
    train(load_recipe("r.yaml"), config)
    write(tmp_path / "gaps.csv", [{"id": row, "x": "" if row in {17, 140} else row % 7} for row in range(n)])
    with pytest.raises(DataError, match=r"row 17, .*takes no missing values.*; row 140, "):
        batch_inference("latest", config.value, data="gaps.csv", output="o.csv")
    (tmp_path / "c.yaml").write_text("output: {inference: {on_bad_row: reject}}\n")
    result = batch_inference("latest", load_config("c.yaml").value, data="gaps.csv", output="o.csv")
    assert (result.rows, result.rejected) == (198, 2)
    lines = lines_of(result.rejected_output)
    assert [(line["row"], line["keys"]) for line in lines] == [(17, {"id": 17}), (140, {"id": 140})]


def test_unseen_categories_and_new_gaps_are_no_bad_rows(tmp_path):
    rows = read(Path("table.csv"))
    rows[3]["city"], rows[4]["등급"], rows[5]["zip"] = "Busan", "z", ""
    write(tmp_path / "t.csv", rows)
    assert score(data=str(tmp_path / "t.csv"), output=str(tmp_path / "o.csv")).rows == 500
    assert pacsv.read_csv(tmp_path / "o.csv").num_rows == 500
