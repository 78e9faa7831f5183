"""Metrics of the user's own, by dotted path."""

from __future__ import annotations

import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import fbeta_score, log_loss, roc_auc_score

from mmp.catalog.metrics import parse
from mmp.errors import DataError, SettingsError, TrainingError, UnknownNameError
from mmp.evaluation.evaluate import evaluate, requests
from mmp.modeling.target import Target

TRUTH = np.array([0, 1, 1, 0, 1], np.int32)
SCORES = np.array([0.2, 0.9, 0.4, 0.6, 0.7])
TWO = Target("classification", TRUTH, ("No", "Yes"), 1)
OUTPUT = np.column_stack([1 - SCORES, SCORES])


def profit(truth, prediction):
    return 10 * np.sum((prediction == "Yes") & (truth == "Yes")) - np.sum(prediction == "Yes")


def sharpness(truth, probability):
    return float(np.mean(np.abs(probability - 0.5)))


def shape(truth, probability):
    return probability.shape[1]


def halves(truth, prediction, *, scale=2):
    return np.mean(truth - prediction) / scale


def endless(truth, prediction):
    return math.inf


def broken(truth, prediction):
    return truth + "x"


def nothing(truth, prediction):
    return None


def one(truth):
    return 0


CONSTANT = 3


@pytest.fixture(autouse=True)
def _module(monkeypatch):
    module = ModuleType("shop_money")
    vars(module).update({name: value for name, value in globals().items() if not name.startswith("__")})
    module.__spec__ = ModuleSpec("shop_money", None)
    monkeypatch.setitem(sys.modules, "shop_money", module)


def computed(metric, target=TWO, output=OUTPUT, task="classification"):
    return evaluate(target, output, task=task, metrics=[metric])[metric]


def test_decisions_and_probabilities_by_the_name_of_the_parameter():
    assert computed("shop_money.profit") == 10 * 2 - 3
    assert computed("shop_money.sharpness") == pytest.approx(np.abs(SCORES - 0.5).mean())
    turned = Target("classification", TRUTH, ("No", "Yes"), 0)
    assert computed("shop_money.sharpness", turned, OUTPUT) == pytest.approx(np.abs(0.5 - SCORES).mean())


def test_many_classes_and_numbers():
    three = Target("classification", np.array([0, 1, 2], np.int32), (10, 20, 30))
    assert computed("shop_money.shape", three, np.eye(3)) == 3
    numbers = Target("regression", np.array([1.0, 3.0]))
    assert computed("shop_money.halves", numbers, np.array([0.0, 0.0]), "regression") == 1


def test_functions_of_scikit_learn_are_such():
    numbers = Target("classification", TRUTH, (0, 1), 1)
    assert computed("sklearn.metrics.roc_auc_score", numbers) == roc_auc_score(TRUTH, SCORES)
    assert computed("sklearn.metrics.log_loss", numbers) == pytest.approx(log_loss(TRUTH, SCORES))
    with pytest.raises(TrainingError, match="beta"):
        computed("sklearn.metrics.fbeta_score", numbers)
    assert fbeta_score(TRUTH, SCORES > 0.5, beta=1) > 0


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("shop_money.broken", TrainingError, "The metric shop_money.broken failed"),
        ("shop_money.nothing", TrainingError, "failed: TypeError"),
        ("shop_money.endless", DataError, "it returned inf"),
        ("shop_money.one", SettingsError, "no function of two arrays"),
        ("shop_money.CONSTANT", SettingsError, "no function of two arrays"),
        ("shop_money.proft", UnknownNameError, "shop_money has no 'proft'"),
    ],
)
def test_what_goes_wrong_is_said(name, error, message):
    with pytest.raises(error, match=message):
        computed(name)


def test_a_wrong_path_is_found_before_anything_is_fitted():
    with pytest.raises(UnknownNameError):
        requests(["accuracy", "shop_money.gone"], task="classification", classes=("a", "b"))


def test_a_class_with_a_dot_is_still_a_class():
    assert parse("recall_St. John's", "classification").variant == "St. John's"
    assert parse("f1_a.b", "classification").variant == "a.b"
    assert parse("a.b_c", "regression").needs == "own"
