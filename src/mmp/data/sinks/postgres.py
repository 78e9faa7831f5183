"""Writing to PostgreSQL: rows by COPY through ADBC, and statements in the same transaction."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmp.data.sql.postgres import connect, failure
from mmp.data.sql.session import TransientError
from mmp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.data.sql.address import Address

_GRANTS = """
SELECT format('GRANT %s ON TABLE $T TO %s%s', privilege_type,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass($1)
"""


class PostgresStore:
    """A connection that writes.

    Parameters
    ----------
    where : Address
        Which database.
    what : str
        What is written, for messages.
    application : str
        What the database calls us.

    Raises
    ------
    DataError
        It cannot be reached.
    """

    def __init__(self, where: Address, what: str, application: str) -> None:
        self._where, self._what = where, what
        try:
            self._connection = connect(where, application)
        except TransientError as error:
            raise DataError(f"{error}.", hint="Check that the database runs.") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the body does, or nothing of it."""
        try:
            yield
            with self._failures():
                self._connection.commit()
        except BaseException:
            self._roll_back()
            raise

    def run(self, statement: str, *texts: str) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows."""
        bound = pa.RecordBatch.from_pylist(
            [{str(n): text for n, text in enumerate(texts)}],
            pa.schema([(str(n), pa.string()) for n, _ in enumerate(texts)]),
        )
        with self._failures(statement), closing(self._connection.cursor()) as cursor:
            cursor.execute(statement, bound if texts else None)
            return list(cursor.fetchall()) if cursor.description else []

    def ingest(self, folder: str | None, table: str, reader: pa.RecordBatchReader) -> int:
        """Copy rows into a table that is there; return how many."""
        with self._failures(), closing(self._connection.cursor()) as cursor:
            return int(cursor.adbc_ingest(table, reader, mode="append", db_schema_name=folder))

    def lock(self, name: str) -> bool:
        """Take the lock of a name until the connection ends; tell whether it was free."""
        with self.transaction():
            ((taken,),) = self.run("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name)
        return bool(taken)

    def exists(self, table: str) -> bool:
        """Tell whether a table is there, by its quoted name."""
        ((found,),) = self.run("SELECT to_regclass($1) IS NOT NULL", table)
        return bool(found)

    def grants(self, table: str) -> list[str]:
        """Return the statements that give a table of this name the rights that it has."""
        return [str(grant) for (grant,) in self.run(_GRANTS.replace("$T", table.replace("'", "''")), table)]

    def close(self) -> None:
        """End the connection, and with it the lock."""
        import adbc_driver_manager

        with suppress(adbc_driver_manager.Error):
            self._connection.close()

    def _roll_back(self) -> None:
        import adbc_driver_manager

        with suppress(adbc_driver_manager.Error):
            self._connection.rollback()

    @contextmanager
    def _failures(self, statement: str = "") -> Iterator[None]:
        import adbc_driver_manager

        try:
            yield
        except adbc_driver_manager.Error as error:
            problem: Any = failure(error, self._what, self._where, statement)
            hint = getattr(problem, "hint", "") or "What was committed is kept; run the command again."
            raise DataError(f"{problem}".rstrip(".") + ".", hint=hint) from error
