"""LightGBM's trees, read from the text that it saves, in machine code for many rows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mmp.modeling.engines.base import both_classes
from mmp.modeling.engines.compiled import (
    MOST_LEAVES,
    Compiled,
    Split,
    compiled,
    exponentials,
    softmax,
    splits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.modeling.engines.compiled import Node

    Doubles = npt.NDArray[np.float64]

_EDGE_ROWS: Final = 4096
_SEED: Final = 7
_ZERO: Final = float(np.float32(1e-35))  # the largest number that LightGBM takes for zero
_LARGEST: Final = float(np.finfo(np.float64).max)
_EDGES: Final = (0.0, _ZERO, -_ZERO, 2 * _ZERO, -2 * _ZERO, 5e-324, _LARGEST, -_LARGEST, math.nan)
_CATEGORICAL, _DEFAULT_LEFT, _MISSING = 1, 2, 2  # bits of a split's decision type, and where the rest begin
_NONE_MISSING, _NAN_MISSING = 0, 2
_WORD: Final = 32
_IDENTITY: Final = frozenset({"regression", "regression_l1", "huber", "fair", "quantile", "mape"})
_EXPONENTIAL: Final = frozenset({"poisson", "gamma", "tweedie"})
_KNOWN: Final = _IDENTITY | _EXPONENTIAL | {"binary", "multiclass"}


@dataclass(frozen=True, eq=False)
class Leafwise:
    """Trees, and what becomes of their sums.

    Parameters
    ----------
    trees : Compiled
        The trees.
    objective : str
        ``binary``, ``multiclass``, or one of those of numbers.
    steepness : float
        Of the logistic function.
    """

    trees: Compiled
    objective: str
    steepness: float = 1.0

    def predict(self, values: npt.NDArray[np.float64]) -> Doubles:
        """Return what the booster says of the rows of a matrix: probabilities, or numbers."""
        margins = self.trees.margins(values)
        if self.objective == "multiclass":
            return np.asarray(softmax(margins).T, np.float64)
        if self.objective in _IDENTITY:
            return np.asarray(margins[0], np.float64)
        is_binary = self.objective == "binary"
        powers = margins[0] * (-self.steepness if is_binary else 1.0)
        exponentials(powers)
        if not is_binary:
            return np.asarray(powers, np.float64)
        powers += 1
        return both_classes(np.reciprocal(powers, out=powers))


def leafwise(text: str, n_features: int, predict: Callable[[Doubles], Doubles]) -> Leafwise | None:
    """Compile the trees of a saved model, and compare them with the booster.

    Parameters
    ----------
    text : str
        What LightGBM saves.
    n_features : int
        Columns of the matrix.
    predict : callable
        The booster's own call, for rows at and around the thresholds.

    Returns
    -------
    Leafwise or None
        None where bits differ, and where there is more to the model than trees, sums and the objectives that
        are known here: linear leaves, averages, zeros that are missing values.
    """
    head, *parts = text.partition("\nend of trees")[0].split("\nTree=")
    facts = _facts(head)
    objective, *options = facts["objective"].split()
    if objective not in _KNOWN or "sqrt" in options or "average_output" in head:
        return None
    trees = [_tree(_facts(part)) for part in parts]
    n_groups = int(facts["num_tree_per_iteration"])
    by_group = [tree for group in range(n_groups) for tree in trees[group::n_groups] if tree is not None]
    found = compiled(by_group, np.zeros(n_groups), right="ogt") if len(by_group) == len(parts) else None
    if found is None:
        return None
    steepness = dict(option.partition(":")[::2] for option in options).get("sigmoid", "1")
    made = Leafwise(found, objective, float(steepness))
    rows = _edge_rows(by_group, n_features)
    return made if np.array_equal(made.predict(rows), predict(rows)) else None


def n_leaves(text: str) -> int:
    """Return how many leaves all trees of a saved model have."""
    return sum(map(int, re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE)))


def _facts(lines: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in lines.splitlines())


def _tree(facts: Mapping[str, str]) -> Node | None:
    """Return a tree, None where it is none of ours."""
    if facts.get("is_linear", "0") != "0":
        return None
    stored = _Tree(
        feature=_integers(facts, "split_feature"),
        threshold=[float(word) for word in facts.get("threshold", "").split()],
        decision=_integers(facts, "decision_type"),
        left=_integers(facts, "left_child"),
        right=_integers(facts, "right_child"),
        value=[float(word) for word in facts["leaf_value"].split()],
        bounds=_integers(facts, "cat_boundaries"),
        words=_integers(facts, "cat_threshold"),
    )
    if len(stored.value) > MOST_LEAVES or not all(map(_is_known, stored.decision)):
        return None
    return stored.node(0 if stored.feature else -1)


def _integers(facts: Mapping[str, str], name: str) -> list[int]:
    return [int(word) for word in facts.get(name, "").split()]


def _is_known(decision: int) -> bool:
    return bool(decision & _CATEGORICAL) or decision >> _MISSING in {_NONE_MISSING, _NAN_MISSING}


@dataclass(frozen=True)
class _Tree:
    """A tree as it is saved: splits from 0, leaves from -1 downwards, sets of categories as bits."""

    feature: Sequence[int]
    threshold: Sequence[float]
    decision: Sequence[int]
    left: Sequence[int]
    right: Sequence[int]
    value: Sequence[float]
    bounds: Sequence[int]
    words: Sequence[int]

    def node(self, place: int) -> Node:
        """Return a split with all below it, or a leaf."""
        if place < 0:
            return self.value[~place]
        feature, threshold, decision = self.feature[place], self.threshold[place], self.decision[place]
        left, right = self.node(self.left[place]), self.node(self.right[place])
        if (
            decision & _CATEGORICAL
        ):  # here what is in the set goes left, and all else right, with what is missing
            return Split(feature, 0.0, -math.inf, right, left, self._members(int(threshold)))
        if decision >> _MISSING == _NONE_MISSING:
            return Split(feature, _beside_zero(threshold), 0.0, left, right)
        missing = -math.inf if decision & _DEFAULT_LEFT else math.inf
        return Split(feature, _beside_zero(threshold), missing, left, right)

    def _members(self, number: int) -> frozenset[int]:
        words = self.words[self.bounds[number] : self.bounds[number + 1]]
        return frozenset(
            _WORD * place + bit for place, word in enumerate(words) for bit in range(_WORD) if word >> bit & 1
        )


def _beside_zero(threshold: float) -> float:
    """Move a threshold among what counts as zero to where all of that is on one side of it."""
    if -_ZERO <= threshold < 0:
        return math.nextafter(-_ZERO, -math.inf)
    return _ZERO if 0 <= threshold < _ZERO else threshold


def _edge_rows(trees: Sequence[Node], n_features: int) -> Doubles:
    """Draw rows where a booster is hardest to follow.

    Thresholds, their neighbours among the floats, what hardly counts as zero and what hardly does not,
    categories that splits know and others, missing values and very large ones.
    """
    rng = np.random.default_rng(_SEED)
    numbers: list[list[float]] = [[] for _ in range(n_features)]
    codes: list[set[float]] = [set() for _ in range(n_features)]
    for split in (split for tree in trees for split in splits(tree)):
        if split.members is None:
            near = split.threshold, math.nextafter(split.threshold, math.inf), 2 * split.threshold
            numbers[split.feature] += near
        else:
            codes[split.feature] |= {*split.members, max(split.members) + 1}
    cells = [
        [*own_codes, math.nan] if own_codes else [*own, *_EDGES]
        for own, own_codes in zip(numbers, codes, strict=True)
    ]
    drawn = [np.clip(np.array(each), -_LARGEST, _LARGEST) for each in cells]
    return np.column_stack([rng.choice(each, _EDGE_ROWS) for each in drawn])
