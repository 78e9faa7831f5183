"""Tables from a function of the user's own, named by its dotted path."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmp import lookup
from mmp.data.arrow import normalise
from mmp.data.names import refuse_bad_names, require
from mmp.data.table import Table
from mmp.errors import MmpError, SourceError
from mmp.settings.secrets import without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

_HINT = "It takes no argument and returns a pyarrow.Table, a RecordBatchReader or a pandas.DataFrame."


def read(path: str, columns: Sequence[str] | None = None) -> Table:
    """Call a function and read what it returns as a table.

    Parameters
    ----------
    path : str
        Dotted path of a function without arguments. It runs as the recipe's code.
    columns : sequence of str, optional
        The columns to keep, in this order; all where it is left out.

    Returns
    -------
    Table
        Declared types brought to the five of `Table`. The index of a pandas frame is part of it where
        it has a name.

    Raises
    ------
    UnknownNameError, MissingExtraError
        Nothing stands at the path.
    SourceError
        The function fails, or what it returns is no table or has no rows.
    MissingColumnsError
        Where `columns` names some that are not there.
    """
    source = f"python:{path}"
    batches, names = _batches(path, columns, source)
    arrow = {name: batches.column(name) for name in names}
    del batches  # so that each column is freed as soon as it is read
    table = Table.of([normalise(name, arrow.pop(name)) for name in names], source)
    if table.n_rows == 0:
        raise SourceError(f"{source} has no rows.")
    return table


def _batches(path: str, columns: Sequence[str] | None, source: str) -> tuple[pa.Table, list[str]]:
    function = lookup.resolve(path)
    if not callable(function):
        raise SourceError(f"{source} is no function.", hint=_HINT)
    try:
        reader = _reader(function(), source)
        refuse_bad_names(reader.schema.names, source)
        names = list(reader.schema.names if columns is None else columns)
        require(names, reader.schema.names, source)
        schema = pa.schema([reader.schema.field(name) for name in names])
        return pa.Table.from_batches([batch.select(names) for batch in reader], schema), names
    except MmpError:
        raise
    except Exception as error:  # what a user's function raises, as late as in its last batch
        reason = without_credentials(" ".join(str(error).split()))[:300]
        raise SourceError(f"{source} failed: {type(error).__name__}: {reason}", hint=_HINT) from error


def _reader(result: Any, source: str) -> pa.RecordBatchReader:
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(result, pandas.DataFrame):
        result = pa.Table.from_pandas(result, preserve_index=None not in result.index.names)
    if isinstance(result, pa.Table):
        return result.to_reader()
    if isinstance(result, pa.RecordBatchReader):
        return result
    kind = f"{type(result).__module__}.{type(result).__qualname__}".removeprefix("builtins.")
    raise SourceError(f"{source} returned {kind}, which is no table.", hint=_HINT)
