"""Promises kept: how far to go, bounds around numbers, and sets of classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmp.errors import DataError
from mmp.modeling import conformal
from mmp.modeling.answer import answer
from mmp.modeling.conformal import PredictionSets
from mmp.modeling.engines.base import Model
from mmp.modeling.engines.interval import IntervalModel
from mmp.modeling.pipeline import Matrix

COVERAGES = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)
quick = settings(max_examples=60, deadline=None, derandomize=True)


# -- how far to go


@quick
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), COVERAGES)
def test_reach_is_the_smallest_score_with_enough_scores_at_or_below_it(scores, coverage):
    """The promise for a new row: of n + 1 scores drawn alike, so many must be at or below the limit."""
    n, share = len(scores), Fraction(str(coverage))
    enough = [limit for limit in scores if sum(score <= limit for score in scores) >= share * (n + 1)]
    if enough:
        assert conformal.reach(np.array(scores, float), coverage) == min(enough)
        assert n >= conformal.rows_needed(coverage)
    else:
        assert n < conformal.rows_needed(coverage)
        with pytest.raises(DataError, match=f"needs {conformal.rows_needed(coverage):,} calibration rows"):
            conformal.reach(np.array(scores, float), coverage)


def test_a_share_is_the_one_that_was_written():
    # 0.1 * 3 and the like round up by a hair, and would ask for one rank too many
    assert [conformal.rank(n, 0.9) for n in (9, 19, 29, 99, 999)] == [9, 18, 27, 90, 900]
    assert conformal.rank(99, 0.07) == 7
    assert conformal.rows_needed(0.95) == 19


def test_too_few_rows_are_told_how_many_are_needed():
    with pytest.raises(
        DataError, match=r"coverage of 0\.99 needs 99 calibration rows or more; there are 98"
    ) as error:
        conformal.reach(np.zeros(98), 0.99)
    assert "data.split.calibration" in error.value.hint
    assert conformal.reach(np.zeros(99), 0.99) == 0


# -- bounds


@dataclass(frozen=True, eq=False)
class Given(Model):
    """Says the columns of the matrix: what a test wants it to say."""

    engine = "linear"
    n_columns: int = field(default=1, kw_only=True)

    def _predict(self, values):
        return values[:, 0] if self.n_columns == 1 else values[:, : self.n_columns]

    def _save(self, folder):
        raise NotImplementedError


def bounded(method, rows, truth, coverage=0.8):
    """Return a model whose prediction is the first column of its rows, and what else it needs the others."""
    n_columns = rows.shape[1]
    second = {
        "split": None,
        "normalised": Shifted(0, n_columns),
        "quantile": Shifted(0, n_columns, n_columns=3),
    }
    made = IntervalModel(
        0, n_columns, inside=Given(0, n_columns), method=method, coverage=coverage, second=second[method],
        least=0.01,
    )  # fmt: skip
    return made.measured(rows, truth)


@dataclass(frozen=True, eq=False)
class Shifted(Given):
    """The same of the columns behind the first; of three, the first is of no account."""

    def _predict(self, values):
        return values[:, 1] if self.n_columns == 1 else values[:, :3]


METHODS = pytest.mark.parametrize("method", ["split", "normalised", "quantile"])
NUMBERS = st.sampled_from([-1e9, -3.0, -0.3, -0.1, 0.0, 0.1, 0.2, 0.3, 0.7, 1.0, 1 / 3, 5.0, 1e9])
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=4, max_size=30)


@METHODS
@quick
@given(rows=ROWS, coverage=st.sampled_from([0.5, 0.75, 0.8]))
def test_the_prediction_is_between_its_bounds_and_enough_of_the_calibration_rows_too(method, rows, coverage):
    """Ties included: a truth that a bound is measured by is inside it, roundings or not."""
    table = np.array(rows)
    values, truth = table[:, :3].copy(), table[:, 3]
    values[:, 1] = np.abs(values[:, 1]) if method == "normalised" else values[:, 1]
    model = bounded(method, values, truth, coverage)
    output = model.predict(values)
    prediction, lower, upper = output.T
    assert (lower <= prediction).all()
    assert (prediction <= upper).all()
    inside = np.count_nonzero((lower <= truth) & (truth <= upper))
    assert inside >= conformal.rank(len(truth), coverage)
    single = [model.one(values[[position]]) for position in range(len(values))]
    assert single == output.tolist()


@METHODS
@pytest.mark.parametrize("world", ["even", "uneven", "ties", "counts", "constant"])
def test_new_rows_are_covered_as_promised(method, world):
    """Over many draws the coverage is what theory says, between the promise and one rank above it."""
    n_calibration, n_new, n_draws, promised = 59, 200, 150, 0.9
    covered = np.empty(n_draws)
    for seed in range(n_draws):
        values, truth = drawn(world, n_calibration + n_new, np.random.default_rng(seed))
        model = bounded(method, values[:n_calibration], truth[:n_calibration], promised)
        _, lower, upper = model.predict(values[n_calibration:]).T
        covered[seed] = ((lower <= truth[n_calibration:]) & (truth[n_calibration:] <= upper)).mean()
    # of one draw the coverage is a beta variable, and the mean of many a normal one
    which = conformal.rank(n_calibration, promised)
    beta = stats.beta(which, n_calibration + 1 - which)
    error = math.sqrt((beta.var() + 0.09 / n_new) / n_draws)
    assert covered.mean() > promised - 3 * error
    if world in ("even", "uneven"):  # ties cover more
        assert covered.mean() < which / (n_calibration + 1) + 3 * error


def drawn(world, n, rng):
    """Return predictions, sizes or quantiles that somebody could have, and truths."""
    x = rng.uniform(-1, 1, n)
    if world == "even":
        truth = x + rng.normal(size=n)
    elif world == "uneven":
        truth = x + rng.normal(size=n) * (0.1 + np.abs(x))
    elif world == "ties":
        x = np.round(x, 1) / 3
        truth = x + rng.choice([-0.3, 0.0, 0.1], n)
    elif world == "counts":
        truth = rng.poisson(np.exp(x)).astype(float)
        x = np.exp(x)
    else:
        truth, x = rng.choice([0.0, 1.0], n, p=[0.3, 0.7]), np.full(n, 0.1)
    return np.stack((x, 0.1 + np.abs(x), x + 0.3), axis=1), truth


def test_an_exact_model_has_an_interval_of_nothing_but_roundings():
    values = np.linspace(-1, 1, 30)[:, None].repeat(3, axis=1)
    for method in ("split", "normalised", "quantile"):
        prediction, lower, upper = bounded(method, values, values[:, 0]).predict(values).T
        assert (upper - lower < 1e-14).all()
        assert (lower <= prediction).all()
        assert (prediction <= upper).all()


def test_bounds_are_wide_where_errors_are():
    rng = np.random.default_rng(5)
    values, truth = drawn("uneven", 4000, rng)
    near = np.abs(values[:, 0]) < 0.2
    widths = {}
    for method in ("split", "normalised"):
        _, lower, upper = bounded(method, values, truth, 0.9).predict(values).T
        inside = (lower <= truth) & (truth <= upper)
        widths[method] = upper - lower
        if method == "split":
            assert inside[near].mean() > 0.99
        else:
            assert abs(inside[near].mean() - 0.9) < 0.03
    assert widths["normalised"].mean() < widths["split"].mean()
    assert np.ptp(widths["split"]) < 1e-12


def test_a_size_of_nothing_is_not_believed():
    values = np.column_stack((np.zeros(20), np.zeros(20)))
    model = bounded("normalised", values, np.ones(20))
    assert model.predict(values)[0].tolist() == pytest.approx([0, -1, 1])


@METHODS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
def test_a_number_that_is_none_is_no_answer(method, value):
    """Neither a bound that is infinite nor one that is no number passes for one."""
    model = replace(bounded(method, np.ones((20, 3)), np.zeros(20)), reach=1e308)
    rows = np.ones((3, 3))
    rows[1] = value
    with pytest.raises(DataError, match=r"no finite answer for row 1\.|takes no missing values"):
        answer(model, Matrix(rows, ("a", "b", "c"), {}))


def test_threads_and_libraries_reach_the_models_inside():
    model = bounded("normalised", np.ones((20, 2)), np.ones(20))
    assert model.libraries == ("linear",)
    assert model.with_threads(3).inside.threads == model.with_threads(3).second.threads == 3
    assert model.columns == ("lower", "upper")
    assert model.predict(np.empty((0, 2))).shape == (0, 3)
    assert model.explained is model.inside


# -- sets


def tables(n_rows, n_classes, seed, *, rounded=None):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(n_classes), n_rows)
    truth = np.array([rng.choice(n_classes, p=row) for row in probabilities])
    if rounded is not None:
        probabilities = np.round(probabilities, rounded)
    return probabilities, truth


@quick
@given(st.integers(2, 5), st.integers(10, 60), st.integers(0, 10_000), st.sampled_from([0.6, 0.8, 0.9]))
def test_sets_hold_the_decided_class_and_enough_calibration_rows(n_classes, n_rows, seed, coverage):
    probabilities, truth = tables(n_rows, n_classes, seed, rounded=1)
    decided = probabilities.argmax(axis=1)
    sets = PredictionSets.fitted(probabilities, decided, truth, coverage)
    contained = sets.contained(probabilities, decided)
    rows = np.arange(n_rows)
    assert contained[rows, decided].all()
    assert contained[rows, truth].sum() >= conformal.rank(n_rows, coverage)
    # nobody who asks for more of a class covers enough
    stricter = [p for p in np.unique(probabilities) if p > sets.cutoff]
    for cutoff in stricter:
        hit = (probabilities[rows, truth] >= cutoff) | (decided == truth)
        assert hit.sum() < conformal.rank(n_rows, coverage)


@pytest.mark.parametrize(("n_classes", "rounded"), [(2, None), (4, None), (4, 1)])
def test_sets_of_new_rows_cover_as_promised(n_classes, rounded):
    promised, n_calibration, n_new, n_draws = 0.9, 59, 200, 100
    covered = []
    for seed in range(n_draws):
        probabilities, truth = tables(n_calibration + n_new, n_classes, seed, rounded=rounded)
        decided = probabilities.argmax(axis=1)
        first, new = slice(0, n_calibration), slice(n_calibration, None)
        sets = PredictionSets.fitted(probabilities[first], decided[first], truth[first], promised)
        covered.append(sets.contained(probabilities[new], decided[new])[np.arange(n_new), truth[new]].mean())
    error = np.std(covered) / math.sqrt(n_draws)
    assert np.mean(covered) > promised - 3 * error
    if rounded is None:
        assert np.mean(covered) < 55 / 60 + 3 * error


def test_where_decisions_are_right_more_often_than_promised_sets_are_the_decision():
    probabilities = np.tile([0.8, 0.2], (50, 1))
    truth = np.zeros(50, int)
    sets = PredictionSets.fitted(probabilities, truth, truth, 0.9)
    assert sets.cutoff == 1
    assert sets.contained(probabilities, truth).tolist() == [[True, False]] * 50


@pytest.mark.parametrize(
    "classes", [("<=50K", ">50K", "ünknown"), (10, 20, 30), (1.5, 2.5, 3.5), (False, True)]
)
def test_labels_are_the_users_own(classes):
    sets = PredictionSets(0.3, 0.9)
    probabilities = np.array([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])[:, : len(classes)]
    decided = np.array([0, 1, 1])
    contained = sets.contained(probabilities, decided)
    expected = [
        [label for label, inside in zip(classes, row, strict=True) if inside] for row in contained.tolist()
    ]
    listed = sets.labels(contained, classes).to_pylist()
    assert listed == expected
    assert [type(label) for row in listed for label in row] == [
        type(label) for row in expected for label in row
    ]
    for row, position, wanted in zip(probabilities.tolist(), decided, expected, strict=True):
        assert sets.one(row, classes[position], classes) == wanted
