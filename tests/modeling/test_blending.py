"""Weights of members: against brute force, scipy and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mmp.modeling.blending import Blend, blend, logs
from mmp.modeling.target import Target

METHODS = ("voting", "stacking", "greedy")


def classes(n_rows, n_classes, seed):
    rng = np.random.default_rng(seed)
    return Target(
        "classification", rng.integers(0, n_classes, n_rows).astype(np.int32), tuple(range(n_classes))
    )


def said_of(target, noises, seed):
    """Return probabilities that know the truth, the less the noisier."""
    rng = np.random.default_rng(seed)
    truth = np.eye(target.n_classes)[target.values]
    made = []
    for noise in noises:
        scores = truth + noise * rng.normal(size=truth.shape)
        powers = np.exp(scores)
        made.append(powers / powers.sum(axis=1, keepdims=True))
    return made


def log_loss(target, output, weights=None):
    return -np.average(np.log(output[np.arange(len(target)), target.values]), weights=weights)


def numbers(n_rows, seed, noises, scale=1.0):
    rng = np.random.default_rng(seed)
    truth = scale * rng.normal(5, 2, n_rows)
    return Target("regression", truth), [truth + scale * noise * rng.normal(size=n_rows) for noise in noises]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_classes=st.integers(2, 4), n_members=st.integers(2, 4))
def test_stacked_classes_are_where_scipy_finds_the_least_loss(seed, n_classes, n_members):
    target = classes(60, n_classes, seed)
    noises = np.random.default_rng(seed).uniform(0.5, 3, n_members)
    said = said_of(target, noises, seed)
    row_weights = np.random.default_rng(seed).uniform(0.1, 3, 60)

    def loss(at):
        weights, intercepts = at[:n_members], at[n_members:]
        scores = intercepts + sum(w * logs(p) for w, p in zip(weights, said, strict=True))
        shares = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        fit = -row_weights @ shares[np.arange(60), target.values]
        return fit + 5 * ((weights - 1 / n_members) ** 2).sum() + (intercepts**2).sum() / 2

    start = np.repeat((1 / n_members, 0.0), (n_members, n_classes))
    bounds = [(0, None)] * n_members + [(None, None)] * n_classes
    theirs = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
    ours = blend("stacking", said, target, row_weights=row_weights)
    assert loss(np.array([*ours.weights, *ours.intercepts])) == pytest.approx(theirs.fun, abs=1e-6)
    assert np.allclose([*ours.weights, *ours.intercepts], theirs.x, atol=2e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-3, 1.0, 1e6]))
def test_stacked_numbers_are_where_scipy_finds_the_least_loss_in_any_unit(seed, scale):
    target, said = numbers(50, seed, (0.3, 0.5, 4.0), scale)
    spread = np.sqrt(np.mean((np.mean(said, axis=0) - target.values) ** 2))

    def loss(at):
        residuals = (
            sum(w * s for w, s in zip(at, said, strict=False)) + at[3] * spread - target.values
        ) / spread
        center = np.mean(said)
        moved = at[3] + center / spread * (at[:3].sum() - 1)
        return (residuals @ residuals) / 2 + 5 * ((at[:3] - 1 / 3) ** 2).sum() + moved**2 / 2

    theirs = minimize(
        loss, [1 / 3, 1 / 3, 1 / 3, 0.0], method="L-BFGS-B", bounds=[(0, None)] * 3 + [(None, None)],
        options={"ftol": 1e-15, "gtol": 1e-10},
    )  # fmt: skip
    ours = blend("stacking", said, target)
    at = np.array([*ours.weights, ours.intercepts[0] / spread])
    assert loss(at) == pytest.approx(theirs.fun, rel=1e-5)


@pytest.mark.parametrize("method", ["stacking", "greedy"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_not_negative_and_no_worse_than_the_best_member(method, seed):
    target = classes(400, 3, seed)
    said = said_of(target, (0.5, 1.5, 4.0), seed)
    found = blend(method, said, target)
    assert min(found.weights) >= 0
    assert log_loss(target, found(said)) <= min(log_loss(target, one) for one in said) + 0.01


def test_greedy_means_sum_to_one_and_leave_out_what_does_not_help():
    target, said = numbers(300, 0, (1.0, 1.0, 60.0))
    found = blend("greedy", said, target)
    assert sum(found.weights) == pytest.approx(1)
    assert found.weights[2] == 0
    assert found.counting == [0, 1]
    assert np.array_equal(found.of_counting()(said[:2]), found(said))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_greedy_is_close_to_the_best_of_all_means(seed):
    target, said = numbers(200, seed, (1.0, 1.5))
    found = blend("greedy", said, target)
    grid = [
        np.mean((share * said[0] + (1 - share) * said[1] - target.values) ** 2)
        for share in np.linspace(0, 1, 201)
    ]
    assert np.mean((found(said) - target.values) ** 2) <= min(grid) * 1.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_classes", [0, 2, 5])
def test_a_row_by_itself_is_the_same_to_the_bit(method, n_classes):
    target = classes(50, n_classes, 1) if n_classes else None
    target, said = (target, said_of(target, (0.5, 1, 2), 1)) if target else numbers(50, 1, (1, 2, 3))
    found = blend(method, said, target)
    whole = found(said)
    for row in range(50):
        assert np.array_equal(found([one[row : row + 1] for one in said])[0], whole[row])
    if n_classes:
        assert np.allclose(whole.sum(axis=1), 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_weights(method):
    target = classes(200, 3, 2)
    said = said_of(target, (0.5, 1, 2), 2)
    assert blend(method, said, target, seed=3) == blend(method, said, target, seed=3)


def test_a_probability_of_zero_is_not_the_last_word():
    said = [np.array([[0.0, 1.0]]), np.array([[0.9, 0.1]])]
    output = Blend((0.5, 0.5), (0.0, 0.0), in_logs=True)(said)
    assert np.isfinite(output).all()
    assert 0 < output[0, 0] < 0.01
    assert logs(np.array([0.0])) == np.log(1e-6)


def test_rows_that_count_for_nothing_have_no_say():
    target = classes(200, 2, 5)
    said = said_of(target, (0.5, 3), 5)
    of_half = Target("classification", target.values[:100], target.classes)
    half = [one[:100] for one in said]
    weighted = blend("stacking", said, target, row_weights=np.repeat((1.0, 0.0), 100))
    alone = blend("stacking", half, of_half)
    assert np.allclose(
        [*weighted.weights, *weighted.intercepts], [*alone.weights, *alone.intercepts], atol=1e-6
    )


def test_identical_members_share_alike():
    target = classes(100, 3, 7)
    (one,) = said_of(target, (1.0,), 7)
    for method in METHODS:
        found = blend(method, [one, one, one], target)
        assert np.isfinite(found([one, one, one])).all()
