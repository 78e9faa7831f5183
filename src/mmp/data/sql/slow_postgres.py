"""Queries to PostgreSQL by psycopg, where ADBC is not installed: the same tables, several times slower."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mmp.data.sql.postgres import CURSOR, cast, failure, literal_type, read_only, text_of, with_options
from mmp.data.sql.session import FIRST_ROWS, next_rows, require_readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.data.sql.address import Address
    from mmp.data.sql.session import Options
    from mmp.data.template import Query

_TYPES = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "numeric": pa.float64(),
    "text": pa.string(),
    "character varying": pa.string(),
    "character": pa.string(),
    "name": pa.string(),
    "uuid": pa.string(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
}
_NAMES = "SELECT oid::bigint, format_type(oid, NULL), typtype::text FROM pg_type WHERE oid = ANY($1)"


class SlowPostgresSession:
    """A query in PostgreSQL, its rows by way of Python's own values.

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
        import psycopg

        self._query, self._where, self._timeout_s = query, where, options.timeout_s
        with self._failures(""):
            self._connection = psycopg.connect(
                with_options(where.uri, options.application), cursor_factory=psycopg.RawCursor
            )

    def open(self) -> pa.Schema:
        """Begin to read only, and open the cursor; return what the rows will be."""
        with self._failures(self._query.source):
            for setting in read_only(self._timeout_s):
                self._connection.execute(setting)
            statement, fields = self._described()
            kinds = [kind for _, kind, _ in fields]
            self._schema = pa.schema([(name, type_) for name, _, type_ in fields])
            require_readable(self._schema, kinds, self._query.source, cast="{}::text")
            texts = [text_of(value) for value in self._query.values]
            self._connection.execute(f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {statement}", texts)
        return self._schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        wanted = FIRST_ROWS
        with self._failures(self._query.source):
            while found := self._connection.execute(f"FETCH {wanted} FROM {CURSOR}").fetchall():
                columns = zip(*found, strict=True)
                arrays = [
                    _array(values, each.type) for values, each in zip(columns, self._schema, strict=True)
                ]
                yield (batch := pa.RecordBatch.from_arrays(arrays, schema=self._schema))
                wanted = next_rows(batch)

    def cancel(self) -> None:
        """Ask the server to stop."""
        import psycopg

        with suppress(psycopg.Error):
            self._connection.cancel()

    def close(self) -> None:
        """End the transaction and the connection."""
        self._connection.close()

    def _described(self) -> tuple[str, list[tuple[str, str, pa.DataType]]]:
        """Return the statement with the types of its placeholders; name and type of each column."""
        import psycopg

        server = self._connection.pgconn
        statement = cast(self._query.statement, [literal_type(value) for value in self._query.values])
        result = server.prepare(b"", statement.encode())
        if result.error_message:
            raise psycopg.errors.error_from_result(result)
        result = server.describe_prepared(b"")
        oids = [result.ftype(n) for n in range(result.nfields)]
        known = {oid: (kind, of) for oid, kind, of in self._connection.execute(_NAMES, [oids])}
        fields = []
        for n, oid in enumerate(oids):
            kind, of = known[oid]
            type_ = pa.string() if of == "e" else _TYPES.get(kind, pa.binary())
            fields.append(((result.fname(n) or b"").decode(), str(kind), type_))
        return statement, fields

    @contextmanager
    def _failures(self, source: str) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise failure(error, source, self._where, self._query.statement) from error


def _array(values: tuple[Any, ...], type_: pa.DataType) -> pa.Array:
    if pa.types.is_float64(type_):
        return pa.array([None if value is None else float(value) for value in values], type_)
    if pa.types.is_string(type_):
        return pa.array([None if value is None else str(value) for value in values], type_)
    return pa.array(values, type_)
