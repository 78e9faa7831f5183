"""How the outputs of several models become one: weights that are found on out-of-fold predictions.

======== ================================================ =============================================
method   what it makes of the members                     how the weights are found
======== ================================================ =============================================
voting   the mean                                         they are equal
greedy   a weighted mean                                  members are added one by one, again and again,
                                                          the one that helps most (Caruana et al. 2004)
stacking of classes a weighted product of probabilities,  the likelihood, with a penalty on leaving
         of numbers a weighted sum; with intercepts       voting; no weight is negative
======== ================================================ =============================================

Weights are plain numbers, and the sums are made member by member: a row's answer is the same to the bit
whatever stands beside it.

References
----------
Caruana, R. et al. (2004). Ensemble selection from libraries of models. ICML.
Breiman, L. (1996). Stacked regressions. Machine Learning, 24.
Hinton, G. E. (2002). Training products of experts by minimizing contrastive divergence. Neural
Computation, 14.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from mmp.modeling.engines.base import Output
    from mmp.modeling.target import Target

    Floats = npt.NDArray[np.float64]
    Step = tuple[float, Floats, Floats]

Method = Literal["voting", "stacking", "greedy"]

_LEAST = 1e-6  # a probability of 0 would be the last word in a product
_ROUNDS, _BAGS = 50, 20
_MOST_ROWS = 20_000  # that greedy selection looks at; what a second look would change is below its noise
_STRENGTH = 10.0  # of the penalty: weights are expected within 1/√10 of voting's
_STEPS, _TOLERANCE = 100, 1e-10


@dataclass(frozen=True)
class Blend:
    """How much each member counts.

    Parameters
    ----------
    weights : tuple of float
        One for each member, none negative.
    intercepts : tuple of float
        Added to a number, or to the logarithm of each class's probability; none for a mean.
    in_logs : bool
        Whether probabilities are multiplied, their weights as powers, instead of added.

    Examples
    --------
    >>> Blend((0.75, 0.25))([np.array([1.0, 2.0]), np.array([3.0, 2.0])])
    array([1.5, 2. ])
    """

    weights: tuple[float, ...]
    intercepts: tuple[float, ...] = ()
    in_logs: bool = False

    def __call__(self, outputs: Sequence[Floats]) -> Floats:
        """Return one output of the members' outputs, each of shape (n_rows, n_classes) or (n_rows,)."""
        if self.in_logs:
            return self._multiplied(outputs)
        total = self.weights[0] * outputs[0]
        for weight, output in zip(self.weights[1:], outputs[1:], strict=True):
            total += weight * output
        return total + self.intercepts[0] if self.intercepts else total

    def one(self, outputs: Sequence[Output]) -> Output:
        """Return the mean of the outputs of one row, to the bit as among others."""
        first = outputs[0]
        if not isinstance(first, list):
            return self._summed(cast("Sequence[float]", outputs))
        return [self._summed(column) for column in zip(*cast("Sequence[list[float]]", outputs), strict=True)]

    def _summed(self, numbers: Sequence[float]) -> float:
        total = self.weights[0] * numbers[0]
        for weight, number in zip(self.weights[1:], numbers[1:], strict=True):
            total += weight * number
        return total + self.intercepts[0] if self.intercepts else total

    def _multiplied(self, outputs: Sequence[Floats]) -> Floats:
        scores = np.broadcast_to(np.array(self.intercepts), outputs[0].shape).copy()
        for weight, output in zip(self.weights, outputs, strict=True):
            scores += weight * logs(output)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        total = np.zeros(len(powers))
        for power in powers.T:
            total += power
        return np.asarray(powers / total[:, None])

    @property
    def counting(self) -> list[int]:
        """Positions of the members whose weight is not 0, which are all that is needed."""
        return [place for place, weight in enumerate(self.weights) if weight > 0]

    def of_counting(self) -> Blend:
        """Return the blend of those members alone."""
        return replace(self, weights=tuple(self.weights[place] for place in self.counting))


def logs(probabilities: Floats) -> Floats:
    """Return logarithms, of probabilities below a millionth those of a millionth."""
    return np.log(np.maximum(probabilities, _LEAST))


