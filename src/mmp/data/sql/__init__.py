"""Tables from databases: a query of one statement that only reads, as Arrow, in batches."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from mmp.data.arrow import is_text, normalise
from mmp.data.names import refuse_bad_names, require
from mmp.data.sql.address import Address, address
from mmp.data.sql.pump import Pump
from mmp.data.sql.session import Options, Session, TransientError
from mmp.data.table import Table
from mmp.errors import MissingExtraError, SourceError
from mmp.lookup import install_line, is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmp.data.template import Query
    from mmp.settings.adapters import Database

__all__ = ["Address", "Rows", "address", "read", "stream"]

RETRY_S = 10.0
_FIRST_PAUSE_S = 0.1
_GRACE_S = 2.0
_HELD = 4
_SESSIONS = {
    "postgresql": ("adbc_driver_postgresql", "mmp.data.sql.postgres", "PostgresSession"),
    "sqlite": ("sqlite3", "mmp.data.sql.sqlite", "SqliteSession"),
    "duckdb": ("duckdb", "mmp.data.sql.duck", "DuckSession"),
}


class Rows:
    """The rows of a query as they come: iterate once, or leave the `with` to cancel.

    Parameters
    ----------
    query : Query
        What is asked.
    where : Address
        Which database.
    options : Options
        How to read.

    Attributes
    ----------
    schema : pyarrow.Schema
        Known before the first row.
    n_rows : int
        How many have come.
    """

    def __init__(self, query: Query, where: Address, options: Options) -> None:
        self.n_rows = 0
        self._query = query
        self._first: pa.RecordBatch | None = None
        self._pump, self.schema = self._started(query, where, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            batch = self._first
            while batch is not None:
                self._first = None
                self.n_rows += batch.num_rows
                yield batch
                batch = self._next()
        finally:
            self.close()

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as Arrow's own reader."""
        return pa.RecordBatchReader.from_batches(self.schema, self)

    def close(self) -> None:
        """Cancel what still runs."""
        self._pump.close()

    def _next(self) -> pa.RecordBatch | None:
        try:
            return self._pump.take()
        except TransientError as error:
            raise SourceError(
                f"{self._query.source}: {error} The read ended after {self.n_rows:,} rows.",
                hint="Nothing of it was used; run the command again.",
            ) from error

    def _started(self, query: Query, where: Address, options: Options) -> tuple[Pump, pa.Schema]:
        """Open the query and wait for its first rows; try again while the database is not there yet."""
        deadline, pause = time.monotonic() + RETRY_S, _FIRST_PAUSE_S
        while True:
            pump = Pump(lambda: _session(query, where, options), query.source, options.timeout_s + _GRACE_S)
            try:
                schema = pump.take()
                self._first = pump.take()
            except TransientError as error:
                pump.close()
                if time.monotonic() + pause > deadline:
                    raise SourceError(
                        f"{error}.", hint=f"It was tried for {RETRY_S:g} s; check that the database runs."
                    ) from error
            except BaseException:
                pump.close()
                raise
            else:
                assert schema is not None
                return pump, schema
            time.sleep(pause)
            pause *= 2


def stream(query: Query, database: Database, *, application: str = "mmp") -> Rows:
    """Ask a database, and take the rows as they come, in memory that does not grow with them.

    Parameters
    ----------
    query : Query
        From `data.template.read_query`, for the database's dialect.
    database : Database
        Connection and time limit, as a config has them.
    application : str
        What the database calls us while it works: ``mmp train``.

    Returns
    -------
    Rows
        An iterable of record batches, of about 16 MB each.

    Raises
    ------
    SourceError
        The database cannot be reached, refuses, or fails on the way; the message has no password.
    MissingExtraError
        Its driver is not installed.
    """
    return _rows(query, database, application, is_prompt=False)


def read(
    query: Query,
    database: Database,
    *,
    columns: Sequence[str] | None = None,
    application: str = "mmp",
) -> Table:
    """Read all rows of a query as a table.

    Parameters
    ----------
    query, database, application
        As `stream` takes them.
    columns : sequence of str, optional
        The columns to keep, in this order; all where it is left out.

    Returns
    -------
    Table
        Declared types brought to the five of `Table`; text is encoded batch by batch as it comes.

    Raises
    ------
    SourceError
        As of `stream`; or there are no rows, or a name stands twice.
    MissingColumnsError
        Where `columns` names some that are not there.
    """
    with _rows(query, database, application, is_prompt=True) as rows:
        refuse_bad_names(rows.schema.names, query.source)
        names = list(rows.schema.names if columns is None else columns)
        require(names, rows.schema.names, query.source)
        parts = _gathered(rows, names)
    if not rows.n_rows:
        raise SourceError(f"{query.source} has no rows.", hint="Look at the conditions of the query.")
    # each column is freed as soon as it is read
    return Table.of([normalise(name, pa.chunked_array(parts.pop(name))) for name in names], query.source)


def _rows(query: Query, database: Database, application: str, *, is_prompt: bool) -> Rows:
    where = address(database.connection_uri.get_secret_value())
    return Rows(query, where, Options(database.query_timeout, application, is_prompt))


def _gathered(rows: Rows, names: Sequence[str]) -> dict[str, list[pa.Array]]:
    """Return the arrays of each column, copied out of a few batches at a time.

    The columns of one batch are freed together, and here one column after the other shall be.
    """
    parts: dict[str, list[pa.Array]] = {name: [] for name in names}
    held: list[pa.RecordBatch] = []
    for batch in rows:
        held.append(batch)
        if len(held) == _HELD:
            _move(held, parts)
    if held:
        _move(held, parts)
    return parts


def _move(held: list[pa.RecordBatch], parts: dict[str, list[pa.Array]]) -> None:
    for name, arrays in parts.items():
        arrays.append(_compact(pa.concat_arrays([batch.column(name) for batch in held])))
    held.clear()


def _compact(column: pa.Array) -> pa.Array:
    return column.dictionary_encode() if is_text(column.type) else column


def _session(query: Query, where: Address, options: Options) -> Session:
    package, module, name = _SESSIONS[where.dialect]
    if where.dialect == "postgresql" and not is_installed(package) and is_installed("psycopg"):
        module, name = "mmp.data.sql.slow_postgres", "SlowPostgresSession"
    elif not is_installed(package):
        raise MissingExtraError(
            f"{where.name} needs the package {package!r}, which is not installed.", hint=install_line(package)
        )
    session: Any = getattr(import_module(module), name)
    return session(query, where, options)  # type: ignore[no-any-return]
