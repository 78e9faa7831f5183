"""Numbers from timestamps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mmp.modeling.ops import PARTS, DatePart, date_part
from mmp.modeling.steps.base import Fitted, StepSettings, require_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.modeling.ops import Op
    from mmp.modeling.training import Training

_USUAL = ("year", "month", "day", "day_of_week", "hour")


class _DatetimeFeatures(StepSettings, Protocol):
    @property
    def parts(self) -> Sequence[str] | None: ...

    @property
    def cyclic(self) -> bool: ...


def datetime_features(step: _DatetimeFeatures, names: Sequence[str], training: Training) -> Fitted:
    """Replace timestamps by parts of them, in UTC.

    Without `parts`, the usual ones that vary in the training rows; where none does, the seconds
    since 1970.
    """
    require_kinds(step, names, training, ("timestamp",))
    ops: list[Op] = []
    for name in names:
        column = training[name]
        moments = column.values if column.valid is None else column.values[column.valid]
        for part in step.parts or _varying(moments):
            waves: tuple[str | None, ...] = ("sin", "cos") if step.cyclic and PARTS[part].period else (None,)
            for wave in waves:
                made = training.new_name(".".join(filter(None, (name, part, wave))))
                ops.append(DatePart(name, (made,), part, wave))
    return Fitted(tuple(ops), dropped=tuple(names))


def _varying(moments: npt.NDArray[np.int64]) -> list[str]:
    if not len(moments):
        return ["epoch_s"]
    values = {part: date_part(part, moments) for part in _USUAL}
    return [part for part, of_part in values.items() if (of_part != of_part[0]).any()] or ["epoch_s"]
