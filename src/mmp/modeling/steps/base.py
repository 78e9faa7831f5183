"""What a step is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mmp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.errors import Finding
    from mmp.modeling.columns import Column
    from mmp.modeling.ops import Op
    from mmp.modeling.training import Training

NUMBERS: tuple[Kind, ...] = ("integer", "float", "boolean")


class StepSettings(Protocol):
    """A step of the recipe: its type, its columns, and its parameters as further attributes."""

    @property
    def type(self) -> str:
        """Type in the recipe."""

    @property
    def columns(self) -> Sequence[str] | str | None:
        """Names, globs and words as written; None for the step's natural columns."""


@dataclass(frozen=True)
class Fitted:
    """What a step leaves behind.

    Parameters
    ----------
    ops : tuple of Op
        In order. Sources and targets are the columns' names; a target that is there already is
        replaced for everything that comes after.
    dropped : tuple of str
        Columns that are no features any more.
    out_of_fold : mapping of str to Column
        Targets whose values for the training rows are these, and not what the ops would make; all
        targets of an op, or none.
    rows : ndarray of int64 or None
        Positions of the training rows that are left, where the step leaves some out.
    findings : tuple of Finding
        What the user should know of it.
    """

    ops: tuple[Op, ...]
    dropped: tuple[str, ...] = ()
    out_of_fold: Mapping[str, Column] = field(default_factory=dict)
    rows: npt.NDArray[np.int64] | None = None
    findings: tuple[Finding, ...] = ()


def require_kinds(step: StepSettings, names: Sequence[str], training: Training, kinds: Sequence[str]) -> None:
    """Refuse columns of other kinds."""
    for name in names:
        kind = training.kind(name)
        if kind not in kinds:
            raise DataError(
                f"The step {step.type} cannot take the {kind} column '{name}'.",
                hint=f"It takes {' and '.join(kinds)} columns; name those under its columns, "
                "or put a step before it that makes such a column of this one.",
            )
