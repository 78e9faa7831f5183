"""A database to work in: tables of one's own that vanish with the connection, everything else only read."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from mmp.data.arrow import is_text
from mmp.data.sql.session import TransientError
from mmp.errors import MissingExtraError, SourceError
from mmp.lookup import install_line, is_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from mmp.data.sql.address import Address

_T = TypeVar("_T")
_GRACE_S = 2.0
_TICK_S = 0.2
_PATIENCE_S = 5.0
_MEGABYTE = 1 << 20
_MOST_THREADS = 4
# A sort of a million narrow rows stays in memory, four of them in a quarter of a gigabyte.
_SORT_MEMORY = "64MB"


class Workspace(Protocol):
    """A transaction in which temporary tables can be made, filled and asked."""

    dialect: str
    """``postgresql`` or ``duckdb``."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, *_: object) -> None:
        """Forget the tables, and close the connection."""

    def run(self, statement: str) -> None:
        """Carry out a statement."""

    def fill(self, name: str, rows: pa.Table) -> None:
        """Append rows to a table that was made here, whose columns have the same names."""

    def seal(self) -> None:
        """Allow no further table, and no write but to those made here."""

    def read(self, statement: str) -> pa.Table:
        """Return the rows of a query; its texts are dictionaries."""


class PostgresWorkspace:
    """One transaction in PostgreSQL, of one snapshot, in UTC; it is always rolled back.

    Parameters
    ----------
    where : Address
        The database; the user needs SELECT on what is read, and TEMPORARY.
    source : str
        What messages call the work.
    timeout_s : float
        Bound of each statement.
    schema : str
        Where names without one are looked for, before ``public``.
    application : str
        What the database calls us.
    """

    dialect = "postgresql"

    def __init__(
        self,
        where: Address,
        source: str,
        *,
        timeout_s: float,
        schema: str = "public",
        application: str = "mmp",
    ) -> None:
        from mmp.data.sql.postgres import connect

        _require("adbc_driver_postgresql", where.name)
        self._where, self._source, self._timeout_s = where, source, timeout_s
        self._connection = connect(where, application)
        try:
            for setting in (
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                f"SET LOCAL statement_timeout = {round(timeout_s * 1000)}",
                "SET LOCAL timezone = 'UTC'",
                f"SET LOCAL work_mem = '{_SORT_MEMORY}'",
                f"SET LOCAL search_path = {', '.join(dict.fromkeys((identifier(schema), 'public')))}",
            ):
                self.run(setting)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self, statement: str) -> None:
        """Carry out a statement."""
        self._bounded(lambda cursor: cursor.execute(statement), statement)

    def fill(self, name: str, rows: pa.Table) -> None:
        """Append rows to a temporary table, by COPY, and tell the planner about them."""
        self._bounded(lambda cursor: cursor.adbc_ingest(name, rows, mode="append", temporary=True), name)
        self.run(f"ANALYZE {identifier(name)}")

    def seal(self) -> None:
        """Make the transaction read-only: temporary tables can still be filled."""
        self.run("SET TRANSACTION READ ONLY")

    def read(self, statement: str) -> pa.Table:
        """Return the rows of a query."""
        return self._bounded(lambda cursor: self._rows(cursor, statement), statement)

    def _rows(self, cursor: Any, statement: str) -> pa.Table:
        from mmp.data.sql.types import as_table_type, table_type

        cursor.execute(statement)
        reader = cursor.fetch_record_batch()
        names = reader.schema.names
        types = [_compact_type(table_type(field)) for field in reader.schema]
        batches = [
            pa.RecordBatch.from_arrays(
                [
                    _compact(as_table_type(field, column, self._source))
                    for field, column in zip(reader.schema, batch.columns, strict=True)
                ],
                names,
            )
            for batch in reader
        ]
        return pa.Table.from_batches(batches, pa.schema(list(zip(names, types, strict=True))))

    def _bounded(self, work: Callable[[Any], _T], statement: str) -> _T:
        import adbc_driver_manager

        from mmp.data.sql.postgres import failure

        def call() -> _T:
            with closing(self._connection.cursor()) as cursor:
                return work(cursor)

        try:
            return bounded(call, self._cancel, limit_s=self._timeout_s + _GRACE_S, source=self._where.name)
        except adbc_driver_manager.Error as error:
            raise _final(failure(error, self._source, self._where, statement)) from error

    def _cancel(self) -> None:
        import adbc_driver_manager

        with suppress(adbc_driver_manager.Error):
            self._connection.adbc_cancel()

    def _close(self) -> None:
        import adbc_driver_manager

        with suppress(adbc_driver_manager.Error):
            self._connection.close()


