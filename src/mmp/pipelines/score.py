"""From a block of rows to its predictions, and to the rows that have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mmp.data.arrow import is_text
from mmp.data.buffers import wrap
from mmp.errors import DataError
from mmp.modeling.columns import refused
from mmp.modeling.values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mmp.data.batches import Block, Mark
    from mmp.data.table import ColumnSpec
    from mmp.evaluation.strongest import Strongest
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.predictions import Predictions

_TOLD = 3


@dataclass(frozen=True)
class Bad:
    """A row that cannot be predicted.

    Parameters
    ----------
    row : int
        Its position in the input, from 0.
    column : str
        The column that it is about, empty where it is about the whole row.
    reason : str
        A sentence.
    keys : mapping
        Its entity keys, as text where JSON has no such value.
    """

    row: int
    column: str
    reason: str
    keys: Mapping[str, Any]


@dataclass(frozen=True)
class Scored:
    """What came of a block.

    Parameters
    ----------
    first, n_rows : int
        Which rows of the input.
    table : pyarrow.Table
        Keys and predictions, of the schema of the output.
    mark : Mark
        Where to read on after them.
    bad : tuple of Bad
        The rows that are not in it.
    """

    first: int
    n_rows: int
    table: pa.Table
    mark: Mark
    bad: tuple[Bad, ...] = ()


@dataclass(frozen=True)
class Scorer:
    """A model, and what becomes of rows that it cannot predict.

    Parameters
    ----------
    bundle : Bundle
        The model.
    reads : sequence of ColumnSpec
        What it needs of a row.
    schema : pyarrow.Schema
        Of the output: keys, predictions, and what `strongest` and `constants` add.
    source : str
        What the rows are, for messages.
    rejects : bool
        Whether bad rows are left out; else they are an error.
    complete : callable, optional
        Adds what the feature store knows of rows.
    strongest : Strongest, optional
        Names the columns that speak loudest for each prediction.
    constants : mapping of str to object
        Columns that hold the same in every row.
    """

    bundle: Bundle
    reads: Sequence[ColumnSpec]
    schema: pa.Schema
    source: str
    rejects: bool = False
    complete: Callable[[pa.Table], pa.Table] | None = None
    strongest: Strongest | None = None
    constants: Mapping[str, pa.Scalar] | None = None

    def __call__(self, block: Block) -> Scored:
        """Predict a block.

        Raises
        ------
        DataError
            Where a row is bad and bad rows are an error.
        """
        scored, error = self._tried(block)
        if scored is not None:
            return scored
        bad = self._bad(block)
        if not bad and error is not None:  # it is about no row
            raise error
        if not self.rejects:
            raise _error(bad, self.source)
        return self._without(block, bad)

    def _tried(self, block: Block) -> tuple[Scored | None, DataError | None]:
        """Predict a block as if no row of it was bad; return what was refused where one is."""
        rows = block.table
        if self._bad_keys(rows):
            return None, None
        try:
            return Scored(block.first, rows.num_rows, self._predicted(self._keyed(rows)), block.mark), None
        except DataError as error:
            return None, error

    def _integers(self, rows: pa.Table) -> list[str]:
        """Return the keys that are integers in the output, and may be words in some rows."""
        names = [each.name for each in self.schema if pa.types.is_integer(each.type)]
        return [name for name in names if name in rows.column_names]

    def _predicted(self, rows: pa.Table) -> pa.Table:
        complete, predictions = self._answered(rows)
        table = predictions.to_arrow()
        if self.strongest is not None:
            for each, values in zip(
                self.strongest.fields, self.strongest.of(complete, predictions), strict=True
            ):
                table = table.append_column(each, values)
        for name, value in (self.constants or {}).items():
            table = table.append_column(name, pa.repeat(value, rows.num_rows))
        return table.cast(self.schema)

    def _answered(self, rows: pa.Table) -> tuple[pa.Table, Predictions]:
        """Return complete rows, and what the model says of them."""
        complete = rows if self.complete is None else self.complete(rows)
        return complete, self.bundle.predict(complete, where=self.source)

    def _without(self, block: Block, bad: Sequence[Bad]) -> Scored:
        keep = np.ones(block.table.num_rows, np.bool_)
        keep[[each.row - block.first for each in bad]] = False
        rows = block.table.filter(wrap(keep, pa.bool_()))
        predicted = self._predicted(self._keyed(rows))
        return Scored(block.first, block.table.num_rows, predicted, block.mark, tuple(bad))

    def _keyed(self, rows: pa.Table) -> pa.Table:
        """Return rows without words for keys, as integers."""
        for name in self._integers(rows):
            if not is_text(rows.schema.field(name).type):
                continue
            position = rows.column_names.index(name)
            rows = rows.set_column(position, name, rows.column(name).cast(self.schema.field(name).type))
        return rows

    def _bad(self, block: Block) -> list[Bad]:
        """Find the rows that cannot be predicted: by their cells, by their keys, and else by trying."""
        rows = block.table
        found: dict[int, tuple[str, str]] = {}
        for column, positions, value, reason in refused(self.reads, rows):
            for row in positions.tolist():
                found.setdefault(row, (column, f"{shown(value)} {reason}"))
        for row, (column, reason) in self._bad_keys(rows):
            found.setdefault(row, (column, reason))
        rest = np.array([row for row in range(rows.num_rows) if row not in found], np.int64)
        found |= self._refused_by_model(self._keyed(rows.take(wrap(rest, pa.int64()))), rest)
        keys = [name for name in self.schema.names if name in rows.column_names]
        return [
            Bad(block.first + row, *found[row], {name: rows.column(name)[row].as_py() for name in keys})
            for row in sorted(found)
        ]

    def _bad_keys(self, rows: pa.Table) -> list[tuple[int, tuple[str, str]]]:
        """Return the rows whose key is no integer as integers are written, where the output has such."""
        return [
            (row, (name, f"{shown(word)} is not written as an integer is"))
            for name in self._integers(rows)
            if is_text(rows.schema.field(name).type)
            for row, word in enumerate(rows.column(name).to_pylist())
            if word is not None and not _is_plain_integer(word)
        ]

    def _refused_by_model(self, rows: pa.Table, positions: Any) -> dict[int, tuple[str, str]]:
        """Halve the rows until those are left alone that have no prediction."""
        if not rows.num_rows:
            return {}
        try:
            self._answered(rows)
        except DataError as error:
            if rows.num_rows == 1:
                return {int(positions[0]): ("", error.message)}
            half = rows.num_rows // 2
            return self._refused_by_model(rows.slice(0, half), positions[:half]) | self._refused_by_model(
                rows.slice(half), positions[half:]
            )
        return {}


def _is_plain_integer(word: str) -> bool:
    try:
        return str(int(word)) == word and -(2**63) <= int(word) < 2**63
    except ValueError:
        return False


def _error(bad: Sequence[Bad], source: str) -> DataError:
    told = "; ".join(
        f"row {each.row:,}, {f'column {each.column!r}: ' if each.column else ''}{each.reason.rstrip('.')}"
        for each in bad[:_TOLD]
    )
    more = f" (and {len(bad) - _TOLD:,} more rows near them)" if len(bad) > _TOLD else ""
    return DataError(
        f"{told}{more}.",
        hint="Mend the rows, or set output.inference.on_bad_row: reject to leave such rows out.",
        where=source,
    )
