"""Presets: what is tried in a time, that the time is kept, and what comes out."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables import KEY, NO_PICTURES, write_mixed

from mmp.catalog.models import find
from mmp.catalog.portfolio import FAST, PORTFOLIO
from mmp.errors import TrainingError
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target
from mmp.pipelines.check import model_row
from mmp.pipelines.fitting import Ready
from mmp.pipelines.out_of_fold import Folds, Said
from mmp.pipelines.preset import Budget, Search, moved_within
from mmp.settings.checks import check
from mmp.settings.config import Config
from mmp.settings.members import candidate_recipes
from mmp.settings.recipe import Recipe

ENDED = {"xgboost", "lightgbm", "catboost"}
TASKS = ("classification", "regression")


def recipe_of(task="classification", preset="best", limit=60.0):
    return Recipe.model_validate(
        {
            "name": "p",
            "task_choice": task,
            "model": {"preset": preset, "time_limit_s": limit},
            "data": {"data_interface": {"target_column": "y"}},
        }
    )


class Clock:
    """A clock that only work moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def folds_of(n_rows=300, n_folds=5):
    rng = np.random.default_rng(0)
    target = Target("classification", rng.integers(0, 2, n_rows).astype(np.int32), ("a", "b"), 1)
    numbers = np.arange(n_rows) % n_folds
    divisions = [
        {"train": np.flatnonzero(numbers != fold), "validation": np.flatnonzero(numbers == fold)}
        for fold in range(n_folds)
    ]
    return Folds(SimpleNamespace(target=target), divisions)


def told(clock, costs, fails=()):
    """Return what stands in for fits: it takes as long as it is said to, or as it may where it can be ended."""

    def fit_out_of_fold(folds, member, tell, *, seconds, clock):
        row = model_row(member)
        cost = len(folds) * costs(row.name)
        clock.now += min(cost, seconds) if row.engine in ENDED else cost
        if row.name in fails:
            raise TrainingError("It failed.")
        rng = np.random.default_rng(abs(hash(json.dumps(dict(member.model.hyperparameters.values)))) % 2**32)
        outputs = []
        for parts in folds.divisions:
            truth = folds.rows.target.values[parts["validation"]]
            positive = np.clip(0.5 + 0.2 * (truth - 0.5) + 0.2 * rng.normal(size=len(truth)), 0.01, 0.99)
            outputs.append(np.stack((1 - positive, positive), axis=1))
        return Said(member, tuple(outputs), min(cost, seconds), min(cost, seconds) / len(folds))

    return fit_out_of_fold


@settings(max_examples=60, deadline=None)
@given(
    limit=st.floats(5, 600),
    share=st.floats(1e-4, 0.5),
    slow=st.floats(0.1, 10),
    preset=st.sampled_from(["fast", "good", "best"]),
)
def test_search_and_last_fits_are_over_in_time(limit, share, slow, preset):
    clock = Clock()
    once = limit * share

    def costs(name):
        # what cannot be ended is reckoned on a sample of large tables; here it is small
        return once * slow if name.startswith(("XGB", "LGBM", "Cat")) else min(once, limit / 100)

    budget = Budget(limit, 0.1 * limit, clock)
    search = Search(recipe_of(preset=preset), folds_of(), budget, lambda _: None, told(clock, costs))
    search.run(may_use_fewer=True)
    assert clock.now - 100 <= 0.9 * limit + 2
    joined = search.joined()
    if len(joined.said) > 1:
        assert clock.now - 100 + 1.25 * sum(one.once_s for one in joined.said) <= limit
    assert len(joined.said) <= {"fast": 3, "good": 6, "best": 10}[preset]


def test_the_faster_a_fit_the_more_folds_and_models():
    found = []
    for once in (0.01, 1.0, 30.0):
        clock = Clock()
        search = Search(
            recipe_of(),
            folds_of(),
            Budget(60, 0, clock),
            lambda _: None,
            told(clock, lambda _, once=once: once),
        )
        search.run(may_use_fewer=True)
        found.append((len(search.folds), len(search.tried)))
    assert found == sorted(found, reverse=True)
    assert found[0][0] == 5
    assert found[-1][0] == 1
    assert found[0][1] > len(PORTFOLIO)


