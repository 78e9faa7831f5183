"""Folds that tune for themselves: nothing that a fold chooses has seen the rows that judge it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.tables import recipe

from mmp.settings.load import load_config
from mmp.tracking.stores import connect

N_ROWS, N_FOLDS = 240, 3


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    values = rng.normal(size=(N_ROWS, 3))
    number = values @ [1, 0.5, -0.2] + rng.normal(size=N_ROWS)
    days = rng.permutation(N_ROWS)
    rows = [
        [*map(repr, map(float, row)), str(np.datetime64("2020-01-01") + int(day)), f"g{group}", repr(float(y)), int(y > 0)]
        for row, day, group, y in zip(values, days, rng.integers(0, 12, N_ROWS), number, strict=True)
    ]  # fmt: skip
    write(tmp_path, rows)
    return tmp_path, rows, values, number, days


def write(folder, rows):
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c", "day", "group", "y", "label"], *rows])


def text_of(class_path, *, target="y", more="", tuning="", lines=(), **values):
    task = "regression" if target == "y" else "classification"
    found = recipe("r", task, class_path, "t.csv", target, values=values, lines=[
        f"  split: {{strategy: cross_validation, folds: {N_FOLDS}, train: 0.8, validation: 0, test: 0.2{more}}}", *lines,
    ])  # fmt: skip
    columns = f"target_column: {target}, feature_columns: [a, b, c]"
    found = found.replace(f"target_column: {target}", columns)
    return (
        found.replace("hyperparameters: {values: {", f"hyperparameters: {{{tuning}values: {{")
        if tuning
        else found
    )


RIDGE = "tuning_enabled: true, n_trials: 5, tunable: {alpha: {type: float, range: [0.01, 1000], log: true}}, "


def told(folder, run_id, where="folds"):
    (path,) = folder.glob(f"mlruns/artifacts/*/{run_id}/artifacts/{where}/predictions.parquet")
    table = pq.read_table(io.BytesIO(path.read_bytes()))
    return {name: np.array(table.column(name).to_pylist()) for name in table.column_names}


def trained(mmp, text):
    Path("r.yaml").write_text(text)
    outcome = mmp("train", "-r", "r.yaml", "--json", "-q")
    assert outcome.code == 0, outcome.err
    return outcome.json


def trials_of(run_id):
    with connect(load_config().value.mlflow) as store:
        return list(store.search(tags={"mlflow.parentRunId": run_id}, limit=500))


def test_a_fold_tunes_on_its_own_rows(project, mmp):
    folder, _, values, number, _ = project
    result = trained(mmp, text_of("sklearn.linear_model.Ridge", more=", inner_folds: 2", tuning=RIDGE))
    nested, plain = (told(folder, result["run_id"], where) for where in ("nested", "folds"))
    assert (nested["row"] == plain["row"]).all()
    assert (nested["fold"] == plain["fold"]).all()
    scores = []
    for fold in range(N_FOLDS):
        trials = [run for run in trials_of(result["run_id"]) if f"_fold_{fold + 1}_trial_" in run.name]
        assert len(trials) == 5
        best = min(trials, key=lambda run: run.metrics["rmse"])
        learned, judged = (nested["row"][(nested["fold"] == fold) == own] for own in (False, True))
        model = make_pipeline(StandardScaler(), Ridge(alpha=float(best.params.get("alpha", 1.0))))
        said = model.fit(values[learned], number[learned]).predict(values[judged])
        assert nested["prediction"][nested["fold"] == fold] == pytest.approx(said, rel=1e-4, abs=1e-4)
        scores.append(np.sqrt(np.mean((said - number[judged]) ** 2)))
    assert result["metrics"]["nested"]["rmse_mean"] == pytest.approx(np.mean(scores), rel=1e-4)
    assert result["metrics"]["nested"]["rmse_se"] == pytest.approx(
        np.std(scores, ddof=1) / N_FOLDS**0.5, rel=1e-3
    )


@pytest.mark.parametrize(("class_path", "tuning", "lines"), [
    ("sklearn.linear_model.Ridge", RIDGE, ()),
    ("xgboost.XGBRegressor",
     "tuning_enabled: true, n_trials: 3, fixed: {n_estimators: 60}, tunable: {max_depth: {type: int, range: [1, 4]}}, ", ()),
], ids=["ridge", "stops early"])  # fmt: skip
def test_the_rows_that_judge_have_no_say(class_path, tuning, lines, project, mmp):
    """Whatever their targets are, they are told the same."""
    folder, rows, *_ = project
    text = text_of(class_path, more=", inner_folds: 2", tuning=tuning, lines=lines)
    if "xgboost" in class_path:
        text = text.replace(
            "  class_path: xgboost.XGBRegressor\n",
            "  class_path: xgboost.XGBRegressor\n  early_stopping: {rounds: 3}\n",
        )
    before = told(folder, trained(mmp, text)["run_id"], "nested")
    judged = set(before["row"][before["fold"] == 1].tolist())
    write(folder, [
        [*row[:5], repr(-7 * float(row[5]) + 3) if number in judged else row[5], row[6]] for number, row in enumerate(rows)
    ])  # fmt: skip
    after = told(folder, trained(mmp, text)["run_id"], "nested")
    assert (before["row"] == after["row"]).all()
    same = before["prediction"] == after["prediction"]
    assert same[before["fold"] == 1].all()
    assert not same[before["fold"] != 1].all()


def test_folds_share_a_storage_without_sharing_a_study(project, mmp):
    folder, *_ = project
    tuning = RIDGE.replace("n_trials: 5", f"n_trials: 3, storage: 'sqlite:///{folder}/studies.db'")
    text = text_of("sklearn.linear_model.Ridge", more=", inner_folds: 2", tuning=tuning)
    result = trained(mmp, text)
    names = [run.name.partition("_trial_")[0].rpartition("Z")[2] for run in trials_of(result["run_id"])]
    assert sorted(set(names)) == ["", "_fold_1", "_fold_2", "_fold_3"]
    assert len(names) == 3 * 4
    again = trained(mmp, text)
    assert (
        told(folder, again["run_id"], "nested")["prediction"]
        == told(folder, result["run_id"], "nested")["prediction"]
    ).all()


def test_the_summary_shows_both_scores(project, mmp):
    trained(mmp, text_of("sklearn.linear_model.Ridge", more=", inner_folds: 2", tuning=RIDGE))
    outcome = mmp("train", "-r", "r.yaml")
    assert outcome.code == 0, outcome.err
    header = outcome.out.splitlines()[0]
    assert header.split()[-3:] == ["folds", "nested", "folds"]
    assert "nested" in outcome.err
    planned = mmp("plan", "-r", "r.yaml")
    assert "in as many trials on 2 folds of each fold and once" in planned.out


@pytest.mark.parametrize("text", [
    text_of("sklearn.linear_model.Ridge", more=", inner_folds: 2"),
    text_of("sklearn.linear_model.Ridge", tuning=RIDGE).replace(
        "strategy: cross_validation, folds: 3, train: 0.8, validation: 0", "inner_folds: 3, train: 0.6, validation: 0.2"),
], ids=["without tuning", "without folds"])  # fmt: skip
def test_inner_folds_that_have_no_effect_are_told(text, project, mmp):
    folder, *_ = project
    (folder / "r.yaml").write_text(text)
    outcome = mmp("validate", "-r", "r.yaml")
    assert outcome.code == 0, outcome.err
    assert "data.split.inner_folds: it has no effect" in outcome.err


@pytest.mark.parametrize("gap", [0, 12])
def test_folds_in_time_learn_from_what_was_before(gap, project, mmp):
    folder, _, values, number, days = project
    result = trained(mmp, text_of("sklearn.linear_model.LogisticRegression", target="label",
                                  more=f", temporal_column: day, gap: {gap}d"))  # fmt: skip
    found = told(folder, result["run_id"])
    parts = np.sort(days)[: int(N_ROWS * 0.8)]
    for fold in range(N_FOLDS):
        judged = found["row"][found["fold"] == fold]
        begin = days[judged].min()
        learned = np.flatnonzero(days <= begin - max(gap, 1))
        assert len(judged) == len(parts) // (N_FOLDS + 1)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        said = model.fit(values[learned], number[learned] > 0).predict_proba(values[judged])[:, 1]
        assert found["probability_1"][found["fold"] == fold] == pytest.approx(said, abs=2e-3)


def test_folds_of_groups_do_not_learn_from_the_group(project, mmp):
    folder, rows, values, number, _ = project
    result = trained(mmp, text_of("sklearn.linear_model.Ridge", more=", group_column: group"))
    found = told(folder, result["run_id"])
    groups = np.array([row[4] for row in rows])
    rest = np.isin(np.arange(N_ROWS), found["row"])
    for fold in range(N_FOLDS):
        judged = found["row"][found["fold"] == fold]
        learned = np.flatnonzero(rest & ~np.isin(groups, groups[judged]))
        assert len(learned) == rest.sum() - len(judged)
        model = make_pipeline(StandardScaler(), Ridge()).fit(values[learned], number[learned])
        assert found["prediction"][found["fold"] == fold] == pytest.approx(
            model.predict(values[judged]), abs=1e-3
        )
