"""The training rows on their way through the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmp.modeling.columns import Column, take
from mmp.modeling.program import evaluate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import numpy as np
    import numpy.typing as npt

    from mmp.data.table import ColumnSpec, Kind
    from mmp.errors import Finding
    from mmp.modeling.columns import Columns
    from mmp.modeling.ops import Op
    from mmp.modeling.steps.base import Fitted
    from mmp.modeling.target import Target


@dataclass(frozen=True)
class Series:
    """Which rows follow on each other.

    Parameters
    ----------
    keys : tuple of ColumnSpec
        Rows that are equal in all of these columns are one series; without any, all rows are.
    time : ColumnSpec
        The column that orders the rows of a series.
    """

    keys: tuple[ColumnSpec, ...]
    time: ColumnSpec

    @property
    def specs(self) -> tuple[ColumnSpec, ...]:
        """All of its columns."""
        return (*self.keys, self.time)


class Training(Mapping[str, Column]):
    """The training rows as the steps so far have left them.

    A mapping of names to columns, which are computed when they are asked for.

    Parameters
    ----------
    columns : mapping of str to Column
        The raw columns.
    target : Target
        What is to be predicted.
    seed : int
        Drives every random choice.
    trust : collection of str
        Dotted types, beyond scikit-learn's, that a guest may hold.
    series : Series, optional
        How the rows are ordered, where they are.
    beside : mapping of str to Column
        Columns that ops may read and that are no features: those of the series.
    """

    def __init__(
        self,
        columns: Columns,
        target: Target,
        seed: int,
        *,
        trust: Collection[str] = (),
        series: Series | None = None,
        beside: Columns | None = None,
    ) -> None:
        self.inputs = frozenset(columns)
        self.leaves = {**(beside or {}), **columns}
        self.target = target
        self.seed = seed
        self.trust = trust
        self.series = series
        self.findings: list[Finding] = []
        self.rows: npt.NDArray[np.int64] | None = None
        self.variables = {name: name for name in columns}
        self.ops: list[Op] = []
        self.own_ops: list[Op] = []
        self._beside = {name: name for name in beside or ()}
        self._names = set(self.leaves)
        self._taken = set(self.leaves)
        self._empty = take(self.leaves, slice(0, 0))

    def __getitem__(self, name: str) -> Column:
        return evaluate(self.own_ops, self.variables[name], self.leaves)

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)

    def kind(self, name: str) -> Kind:
        """Return a column's kind without computing it."""
        return self._empty[self.variables[name]].kind

    def is_flag(self, name: str) -> bool:
        """Tell whether a column is a 0/1 column that a step made."""
        return self.kind(name) == "boolean" and name not in self.inputs

    def new_name(self, name: str) -> str:
        """Return the name, with a number if a column has or had it, and keep it for the caller."""
        free = free_name(name, self._names)
        self._names.add(free)
        return free

    def add(self, fitted: Fitted) -> None:
        """Go on to what a step made of the columns."""
        self.findings += fitted.findings
        for op in fitted.ops:
            self._add_op(op, fitted.out_of_fold)
        for name in fitted.dropped:
            del self.variables[name]
        if fitted.rows is not None:
            self.leaves = take(self.leaves, fitted.rows)
            self.target = self.target.take(fitted.rows)
            self.rows = fitted.rows if self.rows is None else self.rows[fitted.rows]

    def _add_op(self, op: Op, out_of_fold: Columns) -> None:
        """Add an op under variables of its own; training rows take what was made out of fold for them."""
        targets = {}
        for name in op.targets:
            targets[name] = free_name(name, self._taken)
            self._taken.add(targets[name])
        own = op.renamed(self._beside | self.variables, targets)
        self.ops.append(own)
        own.apply(self._empty)
        if out_of_fold.keys() >= targets.keys():
            self.leaves.update({variable: out_of_fold[name] for name, variable in targets.items()})
        else:
            self.own_ops.append(own)
        self.variables.update(targets)


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name, with the first free number where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
