"""Queries to PostgreSQL, as Arrow, by ADBC: in a read-only transaction, by ``COPY`` or from a cursor.

``COPY`` is faster by a third, since the server works while the client does; but it takes no bound
parameters, and a slow reader uses up the statement's time. So values and slow readers get a cursor.
"""

from __future__ import annotations

import re
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pyarrow as pa

from mmp.data.sql.session import FIRST_ROWS, TransientError, next_rows, require_readable
from mmp.data.sql.types import as_table_type, database_type, table_type
from mmp.data.statement import tokens
from mmp.errors import SourceError
from mmp.settings.secrets import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmp.data.sql.address import Address
    from mmp.data.sql.session import Options
    from mmp.data.template import Query, Scalar

CONNECT_S = 5
_REASON = re.compile(r"(?:ERROR|FATAL|failed): +(?!FATAL)(.+)")
CURSOR = "mmp_rows"
_HINTS = {
    "42P10": "Upsert wants a primary key or a unique index over the entity columns of a table that is there."
}
_TRANSIENT_STATES = ("57P0", "08", "53300")
_TRANSIENT_WORDS = (
    "connection refused", "timeout expired", "starting up", "shutting down", "too many clients",
    "connection slots", "closed the connection", "could not receive data", "temporary failure",
    "no connection to the server", "terminating connection", "connection reset", "recovery mode",
    "could not send data", "ssl connection has been closed",
)  # fmt: skip


