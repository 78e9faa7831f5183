"""What a run says of its model: how sure it is, and whether it is better than nothing and than the champion."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from tests.judged import CONFIG, content, crown, logged, trained
from tests.tables import KEY, recipe, write_mixed

from mmp.errors import MissingColumnsError
from mmp.evaluation.confidence import by_name
from mmp.pipelines.evaluate import evaluate
from mmp.pipelines.train import train
from mmp.settings.load import load_config, load_recipe


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mixed(tmp_path / "table.csv", n_rows=600)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize("labels", ["text", "awkward", "value"])
def test_every_test_metric_has_its_interval_in_the_run(project, labels):
    write_mixed(project / "table.csv", labels)
    result = trained(labels)
    test, found = result.metrics["test"], result.intervals
    assert test.keys() - found.keys() <= {"max_error", "recall_yes_gladly", "roc_auc"}
    assert all(
        low <= test[name] <= high for name, (low, high) in found.items() if name != "average_precision"
    )
    metrics = logged(result.run_id).metrics
    assert {name: metrics[name] for name in by_name(found)} == pytest.approx(by_name(found))
    summary = content(project, result.run_id, "summary.json")
    assert {name: one["value"] for name, one in summary["metrics"].items()} == test
    assert {
        name: (one["low"], one["high"]) for name, one in summary["metrics"].items() if one["low"] is not None
    } == found


def test_one_seed_is_one_interval(project):
    assert trained().intervals == trained().intervals
    assert (
        trained().intervals
        != trained(lines=["evaluation: {random_state: 5, plots: false, explain: {enabled: false}}"]).intervals
    )


def test_the_same_rows_have_the_same_intervals_later(project):
    rows = project / "table.csv"
    result = trained(lines=["  split: {train: 0.5, validation: 0, test: 0.5}"])
    again = evaluate(result.run_id, load_config("config.yaml").value, data=str(rows))
    assert again.intervals.keys() >= result.intervals.keys() - {"recall_no"}
    # of all rows, seen and unseen, twice as many
    low, high = result.intervals["brier"]
    closer = again.intervals["brier"]
    assert closer.high - closer.low < high - low


def test_a_model_that_learned_is_better_than_one_that_did_not(project):
    result = trained()
    (comparison,) = result.comparisons
    assert comparison["verdict"] == "better"
    assert comparison["metrics"]["roc_auc"]["other"] == 0.5
    assert content(project, result.run_id, "comparison.json") == [json.loads(json.dumps(comparison))]
    assert not [finding for finding in result.warnings if finding.check == "comparison"]
    with (project / "table.csv").open(encoding="utf-8") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    assert comparison["metrics"]["log_loss"]["other"] == pytest.approx(
        -(shares * np.log(shares)).sum(), abs=0.02
    )


def test_a_model_of_noise_is_said_to_be_no_better(project):
    rng = np.random.default_rng(0)
    rows = "".join(f"{a},{b},{rng.choice(['yes', 'no'])}\n" for a, b in rng.random((400, 2)).tolist())
    (project / "noise.csv").write_text("a,b,label\n" + rows)
    text = recipe("r", "classification", "sklearn.ensemble.RandomForestClassifier", "noise.csv", "label")
    (project / "r.yaml").write_text(text)
    result = train(load_recipe("r.yaml"), load_config("config.yaml"))
    (finding,) = [finding for finding in result.warnings if finding.check == "comparison"]
    assert finding.level == "warn"
    assert "than the baseline" in finding.message
    assert "better than the baseline: log_loss" not in finding.message.replace("not clearly better", "")


def test_a_model_is_the_same_as_itself(project):
    first = trained()
    crown(first.run_id)
    again = trained()
    _, with_champion = again.comparisons
    assert with_champion["other"] == f"champion ({first.run_id[:8]})"
    assert with_champion["verdict"] == "undecided"
    assert with_champion["remark"] == ""
    assert {found["difference"] for found in with_champion["metrics"].values()} == {0.0}


@pytest.mark.parametrize("labels", ["awkward", "value"])
def test_a_better_model_is_said_to_be_better_and_a_worse_one_worse(project, labels):
    write_mixed(project / "table.csv", labels, n_rows=900)
    weak = {"alpha": 1e5} if labels == "value" else {"C": 1e-4}
    crown(trained(labels, **weak).run_id)
    better = trained(labels)
    assert better.comparisons[1]["verdict"] == "better"
    crown(better.run_id)
    worse = trained(labels, **weak)
    assert worse.comparisons[1]["verdict"] == "worse"
    (finding,) = [finding for finding in worse.warnings if finding.check == "comparison"]
    assert "worse than champion" in finding.message
    loss = worse.comparisons[1]["loss"]
    assert worse.comparisons[1]["metrics"][loss]["other"] == pytest.approx(better.metrics["test"][loss])


def test_a_champion_of_another_table_may_have_learned_from_the_rows(project):
    write_mixed(project / "other.csv", n_rows=600, seed=9)
    crown(trained(table="other.csv").run_id)
    assert "may have learned" in trained().comparisons[1]["sentence"]


def without_a_column(project):
    with (project / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (project / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([row[:1] + row[2:] for row in rows])


def with_other_classes(project):
    write_mixed(project / "table.csv", "numbers", n_rows=600)


def with_numbers(project):
    write_mixed(project / "table.csv", "value", n_rows=600)


def damaged(project):
    for path in project.glob("mlruns/artifacts/*/*/artifacts/model/baseline.json"):
        path.write_text("{}")


@pytest.mark.parametrize(
    ("mishap", "words"),
    [(without_a_column, "age (years)"), (with_other_classes, "other classes"), (with_numbers, "as classification"), (damaged, "")],
)  # fmt: skip
def test_a_champion_that_cannot_be_asked_is_a_finding(project, mishap, words):
    crown(trained().run_id)
    mishap(project)
    result = trained("value" if mishap is with_numbers else "text")
    assert len(result.comparisons) == 1
    (finding,) = [finding for finding in result.warnings if finding.check == "champion"]
    assert "not compared with champion" in finding.message
    assert words in finding.message
    assert logged(result.run_id).status == "FINISHED"


def test_the_summary_says_it_in_words(project, mmp):
    trained()
    told = mmp("train", "-r", "r.yaml", "-c", "config.yaml")
    header, *rows = told.out.splitlines()
    assert header.split("  ")[0] == "metric"
    assert header.endswith("test 95 %")
    assert any(row.startswith("log_loss") and " to " in row for row in rows)
    assert any(
        row.startswith("The model is better than the baseline (the shares of the classes): log_loss ")
        for row in rows
    )
    told = mmp("evaluate", "-c", "config.yaml", "--run-id", "latest", "-d", "table.csv")
    assert told.out.splitlines()[0].split() == ["metric", "here", "95", "%", "test", "split"]


SLICED = "evaluation: {{slices: [{columns}], plots: {plots}, explain: {{enabled: false}}}}"
HALF = "  split: {train: 0.5, validation: 0, test: 0.5}"


def sliced(columns, labels="awkward", *, plots="false"):
    return trained(labels, lines=[HALF, SLICED.format(columns=columns, plots=plots)])


def test_metrics_of_a_slice_are_those_of_its_rows(project):
    write_mixed(project / "table.csv", "awkward", n_rows=700)
    result = sliced(f"city, '등급', {KEY}")
    found = content(project, result.run_id, "slices.json")
    assert found["too_rare"] == {}
    cities = [one for one in found["asked"] if "city" in one["columns"]]
    assert sum(one["rows"] for one in cities) == found["rows"] == 350
    assert {one["columns"]["city"] for one in cities} == {
        "Köln",
        "New York",
        "St. John's",
        "東京",
        "(missing)",
    }
    assert found["value"] == pytest.approx(result.metrics["test"]["log_loss"])
    overall = sum(one["rows"] * one["metrics"]["log_loss"]["value"] for one in cities) / 350
    assert overall == pytest.approx(found["value"])
    for one in cities:
        assert one["loss"] == pytest.approx(one["metrics"]["log_loss"]["value"])
        low, accuracy, high = (one["metrics"]["accuracy"][end] for end in ("low", "value", "high"))
        assert low is None or low <= accuracy <= high
    (path,) = project.glob(f"mlruns/artifacts/*/{result.run_id}/artifacts/evaluation/slices.csv")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(found["asked"])
    for line, one in zip(lines, found["asked"], strict=True):
        assert {line["column"]: line["value"]} == one["columns"]
        assert float(line["log_loss"]) == one["metrics"]["log_loss"]["value"]


def test_slices_of_numbers_and_their_picture(project):
    write_mixed(project / "table.csv", "value")
    result = sliced("'income [€]', seen at, 'is active?'", "value", plots="true")
    assert any(name == "evaluation/slices.png" for name in result.artifacts)
    found = content(project, result.run_id, "slices.json")
    assert found["loss"] == "mae"
    assert sum(name.startswith("income") for one in found["asked"] for name in one["columns"]) == 5
    assert {"median_ae", "r2"} <= found["asked"][0]["metrics"].keys()


def test_a_slice_of_no_column_is_refused_before_the_fit(project):
    with pytest.raises(MissingColumnsError, match="did you mean 'city'"):
        sliced("citty")


def test_the_worst_slice_is_told_unasked(project):
    rng = np.random.default_rng(0)
    with (project / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([KEY, "x", "branch", "label"])
        for key in range(2000):
            branch, x = rng.choice(["a", "b", "c"]), rng.normal()
            wrong = rng.random() < (0.5 if branch == "c" else 0.05)
            writer.writerow([key, x, branch, "yes" if (x > 0) ^ wrong else "no"])
    result = trained(lines=[HALF])
    (finding,) = [finding for finding in result.warnings if finding.check == "slices"]
    assert finding.level == "info"
    assert "branch = c (log_loss" in finding.message
    summary = content(project, result.run_id, "summary.json")
    assert summary["worst_slices"][0]["slice"] == "branch = c"


def test_no_test_rows_nothing_to_judge(project):
    result = trained(lines=["  split: {train: 0.8, validation: 0.2, test: 0}"])
    assert (result.intervals, result.comparisons) == ({}, ())
    assert not [name for name in result.artifacts if name.startswith("evaluation/")]


def test_rows_of_a_group_are_drawn_together(project):
    rng = np.random.default_rng(0)
    with (project / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([KEY, "customer", "x", "label"])
        for key in range(2000):
            customer = key // 20
            writer.writerow(
                [key, f"c{customer:03}", rng.normal(), "yes" if (customer * 7919) % 100 < 50 else "no"]
            )
    group = trained(
        lines=["  split: {strategy: group, group_column: customer, train: 0.5, validation: 0, test: 0.5}"]
    )
    test = group.metrics["test"]["accuracy"]
    low, high = group.intervals["accuracy"]
    of_rows = 3.92 * math.sqrt(test * (1 - test) / 1000)
    assert high - low > 2 * of_rows
    assert content(project, group.run_id, "slices.json")["worst"] == []
