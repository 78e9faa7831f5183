"""Calibration against scikit-learn, the papers' own words, and what it is for: probabilities that come true."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mmp.modeling.calibration import Calibration, fit
from mmp.modeling.isotonic import Groups, blocks, bounds

METHODS = ["sigmoid", "beta", "isotonic", "venn_abers"]
EXTREMES = [0.0, 5e-324, 1e-300, 1e-17, 0.25, 0.5, 1 - 2**-53, 1.0]


def both(p):
    p = np.asarray(p, float)
    return np.stack((1 - p, p), axis=1)


def logit(p):
    return np.log(p) - np.log(1 - p)


def logistic(score):
    return 1 / (1 + np.exp(-score))


def ece(p, hits, n_bins=10):
    """Weigh the distances of bins of equal size, in a loop."""
    order = np.argsort(p, kind="stable")
    return sum(
        abs(sum(p[i] for i in part) - sum(hits[i] for i in part)) for part in np.array_split(order, n_bins)
    ) / len(p)


@st.composite
def scored(draw):
    """Few rows of few distinct probabilities, so that ties, one class alone and separation are common."""
    p = st.sampled_from(EXTREMES) | st.integers(0, 8).map(lambda eighths: eighths / 8) | st.floats(0, 1)
    rows = draw(st.lists(st.tuples(p, st.booleans()), min_size=1, max_size=40))
    scores, hits = zip(*rows, strict=True)
    return np.array(scores), np.array(hits)


@st.composite
def of_many_classes(draw):
    n_classes, n_rows = draw(st.integers(3, 5)), draw(st.integers(1, 30))
    weights = st.lists(st.sampled_from([0.0, 1.0, 2.0, 7.0, 1e-20]), min_size=n_classes, max_size=n_classes)
    shares = np.array(draw(st.lists(weights.filter(any), min_size=n_rows, max_size=n_rows)))
    truth = draw(st.lists(st.integers(0, n_classes - 1), min_size=n_rows, max_size=n_rows))
    return shares / shares.sum(axis=1, keepdims=True), np.array(truth)


# -- the shape of a calibration ------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=scored(), asked=st.lists(st.floats(0, 1) | st.sampled_from(EXTREMES), max_size=20))
def test_a_curve_does_not_fall_and_is_the_same_for_one_and_for_many(method, rows, asked):
    p, hits = rows
    calibrated = fit(method, both(p), hits.astype(int))
    output = both(np.sort(np.concatenate((p, asked, EXTREMES))))
    answer = calibrated.many(output)
    assert answer.tolist() == [calibrated.one(row) for row in output.tolist()]
    assert ((answer >= 0) & (answer <= 1)).all()
    assert (np.diff(answer[:, 1]) >= -1e-15).all()
    assert (answer.sum(axis=1) == 1).all()
    alone = calibrated.many(output[-3:])
    assert alone.tolist() == answer[-3:].tolist()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=of_many_classes())
def test_of_many_classes_every_row_sums_to_one(method, rows):
    output, truth = rows
    calibrated = fit(method, output, truth)
    answer = calibrated.many(output)
    assert answer.tolist() == [calibrated.one(row) for row in output.tolist()]
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-12)
    assert ((answer >= 0) & (answer <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(rows=scored())
def test_the_other_class_is_calibrated_alike(method, rows):
    """Which of two classes comes second is the alphabet's choice."""
    p, hits = rows
    p = np.round(p * 64) / 64  # 1 - p is exact
    ours = fit(method, both(p), hits.astype(int)).many(both(p))
    theirs = fit(method, both(1 - p), (~hits).astype(int)).many(both(1 - p))
    np.testing.assert_allclose(ours, theirs[:, ::-1], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_state_is_numbers_and_comes_back_to_the_bit(method):
    rng = np.random.default_rng(0)
    output = rng.dirichlet([1, 2, 3], 300)
    truth = rng.integers(0, 2, 300)  # none of the third class
    calibrated = fit(method, output, truth)
    meta, arrays = calibrated.state()
    again = Calibration.restored(json.loads(json.dumps(meta)), arrays)
    assert again.method == method
    assert again.many(output).tobytes() == calibrated.many(output).tobytes()
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_number_stays_none(method):
    calibrated = fit(method, both([0.2, 0.8, 0.6]), np.array([0, 1, 0]))
    assert np.isnan(calibrated.many(np.full((2, 2), np.nan))).all()
    assert np.isnan(calibrated.one([np.nan, np.nan])).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_class_without_rows_keeps_its_probabilities(method):
    rng = np.random.default_rng(1)
    output = rng.dirichlet([5, 5, 1], 400)
    truth = (rng.random(400) < output[:, 1]).astype(int)
    answer = fit(method, output, truth).many(output)
    rare = answer[:, 2] / (answer[:, 0] + answer[:, 1])
    assert (answer[:, 2] > 0).all()
    assert np.corrcoef(rare, output[:, 2] / (1 - output[:, 2]))[0, 1] > 0.8
    assert fit(method, both([0.3, 0.9]), np.array([1, 1])).one([0.7, 0.3]) == [0.7, 0.3]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=scored())
