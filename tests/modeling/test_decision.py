"""The decision rule, and the names of classes."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmp.modeling.decision import class_names, decide

# mlflow.utils.validation, 3.17
MLFLOW_METRIC_NAME = re.compile(r"^[/\w.\- :]*$")


def test_the_first_of_equals_is_decided_for():
    assert decide(np.full((2, 3), 1 / 3)).tolist() == [0, 0]


@pytest.mark.parametrize("positive", [0, 1])
def test_the_positive_class_from_the_threshold_on(positive):
    share = np.array([0.1, 0.3, 0.30001, 0.9])
    probabilities = np.empty((4, 2))
    probabilities[:, positive], probabilities[:, 1 - positive] = share, 1 - share
    decided = decide(probabilities, threshold=0.3, positive=positive)
    assert (decided == positive).tolist() == [False, True, True, True]


def test_a_threshold_means_nothing_to_three_classes():
    probabilities = np.array([[0.2, 0.5, 0.3]])
    assert decide(probabilities, threshold=0.9).tolist() == [1]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=6) | st.sampled_from(["a", "A", "a_1", "a!", "a_0", "macro"]), unique=True))
@example(["<=50K", ">50K", "50K_0", "50K_1", "50K"])
@example(["macro", "macro_0", "Weighted", "", " ", "class_3"])
@example(["x" * 300 + "1", "x" * 300 + "2", "é", "e\u0301"])
def test_names_are_one_to_one_and_fit_for_a_metric(labels):
    names = class_names(labels)
    assert len({name.casefold() for name in names}) == len(labels)
    assert not {"macro", "weighted"} & set(names)
    for name in names:
        assert name
        assert len(name) < 150
        assert MLFLOW_METRIC_NAME.match(name)
        assert not set(name) & set("/ :*")


def test_plain_labels_are_their_own_names():
    assert class_names(["no", "yes", "it's", 3, -1, 0.5, False]) == (
        "no",
        "yes",
        "it_s",
        "3",
        "-1",
        "0.5",
        "False",
    )
