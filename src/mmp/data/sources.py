"""Tables from wherever a source says: files, buckets, functions, databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmp.data import files, functions, sql
from mmp.data.template import Query
from mmp.settings.sources import PYTHON

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mmp.data.table import Table
    from mmp.settings.adapters import Database


def read(
    source: str | Query,
    *,
    columns: Sequence[str] | None = None,
    texts: Collection[str] = (),
    storage_options: Mapping[str, Any] | None = None,
    database: Database | None = None,
    application: str = "mmp",
) -> Table:
    """Read a table from a source that `settings.sources.source_path` allowed.

    Parameters
    ----------
    source : str or Query
        What `data.files.read` takes, or ``python:`` and the dotted path of a function; or a query.
    columns : sequence of str, optional
        The columns to read, in this order; all where it is left out.
    texts : collection of str
        Columns of a CSV file that are text whatever their words look like.
    storage_options : Mapping, optional
        Credentials and the like for a bucket.
    database : Database, optional
        Where a query goes.
    application : str
        What the database calls us.

    Raises
    ------
    DataError
        The source cannot be read, or lacks columns.
    """
    if isinstance(source, Query):
        assert database is not None
        return sql.read(source, database, columns=columns, application=application)
    if source.startswith(PYTHON):
        return functions.read(source.removeprefix(PYTHON), columns)
    return files.read(source, columns=columns, texts=texts, storage_options=storage_options)
