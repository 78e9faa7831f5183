"""Metrics of probabilities that come true, or do not."""

from __future__ import annotations

import numpy as np
import pytest

from mmp.evaluation.evaluate import evaluate
from mmp.evaluation.reliability import bins, diagram
from mmp.modeling.target import Target

NAMES = ["brier", "brier_reliability", "brier_resolution", "brier_uncertainty"]


def measured(truth, output, metrics, **of_target):
    classes = tuple("abcdef"[: output.shape[1]])
    target = Target("classification", np.asarray(truth, np.int32), classes, **of_target)
    return evaluate(target, output, task="classification", metrics=metrics)


def both(p):
    return np.stack((1 - np.asarray(p), p), axis=1)


def test_a_model_that_always_says_no_to_half_the_rows_is_half_wrong():
    assert measured([0, 1] * 50, both(np.zeros(100)), ["ece"], positive=1) == {"ece": 0.5}
    assert measured([1, 1] * 50, both(np.ones(100)), ["ece"], positive=1) == {"ece": 0.0}


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_parts_of_the_brier_score_sum_to_it(n_classes):
    rng = np.random.default_rng(n_classes)
    output = rng.dirichlet(np.ones(n_classes), 500).round(2)
    output /= output.sum(axis=1, keepdims=True)
    truth = rng.integers(0, n_classes, 500)
    found = measured(truth, output, NAMES)
    parts = found["brier_reliability"] - found["brier_resolution"] + found["brier_uncertainty"]
    assert parts == pytest.approx(found["brier"], rel=1e-12)
    assert min(found.values()) >= 0


def test_probabilities_that_come_true_have_no_reliability_to_gain():
    rng = np.random.default_rng(0)
    p = rng.integers(1, 10, 200_000) / 10
    found = measured(rng.random(len(p)) < p, both(p), [*NAMES, "ece"], positive=1)
    assert found["brier_reliability"] < 1e-4
    assert found["ece"] < 0.005
    assert found["brier_resolution"] == pytest.approx(np.var(p), abs=2e-3)
    worse = measured(rng.random(len(p)) < p, both(p**3), [*NAMES, "ece"], positive=1)
    assert worse["brier_reliability"] > 0.05
    assert worse["ece"] > 0.2
    assert worse["brier_resolution"] == pytest.approx(np.var(p), abs=2e-3)


def test_bins_have_as_many_rows_and_keep_ties_together():
    p = np.random.default_rng(1).random(1000)
    assert np.bincount(bins(p)).tolist() == [100] * 10
    tied = np.concatenate((np.zeros(600), np.linspace(0.1, 1, 400)))
    place = bins(tied)
    assert set(place[:600]) == {3}
    assert np.bincount(place).tolist() == [0, 0, 0, 600, 0, 0, 100, 100, 100, 100]
    shown = diagram(tied, tied > 0.5)
    assert shown.rows.tolist() == [600, 100, 100, 100, 100]
    assert shown.said[0] == shown.came[0] == 0


def test_a_class_of_many_is_asked_for_by_name():
    output = np.array([[0.5, 0.25, 0.25]] * 4)
    found = measured([0, 0, 1, 2], output, ["ece", "ece_a", "ece_b", "ece_weighted"])
    assert found == {"ece": 0.0, "ece_a": 0.0, "ece_b": 0.0, "ece_weighted": 0.0}
    found = measured([0, 0, 0, 0], output, ["ece_a", "ece_b", "ece_macro"])
    assert found == {"ece_a": 0.5, "ece_b": 0.25, "ece_macro": pytest.approx(1 / 3)}


def test_costs_are_of_the_class_that_was_given_wrongly():
    output = both([0.9, 0.9, 0.1, 0.1, 0.1])
    truth = [1, 0, 1, 1, 0]
    assert measured(truth, output, ["cost"], positive=1) == {"cost": 3 / 5}
    assert measured(truth, output, ["cost"], positive=1, costs=(10.0, 1.0)) == {"cost": 21 / 5}
