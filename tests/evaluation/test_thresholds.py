"""Thresholds against trying every one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.catalog.metrics import parse
from mmp.errors import DataError
from mmp.evaluation.evaluate import evaluate, requests
from mmp.evaluation.thresholds import TradeOff, crossed
from mmp.modeling.decision import decide
from mmp.modeling.target import Target

NEAR = [0.0, 5e-324, 0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), np.nextafter(1, 0), 1.0, 0.25]
METRICS = [
    "f1", "accuracy", "balanced_accuracy", "precision", "recall", "mcc", "cost",
    "f1_macro", "f1_weighted", "f1_no", "recall_yes", "precision_macro",
]  # fmt: skip


def both(p):
    return np.stack((1 - np.asarray(p), p), axis=1)


@st.composite
def decided(draw):
    """Few distinct scores near where thresholds mean something of their own, costs of any size."""
    score = st.sampled_from(NEAR) | st.integers(0, 8).map(lambda n: n / 8)
    rows = draw(st.lists(st.tuples(score, st.booleans()), min_size=1, max_size=25))
    scores, truth = (np.array(column) for column in zip(*rows, strict=True))
    costs = draw(st.sampled_from([(), (1.0, 5.0), (30.0, 1.0), (0.0, 1.0), (2.5, 0.0)]))
    positive = draw(st.sampled_from([0, 1]))
    output = both(scores) if positive else both(scores)[:, ::-1]
    return Target("classification", truth.astype(np.int32), ("no", "yes"), positive, costs), output


def by_hand(target, output, name, threshold):
    try:
        return evaluate(target, output, task="classification", metrics=[name], threshold=threshold)[name]
    except DataError:
        return np.nan


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=decided())
def test_the_best_is_as_good_as_any_that_can_be_tried(name, case):
    target, output = case
    trade_off = TradeOff.of(target, output)
    (metric,) = requests([name], task="classification", classes=target.classes)
    values = trade_off.values(metric)
    for threshold, value in zip(trade_off.thresholds.tolist(), values.tolist(), strict=True):
        assert value == pytest.approx(by_hand(target, output, name, threshold), nan_ok=True)
    scores = output[:, target.positive]
    tries = [0.0, 2.0, *scores, *(np.nextafter(s, 2) for s in scores), *np.linspace(0, 1, 41)]
    # 0.5 is no threshold but the more probable class
    found = [by_hand(target, output, name, t) for t in tries if t != 0.5]
    best = trade_off.best(metric)
    if best is None:
        assert np.isnan(found).all()
        return
    sign = 1 if metric.greater_is_better else -1
    assert values[best] * sign >= np.nanmax(np.array(found) * sign) - 1e-12
    assert trade_off.thresholds[best] != 0.5


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=decided(), n_rows=st.integers(0, 25))
def test_a_capacity_is_used_and_never_passed(case, n_rows):
    target, output = case
    trade_off = TradeOff.of(target, output)
    threshold = float(trade_off.thresholds[trade_off.within(n_rows)])
    chosen = decide(output, threshold=threshold, positive=target.positive) == target.positive
    assert chosen.sum() <= n_rows
    scores = output[:, target.positive]
    left = scores[~chosen]
    if len(left) and chosen.sum() + (left == left.max()).sum() <= n_rows:
        assert 0.5 in scores  # which stands for the more probable class, not for a threshold
    assert not chosen.any() or scores[chosen].min() > (left.max() if len(left) else -1)


def test_thresholds_are_ordered_and_each_decides_otherwise():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 200, 1000) / 200
    target = Target("classification", (rng.random(1000) < scores).astype(np.int32), ("a", "b"), 1)
    trade_off = TradeOff.of(target, both(scores))
    assert (np.diff(trade_off.thresholds) < 0).all()
    assert trade_off.selected[0] == 0
    assert trade_off.selected[-1] == 1000
    for threshold, selected in zip(trade_off.thresholds, trade_off.selected, strict=True):
        assert (decide(both(scores), threshold=threshold, positive=1) == 1).sum() == selected


def test_of_equals_the_nearest_to_a_half():
    target = Target("classification", np.array([0, 0, 1, 1], np.int32), ("a", "b"), 1)
    trade_off = TradeOff.of(target, both([0.1, 0.2, 0.8, 0.9]))
    recall = parse("recall", "classification")
    assert trade_off.thresholds[trade_off.best(recall)] == np.nextafter(0.5, 0)


def profit(truth, prediction):
    return float(((truth == "yes") & (prediction == "yes")).sum() * 5 - (prediction == "yes").sum())


def test_a_function_of_the_users_own_is_tried_at_every_threshold():
    rng = np.random.default_rng(1)
    scores = rng.random(300)
    target = Target("classification", (rng.random(300) < scores).astype(np.int32), ("no", "yes"), 1)
    trade_off = TradeOff.of(target, both(scores))
    metric = parse(f"{__name__}.profit", "classification")
    labels = np.array(["no", "yes"])
    expected = [
        profit(labels[target.values], labels[(scores >= t).astype(int)])
        for t in trade_off.thresholds.tolist()
    ]
    assert trade_off.values(metric).tolist() == expected
    assert trade_off.best(metric) == int(np.argmax(expected))


def test_rows_do_not_choose_their_own_threshold():
    target = Target("classification", np.array([0, 1, 0, 1, 1], np.int32), ("a", "b"), 1)
    output = both([0.1, 0.2, 0.3, 0.4, 0.5])
    seen = []

    def choose(known, said):
        seen.append(said[:, 1].tolist())
        return float(len(known))

    assert crossed(choose, target, output).tolist() == [2, 3, 2, 3, 2]
    assert seen == [[0.2, 0.4], [0.1, 0.3, 0.5]]
    assert crossed(choose, target.take(np.array([0])), output[:1]).tolist() == [1]


def test_a_threshold_a_row():
    output = both([0.3, 0.3, 0.5, 0.5])
    assert decide(output, threshold=np.array([0.2, 0.4, 0.49, 0.6]), positive=1).tolist() == [1, 0, 1, 0]
    # a half is the more probable class, the first of equals
    assert decide(output, threshold=np.array([0.2, 0.4, 0.5, 0.6]), positive=1).tolist() == [1, 0, 0, 0]
