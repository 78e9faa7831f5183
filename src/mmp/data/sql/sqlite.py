"""Queries to SQLite, opened read-only; the type of a column is found by looking at all of its values."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mmp.data.sql.session import FIRST_ROWS, TransientError, next_rows
from mmp.data.statement import tokens
from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.data.sql.address import Address
    from mmp.data.sql.session import Options
    from mmp.data.template import Query

_BUSY_S = 5.0
_TYPES = {
    frozenset(): pa.null(),
    frozenset({"integer"}): pa.int64(),
    frozenset({"real"}): pa.float64(),
    frozenset({"integer", "real"}): pa.float64(),
    frozenset({"text"}): pa.string(),
}
_TIMES = ("DATE", "DATETIME", "TIMESTAMP")
_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


class SqliteSession:
    """A query in SQLite.

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
    """

    def __init__(self, query: Query, where: Address, _options: Options) -> None:
        self._query, self._where = query, where
        file = Path(where.uri)
        if not file.is_file():
            raise SourceError(f"There is no file {where.uri}.", hint=f"It was looked for from {Path.cwd()}.")
        self._connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )

    def open(self) -> pa.Schema:
        """Look at the types of all values, and return what the rows will be."""
        statement, values = self._query.statement, self._query.values
        with self._failures():
            declared = self._declared()
            self._connection.execute("BEGIN")  # what is looked at first is what is read then
            self._connection.set_authorizer(_authorize)
            with closing(self._connection.execute(statement, values)) as cursor:
                names = [column[0] for column in cursor.description]
            kinds = self._kinds(len(names))
        _refuse_mixed(names, kinds, self._query.source)
        self._schema = pa.schema(
            [(name, _type(kind, words)) for name, kind, words in zip(names, kinds, declared, strict=True)]
        )
        return self._schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        wanted = FIRST_ROWS
        with self._failures():
            rows = self._connection.execute(self._query.statement, self._query.values)
            while found := list(islice(rows, wanted)):
                yield (batch := self._batch(found))
                wanted = next_rows(batch)

    def cancel(self) -> None:
        """Stop what runs."""
        with suppress(sqlite3.ProgrammingError):  # closed meanwhile
            self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _kinds(self, n_columns: int) -> list[frozenset[str]]:
        """Return what SQLite calls the values of each column."""
        aliases = [f"c{n}" for n in range(n_columns)]
        looks = ", ".join(f"group_concat(DISTINCT typeof({alias}))" for alias in aliases)
        found = self._connection.execute(
            f"WITH q({', '.join(aliases)}) AS (\n{self._query.statement}\n) SELECT {looks} FROM q",  # noqa: S608
            self._query.values,
        ).fetchone()
        return [frozenset((each or "null").split(",")) - {"null"} for each in found]

    def _declared(self) -> list[str]:
        """Return the type that each column was declared with, nothing for what is computed."""
        # a view takes no parameters, and types do not depend on them
        text = "".join(
            "NULL" if token.kind == "bound" else token.text
            for token in tokens(self._query.statement, "sqlite")
        )
        self._connection.execute(f"CREATE TEMP VIEW mmp_rows AS {text}")
        return [str(row[2]).upper() for row in self._connection.execute("PRAGMA table_info(mmp_rows)")]

    def _batch(self, rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
        columns = zip(*rows, strict=True)
        arrays = [
            _array(values, each, self._query.source)
            for values, each in zip(columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        source, name = self._query.source, self._where.name
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise TransientError(f"{name} does not answer: {error}") from error
            raise SourceError(f"{source}: {error} ({name}).", hint="Mend the query.") from error
        except (sqlite3.Error, OverflowError) as error:
            raise SourceError(f"{source}: {error} ({name}).", hint="Check the file and the query.") from error


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _refuse_mixed(names: list[str], kinds: list[frozenset[str]], source: str) -> None:
    wrong = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind not in _TYPES]
    if wrong:
        named = ", ".join(f"{name!r} ({' and '.join(sorted(kind))})" for name, kind in wrong)
        raise SourceError(
            f"{source}: no table of ours holds the values of {named}.",
            hint="Leave them out of the query, or cast them: "
            + ", ".join(f"CAST({n} AS TEXT)" for n, _ in wrong),
        )


def _type(kinds: frozenset[str], declared: str) -> pa.DataType:
    type_ = _TYPES[kinds]
    if declared.startswith("BOOL") and type_ in (pa.int64(), pa.null()):
        return pa.bool_()
    if declared in _TIMES and type_ in (pa.string(), pa.null()):
        return pa.timestamp("us", "UTC")
    return type_


def _array(values: tuple[Any, ...], column: pa.Field, source: str) -> pa.Array:
    try:
        if pa.types.is_boolean(column.type):
            return _booleans(values)
        if pa.types.is_timestamp(column.type):
            return _times(pa.array(values, pa.string()))
        return pa.array(values, column.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise SourceError(
            f"{source}: column {column.name!r} has a value that is no {column.type}: {error}.",
            hint=f"Mend it, or write CAST({column.name} AS TEXT).",
        ) from error


def _booleans(values: tuple[Any, ...]) -> pa.Array:
    other = next((value for value in values if value not in (0, 1, None)), None)
    if other is not None:
        raise ValueError(f"{other} is neither 0 nor 1")
    return pa.array([None if value is None else bool(value) for value in values], pa.bool_())


def _times(texts: pa.Array) -> pa.Array:
    """Read ISO 8601, with a zone or, then in UTC, without one."""
    has_zone = pc.match_substring_regex(texts, r"\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")
    zoned = pc.if_else(has_zone, texts, pa.scalar(None, pa.string())).cast(pa.timestamp("us", "UTC"))
    plain = pc.if_else(has_zone, pa.scalar(None, pa.string()), texts).cast(pa.timestamp("us"))
    return pc.coalesce(zoned, pc.assume_timezone(plain, "UTC"))
