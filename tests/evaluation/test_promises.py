"""Metrics of bounds, quantiles and sets, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from mmp.catalog.metrics import METRICS, UnknownMetricError, parse
from mmp.errors import DataError
from mmp.evaluation.confidence import Resampled, intervals
from mmp.evaluation.evaluate import evaluate, rows_of
from mmp.evaluation.plots import canvas
from mmp.evaluation.plots.promises import Promised, pictures
from mmp.modeling.conformal import PredictionSets
from mmp.modeling.target import Target
from mmp.modeling.uncertainty import CERTAIN, Uncertainty

NUMBERS = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
QUANTILES = Uncertainty(("pred_p10", "pred_p50", "pred_p99.5"))
BOUNDS = Uncertainty(("lower", "upper"))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_pinball_loss_is_scikit_learns(rows):
    truth, *quantiles = np.array(rows).T
    output = np.column_stack((quantiles[1], *quantiles))
    values = evaluate(
        Target("regression", truth), output, task="regression", findings=[], uncertainty=QUANTILES
    )
    expected = {}
    for name, level, predicted in zip(("p10", "p50", "p99.5"), (0.1, 0.5, 0.995), quantiles, strict=True):
        expected[f"pinball_loss_{name}"] = sk.mean_pinball_loss(truth, predicted, alpha=level)
        expected[f"coverage_rate_{name}"] = float((truth <= predicted).mean())
    expected["pinball_loss"] = np.mean([expected[f"pinball_loss_{name}"] for name in ("p10", "p50", "p99.5")])
    assert expected == pytest.approx({name: values[name] for name in expected}, rel=1e-9, abs=1e-9)
    # half of it is the mean absolute error of the median
    assert values["pinball_loss_p50"] == pytest.approx(values["mae"] / 2, rel=1e-9, abs=1e-9)


def test_bounds_are_inside():
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    output = np.array([[1, 1, 2], [1, 0, 1.9], [3, 2, 3], [4, 4, 4]], float)
    values = evaluate(
        Target("regression", truth), output, task="regression", metrics=BOUNDS.metrics, uncertainty=BOUNDS
    )
    assert values == {"interval_coverage": 0.75, "interval_width": pytest.approx((1 + 1.9 + 1 + 0) / 4)}


def test_without_bounds_the_outer_quantiles_are_taken_for_them():
    truth = np.array([1.0, 2.0, 3.0])
    output = np.array([[1, 0, 1, 2], [1, 1, 1.5, 1.9], [1, 2, 3, 5]], float)
    says = Uncertainty(("pred_p10", "pred_p50", "pred_p99.5"))
    values = evaluate(Target("regression", truth), output, task="regression", findings=[], uncertainty=says)
    assert values["interval_coverage"] == pytest.approx(2 / 3)
    assert values["interval_width"] == pytest.approx((2 + 0.9 + 3) / 3)


def test_sets_hold_the_class_or_not():
    target = Target("classification", np.array([0, 1, 2, 2], np.int32), ("a", "b", "c"))
    output = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    sets = Uncertainty(sets=PredictionSets(0.3, 0.9))
    values = evaluate(
        target, output, task="classification", metrics=sets.metrics, threshold=0.5, uncertainty=sets
    )
    assert values == {"set_coverage": 0.75, "set_size": 1.75}


def test_they_have_confidence_intervals_like_any_mean():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=400)
    output = np.column_stack((np.zeros(400), np.full(400, -1.0), np.full(400, 1.0)))
    target = Target("regression", truth)
    resampled = Resampled.of(target, rows_of(target, output, uncertainty=BOUNDS), seed=1)
    found = intervals(resampled, ["interval_coverage"])["interval_coverage"]
    share = float((np.abs(truth) <= 1).mean())
    assert found.low < share < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 400), rel=0.15)


@pytest.mark.parametrize(
    ("metric", "uncertainty", "reason"),
    [
        ("interval_coverage", CERTAIN, "no bounds, which evaluation.intervals asks for"),
        ("interval_width", Uncertainty(("pred_p50",)), "no bounds"),
        ("pinball_loss", CERTAIN, "no quantiles"),
        ("pinball_loss_p20", QUANTILES, "no quantile p20; it has p10, p50, p99.5"),
        ("coverage_rate_p5", BOUNDS, "no quantile p5; it has none"),
        ("coverage_rate", QUANTILES, "of one quantile, such as coverage_rate_p90"),
    ],
)
def test_what_a_model_does_not_say_has_no_metric(metric, uncertainty, reason):
    output = np.zeros((3, 1 + len(uncertainty.columns))) if uncertainty.columns else np.zeros(3)
    with pytest.raises(DataError, match=reason):
        evaluate(
            Target("regression", np.arange(3.0)),
            output,
            task="regression",
            metrics=[metric],
            uncertainty=uncertainty,
        )
    target = Target("classification", np.array([0, 1], np.int32), ("a", "b"), 1)
    with pytest.raises(DataError, match="no prediction sets"):
        evaluate(target, np.eye(2), task="classification", metrics=["set_size"])


def test_names_of_quantiles():
    metric = parse("pinball_loss_p99.5", "regression")
    assert (metric.variant, metric.greater_is_better) == ("p99.5", False)
    for wrong in ("pinball_loss_99", "coverage_rate_p", "coverage_rate_p500", "pinball_loss_p9x"):
        with pytest.raises(UnknownMetricError):
            parse(wrong, "regression")
    assert all(METRICS[name].needs == "promises" for name in ("set_size", "interval_width"))


def promised(rows, says, coverage=None, classes=()):
    return Promised(rows, says, coverage, "price [$]", classes, "test")


def drawn(value, folder):
    for name, figure in pictures(value):
        canvas.save(figure, folder / f"{name}.png")
    return sorted(made.stem for made in folder.iterdir())


@pytest.mark.parametrize("n_rows", [3, 25, 400])
@pytest.mark.parametrize("world", ["plain", "constant", "heavy", "covered", "missed"])
def test_pictures_of_bounds_and_quantiles_can_be_drawn(n_rows, world, tmp_path):
    rng = np.random.default_rng(n_rows)
    truth = rng.exponential(size=n_rows) ** (6 if world == "heavy" else 1)
    predicted = np.full(n_rows, 2.0) if world == "constant" else truth * rng.uniform(0.5, 2, n_rows)
    reach = {"covered": 1e9, "missed": 0.0}.get(world, 0.3)
    says = Uncertainty(("pred_p0.1", "pred_p50", "lower", "upper"))
    output = np.column_stack((predicted, predicted - 1, predicted, predicted - reach, predicted + reach))
    rows = rows_of(Target("regression", truth), output, uncertainty=says)
    made = drawn(promised(rows, says, 0.9), tmp_path)
    assert made == (["quantiles"] if n_rows == 3 else ["intervals", "quantiles"])


@pytest.mark.parametrize("n_classes", [2, 5, 40])
def test_pictures_of_sets_can_be_drawn(n_classes, tmp_path):
    rng = np.random.default_rng(n_classes)
    output = rng.dirichlet(np.ones(n_classes), 90)
    says = Uncertainty(sets=PredictionSets(0.9 / n_classes, 0.9))
    classes = tuple(f"<={number} 등급" for number in range(n_classes))
    target = Target("classification", rng.integers(0, n_classes - 1, 90).astype(np.int32), classes)
    rows = rows_of(target, output, uncertainty=says)
    assert drawn(promised(rows, says, 0.9, classes), tmp_path) == ["prediction_sets"]
    assert not list(pictures(promised(rows_of(target, output), CERTAIN, None, classes)))
