"""Queries to DuckDB, a file opened read-only, as Arrow."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmp.data.sql.address import MEMORY
from mmp.data.sql.session import MOST_ROWS, TransientError, require_readable
from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.data.sql.address import Address
    from mmp.data.sql.session import Options
    from mmp.data.template import Query

# nothing is fetched from anywhere for a query
_SETTINGS = {"autoinstall_known_extensions": "false", "TimeZone": "UTC"}


class DuckSession:
    """A query in DuckDB.

    Parameters
    ----------
    query : Query
        What is asked.
    where : Address
        Which file.
    _options : Options
        Has no meaning here: whoever reads watches the time.

    Raises
    ------
    SourceError
        There is no such file.
    TransientError
        Another process writes to the file.
    """

    def __init__(self, query: Query, where: Address, _options: Options) -> None:
        import duckdb

        self._query, self._where = query, where
        with self._failures():
            self._connection = duckdb.connect(where.uri, read_only=where.uri != MEMORY, config=_SETTINGS)

    def open(self) -> pa.Schema:
        """Ask, and return what the rows will be."""
        with self._failures():
            found = self._connection.sql(self._query.statement, params=list(self._query.values))
            kinds = [str(kind) for kind in found.types]
            self._reader: Any = found.to_arrow_reader(MOST_ROWS)
        schema: pa.Schema = self._reader.schema
        require_readable(schema, kinds, self._query.source, cast="{}::varchar")
        return schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        with self._failures():
            yield from self._reader

    def cancel(self) -> None:
        """Stop what runs."""
        import duckdb

        with suppress(duckdb.Error):  # closed meanwhile
            self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import duckdb

        source, name = self._query.source, self._where.name
        try:
            yield
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise TransientError(f"{name} does not answer: {_first(error)}") from error
            raise SourceError(f"{name} cannot be read: {_first(error)}.", hint="Check the path.") from error
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise SourceError(f"{source}: {_first(error)} ({name}).", hint="Mend the query.") from error


def _first(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
