"""The values that the data path passes on: a typed table, and the rows of each split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from mmp.errors import Finding

Kind = Literal["integer", "float", "boolean", "text", "timestamp"]

_KINDS: dict[str, Kind] = {
    "int64": "integer",
    "double": "float",
    "bool": "boolean",
    "dictionary<values=string, indices=int32, ordered=0>": "text",
    "timestamp[us, tz=UTC]": "timestamp",
}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What is known of a column: enough to read the same values from any source again.

    Parameters
    ----------
    name : str
        Name as the user wrote it; any text.
    kind : {"integer", "float", "boolean", "text", "timestamp"}
        What the values are.
    has_nulls : bool
        Whether the training table had missing values here.
    digits : int or None
        For text whose every value is that many decimal digits (``"00123"``): an integer that a
        reader made of it is filled back with zeros. 0 for digits of several widths with leading
        zeros among them, where nobody can fill back: an integer is refused.
    time_format : str or None
        For timestamps: the ``strptime`` format of the text they came from, where it is not ISO 8601.
    """

    name: str
    kind: Kind
    has_nulls: bool = False
    digits: int | None = None
    time_format: str | None = None


@dataclass(frozen=True)
class TypedColumn:
    """One column of a `Table` on its way there.

    Parameters
    ----------
    array : pyarrow.Array
        Of one of the five types of `Table.arrow`.
    spec : ColumnSpec
        What is known of it.
    findings : tuple of Finding
        What reading it brought to light.
    """

    array: pa.Array
    spec: ColumnSpec
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        array: pa.Array,
        findings: tuple[Finding, ...] = (),
        *,
        digits: int | None = None,
        time_format: str | None = None,
    ) -> TypedColumn:
        """Return a column whose spec follows from its array."""
        kind = _KINDS[str(array.type)]
        return cls(array, ColumnSpec(name, kind, array.null_count > 0, digits, time_format), findings)


@dataclass(frozen=True)
class Table:
    """A table whose types are what the data says.

    Parameters
    ----------
    arrow : pyarrow.Table
        One chunk a column; types are exactly ``int64``, ``float64``, ``bool``,
        ``dictionary<int32, string>`` (text, encoded once) and ``timestamp[us, UTC]``.
        A missing value is a null, in float columns too (no NaN).
    specs : tuple of ColumnSpec
        One a column, in the order of the table.
    findings : tuple of Finding
        What reading it brought to light (blank text read as missing, and the like).
    source : str
        Where it came from, for messages.
    """

    arrow: pa.Table
    specs: tuple[ColumnSpec, ...]
    findings: tuple[Finding, ...] = ()
    source: str = ""

    @classmethod
    def of(cls, columns: Sequence[TypedColumn], source: str = "") -> Table:
        """Return the table of some columns, all of one length."""
        import pyarrow as pa

        specs = tuple(column.spec for column in columns)
        arrow = pa.Table.from_arrays([column.array for column in columns], [spec.name for spec in specs])
        findings = tuple(finding for column in columns for finding in column.findings)
        return cls(arrow, specs, findings, source)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.arrow.num_rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(spec.name for spec in self.specs)

    def spec(self, name: str) -> ColumnSpec:
        """Return the spec of one column; `KeyError` where there is none."""
        for spec in self.specs:
            if spec.name == name:
                return spec
        raise KeyError(name)


def select(table: Table, names: Sequence[str]) -> Table:
    """Return some columns of a table, in the order asked for, with the findings about them."""
    findings = tuple(found for found in table.findings if found.column is None or found.column in names)
    specs = tuple(table.spec(name) for name in names)
    return Table(table.arrow.select(list(names)), specs, findings, table.source)


def take(table: Table, positions: npt.NDArray[np.int64]) -> Table:
    """Return some rows of a table, in the order asked for; dictionaries stay what they are."""
    import pyarrow as pa

    from mmp.data.buffers import wrap

    rows = table.arrow.take(wrap(positions, pa.int64()))
    return replace(table, arrow=rows)


def _no_rows() -> npt.NDArray[np.int64]:
    import numpy as np

    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Splits:
    """Row positions (ascending int64) of each part; the parts are disjoint.

    Parameters
    ----------
    train, validation, test, calibration : ndarray of int64
        Positions in the table that was split. A part whose share is 0 is empty.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64] = field(default_factory=_no_rows)
    test: npt.NDArray[np.int64] = field(default_factory=_no_rows)
    calibration: npt.NDArray[np.int64] = field(default_factory=_no_rows)
