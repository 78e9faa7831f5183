"""The closed set of fitted operations: what remains of preprocessing once it is fitted.

An op reads named variables and makes new ones; no op changes a variable, so a list of ops is a
program in which every name is set once. Each op says what it does twice: `apply` to columns of any
number of rows, and `row_function` to one row, where cells are Python values. Both give the same
numbers to the bit (`tests/modeling/test_ops_executors.py`). State is plain numbers and text: scalars
and text go to JSON, arrays to npz. Nothing here knows how it was fitted.

To add an op: write the dataclass with its two executors and put it into `OPS`.

============ ================================================= ==========================
op           makes                                             of a missing value
============ ================================================= ==========================
`Fill`       the value where one is missing                    the value
`Indicator`  1 where missing, 0 elsewhere                      1
`Affine`     ``(x - shift) / scale``                           missing
`Clip`       the nearest value within bounds                   missing
`Bin`        the position of the interval it falls in          missing
`Product`    products of powers of several variables           missing where one is
`Lookup`     numbers of a category                             its own row of the table
`Expand`     a 0/1 column for each category                    1 in its own, or all 0
`DatePart`   a part of a timestamp, in UTC                     missing
`Trees`      the numbers of the leaf that each tree leads to   goes the way of each node
`Pair`       the position of a pair among known ones           missing
`Recall`     the value kept for a series where one is missing  the value, if there is one
`Same`       the value itself                                  missing
`Guest`      what a scikit-learn transformer makes             what that makes of it
============ ================================================= ==========================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmp.errors import ArtifactError
from mmp.modeling.ops.base import Op, Row, RowFunction, State
from mmp.modeling.ops.categories import Category, Expand, Lookup
from mmp.modeling.ops.dates import PARTS, DatePart, date_part
from mmp.modeling.ops.guest import SKOPS, Guest
from mmp.modeling.ops.numbers import Affine, Bin, Clip, Fill, Indicator, Product, fill_row
from mmp.modeling.ops.series import Pair, Recall, Same
from mmp.modeling.ops.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mmp.modeling.ops.base import Vector

__all__ = [
    "OPS",
    "PARTS",
    "SKOPS",
    "Affine",
    "Bin",
    "Category",
    "Clip",
    "DatePart",
    "Expand",
    "Fill",
    "Guest",
    "Indicator",
    "Lookup",
    "Op",
    "Pair",
    "Product",
    "Recall",
    "Row",
    "RowFunction",
    "Same",
    "State",
    "Trees",
    "date_part",
    "fill_row",
    "from_state",
]

_ALL: tuple[type[Op], ...] = (
    Fill, Indicator, Affine, Clip, Bin, Product, Lookup, Expand, DatePart, Trees, Pair, Recall, Same,
    Guest,
)  # fmt: skip

OPS: dict[str, type[Op]] = {op.name: op for op in _ALL}
"""Every op by its name in the state."""


def from_state(plain: Mapping[str, Any], arrays: Mapping[str, Vector], trust: Collection[str] = ()) -> Op:
    """Rebuild an op from `Op.to_state`.

    Parameters
    ----------
    plain, arrays : mapping
        What it returned.
    trust : collection of str
        Dotted types, beyond scikit-learn's, that a guest may hold.

    Raises
    ------
    ArtifactError
        Where this version does not know the op, or a guest holds what is not trusted.
    """
    kind = OPS.get(plain.get("op", ""))
    if kind is None:
        raise ArtifactError(
            f"The model has an operation '{plain.get('op')}' that this version does not know."
        )
    return kind.from_state(plain, arrays, trust)
