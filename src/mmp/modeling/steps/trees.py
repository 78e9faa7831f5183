"""What the trees of a small forest say, as features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmp.lookup import resolve
from mmp.modeling.columns import Column, as_float
from mmp.modeling.ops import Trees
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds
from mmp.modeling.steps.folds import folds_of
from mmp.modeling.steps.target import target_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.target import Target
    from mmp.modeling.training import Training

    Floats = npt.NDArray[np.float64]

_FOLDS = 5
_MOST_ROWS = 100_000
"""Rows that a tree is grown of at most, drawn at random."""


class _TreeFeatures(StepSettings, Protocol):
    @property
    def n_estimators(self) -> int: ...

    @property
    def max_depth(self) -> int: ...

    @property
    def random_state(self) -> int | None: ...


def tree_based_feature_generator(step: _TreeFeatures, names: Sequence[str], training: Training) -> Fitted:
    """Add what the leaf of each tree of a random forest says of a row; the columns themselves stay.

    It is the leaf's mean of the target, or its share of the second of two classes, or of each of
    more. A training row gets what trees say that were grown without its fold. Numbers of leaves
    would not do: those of trees that were grown on different folds have nothing to do with each
    other, and those of one forest carry each training row's own target.
    """
    require_kinds(step, names, training, NUMBERS)
    if not names:
        return Fitted(())
    seed = training.seed if step.random_state is None else step.random_state
    columns = [training[name] for name in names]
    rows = np.column_stack([as_float(column) for column in columns])
    targets = tuple(
        target
        for number in range(1, step.n_estimators + 1)
        for target in target_names(f"tree {number}", training, fresh=True)
    )
    every = np.arange(len(rows))
    op = _grown(step, names, targets, rows, training.target, seed)
    folds = folds_of(training.target, _FOLDS, seed, step=step.type)
    out_of_fold = {target: Column("float", np.empty(len(rows))) for target in targets}
    for fold in range(_FOLDS):
        others, own = every[folds != fold], every[folds == fold]
        trees = _grown(step, names, targets, rows[others], training.target.take(others), seed)
        made = {name: column.take(own) for name, column in zip(names, columns, strict=True)}
        trees.apply(made)
        for target in targets:
            out_of_fold[target].values[own] = made[target].values
    return Fitted((op,), out_of_fold=out_of_fold)


def _grown(
    step: _TreeFeatures,
    names: Sequence[str],
    targets: tuple[str, ...],
    rows: Floats,
    target: Target,
    seed: int,
) -> Trees:
    kind = "Classifier" if target.kind == "classification" else "Regressor"
    grow: Any = resolve(f"sklearn.ensemble.RandomForest{kind}")
    forest = grow(
        step.n_estimators,
        max_depth=step.max_depth,
        max_samples=_MOST_ROWS if len(rows) > _MOST_ROWS else None,
        random_state=seed,
    )
    largest = np.finfo(np.float32).max
    forest.fit(np.clip(rows, -largest, largest), target.values)
    return trees_of(forest, tuple(names), targets, n_classes=target.n_classes)


def trees_of(forest: Any, reads: tuple[str, ...], targets: tuple[str, ...], *, n_classes: int) -> Trees:
    """Return the trees of a fitted forest of scikit-learn's as an op.

    Parameters
    ----------
    forest : object
        A random forest, of a classifier with codes of classes.
    reads, targets : tuple of str
        The variables.
    n_classes : int
        0 for regression.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    is_leaf = np.concatenate([tree.children_left for tree in trees]) < 0
    own = np.arange(len(is_leaf))

    def nodes(side: str) -> npt.NDArray[np.int64]:
        children = [getattr(tree, side) + start for tree, start in zip(trees, starts, strict=True)]
        return np.where(is_leaf, own, np.concatenate(children))

    return Trees(
        reads,
        targets,
        roots=starts.astype(np.int64),
        features=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int64),
        thresholds=_of_doubles(np.concatenate([tree.threshold for tree in trees])),
        left=nodes("children_left"),
        right=nodes("children_right"),
        missing_left=np.concatenate([tree.missing_go_to_left for tree in trees]).astype(np.bool_),
        values=_values(np.concatenate([tree.value[:, 0, :] for tree in trees]), forest, n_classes),
    )


def _values(found: Floats, forest: Any, n_classes: int) -> Floats:
    if not n_classes:
        return found
    shares = np.zeros((len(found), n_classes))
    shares[:, forest.classes_] = found  # a fold may lack a class
    return shares[:, 1:] if n_classes == 2 else shares


def _of_doubles(thresholds: Floats) -> Floats:
    """Return thresholds that part doubles as these part what doubles are rounded to in scikit-learn.

    It compares float32 with a double. A double rounds to at most `below`, the largest float32 that is
    not above the threshold, up to the middle between that and the next one, where ties go to the even.
    """
    nearest = thresholds.astype(np.float32)
    below = np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    above = np.nextafter(below, np.float32(np.inf))
    middle = (below.astype(np.float64) + above.astype(np.float64)) / 2
    goes_down = below.view(np.int32) % 2 == 0
    return np.where(goes_down, middle, np.nextafter(middle, -np.inf))
