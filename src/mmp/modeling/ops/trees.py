"""Decision trees as arrays of nodes: no library is needed to walk them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mmp.modeling.columns import Column, as_float
from mmp.modeling.ops.base import Nary, Row, RowFunction

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Trees(Nary):
    """Walk trees down to a leaf each, and take its numbers.

    At a node a value that is at most the threshold goes left, and a missing one where the node says.
    A leaf leads to itself on both sides.

    Parameters
    ----------
    roots : ndarray of int64, shape (n_trees,)
        Each tree's first node.
    features : ndarray of int64, shape (n_nodes,)
        Position among `reads` of what the node looks at.
    thresholds : ndarray of float64, shape (n_nodes,)
        What it compares with.
    left, right : ndarray of int64, shape (n_nodes,)
        The next node.
    missing_left : ndarray of bool, shape (n_nodes,)
        Whether a missing value goes left.
    values : ndarray of float64, shape (n_nodes, n_outputs)
        A leaf's numbers; the targets are those of the first tree, then those of the second, and so on.
    """

    name: ClassVar[str] = "trees"
    roots: npt.NDArray[np.int64]
    features: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.float64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    missing_left: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float64]

    def apply(self, columns: dict[str, Column]) -> None:
        """Walk with columns."""
        rows = np.column_stack([as_float(columns[name]) for name in self.reads])
        targets = iter(self.targets)
        for root in self.roots.tolist():
            found = self.values[self._leaves(rows, root)]
            for numbers in found.T:
                columns[next(targets)] = Column("float", np.ascontiguousarray(numbers))

    def _leaves(self, rows: npt.NDArray[np.float64], root: int) -> npt.NDArray[np.int64]:
        cells, starts = rows.ravel(), np.arange(len(rows)) * rows.shape[1]
        nodes = np.full(len(rows), root)
        while True:
            found = cells[starts + self.features[nodes]]
            go_left = (found <= self.thresholds[nodes]) | (np.isnan(found) & self.missing_left[nodes])
            following = np.where(go_left, self.left[nodes], self.right[nodes])
            if np.array_equal(following, nodes):
                return nodes
            nodes = following

    def row_function(self) -> RowFunction:
        """Walk with one row."""
        reads, targets, roots = self.reads, self.targets, self.roots.tolist()
        features, thresholds = self.features.tolist(), self.thresholds.tolist()
        sides = list(zip(self.right.tolist(), self.left.tolist(), strict=True))
        missing_left, values = self.missing_left.tolist(), self.values.tolist()

        def walk(row: Row) -> None:
            cells = [math.nan if row[name] is None else float(row[name]) for name in reads]
            numbers: list[float] = []
            for root in roots:
                node, following = -1, root
                while following != node:
                    node = following
                    cell = cells[features[node]]
                    goes_left = missing_left[node] if cell != cell else cell <= thresholds[node]  # noqa: PLR0124 - NaN
                    following = sides[node][goes_left]
                numbers += values[node]
            row.update(zip(targets, numbers, strict=True))

        return walk