def test_nothing_is_sure(method, rows):
    """No number of rows shows that something never happens; and sums of several curves are above 0."""
    p, hits = rows
    if hits.all() or not hits.any():
        return
    answer = fit(method, both(p), hits.astype(int)).many(both([*p, *EXTREMES]))[:, 1]
    assert (answer > 0).all()
    assert (answer[: len(p)] < 1).all()


@pytest.mark.parametrize("method", ["sigmoid", "beta"])
def test_a_forests_zeros_do_not_outweigh_the_rest(method):
    """Trees that all say no leave a log-odds of minus infinity, beside which the others hardly count."""
    rng = np.random.default_rng(7)
    right = rng.beta(1, 3, 40_000)
    hits = rng.random(len(right)) < right
    said = rng.binomial(20, np.clip(1.4 * right - 0.1, 0, 1)) / 20
    assert (said == 0).mean() > 0.25
    calibrated = fit(method, both(said[:20_000]), hits[:20_000].astype(int))
    after = calibrated.many(both(said[20_000:]))[:, 1]
    assert ece(after, hits[20_000:]) < 0.3 * ece(said[20_000:], hits[20_000:])


@pytest.mark.parametrize("method", ["sigmoid", "beta"])
def test_classes_apart_have_slopes_all_the_same(method):
    (curve,) = fit(method, both([0.0, 0.1, 0.9, 1.0]), np.array([0, 0, 1, 1])).curves
    assert np.isfinite(curve.parameters).all()
    assert 0 < curve.one(0.1) < 0.5 < curve.one(0.9) < 1


@pytest.mark.parametrize("method", ["sigmoid", "beta"])
def test_a_ranking_is_never_turned_around(method):
    rng = np.random.default_rng(2)
    p = rng.random(500)
    (curve,) = fit(method, both(p), (rng.random(500) > p).astype(int)).curves
    assert (curve.parameters[:2] >= 0).all()
    if method == "sigmoid":
        np.testing.assert_allclose(curve.many(p), 0.5, atol=0.05)


# -- oracles -------------------------------------------------------------------------------------------


def soft(features, hits):
    """Fit scikit-learn's logistic regression to Platt's targets: every row twice, with weights."""
    n_hits, n_rows = hits.sum(), len(hits)
    targets = np.where(hits, (n_hits + 1) / (n_hits + 2), 1 / (n_rows - n_hits + 2))
    regression = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
    regression.fit(
        np.concatenate((features, features)),
        np.repeat([1, 0], n_rows),
        sample_weight=np.concatenate((targets, 1 - targets)),
    )
    return regression.coef_[0], regression.intercept_[0]


