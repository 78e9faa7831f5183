"""The values that the data path passes on: a typed table, and the rows of each split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from mmp.errors import Finding

Kind = Literal["integer", "float", "boolean", "text", "timestamp"]


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
        reader made of it is filled back with zeros.
    time_format : str or None
        For timestamps: the ``strptime`` format of the text they came from, where it is not ISO 8601.
    """

    name: str
    kind: Kind
    has_nulls: bool = False
    digits: int | None = None
    time_format: str | None = None


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
