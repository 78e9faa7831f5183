"""How a table differs from the one that a model was trained on: found before the first prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmp.data.arrow import is_text
from mmp.data.buffers import one_chunk, valid
from mmp.errors import DataError, Finding, MissingColumnsError
from mmp.lookup import did_you_mean
from mmp.modeling.columns import refused
from mmp.modeling.values import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mmp.data.table import ColumnSpec, Kind

_MOST_NAMED = 8


def require_columns(specs: Sequence[ColumnSpec], rows: pa.Table, names: Sequence[str], *, where: str) -> None:
    """Refuse a table that lacks columns, or has others in their place.

    Parameters
    ----------
    specs : sequence of ColumnSpec
        What the model reads.
    rows : pyarrow.Table
        The first rows, with as many of these columns as there are.
    names : sequence of str
        All columns of the table.
    where : str
        What the table is, for messages.

    Raises
    ------
    MissingColumnsError
        Columns are missing; it names those of another type, too.
    DataError
        Columns have types, or all of their first values, that no cell of the training could have.
    """
    missing = [spec.name for spec in specs if spec.name not in names]
    there = [spec for spec in specs if spec.name in names]
    retyped = _retyped(there, rows)
    sentences = []
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing)
        sentences.append(
            f"Column {listed} is missing." if len(missing) == 1 else f"Columns {listed} are missing."
        )
    sentences += [f"Column '{name}' {reason}." for name, reason in retyped]
    if not sentences:
        return
    hints = [f"'{name}': {hint}" for name in missing if (hint := did_you_mean(name, names))]
    kind = MissingColumnsError if missing else DataError
    raise kind(
        " ".join(sentences),
        hint="; ".join(hints) or "Give it the columns that the model was trained on; their order is free.",
        where=where,
    )


def unread(names: Sequence[str], known: Collection[str]) -> list[Finding]:
    """Return what there is to tell about columns that nobody reads."""
    extra = [name for name in names if name not in known]
    if not extra:
        return []
    listed = ", ".join(f"'{name}'" for name in extra[:_MOST_NAMED])
    more = f" and {len(extra) - _MOST_NAMED} more" if len(extra) > _MOST_NAMED else ""
    verb = "it is" if len(extra) == 1 else "they are"
    return [Finding("columns", "info", f"The model does not know {listed}{more}; {verb} passed over.")]


def _retyped(specs: Sequence[ColumnSpec], rows: pa.Table) -> list[tuple[str, str]]:
    found = []
    for spec in specs:
        type_ = rows.schema.field(spec.name).type
        if _never(spec.kind, type_):
            found.append((spec.name, f"is {type_}, and held {_A[spec.kind]} in training"))
        elif reason := _all_refused(spec, rows):
            found.append((spec.name, f"held {_A[spec.kind]} in training, and now {reason}"))
    return found


def _never(kind: Kind, type_: pa.DataType) -> bool:
    """Tell whether no value of a type can be read as one of a kind."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if is_text(type_) or pa.types.is_null(type_) or pa.types.is_union(type_):
        return False
    is_time = pa.types.is_timestamp(type_) or pa.types.is_date(type_)
    is_number = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    if kind == "timestamp":
        return not is_time
    return not (is_number or (kind == "boolean" and pa.types.is_boolean(type_)))


def _all_refused(spec: ColumnSpec, rows: pa.Table) -> str:
    """Return why none of the first values fits, an empty text where one does."""
    column = one_chunk(rows.column(spec.name))
    present = valid(column)
    n_present = len(column) if present is None else int(np.count_nonzero(present))
    cells = refused([spec], rows)
    if not n_present or sum(len(cell.rows) for cell in cells) < n_present:
        return ""
    return f"{shown(cells[0].value)}, which {cells[0].reason}"


_A: dict[Kind, str] = {
    "integer": "integers",
    "float": "numbers",
    "boolean": "true and false",
    "text": "text",
    "timestamp": "times",
}