def blend(
    method: Method,
    outputs: Sequence[Floats],
    target: Target,
    *,
    row_weights: Floats | None = None,
    seed: int = 42,
) -> Blend:
    """Find how much each member counts.

    Parameters
    ----------
    method : {"voting", "stacking", "greedy"}
        How.
    outputs : sequence of ndarray, each of shape (n_rows, n_classes) or (n_rows,)
        What each member says of rows that it was not fitted on.
    target : Target
        The truth of the same rows.
    row_weights : ndarray of shape (n_rows,), optional
        How much each row counts.
    seed : int
        Draws the bags of greedy selection.

    Examples
    --------
    >>> from mmp.modeling.target import Target
    >>> truth = np.arange(8.0)
    >>> blend("greedy", [truth + 1, truth - 1, -truth], Target("regression", truth)).weights
    (0.5, 0.5, 0.0)
    """
    weights = np.ones(len(target)) if row_weights is None else row_weights
    if method == "voting" or len(outputs) == 1:
        return Blend((1 / len(outputs),) * len(outputs))
    if method == "greedy":
        return _greedy(outputs, target, weights, np.random.default_rng(seed))
    return _product(outputs, target, weights) if target.classes else _sum(outputs, target, weights)


def loss_of(output: Floats, target: Target, row_weights: Floats | None = None) -> float:
    """Return the mean logarithmic loss, or the mean squared error.

    Examples
    --------
    >>> from mmp.modeling.target import Target
    >>> loss_of(np.array([1.0, 4.0]), Target("regression", np.array([1.0, 2.0])))
    2.0
    """
    if not target.classes:
        return float(np.average((output - target.values) ** 2, weights=row_weights))
    said = output[np.arange(len(target)), target.values]
    return float(np.average(-logs(said), weights=row_weights))


# -- greedy --------------------------------------------------------------------------------------------


def _greedy(
    outputs: Sequence[Floats], target: Target, row_weights: Floats, rng: np.random.Generator
) -> Blend:
    """Select with replacement on bootstrap samples of the rows, and take the mean of the selections."""
    rows = np.arange(len(target))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(rng.choice(len(rows), _MOST_ROWS, replace=False))
    if target.classes:  # all that the loss is made of
        said = np.stack([output[rows, target.values[rows]] for output in outputs], axis=1)
        loss = _log_losses
    else:
        said = np.stack([output[rows] - target.values[rows] for output in outputs], axis=1)
        loss = _squares
    counts = np.zeros(len(outputs))
    for _ in range(_BAGS):
        drawn = np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows))
        bag = drawn > 0
        counts += _selected(said[bag], (drawn * row_weights[rows])[bag], loss)
    return Blend(tuple((counts / _BAGS).tolist()))


def _selected(said: Floats, row_weights: Floats, loss: Callable[[Floats, Floats], Floats]) -> Floats:
    """Return the share that each member has in the selection that is best on the way."""
    total = np.zeros(len(said))
    counts = np.zeros(said.shape[1])
    least, best = np.inf, counts
    for number in range(1, _ROUNDS + 1):
        losses = loss((total[:, None] + said) / number, row_weights)
        chosen = int(losses.argmin())
        total += said[:, chosen]
        counts[chosen] += 1
        if losses[chosen] < least:
            least, best = losses[chosen], counts / number
    return best


def _log_losses(said: Floats, row_weights: Floats) -> Floats:
    return np.asarray(-(row_weights @ logs(said)))


def _squares(said: Floats, row_weights: Floats) -> Floats:
    return np.asarray(row_weights @ said**2)


# -- stacking ------------------------------------------------------------------------------------------


def _sum(outputs: Sequence[Floats], target: Target, row_weights: Floats) -> Blend:
    """Minimise squared errors over the variance that voting leaves, so that the penalty has no unit."""
    said = np.stack(outputs, axis=1)
    n_members = said.shape[1]
    center, truth = said.mean(), target.values - said.mean()
    columns = np.column_stack((said - center, np.ones(len(said))))
    variance = float(np.average((said.mean(axis=1) - target.values) ** 2, weights=row_weights)) or 1.0
    weighted = columns.T * (row_weights / variance)
    gram, moments = weighted @ columns, weighted @ truth

    def step(at: Floats) -> Step:
        return float(at @ gram @ at / 2 - moments @ at), gram @ at - moments, gram

    found = _minimised(step, _penalty(n_members, 1, np.sqrt(variance)), n_members)
    weights, intercept = found[:-1], found[-1] + center * (1 - found[:-1].sum())
    return Blend(tuple(weights.tolist()), (float(intercept),))


