"""The rows of a batch as columns: in one go where every cell is of its column's own type, as most are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mmp.errors import DataError
from mmp.modeling.columns import coerce, of_own_type
from mmp.modeling.values import CellError
from mmp.serving.parse import UNREAD, count_colons
from mmp.serving.rows import check_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.modeling.columns import Columns
    from mmp.serving.rows import Form

MANY: Final = 8
"""From so many rows on columns are quicker than rows."""
_TYPES: Final[dict[str, Any]] = {"integer": int, "float": float, "boolean": bool, "text": str}
_KEY: Final = int | float | str | bool | None | msgspec.UnsetType


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows that were read.

    Parameters
    ----------
    columns : mapping of str to Column
        What a row must have.
    keys : mapping of str to sequence
        The keys that stand in the answers, as they came, where any row has them; `msgspec.UNSET` where
        one has none.
    """

    columns: Columns
    keys: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class Tables:
    """Reads the rows of a model's batches.

    Parameters
    ----------
    form : Form
        What they must look like.
    """

    form: Form

    def read(self, body: bytes) -> Table | None:
        """Read the body of a batch whose cells are all values of JSON that stand for themselves.

        Returns
        -------
        Table or None
            None where a cell must be looked at, where something is wrong, where a row may have what the
            model does not know, and where there are few rows.
        """
        if self._decoder is None:
            return None
        try:
            rows = self._decoder.decode(body).samples
        except UNREAD:
            return None
        if len(rows) < MANY:
            return None
        columns_read = zip(*map(msgspec.structs.astuple, rows), strict=True)
        cells: dict[str, tuple[Any, ...]] = dict(zip(self._names, columns_read, strict=True))
        n_unset = sum(cells[spec.name].count(msgspec.UNSET) for spec in self.form.optional)
        if len(self._names) * len(rows) - n_unset + 1 != count_colons(body):
            return None  # a key twice, or a colon in a text
        keys = {name: cells[name] for name in self.form.echoed if set(cells[name]) != {msgspec.UNSET}}
        if any(float in set(map(type, column)) for column in keys.values()):
            return None
        columns = {spec.name: of_own_type(spec.kind, cells[spec.name]) for spec in self.form.required}
        present = {name: column for name, column in columns.items() if column is not None}
        return Table(present, keys) if len(present) == len(columns) else None

    def of(self, rows: Sequence[Any]) -> Table | None:
        """Read rows of any JSON, None where one of them has a problem: `Form.cells` says which."""
        form = self.form
        if set(map(type, rows)) != {dict}:
            return None
        is_bare = set(map(len, rows)) == {len(form.required)}  # with what is required, and no more
        if not (is_bare or form.allow_extra or all(map(form.known.issuperset, rows))):
            return None
        try:
            for spec in () if is_bare else form.optional:
                for row in rows:
                    check_key(spec, row.get(spec.name))
            columns = coerce(form.required, rows)
        except (CellError, DataError):
            return None
        if not {name for name, column in columns.items() if column.has_missing()} <= form.nullable:
            return None
        keys = {
            name: [row.get(name, msgspec.UNSET) for row in rows]
            for name in form.echoed
            if any(name in row for row in rows)
        }
        return Table(columns, keys)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in (*self.form.required, *self.form.optional))

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any] | None:
        """What reads typed rows; None where a column has no type in JSON, or a row may have others."""
        form = self.form
        if form.allow_extra or any(spec.kind not in _TYPES for spec in form.required):
            return None
        types: list[tuple[Any, ...]] = [
            (_TYPES[spec.kind] | None if spec.name in form.nullable else _TYPES[spec.kind],)
            for spec in form.required
        ]
        types += [(_KEY, msgspec.UNSET) for _ in form.optional]
        fields: list[Any] = [(f"field_{place}", *each) for place, each in enumerate(types)]
        names = {field[0]: name for field, name in zip(fields, self._names, strict=True)}
        row = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False)
        batch = msgspec.defstruct("Batch", [("samples", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
        return msgspec.json.Decoder(batch)
