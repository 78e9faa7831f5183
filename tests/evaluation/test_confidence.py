"""Intervals against plain loops over scikit-learn's metrics, and against what they promise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn import metrics as sk

from mmp.catalog.metrics import METRICS
from mmp.catalog.tasks import TASKS
from mmp.evaluation.confidence import OWN_ROWS, Resampled, by_name, intervals, percentiles
from mmp.evaluation.evaluate import evaluate, requests, rows_of, value_of
from mmp.evaluation.resamples import N_BLOCKS, N_RESAMPLES, Resamples
from mmp.modeling.conformal import PredictionSets
from mmp.modeling.target import Target
from mmp.modeling.uncertainty import Uncertainty

BINARY = {
    "accuracy": lambda y, p: sk.accuracy_score(y, p >= 0.5),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p >= 0.5),
    "precision": lambda y, p: sk.precision_score(y, p >= 0.5),
    "recall": lambda y, p: sk.recall_score(y, p >= 0.5),
    "f1": lambda y, p: sk.f1_score(y, p >= 0.5),
    "f1_macro": lambda y, p: sk.f1_score(y, p >= 0.5, average="macro"),
    "f1_weighted": lambda y, p: sk.f1_score(y, p >= 0.5, average="weighted"),
    "mcc": lambda y, p: sk.matthews_corrcoef(y, p >= 0.5),
    "roc_auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
}
NUMBERS = {
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
    "mape": sk.mean_absolute_percentage_error,
    "smape": lambda y, p: np.mean(2 * np.abs(y - p) / (np.abs(y) + np.abs(p))),
    "median_ae": sk.median_absolute_error,
}
MANY = {
    "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(axis=1)),
    "recall_macro": lambda y, p: sk.recall_score(y, p.argmax(axis=1), average="macro"),
    "f1_weighted": lambda y, p: sk.f1_score(y, p.argmax(axis=1), average="weighted"),
    "mcc": lambda y, p: sk.matthews_corrcoef(y, p.argmax(axis=1)),
    "roc_auc": lambda y, p: np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in range(3)]),
    "average_precision": lambda y, p: np.mean(
        [sk.average_precision_score(y == k, p[:, k]) for k in range(3)]
    ),
    "log_loss": sk.log_loss,
}


def binary(n_rows, seed=0, *, rounded=False):
    rng = np.random.default_rng(seed)
    truth = (rng.random(n_rows) < 0.3).astype(np.int32)
    scores = 1 / (1 + np.exp(-rng.normal(size=n_rows) - 1.5 * truth + 1.2))
    scores = scores.round(1) * 0.9 + 0.03 if rounded else scores
    target = Target("classification", truth, ("no", "yes"), 1)
    return target, np.stack((1 - scores, scores), axis=1)


def many(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n_rows, p=[0.6, 0.3, 0.1]).astype(np.int32)
    output = rng.dirichlet(np.ones(3), n_rows)
    output[np.arange(n_rows), truth] += 0.4
    return Target("classification", truth, ("a", "b", "c")), output / output.sum(axis=1, keepdims=True)


def measured(n_rows, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.gamma(3, 2, n_rows) + 1
    return Target("regression", truth), truth + rng.standard_t(5, n_rows)


def naive(score, truth, output, times=1000):
    rng = np.random.default_rng(7)
    drawn = (rng.integers(len(truth), size=len(truth)) for _ in range(times))
    return np.percentile([score(truth[rows], output[rows]) for rows in drawn], [2.5, 97.5])


def resampled(case, seed=3):
    target, output = case
    return Resampled.of(target, rows_of(target, output), seed=seed)


def found(case, names, **more):
    return intervals(resampled(case), names, **more)


def assert_same(interval, expected, *, within):
    """Ends of percentiles of a thousand are themselves uncertain by about 4 % of half the width."""
    width = expected[1] - expected[0]
    assert np.abs(np.subtract(interval, expected)).max() < within * width


TIED = ("roc_auc", "average_precision", "log_loss")


@pytest.mark.parametrize(
    ("name", "rounded"), [*((name, False) for name in BINARY), *((name, True) for name in TIED)]
)
def test_two_classes_as_a_loop_over_scikit_learn(name, rounded):
    case = target, output = binary(400, rounded=rounded)
    expected = naive(BINARY[name], target.values, output[:, 1])
    assert_same(found(case, [name])[name], expected, within=0.13 if name == "average_precision" else 0.08)


@pytest.mark.parametrize("name", MANY)
def test_three_classes_as_a_loop_over_scikit_learn(name):
    case = target, output = many(400)
    expected = naive(MANY[name], target.values, output, times=600)
    assert_same(found(case, [name])[name], expected, within=0.15 if name == "average_precision" else 0.1)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_as_a_loop_over_scikit_learn(name):
    case = target, output = measured(400)
    expected = naive(NUMBERS[name], target.values, output)
    assert_same(found(case, [name])[name], expected, within=0.12 if name == "median_ae" else 0.08)


def drawn_again(case, draw):
    target, output = case
    task = "classification" if target.classes else "regression"
    names = [name for name in evaluate(target, output, task=task) if name not in {"median_ae", "max_error"}]
    rows = replace(rows_of(target, output), draw=draw)
    return {
        metric.name: value_of(metric, rows, target)
        for metric in requests(names, task=task, classes=target.classes)
    }


@pytest.mark.parametrize("case", [binary, many, measured])
def test_blocks_of_many_rows_are_as_rows(case):
    n_rows = 12 * N_BLOCKS + 7
    rng = np.random.default_rng(1)
    weights = np.stack([np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows) for _ in range(300)])
    one_by_one = drawn_again(case(n_rows), Resamples(np.arange(n_rows), weights.astype(float)))
    for name, values in drawn_again(case(n_rows), Resamples.draw(n_rows, seed=3)).items():
        assert values.std() == pytest.approx(one_by_one[name].std(), rel=0.2), name
        assert values.mean() == pytest.approx(one_by_one[name].mean(), abs=0.2 * values.std()), name


@pytest.mark.parametrize("case", [binary, many, measured])
def test_a_resample_has_the_metrics_of_its_rows(case):
    """The formulas take a thousand resamples at a time: each value is that of the rows so drawn."""
    target, output = case(60)
    drawn = Resamples.draw(60, seed=5)
    for name, values in drawn_again((target, output), drawn).items():
        assert values.shape == (N_RESAMPLES,)
        (metric,) = requests([name], task=target.kind, classes=target.classes)
        for number in range(0, N_RESAMPLES, 100) if not name.startswith(("roc_", "average_")) else ():
            again = np.repeat(np.arange(60), drawn.weights[number].astype(int))
            of_rows = value_of(metric, rows_of(target.take(again), output[again]), target)
            assert values[number] == pytest.approx(float(of_rows), abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize(("name", "true"), [
    ("accuracy", 0.8), ("recall", 0.8), ("log_loss", None), ("roc_auc", None), ("average_precision", None),
])  # fmt: skip
def test_intervals_hold_the_truth_as_often_as_they_promise(name, true):
    """Labels are drawn from the very probabilities, so that the metric of endless rows is known."""
    rng = np.random.default_rng(2)
    of_scores = true is None

    def draw(n_rows):
        scores = rng.beta(0.8, 1.5, n_rows) if of_scores else np.where(rng.random(n_rows) < 0.5, 0.2, 0.8)
        truth = (rng.random(n_rows) < scores).astype(np.int32)
        return Target("classification", truth, ("no", "yes"), 1), np.stack((1 - scores, scores), axis=1)

    if of_scores:
        true = evaluate(*draw(1_000_000), task="classification", metrics=[name])[name]
    hits = [low <= true <= high for low, high in (found(draw(300), [name])[name] for _ in range(400))]
    assert binom.cdf(sum(hits), len(hits), 0.92) > 1e-3  # 95 % in the limit, a little less for 300 rows
    assert binom.sf(sum(hits), len(hits), 0.98) > 1e-3


def test_the_median_is_held_as_often_as_promised():
    rng = np.random.default_rng(4)
    hits = []
    for _ in range(500):
        target = Target("regression", np.zeros(101))
        low, high = found((target, rng.exponential(size=101)), ["median_ae"])["median_ae"]
        hits.append(low <= math.log(2) <= high)
    assert 0.93 < np.mean(hits) < 0.985


def test_one_seed_is_one_interval():
    case = binary(3000)
    assert found(case, ["f1", "roc_auc"]) == found(case, ["f1", "roc_auc"])
    assert found(case, ["f1"]) != intervals(resampled(case, seed=4), ["f1"])


def test_what_does_not_vary_has_no_interval():
    target, _ = binary(200)
    sure = np.eye(2)[target.values] * 0.98 + 0.01
    names = list(evaluate(target, sure, task="classification"))
    assert not found((target, sure), names)
    assert "max_error" not in found(measured(100), list(TASKS["regression"].metrics))


def test_a_class_of_one_row_is_left_out_where_it_was_not_drawn():
    target, output = many(50)
    truth = np.where(target.values == 2, 0, target.values)
    truth[7] = 2
    target = Target("classification", truth, target.classes)
    names = list(evaluate(target, output, task="classification", findings=[]))
    for name, (low, high) in found((target, output), names).items():
        assert math.isfinite(low), name
        assert low < high, name


def test_names_to_log():
    assert by_name(found(measured(100), ["mae"])).keys() == {"mae_ci_low", "mae_ci_high"}


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=60))
@settings(max_examples=60, deadline=None)
def test_percentiles_are_numpys(values):
    known = [value for value in values if not math.isnan(value)]
    interval = percentiles(np.array(values))
    if interval is None:
        assert len(set(known)) < 2
    else:
        assert interval == pytest.approx(np.percentile(known, [2.5, 97.5]), rel=1e-9, abs=1e-6)


def profit(truth, probability):
    return float(np.where(probability > 0.4, np.where(truth == "yes", 5.0, -1.0), 0.0).mean())


def test_a_metric_of_your_own_is_resampled_truly():
    case = target, output = binary(400)
    name = f"{__name__}.profit"
    labels = np.array(target.classes)[target.values]
    assert_same(found(case, [name])[name], naive(profit, labels, output[:, 1]), within=0.12)


def lift_of_the_rare(truth, probability):
    if (truth == "yes").sum() < 2:
        raise ValueError("too few")
    return float(probability.mean())


def test_a_metric_of_your_own_without_an_interval_says_why():
    findings = []
    target, output = binary(40)
    target = Target("classification", np.arange(40, dtype=np.int32) // 38, target.classes, 1)
    assert found((target, output), [f"{__name__}.lift_of_the_rare"], findings=findings) == {}
    (finding,) = findings
    assert "too few" in finding.message
    assert finding.level == "info"
    too_many = OWN_ROWS // 100 + 1
    assert found(binary(too_many), [f"{__name__}.profit"], findings=findings) == {}
    assert f"{too_many:,} rows" in findings[1].message


def grouped(n_groups, size, seed):
    """Rows of a group have much of their error in common."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n_groups), size))
    truth = 2 * rng.normal(size=n_groups)[groups] + rng.normal(size=n_groups * size)
    return Target("regression", truth), np.zeros(n_groups * size), groups