def test_the_folds_of_cross_validation_are_all_used():
    clock = Clock()
    search = Search(
        recipe_of(), folds_of(n_folds=3), Budget(60, 0, clock), lambda _: None, told(clock, lambda _: 15.0)
    )
    search.run(may_use_fewer=False)
    assert len(search.folds) == 3
    assert search.tried


def test_what_fails_is_left_out_and_told():
    clock = Clock()
    failing = told(clock, lambda _: 0.1, fails=("LGBMClassifier",))
    search = Search(recipe_of(preset="good"), folds_of(), Budget(60, 0, clock), lambda _: None, failing)
    search.run(may_use_fewer=True)
    assert "LGBMClassifier" not in {one.said.row.name for one in search.tried}
    assert any("LGBMClassifier was left out: It failed." in one.message for one in search.findings())


def test_what_was_tried_is_not_said_to_have_had_no_time():
    clock = Clock()
    search = Search(recipe_of(), folds_of(), Budget(60, 0, clock), lambda _: None, told(clock, lambda _: 4.0))
    search.run(may_use_fewer=True)
    tried = {one.said.row.name for one in search.tried}
    assert search.skipped
    assert set(search.skipped) <= tried
    assert not [one for one in search.findings() if "no time to try" in one.message]


@pytest.mark.parametrize(("over", "n_told"), [(-5.0, 0), (0.5, 0), (1.5, 1)])
def test_a_limit_that_was_not_kept_is_told(over, n_told):
    ready = Ready(None, None, None, {}, None, ends_at=time.perf_counter() - over, limit_s=10.0)
    found = ready.late()
    assert len(found) == n_told
    assert all("took 11.5 s, longer than the 10 s of model.time_limit_s" in one.message for one in found)
    assert not replace(ready, ends_at=inf, limit_s=inf).late()


def test_nothing_that_can_be_fitted_is_the_first_failure():
    clock = Clock()
    fails = {one.row("classification").name for one in PORTFOLIO}
    search = Search(
        recipe_of(), folds_of(), Budget(60, 0, clock), lambda _: None, told(clock, lambda _: 0.1, fails)
    )
    with pytest.raises(TrainingError, match="It failed"):
        search.run(may_use_fewer=True)


def test_variations_lie_in_the_catalogs_space():
    clock = Clock()
    search = Search(recipe_of(), folds_of(), Budget(60, 0, clock), lambda _: None, told(clock, lambda _: 0.2))
    search.run(may_use_fewer=False)
    varied = [one.member for one in search.tried[len(candidate_recipes(search.recipe, 240)) :]]
    assert len(varied) > 5
    for member in varied:
        row, written = model_row(member), member.model.hyperparameters.values
        origins = [one.values_for("classification") for one in PORTFOLIO]
        for name, one in row.search_space.items():
            if name in written and not any(written[name] == values.get(name) for values in origins):
                assert one.range[0] <= written[name] <= one.range[1]
        if row.early_stopping:
            assert written[row.rounds_param] == 2000
            assert member.model.early_stopping is not None


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_moved_value_stays_in_its_space(data, seed):
    rows = [one.row(task) for one in PORTFOLIO for task in TASKS]
    row = data.draw(st.sampled_from(rows))
    name = data.draw(st.sampled_from(sorted(row.search_space)))
    space, rng, value = row.search_space[name], np.random.default_rng(seed), None
    for _ in range(20):
        value = moved_within(space, value, rng)
        if space.type == "categorical":
            assert value in space.range
        else:
            assert space.range[0] <= value <= space.range[1]
            assert isinstance(value, int if space.type == "int" else float)


@pytest.mark.parametrize("task", TASKS)
def test_every_candidate_is_a_recipe_that_holds(task):
    for preset, number in (("fast", FAST), ("best", len(PORTFOLIO))):
        found = candidate_recipes(recipe_of(task, preset))
        assert len(found) == number
        for one in found:
            assert [finding for finding in check(one, Config()) if finding.level == "error"] == []
    assert len(candidate_recipes(recipe_of(task), 1_000_000)) < len(PORTFOLIO)


