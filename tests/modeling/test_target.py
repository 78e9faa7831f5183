from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.errors import DataError, SettingsError, UnknownNameError
from mmp.modeling.columns import Column
from mmp.modeling.target import encode, encode_known, find_label


def column(values):
    """A column as a reader makes it; text has vocabulary in order of appearance and a word unused."""
    if isinstance(values[0], str):
        words = (*dict.fromkeys(values), "never seen")
        return Column("text", np.array([words.index(v) for v in values], np.int32), vocabulary=words)
    array = np.array(values)
    return Column({"b": "boolean", "i": "integer", "f": "float"}[array.dtype.kind], array)


def classes_of(values, **more):
    return encode(column(values), name="y", task="classification", **more)


label_lists = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=15),
    st.lists(st.booleans(), min_size=2, max_size=15),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=15),
    st.lists(st.text(max_size=3), min_size=2, max_size=15),
).filter(lambda values: len(set(values)) > 1)


@given(label_lists)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_codes_and_classes_give_the_labels_back(values):
    target, _ = classes_of(values)
    assert [target.classes[code] for code in target.values] == values
    assert list(target.classes) == sorted(set(values))
    assert all(type(label) is type(values[0]) for label in target.classes)
    assert target.values.dtype == np.int32
    assert (target.positive is None) == (len(target.classes) > 2)


@given(label_lists)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_another_table_is_read_with_the_same_classes(values):
    target, _ = classes_of(values)
    part = values[: max(1, len(values) // 2)]
    again = encode_known(column(part), name="y", like=target)
    np.testing.assert_array_equal(again.values, target.values[: len(part)])
    assert (again.classes, again.positive) == (target.classes, target.positive)


def test_a_label_that_the_model_does_not_know_is_named():
    target, _ = classes_of(["a", "b", "b"])
    with pytest.raises(DataError, match=r"'y' holds 'c', which") as raised:
        encode_known(column(["a", "c"]), name="y", like=target)
    assert "'a', 'b'" in raised.value.hint


@pytest.mark.parametrize(
    ("values", "positive", "warned"),
    [
        ([0, 1, 1, 1], 1, False),
        ([False, True, True], 1, False),
        ([0.0, 1.0, 1.0], 1, False),
        ([1, 2, 2], 0, True),
        ([1, 1, 2], 1, True),
        (["yes", "no", "no"], 1, True),
        (["yes", "yes", "no"], 0, True),
        (["a", "b"], 1, True),
    ],
)
def test_the_positive_class_is_one_or_the_rarer_and_says_so(values, positive, warned):
    target, findings = classes_of(values)
    assert target.positive == positive
    assert [finding.level for finding in findings] == ["warn"] * warned
    assert all(repr(target.classes[positive]) in finding.message for finding in findings)


@pytest.mark.parametrize(
    ("values", "written", "positive"),
    [
        (["Yes", "No", "No"], "No", 0),
        (["Yes", "No", "No"], True, 1),  # what YAML makes of `positive_class: Yes`
        (["on", "off"], False, 0),
        ([10, 20], "20", 1),
        ([0, 1], 0, 0),
        ([0, 1], 1.0, 1),
        ([False, True], "False", 0),
        (["0", "1"], 1, 1),
        ([1.0, 2.0], 2, 1),
    ],
)
def test_the_positive_class_is_found_as_written(values, written, positive):
    target, findings = classes_of(values, positive_class=written)
    assert target.positive == positive
    assert findings == ()


def test_an_unknown_positive_class_lists_the_classes():
    with pytest.raises(UnknownNameError, match="'churnd' is not a class of 'y'") as raised:
        classes_of(["churned", "stayed"], positive_class="churnd")
    assert raised.value.hint == "Its classes are 'churned', 'stayed': did you mean 'churned'?"


def test_a_positive_class_among_three_is_refused():
    with pytest.raises(SettingsError, match="has 3"):
        classes_of(["a", "b", "c"], positive_class="a")


def test_one_class_is_refused():
    with pytest.raises(DataError, match="is 'a' in every row"):
        classes_of(["a", "a"])


@pytest.mark.parametrize(
    ("values", "hint"),
    [(list(range(30)), "task_choice: regression"), ([str(i) for i in range(30)], "target_column")],
)
def test_too_many_classes_are_refused_with_what_to_do(values, hint):
    with pytest.raises(DataError, match="30 distinct values in 30 rows") as raised:
        classes_of(values)
    assert hint in raised.value.hint


def test_a_thousand_classes_may_be():
    target, _ = classes_of(list(range(1000)) * 3)
    assert target.n_classes == 1000


def test_missing_values_are_refused():
    broken = Column("integer", np.array([0, 1, 1]), valid=np.array([True, False, True]))
    with pytest.raises(DataError, match="1 missing"):
        encode(broken, name="y", task="classification")


def test_regression_takes_numbers_as_they_are():
    target, findings = encode(column([3, 1, 2]), name="y", task="regression")
    assert target.values.dtype == np.float64
    assert (target.values.tolist(), target.classes, findings) == ([3.0, 1.0, 2.0], (), ())


@pytest.mark.parametrize("values", [["a", "b"], [True, False]])
def test_regression_of_what_is_no_number_is_refused(values):
    with pytest.raises(DataError, match="regression predicts numbers"):
        encode(column(values), name="y", task="regression")


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_infinity_is_refused(task):
    with pytest.raises(DataError, match="1 values that are not finite"):
        encode(column([1.0, np.inf, 2.0]), name="y", task=task)


def test_a_positive_class_for_regression_is_refused():
    with pytest.raises(SettingsError, match="about classes"):
        encode(column([1.0, 2.0]), name="y", task="regression", positive_class=1)


def test_timestamps_are_no_classes():
    times = Column("timestamp", np.array([1, 2, 1]))
    with pytest.raises(DataError, match="timestamps"):
        encode(times, name="y", task="classification")


def test_some_rows_of_a_target():
    target, _ = classes_of(["a", "b", "a"])
    part = target.take(np.array([1, 2]))
    assert (part.values.tolist(), part.classes, len(part)) == ([1, 0], ("a", "b"), 2)


def test_a_label_named_exactly_comes_before_one_that_reads_the_same():
    assert find_label(("1", "True"), True) == 1
    assert find_label((True, False), 1) is None
    assert find_label((False, True), "true") == find_label((False, True), "True") == 1
    assert find_label(("yes", "Yes"), True) is None