def test_groups_are_drawn_as_a_whole():
    target, output, groups = grouped(60, 8, seed=1)
    of_groups = Resampled.of(target, rows_of(target, output), seed=3, groups=groups)
    members, rng = [np.flatnonzero(groups == group) for group in range(60)], np.random.default_rng(7)
    values = []
    for _ in range(2500):
        rows = np.concatenate([members[group] for group in rng.integers(60, size=60)])
        values.append(sk.mean_absolute_error(target.values[rows], output[rows]))
    found = intervals(of_groups, ["mae", "median_ae"])
    assert_same(found["mae"], np.percentile(values, [2.5, 97.5]), within=0.08)
    assert "median_ae" not in found
    own = np.array([target.values[of_groups.drawn_once(rng)].size for _ in range(20)])
    assert (own == 480).all()
    half = of_groups.take(np.flatnonzero(groups < 30))
    assert half.draw.weights.shape[1] == 30


def test_intervals_of_groups_hold_the_truth_as_often_as_they_promise():
    true, names = 2 * math.sqrt(5 / (2 * math.pi)), ["mae"]  # the mean distance of a normal value
    hits = {True: 0, False: 0}
    for seed in range(200):
        target, output, groups = grouped(80, 6, seed)
        for together in hits:
            drawn = Resampled.of(target, rows_of(target, output), seed=3, groups=groups if together else None)
            low, high = intervals(drawn, names)["mae"]
            hits[together] += low <= true <= high
    assert hits[True] >= 180
    assert hits[False] < 170  # what row by row promises and does not keep


BESIDE = ("lower", "upper", "pred_p10", "pred_p90")


def sure_to_a_degree(target, output):
    """Return rows with bounds and quantiles, or with sets of classes."""
    if target.classes:
        sets = PredictionSets.fitted(output, output.argmax(axis=1), target.values, 0.9)
        return rows_of(target, output, uncertainty=Uncertainty(sets=sets))
    lower, upper = output - 1, 1.3 * output
    columns = np.stack((output, lower, upper, lower, upper), axis=1)
    return rows_of(target, columns, uncertainty=Uncertainty(BESIDE))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_of_the_table_has_an_interval(name):
    """A new row of the table has one unasked, if its formula takes resamples as it takes rows."""
    target, output = binary(300) if "classification" in METRICS[name].tasks else measured(300)
    of_rows = Resampled.of(target, sure_to_a_degree(target, output), seed=1)
    asked = f"{name}_p10" if METRICS[name].by_quantile else name
    (metric,) = requests([asked], task=target.kind, classes=target.classes)
    found = intervals(of_rows, [asked])
    if name == "max_error":
        assert not found
    else:
        low, high = found[asked]
        assert low < of_rows.value(metric) < high
