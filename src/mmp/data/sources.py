"""Tables from wherever a source says: files, buckets, functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmp.data import files, functions
from mmp.settings.sources import PYTHON

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mmp.data.table import Table


def read(
    source: str,
    *,
    columns: Sequence[str] | None = None,
    texts: Collection[str] = (),
    storage_options: Mapping[str, Any] | None = None,
) -> Table:
    """Read a table from a source that `settings.sources.source_path` allowed.

    Parameters
    ----------
    source : str
        What `data.files.read` takes, or ``python:`` and the dotted path of a function.
    columns : sequence of str, optional
        The columns to read, in this order; all where it is left out.
    texts : collection of str
        Columns of a CSV file that are text whatever their words look like.
    storage_options : Mapping, optional
        Credentials and the like for a bucket.

    Raises
    ------
    DataError
        The source cannot be read, or lacks columns.
    """
    if source.startswith(PYTHON):
        return functions.read(source.removeprefix(PYTHON), columns)
    return files.read(source, columns=columns, texts=texts, storage_options=storage_options)
