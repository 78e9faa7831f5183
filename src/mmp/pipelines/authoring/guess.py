"""What a table says by itself: which column may be the target, which are keys, which task it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.buffers import values
from mmp.data.checks import drop_null_target
from mmp.data.classes import classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmp.data.table import Table

TARGET_WORDS = ("target", "label", "class", "outcome", "response")
"""Names that say of a column that it is the target."""

LIKELY_WORDS = (
    "churn", "churned", "default", "diagnosis", "exited", "fraud", "price", "quality", "saleprice", "species",
    "survived",
)  # fmt: skip
"""Names that targets often have."""

MOST_NUMBER_CLASSES = 10
"""Most different whole numbers that are taken for classes rather than for a quantity."""

FEWEST_KEYS = 20
"""Fewest different values of a column whose name says that it is a key."""

KEYED_SHARE = 0.1
"""Share of the rows that such a column has different values for, at least."""

_KEY = re.compile(r"(?:^|[^a-z])(?:id|uid|uuid|guid|key|pk|index)$|[a-z](?:Id|ID|Key|Index)$|^Unnamed: 0$")


def target_candidates(table: Table) -> tuple[str, ...]:
    """Return the columns that can be a target, the likeliest first.

    A column called as targets are comes first, then the last column, then the others from the right.
    """
    able = [name for name in reversed(table.names) if _can_be_target(table, name)]
    return tuple(sorted(able, key=lambda name: (not is_called_target(name), not _is_likely(name, table))))


def _is_likely(name: str, table: Table) -> bool:
    # beside x and z, y is a measure like them
    return name.strip().casefold() in LIKELY_WORDS or (name == "y" and "z" not in table.names)


def is_called_target(name: str) -> bool:
    """Tell whether a column has a name that targets go by."""
    return name.strip().casefold() in TARGET_WORDS


def _can_be_target(table: Table, name: str) -> bool:
    spec, column = table.spec(name), table.arrow.column(name)
    n_values = len(column) - column.null_count
    n_distinct = n_different(column)
    if spec.kind == "timestamp" or n_distinct < 2 or is_key(table, name):
        return False
    return spec.kind != "text" or n_distinct <= max(2, n_values // 2)


def task_of(table: Table, target: str) -> tuple[Literal["classification", "regression"], str]:
    """Return the task that a target is for, and why."""
    rows, _ = drop_null_target(table, target)
    spec, column = rows.spec(target), rows.arrow.column(target)
    if spec.kind not in ("integer", "float"):
        return "classification", f"the target is {spec.kind}"
    found = classes(column)
    if len(found) > MOST_NUMBER_CLASSES or int(found.counts.min()) < 2:
        return "regression", f"the target is a number with {len(found):,} different values"
    if spec.kind == "float" and not _is_whole(column):
        return "regression", "the target is a number with fractions"
    return "classification", f"the target has {len(found)} different whole numbers"


def _is_whole(column: pa.ChunkedArray) -> bool:
    numbers = values(column.chunk(0))
    return bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all())


def keys(table: Table, besides: Sequence[str]) -> Iterator[str]:
    """Yield the columns, other than some, that name a row or what it belongs to."""
    for name in table.names:
        if name not in besides and is_key(table, name):
            yield name


def is_key(table: Table, name: str) -> bool:
    """Tell whether a column is called a key and has as many values as one."""
    column = table.arrow.column(name)
    if not _KEY.search(name.strip()) or table.spec(name).kind in ("float", "boolean", "timestamp"):
        return False
    return n_different(column) >= max(FEWEST_KEYS, KEYED_SHARE * len(column))


def is_repeated(table: Table, name: str) -> bool:
    """Tell whether rows share the values of a column, none of which is missing."""
    column = table.arrow.column(name)
    return not column.null_count and n_different(column) < len(column)


def is_in_order(table: Table, name: str) -> bool:
    """Tell whether rows stand in the order of a column of times, none of which is missing."""
    column = table.arrow.column(name).chunk(0)
    if column.null_count:
        return False
    times = values(column)
    steps = np.diff(times)
    return bool(len(times) > 1 and ((steps >= 0).all() or (steps <= 0).all()))


def n_different(column: pa.ChunkedArray) -> int:
    """Return the number of different values, missing ones apart."""
    array = column.chunk(0)
    if pa.types.is_dictionary(array.type):
        array = array.indices
    return int(pc.count_distinct(array, mode="only_valid").as_py())


def infinite(table: Table) -> tuple[str, ...]:
    """Return the columns with infinite values, which no model takes."""
    floats = [spec.name for spec in table.specs if spec.kind == "float"]
    return tuple(name for name in floats if pc.any(pc.is_inf(table.arrow.column(name))).as_py())
