"""Studies: seeded, never worse than their start, bounded, and what fails in them is a trial, not the study."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import replace

import optuna
import pytest

from mmp.catalog.row import Space
from mmp.errors import SettingsError, TrackingError, TrainingError
from mmp.modeling import tuning
from mmp.modeling.pruned import Pruned
from mmp.modeling.tuning import Search

SPACE = {
    "x": Space("float", (-1.0, 1.0)),
    "n": Space("int", (1, 1000), log=True),
    "layers": Space("categorical", ([8, 8], [16], None)),
}
SEARCH = Search(SPACE, "loss", greater_is_better=False, start={"x": 0.5}, n_trials=25, pruning=False)


def loss(values, report):
    return values.get("x", 0.5) ** 2 + values.get("n", 100) / 1000 + (values.get("layers") == [8, 8])


def params(study):
    return [dict(trial.params) for trial in study.trials]


def test_a_study_starts_with_what_nobody_drew_and_is_never_worse():
    study = tuning.tune(loss, SEARCH)
    assert len(study.trials) == 25
    assert study.trials[0].params == {"x": 0.5}
    assert study.trials[0].score == pytest.approx(0.25 + 0.1)
    assert study.best.score == min(trial.score for trial in study.trials) < study.trials[0].score
    drawn = [trial.params["layers"] for trial in study.trials[1:]]
    assert all(value in SPACE["layers"].range for value in drawn)
    assert all(
        isinstance(trial.params["n"], int) and 1 <= trial.params["n"] <= 1000 for trial in study.trials[1:]
    )
    assert sum(study.importance.values()) == pytest.approx(1)


def test_the_direction_is_the_metrics():
    up = replace(SEARCH, metric="gain", greater_is_better=True)
    study = tuning.tune(lambda values, report: -loss(values, report), up)
    assert study.best.score == max(trial.score for trial in study.trials)
    assert params(study)[:10] == params(tuning.tune(loss, SEARCH))[:10]


def test_of_equals_the_start_is_the_best():
    study = tuning.tune(lambda values, report: 1.0, SEARCH)
    assert study.best.number == 0
    assert study.importance == {}


def test_a_seed_is_a_study():
    one, again, other = (tuning.tune(loss, replace(SEARCH, seed=seed)) for seed in (7, 7, 8))
    assert params(one) == params(again)
    assert params(one)[1:] != params(other)[1:]


def test_the_global_random_numbers_are_left_alone():
    before = random.getstate()
    tuning.tune(loss, replace(SEARCH, n_trials=3))
    assert random.getstate() == before


def test_a_failed_trial_is_kept_with_its_reason():
    def picky(values, report):
        if values.get("layers") == [16]:
            raise TrainingError("It does not like 16.")
        return loss(values, report)

    told = []
    study = tuning.tune(picky, SEARCH, told.append)
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert failed
    assert {trial.error for trial in failed} == {"It does not like 16."}
    assert len(study.trials) == 25
    assert told == list(study.trials)


def test_when_every_trial_fails_so_does_the_study():
    def broken(values, report):
        raise SettingsError("There is no such loss.")

    with pytest.raises(TrainingError, match="None of the 3 trials could be scored by loss: There is no such"):
        tuning.tune(broken, replace(SEARCH, n_trials=3))


def test_a_bug_is_no_failed_trial():
    with pytest.raises(ZeroDivisionError):
        tuning.tune(lambda values, report: 1 / 0, SEARCH)


def test_no_trial_begins_when_time_is_up():
    def slow(values, report):
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass
        return loss(values, report)

    study = tuning.tune(slow, replace(SEARCH, n_trials=1000, timeout_s=1.0))
    assert 1 <= len(study.trials) <= 4
    # the start is tried whatever the time
    assert len(tuning.tune(slow, replace(SEARCH, timeout_s=0.01)).trials) == 1


def test_trials_that_fall_behind_are_pruned():
    reached = []

    def boosted(values, report):
        final = loss(values, report)
        for step in (25, 50, 75):
            report(step, final)
        reached.append(final)
        return final

    study = tuning.tune(boosted, replace(SEARCH, pruning=True))
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.score is None for trial in pruned)
    assert len(reached) == 25 - len(pruned)
    assert study.best.score == min(reached)
    assert all(trial.state == "complete" for trial in tuning.tune(boosted, SEARCH).trials)


def test_trials_at_a_time_are_told_in_the_thread_that_called():
    meeting = threading.Barrier(2, timeout=20)
    threads = set()

    def together(values, report):
        meeting.wait()
        return loss(values, report)

    study = tuning.tune(
        together, replace(SEARCH, n_trials=10, n_jobs=2), lambda _: threads.add(threading.current_thread())
    )
    assert len(study.trials) == 10
    assert threads == {threading.main_thread()}


def test_who_listens_may_end_a_study_of_threads():
    def hear(trial):
        raise KeyboardInterrupt

    def watched(values, report):
        report(1, 0.0)
        return loss(values, report)

    with pytest.raises(KeyboardInterrupt):
        tuning.tune(watched, replace(SEARCH, n_trials=10_000, n_jobs=2), hear)


def test_a_study_says_nothing_by_itself(capfd):
    before = optuna.logging.get_verbosity()
    tuning.tune(loss, replace(SEARCH, n_trials=3))
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before
    assert logging.getLogger("optuna").level == before


# -- a storage -----------------------------------------------------------------------------------------


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


def test_a_study_goes_on_where_it_was_and_draws_what_it_would_have(storage):
    tuning.tune(loss, replace(SEARCH, storage=storage, n_trials=12))
    told = []
    resumed = tuning.tune(loss, replace(SEARCH, storage=storage, n_trials=20), told.append)
    assert [trial.number for trial in told] == list(range(12, 20))
    assert params(resumed) == params(tuning.tune(loss, replace(SEARCH, n_trials=20)))


def test_a_finished_study_is_not_run_again(storage):
    first = tuning.tune(loss, replace(SEARCH, storage=storage))

    def never(values, report):
        raise AssertionError

    again = tuning.tune(never, replace(SEARCH, storage=storage))
    assert (again.best, again.trials) == (first.best, first.trials)


def test_what_was_interrupted_is_not_counted(storage):
    def interrupted(values, report):
        if "n" in values:
            raise KeyboardInterrupt
        return loss(values, report)

    with pytest.raises(KeyboardInterrupt):
        tuning.tune(interrupted, replace(SEARCH, storage=storage))
    study = tuning.tune(loss, replace(SEARCH, storage=storage))
    states = [trial.state for trial in study.trials]
    assert states == ["complete", "failed", *["complete"] * 24]
    assert study.trials[1].error == "its process ended"


@pytest.mark.parametrize("url", ["study.db", "cassandra://host/x"])
def test_a_storage_that_is_none(url):
    with pytest.raises(SettingsError, match=r"storage: .* is no URL of a database"):
        tuning.tune(loss, replace(SEARCH, storage=url))


def test_a_storage_that_is_away(tmp_path):
    with pytest.raises(TrackingError, match="does not answer") as caught:
        tuning.tune(loss, replace(SEARCH, storage="postgresql://anna:hunter2@127.0.0.1:1/studies"))
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(TrackingError):
        tuning.tune(loss, replace(SEARCH, storage=f"sqlite:///{tmp_path}/missing/study.db"))


def test_an_objective_may_end_itself():
    def early(values, report):
        if "x" in values and values["x"] < 0:
            raise Pruned
        return loss(values, report)

    study = tuning.tune(early, SEARCH)
    assert {trial.state for trial in study.trials} == {"complete", "pruned"}