class PostgresSession:
    """A query in PostgreSQL.

    Parameters
    ----------
    query : Query
        What is asked.
    where : Address
        Which database.
    options : Options
        How to read.

    Raises
    ------
    SourceError
        The database refuses.
    TransientError
        The database cannot be reached now.
    """

    def __init__(self, query: Query, where: Address, options: Options) -> None:
        self._query, self._where = query, where
        self._timeout_s = options.timeout_s
        self._copies = options.is_prompt and not query.values
        self._connection = connect(where, options.application)

    def open(self) -> pa.Schema:
        """Begin to read only, and open the cursor; return what the rows will be."""
        self._begin()
        self._statement, self._schema = self._described()
        if not self._copies:
            texts = [text_of(value) for value in self._query.values]
            self._execute(f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {self._statement}", texts)
        return self._schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        if self._copies:
            yield from self._rows(self._statement)
            return
        wanted = FIRST_ROWS
        while True:
            n_rows = 0
            for batch in self._rows(f"FETCH {wanted} FROM {CURSOR}"):
                n_rows += batch.num_rows
                yield batch
            if n_rows < wanted:
                return
            wanted = next_rows(batch)

    def cancel(self) -> None:
        """Ask the server to stop."""
        import adbc_driver_manager

        with suppress(adbc_driver_manager.Error):
            self._connection.adbc_cancel()

    def close(self) -> None:
        """End the transaction and the connection."""
        import adbc_driver_manager

        with suppress(adbc_driver_manager.Error):
            self._connection.close()

    def _begin(self) -> None:
        for setting in read_only(self._timeout_s):
            self._execute(setting)

    def _described(self) -> tuple[str, pa.Schema]:
        """Return the statement with the types of its placeholders, and what it will give."""
        import adbc_driver_manager

        statement, source = self._query.statement, self._query.source
        with closing(self._connection.cursor()) as cursor:
            try:
                if self._query.values:
                    typed = cast(statement, [literal_type(value) for value in self._query.values])
                    inferred = [database_type(each) for each in cursor.adbc_prepare(typed)]
                    statement = cast(statement, inferred)
                described = cursor.adbc_execute_schema(statement)
            except adbc_driver_manager.Error as error:
                raise self._failure(error) from error
        schema = pa.schema([pa.field(each.name, table_type(each)) for each in described])
        kinds = [database_type(each) or "of a type of its own" for each in described]
        require_readable(schema, kinds, source, cast="{}::text")
        return statement, schema

    def _execute(self, statement: str, texts: Sequence[str | None] = ()) -> None:
        import adbc_driver_manager

        bound = pa.RecordBatch.from_pylist(
            [{str(n): text for n, text in enumerate(texts)}],
            pa.schema([(str(n), pa.string()) for n, _ in enumerate(texts)]),
        )
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute(statement, bound if texts else None)
            except adbc_driver_manager.Error as error:
                raise self._failure(error) from error

    def _rows(self, statement: str) -> Iterator[pa.RecordBatch]:
        import adbc_driver_manager

        with closing(self._connection.cursor()) as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": str(self._copies).lower()})
            try:
                cursor.execute(statement)
                for batch in cursor.fetch_record_batch():
                    yield _converted(batch, self._schema, self._query.source)
            # what goes wrong while rows come is told by Arrow, in the driver's words
            except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
                raise self._failure(error) from error

    def _failure(self, error: Any) -> Exception:
        return failure(error, self._query.source, self._where, self._query.statement)


def read_only(timeout_s: int) -> tuple[str, ...]:
    """Return what to say first: in one transaction, so that whatever pools connections keeps it together."""
    return (
        "SET TRANSACTION READ ONLY",
        f"SET LOCAL statement_timeout = {timeout_s * 1000}",
        "SET LOCAL timezone = 'UTC'",
        "SET LOCAL datestyle = 'ISO'",
        "SET LOCAL standard_conforming_strings = on",
        "SET LOCAL cursor_tuple_fraction = 1",
    )


def connect(where: Address, application: str) -> Any:
    """Connect, with a transaction that begins by itself.

    Raises
    ------
    SourceError, TransientError
        It cannot, for good or for now.
    """
    import adbc_driver_manager
    from adbc_driver_postgresql import dbapi

    try:
        return dbapi.connect(with_options(where.uri, application))
    except adbc_driver_manager.Error as error:
        raise failure(error, "", where) from error


def failure(error: Any, source: str, where: Address, statement: str = "") -> Exception:
    """Return what to raise for an error of the driver: host, port and cause, never the password."""
    # the driver gives names and texts as bytes
    details = {bytes(k): v.decode(errors="replace") for k, v in getattr(error, "details", None) or ()}
    told = getattr(error, "diag", None)  # by psycopg
    state = getattr(error, "sqlstate", None) or ""
    cause = details.get(b"PG_DIAG_MESSAGE_PRIMARY") or _cause(str(error), where)
    if state.startswith(_TRANSIENT_STATES) or any(words in cause.lower() for words in _TRANSIENT_WORDS):
        return TransientError(f"{where.name} does not answer: {cause}")
    if not source:
        return SourceError(
            f"{where.name} refuses the connection: {cause}.",
            hint="Check the config's connection_uri: host, port, database, user and password.",
        )
    if "due to statement timeout" in cause:
        return SourceError(
            f"{source}: the query took longer than it may ({where.name}).",
            hint="Raise data_source.config.query_timeout, or ask for less.",
        )
    position = details.get(b"PG_DIAG_STATEMENT_POSITION") or (told and told.statement_position)
    line = f", line {statement.count(chr(10), 0, int(position) - 1) + 1} of what was sent" if position else ""
    hint = (
        details.get(b"PG_DIAG_MESSAGE_HINT")
        or (told and told.message_hint)
        or _HINTS.get(state)
        or f"{where.name} refused the query; mend it."
    )
    return SourceError(f"{source}: {cause}{line}.", hint=hint)


def _cause(message: str, where: Address) -> str:
    """Return the reason in a message of the driver's, without the address and without the password."""
    found = _REASON.search(message)
    cause = (found[1] if found else (message.splitlines() or [message])[0]).strip().rstrip(".")
    secret = urlsplit(where.uri).password
    return without_credentials(cause.replace(secret, "***") if secret else cause)


def with_options(uri: str, application: str) -> str:
    """Return a URI that says who we are and how long connecting may take, unless it does already."""
    given = urlsplit(uri).query
    options = {"application_name": application, "connect_timeout": str(CONNECT_S)}
    missing = [f"{name}={quote(value)}" for name, value in options.items() if f"{name}=" not in given]
    separator = "&" if given else "?"
    return uri + (separator + "&".join(missing) if missing else "")


def cast(statement: str, types: Sequence[str]) -> str:
    """Write the type of each placeholder into the statement.

    All are bound as text, since the driver calls text what a literal leaves open, and text compares
    with no timestamp. Numbers and booleans have the types that their literals have, and a text what
    the server infers, which is what it would make of the literal.
    """
    names = {f"${n}": name for n, name in enumerate(types, 1)}
    return "".join(
        f"CAST({token.text} AS {names[token.text]})"
        if token.kind == "bound" and names[token.text]
        else token.text
        for token in tokens(statement, "postgresql")
    )


def literal_type(value: Scalar) -> str:
    """Return the type that a value's literal has in SQL, nothing for what a literal leaves open."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int4" if -(2**31) <= value < 2**31 else "int8"
    return "numeric" if isinstance(value, float) else ""


def text_of(value: Scalar) -> str | None:
    """Return a value as PostgreSQL writes it."""
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def _converted(batch: pa.RecordBatch, schema: pa.Schema, source: str) -> pa.RecordBatch:
    columns = [
        as_table_type(each, column, source) for each, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
