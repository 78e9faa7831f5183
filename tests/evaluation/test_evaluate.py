"""Metric names, what a metric without a value does, and the traps around labels."""

import numpy as np
import pytest

from mmp.catalog.metrics import ALIASES, METRICS, UnknownMetricError, names, parse
from mmp.catalog.tasks import TASKS
from mmp.errors import DataError, EmptySplitError, TrainingError, UnknownNameError
from mmp.evaluation.evaluate import MOST_CLASSES_SHOWN, by_split, evaluate, requests
from mmp.modeling.target import Target


def classified(codes, classes, positive=None):
    return Target("classification", np.array(codes, np.int32), classes, positive)


def sure(codes, n_classes):
    return np.eye(n_classes)[codes]


def test_default_set_of_two_classes():
    target = classified([0, 1, 1, 0], ("no", "yes"), 1)
    values = evaluate(
        target, np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]), task="classification"
    )
    assert values.keys() >= set(TASKS["classification"].metrics)
    assert [name for name in values if name.startswith("f1")] == [
        "f1",
        "f1_macro",
        "f1_weighted",
        "f1_no",
        "f1_yes",
    ]
    assert values["recall"] == values["recall_yes"] == 0.5
    assert values["recall_no"] == 1
    assert values["recall_macro"] == values["recall_weighted"] == 0.75
    assert all(type(value) is float for value in values.values())


def test_default_set_of_regression_is_the_tasks():
    values = evaluate(
        Target("regression", np.array([1.0, 2.0, 4.0])), np.array([1.0, 3.0, 4.0]), task="regression"
    )
    assert tuple(values) == TASKS["regression"].metrics


@pytest.mark.parametrize(
    "task", [task for task in TASKS.values() if task.available], ids=lambda task: task.name
)
def test_a_task_is_judged_by_rows_of_the_table(task):
    assert {parse(name, task.name).name for name in task.metrics} <= set(names(task.name))
    assert parse(task.primary_metric, task.name).name in task.metrics


def test_many_classes_have_no_metrics_of_their_own_unless_asked_for():
    n_classes = MOST_CLASSES_SHOWN + 1
    target = classified(range(n_classes), tuple(range(n_classes)))
    output = sure(target.values, n_classes)
    assert "f1_3" not in evaluate(target, output, task="classification")
    assert evaluate(target, output, task="classification", metrics=["f1_*"])["f1_20"] == 1


def test_a_class_decided_for_but_absent_moves_no_other_class():
    target = classified([0, 1, 1, 3], ("a", "b", "c", "d"))
    findings = []
    values = evaluate(target, sure([0, 1, 2, 3], 4), task="classification", findings=findings)
    assert values["recall_b"] == 0.5
    assert values["precision_b"] == values["precision_d"] == 1
    assert values["precision_c"] == values["f1_c"] == 0
    assert not values.keys() & {"recall_c", "roc_auc", "average_precision"}
    (finding,) = findings
    assert finding.level == "warn"
    assert (
        finding.message == "No recall_c, roc_auc, average_precision on the test split: no row is of class c."
    )


def test_precision_of_a_class_nobody_was_given_is_zero():
    target = classified([0, 1], ("no", "yes"), 1)
    assert evaluate(target, sure([0, 0], 2), task="classification", metrics=["precision"]) == {"precision": 0}


@pytest.mark.parametrize(
    ("metric", "codes", "reason"),
    [
        ("roc_auc", [1, 1], "every row is of class yes"),
        ("roc_auc", [0, 0], "no row is of class yes"),
        ("average_precision", [0, 0], "no row is of class yes"),
        ("recall", [0, 0], "no row is of class yes"),
        ("roc_auc_macro", [0, 0], "no row is of class yes"),
        ("roc_auc_weighted", [0, 0], "no row is of class yes"),
        ("recall_no", [1, 1], "no row is of class no"),
    ],
)
def test_a_metric_asked_for_without_a_value_is_an_error(metric, codes, reason):
    target = classified(codes, ("no", "yes"), 1)
    with pytest.raises(DataError) as caught:
        evaluate(
            target, sure([0, 1], 2), task="classification", metrics=[metric], split="validation", findings=[]
        )
    assert caught.value.message == f"No {metric} on the validation split: {reason}."


