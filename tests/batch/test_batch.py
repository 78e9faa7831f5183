"""A batch gives what `mmp predict` gives, to the bit, of any file and into any file."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.batch.project import MODELS, make, predicted, score
from tests.tables import KEY

from mmp.data.files import read
from mmp.errors import ArtifactError, DataError, MissingColumnsError, SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "2")
        make(folder)
    return folder


@pytest.fixture
def project(folder, monkeypatch, tmp_path):
    """The project as the working directory; `tmp_path` is for outputs."""
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("engine", sorted(MODELS))
def test_every_engine_gives_what_predict_gives(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path, engine)
    result = score(data="table.csv", output="out.parquet", part_rows=128)
    assert pq.read_table("out.parquet").to_pylist() == predicted("table.csv")
    assert (result.rows, result.rejected, result.resumed_parts) == (500, 0, 0)


def test_every_output_holds_the_same_rows(project, tmp_path):
    expected = predicted("table.csv")
    for name in ("a.parquet", "a.csv", "a.jsonl", "a.json", "parts"):
        score(data="table.csv", output=str(tmp_path / name), part_rows=64)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == expected
    assert pq.read_table(tmp_path / "parts").to_pylist() == expected
    assert pacsv.read_csv(tmp_path / "a.csv").to_pylist() == expected
    for name in ("a.jsonl", "a.json"):
        assert [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] == expected
    manifest = json.loads((tmp_path / "parts/_manifest.json").read_text())
    assert [part["rows"] for part in manifest["parts"]] == [64] * 7 + [52]


def test_every_input_gives_the_same_bytes(project, tmp_path):
    table = read("table.csv").arrow
    (tmp_path / "halves").mkdir()
    for number, rows in enumerate((table.slice(0, 200), table.slice(200))):
        pq.write_table(rows, tmp_path / f"halves/{number}.parquet", row_group_size=37)
    pq.write_table(table, tmp_path / "one.parquet")
    lines = [json.dumps(row, default=str) for row in table.to_pylist()]
    (tmp_path / "table.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress((project / "table.csv").read_bytes()))
    sources = [
        "table.csv",
        *(str(tmp_path / name) for name in ("table.csv.gz", "table.jsonl", "one.parquet", "halves")),
    ]
    written = set()
    for number, source in enumerate([*sources, str(tmp_path / "halves/*.parquet")]):
        output = tmp_path / f"{number}.parquet"
        score(data=source, output=str(output), part_rows=90)
        written.add(output.read_bytes())
    assert len(written) == 1


def test_the_objects_of_a_list_and_of_lines_get_the_same(project, tmp_path):
    rows = read("table.csv").arrow.to_pylist()
    for number, row in enumerate(rows):
        row["age (years)"] = (
            None if row["age (years)"] is None else [row["age (years)"], str(row["age (years)"])][number % 2]
        )
    listed = json.dumps(rows, default=str)
    lines = [
        json.dumps({name: value for name, value in row.items() if value is not None}, default=str)
        for row in rows
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    score(data=str(tmp_path / "t.jsonl"), output=str(tmp_path / "o.jsonl"), part_rows=70)
    ours = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert ours == predicted(listed) == predicted(tmp_path / "t.jsonl")


@pytest.mark.parametrize("part_rows", [1, 7, 499, 500, 501])
def test_parts_of_any_size_hold_the_same_rows(project, tmp_path, part_rows):
    score(data="table.csv", output=str(tmp_path / "a.csv"))
    score(data="table.csv", output=str(tmp_path / "b.csv"), part_rows=part_rows)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_same_again_writes_nothing_and_another_table_is_refused(project, tmp_path):
    output = tmp_path / "out.parquet"
    first = score(data="table.csv", output=str(output))
    before = output.stat().st_mtime_ns
    again = score(data="table.csv", output=str(output))
    assert not again.is_new
    assert (again.rows, again.run_id, output.stat().st_mtime_ns) == (first.rows, "", before)
    with pytest.raises(SettingsError, match="is there already, and of other things: the input changed"):
        score(data="train.csv", output=str(output))
    assert output.stat().st_mtime_ns == before
    assert score(data="train.csv", output=str(output), restart=True).rows == 240
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.parquet.manifest.json"]


def test_what_somebody_else_wrote_is_not_replaced(project, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(SettingsError, match="is there already, and of something else"):
        score(data="table.csv", output=str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_a_directory_of_other_things_is_never_removed(project, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(SettingsError, match=r"something else|which --restart does not remove"):
            score(data="table.csv", output=str(tmp_path / "mine"), restart=restart)
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert score(data="table.csv", output=str(tmp_path / "empty")).rows == 500


def test_a_file_is_no_directory_and_that_is_known_before_the_first_row(project, tmp_path):
    (tmp_path / "o.parquet").mkdir()
    (tmp_path / "o").write_text("")
    for restart in (False, True):
        with pytest.raises(SettingsError, match=r"o\.parquet is a directory, and its name that of one file"):
            score(data="table.csv", output=str(tmp_path / "o.parquet"), restart=restart)
        with pytest.raises(SettingsError, match="o is a file; a name without suffix"):
            score(data="table.csv", output=str(tmp_path / "o"), restart=restart)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "o.parquet"]


def test_a_directory_is_replaced_whole(project, tmp_path):
    output = str(tmp_path / "parts")
    score(data="table.csv", output=output, part_rows=50)
    score(data="train.csv", output=output, part_rows=200, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == 2


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("rows/a.csv", "rows/a.csv"),
        ("rows/a.csv", "rows/../rows/link.csv"),
        ("rows", "rows/scores.csv"),
        ("rows", "rows"),
        ("rows/*.csv", "rows/scores.csv"),
        ("rows/*.csv", "rows"),
        ("rows/a.csv", "rows"),
    ],
)
def test_no_output_replaces_its_own_rows_or_is_read_with_them(project, tmp_path, source, output, restart):
    (tmp_path / "rows").mkdir()
    rows = Path("table.csv").read_bytes()
    (tmp_path / "rows/a.csv").write_bytes(rows)
    (tmp_path / "rows/link.csv").symlink_to("a.csv")
    with pytest.raises(SettingsError, match="among the rows that are scored"):
        score(data=str(tmp_path / source), output=str(tmp_path / output), restart=restart)
    assert (tmp_path / "rows/a.csv").read_bytes() == rows
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.csv", "link.csv", "rows"]


def test_an_output_may_stand_beside_the_rows_and_below(project, tmp_path):
    (tmp_path / "a.csv").write_bytes(Path("table.csv").read_bytes())
    for output in ("scores.parquet", "b.csv", "scores/of.csv", "parts"):
        for _ in range(2):
            assert score(data=str(tmp_path / "a.csv"), output=str(tmp_path / output)).rows == 500
    assert score(data=str(tmp_path / "a.*"), output=str(tmp_path / "scores/again.csv")).rows == 500


def test_without_a_table_the_one_of_the_training_is_scored(project, tmp_path):
    score(output=str(tmp_path / "out.csv"))
    assert pacsv.read_csv(tmp_path / "out.csv").to_pylist() == predicted("train.csv")


def test_the_config_names_the_output(project, tmp_path, monkeypatch):
    config = (project / "configs/local.yaml").read_text()
    other = tmp_path / "c.yaml"
    files = f"base_path: {tmp_path}, file_name: 'of_{{run_id}}', file_format: csv"
    other.write_text(f"{config}output: {{inference: {{config: {{{files}}}, lineage_columns: true}}}}\n")
    monkeypatch.setenv("MMP_CONFIG", str(other))
    result = score(data="table.csv")
    assert result.output == f"{tmp_path}/of_{result.model_run_id}.csv"
    row = pacsv.read_csv(result.output).to_pylist()[0]
    assert row["run_id"] == result.model_run_id
    assert row["predicted_at"].tzinfo is not None


def test_keys_stay_what_they_are(project, tmp_path):
    with (project / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row[KEY] = 2**63 - 1 - number
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    score(data=str(tmp_path / "t.csv"), output=str(tmp_path / "o.parquet"))
    assert pq.read_table(tmp_path / "o.parquet").column(KEY).to_pylist() == [row[KEY] for row in rows]
    table = read("table.csv").arrow
    texts = pa.array([f"{number:020d}" for number in range(table.num_rows)])
    position = table.column_names.index(KEY)
    pq.write_table(table.set_column(position, KEY, texts), tmp_path / "t.parquet")
    for name in ("o2.parquet", "o2.csv"):
        score(data=str(tmp_path / "t.parquet"), output=str(tmp_path / name))
    assert pq.read_table(tmp_path / "o2.parquet").column(KEY).to_pylist() == texts.to_pylist()
    assert (tmp_path / "o2.csv").read_text().splitlines()[8].startswith('"00000000000000000007",')


def test_all_differences_of_the_columns_are_told_before_the_first_prediction(project, tmp_path):
    table = read("table.csv").arrow
    names = table.column_names
    changed = (
        table.drop_columns(["age (years)", "city"])
        .append_column("citty", table.column("city"))
        .set_column(names.index("seen at") - 2, "seen at", table.column("is active?"))
    )
    changed = changed.set_column(
        changed.column_names.index("income [€]"), "income [€]", pa.array(["much"] * 500)
    )
    pq.write_table(changed, tmp_path / "t.parquet")
    with pytest.raises(MissingColumnsError) as caught:
        score(data=str(tmp_path / "t.parquet"), output=str(tmp_path / "o.parquet"))
    said = str(caught.value)
    assert "Columns 'age (years)', 'city' are missing." in said
    assert "Column 'seen at' is bool, and held times in training." in said
    assert "Column 'income [€]' held numbers in training, and now 'much', which is not a number." in said
    assert "'city': did you mean 'citty'?" in caught.value.hint


def test_order_does_not_matter_and_unknown_columns_are_told(project, tmp_path):
    table = read("table.csv").arrow
    extra = table.select(table.column_names[::-1]).append_column("new", table.column(KEY))
    pq.write_table(extra, tmp_path / "t.parquet")
    found = []
    score(data=str(tmp_path / "t.parquet"), output=str(tmp_path / "a.parquet"), tell=found.extend)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == predicted("table.csv")
    assert "The model does not know 'new'; it is passed over." in [finding.message for finding in found]


def test_a_table_without_rows_gives_an_output_without_rows(project, tmp_path):
    header = (project / "table.csv").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "none.csv").write_text(header + "\n", encoding="utf-8")
    for name in ("o.parquet", "o.csv", "o.jsonl", "parts"):
        assert score(data=str(tmp_path / "none.csv"), output=str(tmp_path / name)).rows == 0
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0
    assert (tmp_path / "o.csv").read_text().startswith('"customer id","prediction"')


def test_the_scoring_is_a_run_that_no_leaderboard_takes_for_a_training(project, tmp_path, mmp):
    result = score(data="table.csv", output=str(tmp_path / "o.parquet"))
    rows = mmp("runs", "--json").json["runs"]
    assert [row["run_id"] for row in rows] == [result.model_run_id]
    from mmp.settings.load import load_config
    from mmp.tracking.stores import connect

    with connect(load_config(None).value.mlflow) as store:
        run = store.get_run(result.run_id)
    assert run.status == "FINISHED"
    assert run.tags["mlflow.parentRunId"] == result.model_run_id
    assert run.metrics["rows"] == 500
    assert result.predictor == "compiled trees"
    assert run.params["predictor"].startswith("compiled trees, one thread in each of ")


def test_the_compiler_is_worth_its_time_for_many_rows_only(project, tmp_path):
    pq.write_table(read("table.csv").arrow.slice(0, 20), tmp_path / "few.parquet")
    command = [sys.executable, "-X", "importtime", "-m", "mmp", "batch-inference", "--run-id", "latest"]
    for name, is_compiled in ((tmp_path / "few.parquet", False), ("table.csv", True)):
        where = ["-d", str(name), "-o", str(tmp_path / "o.parquet"), "--restart"]
        said = subprocess.run([*command, *where], check=True, capture_output=True, text=True).stderr
        assert ("llvmlite" in said) == is_compiled
        assert "xgboost.core" not in said


@pytest.mark.parametrize("name", ["out.txt", "out.parquet.gz"])
def test_a_name_of_no_format_is_refused(project, tmp_path, name):
    with pytest.raises(SettingsError, match="its name ends in none of"):
        score(data="table.csv", output=str(tmp_path / name))


@pytest.mark.parametrize("name", ["", ".", "..", "/", "mlruns/.."])
def test_a_path_without_a_name_is_refused(project, name):
    with pytest.raises(SettingsError, match="is no name of an output"):
        score(data="table.csv", output=name)


def test_what_is_refused_leaves_no_folder(project, tmp_path):
    (tmp_path / "few.csv").write_text("nothing,of,it\n1,2,3\n")
    with pytest.raises(MissingColumnsError):
        score(data=str(tmp_path / "few.csv"), output=str(tmp_path / "o.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["few.csv"]


def test_a_scoring_is_no_model_and_says_whose_it_is(project, tmp_path):
    result = score(data="table.csv", output=str(tmp_path / "o.csv"))
    with pytest.raises(ArtifactError, match="has no model: it is a batch below another run") as caught:
        score(result.run_id, data="table.csv", output=str(tmp_path / "o2.csv"))
    assert result.model_run_id[:8] in caught.value.hint


def test_a_directory_that_cannot_be_written_is_a_sentence(project, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        score(data="table.csv", output=str(tmp_path / "file/o.parquet"))
