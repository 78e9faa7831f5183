"""More columns from numbers: bins and products."""

from __future__ import annotations

from itertools import chain, combinations, combinations_with_replacement
from math import comb
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mmp.errors import DataError, Finding
from mmp.modeling.columns import as_float
from mmp.modeling.ops import Bin, Expand, Product
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.ops import Op
    from mmp.modeling.training import Training

    Floats = npt.NDArray[np.float64]

_MOST_PRODUCTS = 5_000
_NARROW = 1e-8
"""Bins that are no wider are left out, as scikit-learn does."""


class _KbinsDiscretizer(StepSettings, Protocol):
    @property
    def n_bins(self) -> int: ...

    @property
    def strategy(self) -> str: ...

    @property
    def encode(self) -> str: ...


class _PolynomialFeatures(StepSettings, Protocol):
    @property
    def degree(self) -> int: ...

    @property
    def interaction_only(self) -> bool: ...

    @property
    def include_bias(self) -> bool: ...


def kbins_discretizer(step: _KbinsDiscretizer, names: Sequence[str], training: Training) -> Fitted:
    """Replace numbers by the bin they fall in, as scikit-learn's `KBinsDiscretizer` does.

    All training rows are looked at. The first and the last bin are open. Missing stays missing, and
    has a 0/1 column of its own where training had missing values.
    """
    require_kinds(step, names, training, NUMBERS)
    ops: list[Op] = []
    findings: list[Finding] = []
    for name in names:
        column = training[name]
        values = as_float(column)
        edges = _edges(step, values if column.valid is None else values[column.valid])
        n_bins = len(edges) + 1
        if n_bins < step.n_bins:
            findings.append(_fewer(step, name, n_bins))
        ops.append(Bin(name, (name,), edges))
        if step.encode == "onehot":
            wanted = [f"{name}=bin {number}" for number in range(n_bins)]
            wanted += [f"{name} is missing"] * column.has_missing()
            targets = tuple(training.new_name(target) for target in wanted)
            ops.append(Expand(name, targets, (), np.arange(n_bins), refuse_unseen=False))
    return Fitted(tuple(ops), tuple(names) if step.encode == "onehot" else (), findings=tuple(findings))


def _fewer(step: _KbinsDiscretizer, name: str, n_bins: int) -> Finding:
    found = "is constant" if n_bins == 1 else f"has values for {n_bins} bins only"
    return Finding(step.type, "warn", f"{name!r} {found}, and {step.n_bins} are asked for", name)


def _edges(step: _KbinsDiscretizer, values: Floats) -> Floats:
    """Return the inner edges, ascending."""
    if not len(values) or values.min() == values.max():
        return np.empty(0)
    if step.strategy == "uniform":
        return np.linspace(values.min(), values.max(), step.n_bins + 1)[1:-1]
    if step.strategy == "quantile":
        shares = np.linspace(0, 100, step.n_bins + 1)
        edges = np.percentile(values, shares, method="averaged_inverted_cdf")
    else:
        centres = _centres(np.sort(values), step.n_bins)
        edges = np.array([values.min(), *((centres[1:] + centres[:-1]) / 2), values.max()])
    edges = edges[np.ediff1d(edges, to_begin=np.inf) > _NARROW]
    return edges[1:-1]


def _centres(ordered: Floats, count: int) -> Floats:
    """Return the centres of k-means in one dimension, as scikit-learn's `KMeans` finds them from even ones.

    Clusters are runs of the ordered values, so that an iteration costs a few look-ups in running sums.
    """
    mean = ordered.mean()
    values = ordered - mean
    sums = np.concatenate([[0.0], np.cumsum(values)])
    bounds = np.linspace(values[0], values[-1], count + 1)
    centres = (bounds[1:] + bounds[:-1]) * 0.5
    tolerance, cuts = np.var(values) * 1e-4, np.empty(0, np.intp)
    for _ in range(300):
        before, old = cuts, centres
        inner = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2, side="right")
        cuts = np.concatenate([[0], inner, [len(values)]])
        if np.array_equal(cuts, before):
            break
        centres = np.sort(_means(values, sums, cuts, centres))
        if ((centres - old) ** 2).sum() <= tolerance:
            break
    found: Floats = centres + mean
    return found


def _means(values: Floats, sums: Floats, cuts: npt.NDArray[np.intp], centres: Floats) -> Floats:
    """Return the mean of each run; an empty one gets a value that is farthest from its centre."""
    sizes, totals = np.diff(cuts), np.diff(sums[cuts])
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        distances = np.abs(values - np.repeat(centres, sizes))
        farthest = np.argsort(-distances, kind="stable")[: len(empty)]
        owners = np.searchsorted(cuts, farthest, side="right") - 1
        np.subtract.at(totals, owners, values[farthest])
        np.subtract.at(sizes, owners, 1)
        totals[empty], sizes[empty] = values[farthest], 1
    means: Floats = np.where(sizes > 0, totals / np.maximum(sizes, 1), centres)
    return means


def polynomial_features(step: _PolynomialFeatures, names: Sequence[str], training: Training) -> Fitted:
    """Add products of up to `degree` columns, as scikit-learn's `PolynomialFeatures` does.

    The columns themselves stay. A product of which a factor is missing is missing.
    """
    require_kinds(step, names, training, NUMBERS)
    _check_count(step, len(names))
    choose = combinations if step.interaction_only else combinations_with_replacement
    positions = range(len(names))
    products = chain.from_iterable(choose(positions, size) for size in range(2, step.degree + 1))
    terms = [*([()] if step.include_bias and names else []), *products]
    if not terms:
        return Fitted(())
    powers = np.stack([np.bincount(np.array(term, np.intp), minlength=len(names)) for term in terms])
    targets = tuple(training.new_name(_product_name(names, row.tolist())) for row in powers)
    return Fitted((Product(tuple(names), targets, powers),))


def _check_count(step: _PolynomialFeatures, n_columns: int) -> None:
    width = n_columns if step.interaction_only else n_columns + step.degree - 1
    count = comb(width, step.degree)
    if count > _MOST_PRODUCTS:
        raise DataError(
            f"The step {step.type} would make {count:,} products of degree {step.degree} "
            f"of {n_columns} columns.",
            hint=f"Lower its degree, or name fewer columns; {_MOST_PRODUCTS:,} are the most.",
        )


def _product_name(names: Sequence[str], powers: Sequence[int]) -> str:
    factors = [
        name if power == 1 else f"{name}^{power}" for name, power in zip(names, powers, strict=True) if power
    ]
    return " ".join(factors) or "1"