def distorted(slope=0.5, shift=-0.7, n_rows=3000, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.random(n_rows)
    return p, rng.random(n_rows) < logistic(slope * logit(p) + shift)


def test_sigmoid_is_scikit_learns():
    p, hits = distorted()
    (curve,) = fit("sigmoid", both(p), hits.astype(int)).curves
    theirs = _SigmoidCalibration().fit(logit(p), hits)
    np.testing.assert_allclose(curve.many(p), theirs.predict(logit(p)), atol=1e-5)
    (slope,), intercept = soft(logit(p)[:, None], hits)
    np.testing.assert_allclose(curve.parameters[:3], [slope, slope, intercept], rtol=1e-4)


def test_beta_is_the_papers():
    p, hits = distorted()
    (curve,) = fit("beta", both(p), hits.astype(int)).curves
    (a, b), c = soft(np.stack((np.log(p), -np.log(1 - p)), axis=1), hits)
    np.testing.assert_allclose(curve.parameters[:3], [a, b, c], rtol=1e-3)
    a, b, c = curve.parameters[:3]
    np.testing.assert_allclose(curve.many(p), 1 / (1 + 1 / (np.exp(c) * p**a / (1 - p) ** b)), rtol=1e-9)


def test_beta_finds_the_three_parameters_that_made_the_rows():
    rng = np.random.default_rng(3)
    p = rng.random(400_000)
    hits = rng.random(len(p)) < logistic(0.4 * np.log(p) - 1.7 * np.log(1 - p) - 0.3)
    (curve,) = fit("beta", both(p), hits.astype(int)).curves
    np.testing.assert_allclose(curve.parameters[:3], [0.4, 1.7, -0.3], atol=0.03)


def test_beta_with_one_slope_at_its_border_is_the_best_there():
    rng = np.random.default_rng(4)
    p = rng.random(2000)
    hits = rng.random(len(p)) < np.where(p < 0.5, 0.6 - p, p - 0.4)  # falls, then rises
    (curve,) = fit("beta", both(p), hits.astype(int)).curves
    assert (curve.parameters[:2] >= 0).all()

    def likelihood(said):
        return np.where(hits, np.log(said), np.log(1 - said)).mean()

    fits = [(column, *soft(column[:, None], hits)) for column in (np.log(p), -np.log(1 - p))]
    on_the_border = [likelihood(logistic(k * column + c)) for column, (k,), c in fits if k >= 0]
    assert likelihood(curve.many(p)) == pytest.approx(max(on_the_border), abs=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(rows=scored(), asked=st.lists(st.floats(0, 1), max_size=10))
def test_isotonic_is_scikit_learns_but_for_its_zeros_and_ones(rows, asked):
    p, hits = rows
    p = np.round(p, 6)  # scikit-learn takes scores this near for one
    if hits.all() or not hits.any():
        return
    (curve,) = fit("isotonic", both(p), hits.astype(int)).curves
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, hits)
    levels = theirs.predict(p)
    low = min(1 / ((levels == 0).sum() + 2), levels[levels > 0].min()) if 0 in levels else 0
    high = max(1 - 1 / ((levels == 1).sum() + 2), levels[levels < 1].max()) if 1 in levels else 1
    at = np.concatenate((p, np.round(asked, 6), [0, 1]))
    expected = np.interp(at, theirs.X_thresholds_, np.clip(theirs.y_thresholds_, low, high))
    np.testing.assert_allclose(curve.many(at), expected, atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=scored(), asked=st.lists(st.floats(0, 1), max_size=6))
def test_venn_abers_is_two_refits_for_every_row(rows, asked):
    p, hits = rows
    if hits.all() or not hits.any():
        return
    p, asked = np.round(p, 6), np.round(asked, 6)
    (curve,) = fit("venn_abers", both(p), hits.astype(int)).curves
    for score in np.concatenate((asked, p[:4], [0, 1])):
        p0, p1 = (
            IsotonicRegression().fit(np.append(p, score), np.append(hits, label)).predict([score])[0]
            for label in (0, 1)
        )
        assert curve.one(float(score)) == pytest.approx(p1 / (1 - p0 + p1), abs=1e-9)


def test_pooling_is_exact_and_linear_where_every_pass_pools_but_little():
    n = 30_000
    rising = np.arange(1, n + 1)
    groups = Groups(np.linspace(0, 1, n), np.full(n, 10**6), np.append(rising[:-1], 0))
    starts = blocks(groups)
    levels = np.add.reduceat(groups.hits, starts) / np.add.reduceat(groups.rows, starts)
    theirs = IsotonicRegression().fit_transform(groups.scores, groups.hits / groups.rows)
    np.testing.assert_allclose(np.repeat(levels, np.diff(np.append(starts, n))), theirs, rtol=1e-12)
    lower, upper = bounds(groups)
    assert (lower <= theirs + 1e-12).all()
    assert (upper >= theirs - 1e-12).all()


# -- what it is for ------------------------------------------------------------------------------------

DISTORTIONS = {
    "sure of itself": lambda p: logistic(logit(p) * 3),
    "unsure": lambda p: logistic(logit(p) / 3),
    "shifted": lambda p: logistic(logit(p) - 1.5),
    "lopsided": lambda p: p**3,
    "lopsided the other way": lambda p: 1 - (1 - p) ** 2.5,
    "in steps": lambda p: np.select(
        [p < 0.3, p < 0.7], [p / 6, 0.05 + (p - 0.3) / 5], 0.13 + (p - 0.7) * 2.9
    ),
}
LOGISTIC = ("sure of itself", "unsure", "shifted")
IN_FAMILY = {
    "sigmoid": LOGISTIC,
    "beta": (*LOGISTIC, "lopsided", "lopsided the other way"),
    "isotonic": tuple(DISTORTIONS),
    "venn_abers": tuple(DISTORTIONS),
}


@pytest.mark.parametrize(("method", "which"), [(m, w) for m, names in IN_FAMILY.items() for w in names])
def test_a_distorted_model_is_mended(method, which):
    rng = np.random.default_rng(5)
    right = rng.beta(1.2, 1.2, 60_000)
    hits = rng.random(len(right)) < right
    said = DISTORTIONS[which](right)
    seen, unseen = slice(0, 30_000), slice(30_000, None)
    calibrated = fit(method, both(said[seen]), hits[seen].astype(int))
    before, after = (
        ece(said[unseen], hits[unseen]),
        ece(calibrated.many(both(said[unseen]))[:, 1], hits[unseen]),
    )
    assert before > 0.04
    assert after <= 0.2 * before


@pytest.mark.parametrize("method", METHODS)
def test_three_classes_are_mended_too(method):
    rng = np.random.default_rng(6)
    right = rng.dirichlet([1, 1, 0.4], 60_000)
    truth = (rng.random((len(right), 1)) > right.cumsum(axis=1)).sum(axis=1)
    said = right**3 / (right**3).sum(axis=1, keepdims=True)  # sure of itself
    answer = fit(method, said[:30_000], truth[:30_000]).many(said[30_000:])
    rest = truth[30_000:]
    for code in range(3):
        before, after = (ece(output[:, code], rest == code) for output in (said[30_000:], answer))
        assert after <= 0.35 * before  # one against the rest is not the distortion's own family


def test_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in METHODS:
            calibrated = fit(method, both([0.0, 1.0, 1.0, 0.0]), np.array([0, 1, 0, 1]))
            calibrated.many(both(EXTREMES))
            calibrated.one([1.0, 0.0])