def _product(outputs: Sequence[Floats], target: Target, row_weights: Floats) -> Blend:
    """Minimise the negative logarithm of the likelihood (Newton's method)."""
    said = [logs(output) for output in outputs]
    n_members, n_classes = len(said), target.n_classes
    rows, truth = np.arange(len(target)), target.values

    def step(at: Floats) -> Step:
        scores = np.tile(at[n_members:], (len(truth), 1))
        for weight, one in zip(at, said, strict=False):
            scores += weight * one
        scores -= scores.max(axis=1, keepdims=True)
        powers = np.exp(scores)
        total = powers.sum(axis=1, keepdims=True)
        loss = float(row_weights @ (np.log(total[:, 0]) - scores[rows, truth]))
        shares = powers / total
        return loss, _gradient(said, shares, truth, row_weights), _curvature(said, shares, row_weights)

    found = _minimised(step, _penalty(n_members, n_classes, 1.0), n_members)
    return Blend(tuple(found[:n_members].tolist()), tuple(found[n_members:].tolist()), in_logs=True)


def _gradient(
    said: Sequence[Floats], shares: Floats, truth: npt.NDArray[np.int32], row_weights: Floats
) -> Floats:
    residuals = shares.copy()
    residuals[np.arange(len(truth)), truth] -= 1
    residuals *= row_weights[:, None]
    return np.array([*(np.vdot(residuals, one) for one in said), *residuals.sum(axis=0)])


def _curvature(said: Sequence[Floats], shares: Floats, row_weights: Floats) -> Floats:
    """Return the expected covariance of what each weight and each intercept is multiplied by."""
    n_members = len(said)
    weighted = shares * row_weights[:, None]
    around = [one - (shares * one).sum(axis=1, keepdims=True) for one in said]
    corner = np.array([[np.vdot(weighted * a, b) for b in around] for a in around])
    edge = np.array([(weighted * a).sum(axis=0) for a in around])
    full = np.diag(np.concatenate((np.zeros(n_members), weighted.sum(axis=0))))
    full[n_members:, n_members:] -= weighted.T @ shares
    full[:n_members, :n_members] = corner
    full[:n_members, n_members:] = edge
    full[n_members:, :n_members] = edge.T
    return full


@dataclass(frozen=True)
class _Penalty:
    """A quadratic one: how strong, around where."""

    strength: Floats
    center: Floats

    def added(self, step: Step, at: Floats) -> Step:
        loss, gradient, curvature = step
        away = at - self.center
        force = self.strength * away
        return loss + float(force @ away) / 2, gradient + force, curvature + np.diag(self.strength)


def _penalty(n_members: int, n_intercepts: int, unit: float) -> _Penalty:
    """Expect equal weights, and intercepts within a unit of 0."""
    strength = np.repeat((_STRENGTH, 1 / unit**2), (n_members, n_intercepts))
    return _Penalty(strength, np.repeat((1 / n_members, 0.0), (n_members, n_intercepts)))


def _minimised(step: Callable[[Floats], Step], penalty: _Penalty, n_weights: int) -> Floats:
    """Minimise a convex function of numbers of which the first are not negative.

    Newton's method on those that are free, halved until the loss falls; a weight that would become
    negative is held at 0 for as long as its gradient keeps it there (Bertsekas 1982).
    """
    at = penalty.center.copy()
    lowest = np.where(np.arange(len(at)) < n_weights, 0.0, -np.inf)
    loss, gradient, curvature = penalty.added(step(at), at)
    for _ in range(_STEPS):
        free = (at > lowest) | (gradient < 0)
        direction = np.zeros(len(at))
        direction[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        if float(direction @ gradient) < _TOLERANCE * (1 + abs(loss)):
            break
        for halvings in range(_STEPS):
            tried = np.maximum(at - direction / 2**halvings, lowest)
            found = penalty.added(step(tried), tried)
            if found[0] < loss:
                break
        else:
            break
        at, (loss, gradient, curvature) = tried, found
    return at
