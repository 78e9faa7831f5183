"""The columns that say most about each prediction: those of `mmp explain`, in columns beside it."""

from __future__ import annotations

import csv
import json
import math

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.batch.project import CONFIG, MODELS, make, predicted, score
from tests.commands import call, finish, start
from tests.tables import KEY, recipe

from mmp.data.files import read
from mmp.errors import SettingsError
from mmp.pipelines.explain import explain
from mmp.pipelines.model import load_model
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe

N_COLUMNS = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strongest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder)
    return folder


@pytest.fixture
def project(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def named(row):
    """The columns and parts that a row of the output names, in order."""
    places = range(1, sum(name.startswith("shap_") for name in row) // 2 + 1)
    return [(row[f"shap_{place}_feature"], row[f"shap_{place}_value"]) for place in places]


def told(position, label):
    """What `mmp explain` says of one row, the strongest for its class first."""
    found = explain("latest", load_config(None).value, data="table.csv", row=position)
    parts = [
        (line["column"], line["shap"][str(label)] if isinstance(line["shap"], dict) else line["shap"])
        for line in found.columns
    ]
    return sorted(parts, key=lambda part: -abs(part[1])), found


@pytest.mark.parametrize("engine", sorted(MODELS))
def test_every_engine_names_what_explain_does(engine, tmp_path, monkeypatch):
    if engine == "sklearn":
        pytest.importorskip("shap")
    monkeypatch.chdir(tmp_path)
    make(tmp_path, engine)
    score(data="table.csv", output="out.parquet", explain_top_k=4, part_rows=97)
    rows = pq.read_table("out.parquet").to_pylist()
    plain = [{name: value for name, value in row.items() if "shap_" not in name} for row in rows]
    assert plain == predicted("table.csv")
    for position in (0, 96, 97, 250, 499):
        expected, found = told(position, rows[position]["prediction"])
        ours = named(rows[position])
        # equal to the bit; columns of equal strength may change places
        assert [value for _, value in ours] == [value for _, value in expected[:4]]
        assert set(ours) <= set(expected)
        assert json.loads((tmp_path / "out.parquet.manifest.json").read_text())["shap_unit"] == found.unit


def test_a_model_without_contributions_of_its_own_is_sampled_as_explain_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    text = recipe(
        "near",
        "classification",
        "sklearn.neighbors.KNeighborsClassifier",
        "train.csv",
        "label",
        entities=[KEY],
    )
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    train(load_recipe("r.yaml"), load_config(None))
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "few.csv").write_text("".join(lines[:30]), encoding="utf-8")
    for name, part_rows in (("a.csv", 100), ("b.csv", 4)):
        score(data="few.csv", output=name, explain_top_k=2, part_rows=part_rows)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    row = pacsv.read_csv("a.csv").to_pylist()[7]
    assert [value for _, value in named(row)] == [value for _, value in told(7, row["prediction"])[0][:2]]


def test_columns_are_the_same_whatever_the_model_has(project, tmp_path):
    for name in ("o.parquet", "o.csv", "o.jsonl"):
        score(data="table.csv", output=str(tmp_path / name), explain_top_k=N_COLUMNS + 2)
    table = pq.read_table(tmp_path / "o.parquet")
    expected = [f"shap_{k}_{what}" for k in range(1, N_COLUMNS + 3) for what in ("feature", "value")]
    assert [name for name in table.column_names if name.startswith("shap_")] == expected
    rows = table.to_pylist()
    for row in rows:
        pairs = named(row)
        assert pairs[N_COLUMNS:] == [(None, None)] * 2
        assert len({feature for feature, _ in pairs[:N_COLUMNS]}) == N_COLUMNS
        strengths = [abs(value) for _, value in pairs[:N_COLUMNS]]
        assert strengths == sorted(strengths, reverse=True)
    of_lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert of_lines == rows
    with (tmp_path / "o.csv").open(encoding="utf-8") as file:
        assert [row["shap_1_feature"] for row in csv.DictReader(file)] == [
            row["shap_1_feature"] for row in rows
        ]


def test_the_parts_of_all_columns_sum_to_the_score_of_the_class(project, tmp_path):
    score(data="table.csv", output=str(tmp_path / "o.parquet"), explain_top_k=N_COLUMNS)
    base = told(3, "n/a?")[1].row["base"]
    bundle = load_model("latest", load_config(None).value).bundle
    scores = bundle.model.scores(bundle.pipeline.matrix(bundle.read(read("table.csv").arrow)).values)
    for row, of_classes in zip(pq.read_table(tmp_path / "o.parquet").to_pylist(), scores, strict=True):
        total = math.fsum(value for _, value in named(row)) + base[row["prediction"]]
        assert total == pytest.approx(of_classes[bundle.classes.index(row["prediction"])], abs=1e-5)


def test_the_config_asks_for_it_and_what_was_made_without_is_another_output(project, tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text(CONFIG + "output: {inference: {explain_top_k: 1}}\n")
    output = str(tmp_path / "o.parquet")
    score(data="table.csv", output=output)
    monkeypatch.setenv("MMP_CONFIG", str(tmp_path / "c.yaml"))
    with pytest.raises(SettingsError, match="of other things: what is written"):
        score(data="table.csv", output=output)
    score(data="table.csv", output=output, restart=True)
    assert pq.read_table(output).column_names[-2:] == ["shap_1_feature", "shap_1_value"]
    assert not score(data="table.csv", output=output).is_new


def test_a_key_of_such_a_name_is_refused_before_the_first_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    for name in ("train.csv", "table.csv"):
        text = (tmp_path / name).read_text(encoding="utf-8").replace(KEY, "shap_1_value", 1)
        (tmp_path / name).write_text(text, encoding="utf-8")
    text = (tmp_path / "xgboost.yaml").read_text(encoding="utf-8").replace(KEY, "shap_1_value")
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    train(load_recipe("r.yaml"), load_config(None))
    with pytest.raises(SettingsError, match="has a column 'shap_1_value' already"):
        score(data="table.csv", output="o.csv", explain_top_k=1)
    assert score(data="table.csv", output="o.csv").rows == 500


def test_rows_that_are_left_out_do_not_move_the_others(project, tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text(CONFIG + "output: {inference: {explain_top_k: 2, on_bad_row: reject}}\n")
    lines = (project / "table.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "good.csv").write_text("".join(lines), encoding="utf-8")
    bad = lines[5].split(",")
    bad[1] = "old"
    (tmp_path / "bad.csv").write_text("".join([*lines[:5], ",".join(bad), *lines[5:]]), encoding="utf-8")
    monkeypatch.setenv("MMP_CONFIG", str(tmp_path / "c.yaml"))
    for name in ("good", "bad"):
        score(data=str(tmp_path / f"{name}.csv"), output=str(tmp_path / f"{name}_out.csv"))
    assert (tmp_path / "good_out.csv").read_bytes() == (tmp_path / "bad_out.csv").read_bytes()


def test_a_batch_that_is_killed_goes_on_to_the_same_bytes(project, tmp_path):
    lines = (project / "table.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "big.csv").write_text("".join([lines[0], *lines[1:] * 30]), encoding="utf-8")
    words = (
        "batch-inference",
        "--run-id",
        "latest",
        "-d",
        tmp_path / "big.csv",
        "--explain-top-k",
        "3",
        "--json",
    )
    done = tmp_path / "o.csv.mmp-parts/parts.jsonl"
    process = start(*words, "--part-rows", "700", "-o", tmp_path / "o.csv", cwd=project)
    while process.poll() is None and not (done.exists() and done.read_bytes().count(b"\n") >= 3):
        pass
    process.kill()
    finish(process)
    last = call(*words, "--part-rows", "700", "-o", tmp_path / "o.csv", cwd=project)
    assert last.code == 0, last.err
    assert last.json["resumed_parts"] >= 3
    score(data=str(tmp_path / "big.csv"), output=str(tmp_path / "same.csv"), explain_top_k=3)
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "same.csv").read_bytes()