@pytest.mark.parametrize(
    ("metric", "truth", "reason"),
    [
        ("mape", [0.0, 1.0, 0.0], "the target is 0 in 2 rows"),
        ("mape", [0.0, 1.0, 2.0], "the target is 0 in 1 row"),
        ("r2", [0.1, 0.1, 0.1], "the target has the same value in every row"),
        ("mse", [1e300, 1.0, 2.0], "the numbers are too large for it"),
        ("r2", [5e-324, 0.0, 0.0], "the numbers are too large for it"),
    ],
)
def test_a_metric_of_numbers_without_a_value_is_an_error(metric, truth, reason):
    target, output = Target("regression", np.array(truth)), np.ones(3)
    with pytest.raises(DataError, match=reason):
        evaluate(target, output, task="regression", metrics=[metric])
    findings = []
    assert metric not in evaluate(target, output, task="regression", findings=findings)
    assert any(reason in finding.message for finding in findings)


def test_a_default_metric_without_a_value_is_an_error_where_nobody_takes_the_finding():
    with pytest.raises(DataError, match="mape"):
        evaluate(Target("regression", np.array([0.0, 1.0])), np.ones(2), task="regression")


def test_all_reasons_come_at_once():
    target = classified([0, 0], ("a", "b", "c"))
    with pytest.raises(DataError) as caught:
        evaluate(target, sure([0, 0], 3), task="classification", metrics=["recall_b", "f1_b", "roc_auc_c"])
    assert caught.value.message == (
        "No recall_b, f1_b on the test split: no row is of class b."
        " No roc_auc_c on the test split: no row is of class c."
    )


def test_labels_that_are_no_names():
    classes = ("<=50K", ">50K")
    target = classified([0, 1, 1], classes, 1)
    values = evaluate(
        target, sure([0, 1, 0], 2), task="classification", metrics=["recall_>50K", "recall_50K_0"]
    )
    assert values == {"recall_50K_1": 0.5, "recall_50K_0": 1}


def test_a_class_called_macro_does_not_take_the_averages_name():
    found = requests(["f1_macro", "f1_*"], task="classification", classes=("macro", "weighted", "x"))
    assert [metric.name for metric in found] == ["f1_macro", "f1_macro_0", "f1_weighted_1", "f1_x"]


def test_a_metric_asked_for_twice_is_computed_once():
    found = requests(["r2", "r2_score", "r2"], task="regression", classes=())
    assert [metric.name for metric in found] == ["r2"]


@pytest.mark.parametrize(
    ("name", "task", "message", "hint"),
    [
        ("acuracy", "classification", "Metric 'acuracy' is not known for classification.", "accuracy"),
        ("rmse", "classification", "Metric 'rmse' is not known for classification.", "regression"),
        (
            "f1_marco",
            "classification",
            "Metric 'f1_marco' asks for class 'marco', which the target does not",
            "no",
        ),
        ("f1_score", "classification", "Metric 'f1_score' asks for class 'score'", "without one it is f1"),
        ("accuracy_macro", "classification", "Metric 'accuracy_macro' is not known", "accuracy"),
        ("f1_", "classification", "Metric 'f1_' is not known", "f1"),
    ],
)
def test_unknown_names(name, task, message, hint):
    with pytest.raises(UnknownNameError) as caught:
        requests([name], task=task, classes=("no", "yes"))
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_threshold_decides():
    target = classified([0, 1], ("no", "yes"), 1)
    output = np.array([[0.9, 0.1], [0.7, 0.3]])
    at = {
        t: evaluate(target, output, task="classification", threshold=t, metrics=["recall"])
        for t in (0.5, 0.3)
    }
    assert (at[0.5]["recall"], at[0.3]["recall"]) == (0, 1)


def test_output_that_is_not_finite_is_no_metric():
    with pytest.raises(TrainingError, match="1 values on the train split"):
        evaluate(
            Target("regression", np.ones(2)),
            np.array([1.0, np.nan]),
            task="regression",
            split="train",
            findings=[],
        )


def test_no_rows():
    with pytest.raises(EmptySplitError, match="validation split has no rows"):
        evaluate(Target("regression", np.ones(0)), np.ones(0), task="regression", split="validation")


def test_names_by_split():
    values = {split: {"accuracy": 0.5} for split in ("train", "validation", "test")}
    assert list(by_split(values)) == ["train_accuracy", "validation_accuracy", "accuracy"]


def test_parse_says_what_there_is():
    with pytest.raises(UnknownMetricError) as caught:
        parse("silhouette", "regression")
    assert caught.value.known == names("regression")
    assert all(target in METRICS for target in ALIASES.values())