@pytest.mark.parametrize("rounds", [1, 7])
@pytest.mark.parametrize("stops", [True, False])
@pytest.mark.parametrize("path", ["xgboost.XGB{}", "lightgbm.LGBM{}", "catboost.CatBoost{}"])
@pytest.mark.parametrize("task", TASKS)
def test_a_booster_ends_where_it_is_told_to(task, path, stops, rounds):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3))
    if task == "regression":
        target = Target("regression", values[:, 0] + rng.normal(size=200))
    else:
        target = Target("classification", (values[:, 0] > 0).astype(np.int32), ("a", "b"), 1)
    row = find(path.format("Regressor" if task == "regression" else "Classifier"))
    matrix = Matrix(values.astype(row.matrix_dtype), ("x", "y", "z"))
    seen = []

    def watch(number, _values):
        seen.append(number)
        return len(seen) == rounds

    options = FitOptions(early_stopping=EarlyStopping(50) if stops else None)
    rate = {"learning_rate": 0.1}  # CatBoost's own values go by the number of rounds
    if row.engine == "catboost":
        rate["leaf_estimation_iterations"] = 1
    fitted = fit_model(
        row, {row.rounds_param: 500, **rate}, matrix, target, validation=(matrix, target), options=options,
        on_iteration=watch,
    )  # fmt: skip
    assert len(seen) == rounds
    assert np.isfinite(fitted.model.predict(matrix.values)).all()
    alone = fit_model(row, {row.rounds_param: rounds, **rate}, matrix, target)
    if not stops:
        assert np.allclose(fitted.model.predict(matrix.values), alone.model.predict(matrix.values))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(labels="text", *, preset="fast", limit=6, lines=()):
        write_mixed(tmp_path / "table.csv", labels)
        task = "regression" if labels == "value" else "classification"
        text = [
            "name: r", f"task_choice: {task}", f"model: {{preset: {preset}, time_limit_s: {limit}}}",
            f'data: {{loader: {{source_uri: table.csv}}, data_interface: {{target_column: label, entity_columns: ["{KEY}"]}}}}',
            NO_PICTURES, *lines,
        ]  # fmt: skip
        (tmp_path / "r.yaml").write_text("\n".join(text), encoding="utf-8")
        return ("train", "-r", "r.yaml", "--json", "-q")

    return write


@pytest.mark.parametrize("labels", ["text", "awkward", "value"])
def test_a_preset_trains_a_model_and_the_recipe_of_it(labels, project, tmp_path, mmp):
    outcome = mmp(*project(labels))
    assert outcome.code == 0, outcome.err
    result = outcome.json
    (found,) = tmp_path.glob(f"mlruns/artifacts/*/{result['run_id']}/artifacts/ensemble/recipe.yaml")
    assert "preset" not in found.read_text(encoding="utf-8")
    assert mmp("predict", "--run-id", "latest", "-i", "table.csv", "--json").code == 0
    again = mmp("train", "-r", str(found), "--json", "-q")
    assert again.code == 0, again.err
    metric = "rmse" if labels == "value" else "log_loss"
    assert again.json["metrics"]["test"][metric] == pytest.approx(result["metrics"]["test"][metric], rel=0.15)


def test_a_preset_with_cross_validation(project, mmp):
    words = project(lines=["  "])
    split = "data.split={strategy: cross_validation, folds: 3, train: 0.8, validation: 0, test: 0.2}"
    outcome = mmp(*words, "--set", split)
    assert outcome.code == 0, outcome.err
    assert "roc_auc_se" in outcome.json["metrics"]["cv"]


def test_plan_and_validate_say_what_would_be_tried(project, mmp):
    project()
    planned = mmp("plan", "-r", "r.yaml", "--json").json
    assert planned["model"] == "preset fast"
    assert planned["members"][0]["model"] == "lightgbm.LGBMClassifier"
    assert len(planned["members"]) == FAST
    assert "preset fast on" in mmp("validate", "-r", "r.yaml").out