class DuckWorkspace:
    """A DuckDB in memory, which puts down in a folder what is more than it may hold.

    Parameters
    ----------
    source : str
        What messages call the work.
    folder : Path
        Private, and removed by whoever made it.
    timeout_s : float
        Bound of each statement.
    memory_bytes : int
        What it may hold.
    """

    dialect = "duckdb"

    def __init__(self, source: str, folder: Path, *, timeout_s: float, memory_bytes: int) -> None:
        _require("duckdb", source)
        import duckdb

        self._source, self._timeout_s = source, timeout_s
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": f"{memory_bytes // _MEGABYTE}MiB",
                "preserve_insertion_order": "false",
                "temp_directory": str(folder),
                # each takes a part of the memory
                "threads": min(_MOST_THREADS, os.cpu_count() or 1),
            },
        )
        self._connection.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def run(self, statement: str) -> None:
        """Carry out a statement."""
        self._bounded(lambda: self._connection.execute(statement))

    def fill(self, name: str, rows: pa.Table) -> None:
        """Append rows to a table."""
        columns = ", ".join(map(identifier, rows.column_names))
        self._connection.register("mmp_rows", rows)
        self.run(f"INSERT INTO {identifier(name)} ({columns}) SELECT {columns} FROM mmp_rows")  # noqa: S608
        self._connection.unregister("mmp_rows")

    def seal(self) -> None:
        """Do nothing: there is nothing here but what was made here, and files are only read."""

    def read(self, statement: str) -> pa.Table:
        """Return the rows of a query."""
        return self._bounded(lambda: self._rows(statement))

    def _rows(self, statement: str) -> pa.Table:
        reader = self._connection.sql(statement).to_arrow_reader()
        schema = pa.schema([(field.name, _compact_type(field.type)) for field in reader.schema])
        batches = [
            pa.RecordBatch.from_arrays([_compact(column) for column in batch.columns], schema=schema)
            for batch in reader
        ]
        return pa.Table.from_batches(batches, schema)

    def _bounded(self, call: Callable[[], _T]) -> _T:
        with self._failures():
            return bounded(
                call, self._connection.interrupt, limit_s=self._timeout_s + _GRACE_S, source=self._source
            )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise SourceError(
                f"{self._source} needs more memory than it may take: {_first_line(error)}.",
                hint="Ask for fewer features or rows at once.",
            ) from error
        except (duckdb.Error, pa.ArrowException) as error:
            raise SourceError(f"{self._source}: {_first_line(error)}.", hint="Check the files.") from error


def bounded(call: Callable[[], _T], cancel: Callable[[], None], *, limit_s: float, source: str) -> _T:
    """Return what a call returns that may hang: in a thread, so that a signal and a deadline reach us.

    Parameters
    ----------
    call : callable
        The work.
    cancel : callable
        Ends it, from another thread.
    limit_s : float
        Seconds it may take.
    source : str
        For messages.

    Raises
    ------
    SourceError
        It took longer.
    """
    outcome: Future[_T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            outcome.set_exception(error)

    thread = threading.Thread(target=work, name="mmp-sql", daemon=True)
    thread.start()
    try:
        return outcome.result(limit_s)
    except TimeoutError:
        _stop(thread, cancel)
        raise SourceError(
            f"{source}: no answer within {limit_s - _GRACE_S:g} s; the query was cancelled.",
            hint="Raise data_source.config.query_timeout, or ask for less.",
        ) from None
    except KeyboardInterrupt:
        _stop(thread, cancel)
        raise


def identifier(name: str) -> str:
    """Return a name as SQL writes it, whatever is in it.

    Examples
    --------
    >>> print(identifier('3" pipe'))
    "3"" pipe"
    """
    return '"' + name.replace('"', '""') + '"'


def _stop(thread: threading.Thread, cancel: Callable[[], None]) -> None:
    """Cancel until the work ends, for a while: who is frozen answers no request to cancel either."""

    def insist() -> None:
        while thread.is_alive():
            cancel()
            thread.join(_TICK_S)

    threading.Thread(target=insist, name="mmp-sql-cancel", daemon=True).start()
    thread.join(_PATIENCE_S)


def _final(error: Exception) -> Exception:
    """Return a failure that nobody retries: the transaction is gone."""
    if isinstance(error, TransientError):
        return SourceError(f"{error}.", hint="Nothing was written; run the command again.")
    return error


def _compact(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()).dictionary_encode() if is_text(column.type) else column


def _compact_type(type_: pa.DataType) -> pa.DataType:
    return pa.dictionary(pa.int32(), pa.string()) if is_text(type_) else type_


def _require(package: str, name: str) -> None:
    if not is_installed(package):
        raise MissingExtraError(
            f"{name} needs the package {package!r}, which is not installed.", hint=install_line(package)
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
