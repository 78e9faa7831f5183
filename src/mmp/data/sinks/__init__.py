"""Tables in databases as outputs: written beside in parts, each once, and put in place in one transaction."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa

from mmp.data.arrow import is_text
from mmp.data.sinks.postgres import PostgresStore
from mmp.data.sql.address import address
from mmp.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mmp.settings.adapters import TableOutput

__all__ = ["FINISHED", "TableWriter", "column_types"]

Mode = Literal["replace", "append", "upsert"]

FINISHED = ""
"""The part of the manifest that says that all parts are in place."""

_BEGUN = "begun"
_MANIFEST = "mmp_writes"
_TYPES: tuple[tuple[Any, str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int8, "smallint"),
    (pa.types.is_uint8, "smallint"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_uint16, "integer"),
    (pa.types.is_int32, "integer"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_float32, "real"),
    (pa.types.is_floating, "double precision"),
    (pa.types.is_decimal, "numeric"),
    (pa.types.is_date, "date"),
    (is_text, "text"),
    (pa.types.is_null, "text"),
)


class TableWriter:
    """An output table while it is written.

    Parts go to a table beside it, each in a transaction with its line in ``mmp_writes``; `finish` puts
    all of them in place in one transaction. Whatever dies in between, a writer of the same key goes on
    where the last part was committed, and a part that is there is not written again. What a writer of another
    key left unfinished is removed.

    Parameters
    ----------
    output : TableOutput
        Connection, table (``schema.table`` or ``table``) and mode, as a config has them.
    schema : pyarrow.Schema
        What is written.
    key : str
        What makes this the same write when it is tried again: a digest of model, input and parameters.
    keys : sequence of str
        Columns that identify a row, for mode upsert.
    application : str
        What the database calls us.

    Raises
    ------
    SettingsError
        The output is no database that can be written, or upsert has no keys.
    DataError
        The database refuses, or another process is writing this table.

    Attributes
    ----------
    parts : dict of str to int
        What is committed: rows by part.
    """

    def __init__(
        self,
        output: TableOutput,
        schema: pa.Schema,
        *,
        key: str,
        keys: Sequence[str] = (),
        application: str = "mmp",
    ) -> None:
        where = address(output.connection_uri.get_secret_value())
        if where.dialect != "postgresql":
            raise SettingsError(
                f"output.inference.config.connection_uri: mmp does not write to {where.dialect}.",
                hint="Write to postgresql://, or to files.",
            )
        if output.mode == "upsert" and not keys:
            raise SettingsError(
                "output.inference.config.mode is upsert, and no column identifies a row.",
                hint="Name them in the recipe's data.data_interface.entity_columns, or choose append.",
            )
        self._schema = schema
        self._mode: Mode = output.mode
        self._keys = tuple(keys)
        self._run = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._name = output.table
        folder, _, name = output.table.rpartition(".")
        self._folder = folder or None
        self._target = hashlib.sha256(output.table.encode()).hexdigest()[:8]
        self._table = _quoted(folder, name)
        self._staging_name = self._staging_of(self._run)
        self._staging = _quoted(folder, self._staging_name)
        self._manifest = _quoted(folder, _MANIFEST)
        self._store = PostgresStore(where, f"table {output.table}", application)
        try:
            self.parts = self._opened()
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_finished(self) -> bool:
        """Whether all of it is in place."""
        return FINISHED in self.parts

    @property
    def replaces_other_things(self) -> bool:
        """Whether a table is there that was never written by a writer, and would be gone."""
        if self._mode != "replace":
            return False
        with self._store.transaction():
            own = self._store.run(
                f"SELECT 1 FROM {self._manifest} WHERE target = $1 AND part = $2 LIMIT 1",  # noqa: S608
                self._name,
                FINISHED,
            )
            return not own and self._store.exists(self._table)

    @property
    def n_rows(self) -> int:
        """Rows that are committed."""
        return sum(n_rows for part, n_rows in self.parts.items() if part != FINISHED)

    def write(self, part: str, batches: Iterable[pa.RecordBatch]) -> int:
        """Write one part, or pass over it where it is there.

        Returns
        -------
        int
            Its rows.
        """
        if part in self.parts:
            return self.parts[part]
        assert part not in {FINISHED, _BEGUN}
        reader = pa.RecordBatchReader.from_batches(self._schema, batches)
        with self._store.transaction():
            n_rows = self._store.ingest(self._folder, self._staging_name, reader)
            self._record(part, n_rows)
        self.parts[part] = n_rows
        return n_rows

    def finish(self) -> int:
        """Put what was written in place, at once.

        Returns
        -------
        int
            Rows in all.

        Raises
        ------
        DataError
            Parts are no longer there, or the table does not take them.
        """
        if self.is_finished:
            return self.n_rows
        with self._store.transaction():
            self._require_complete()
            {"replace": self._replace, "append": self._append, "upsert": self._upsert}[self._mode]()
            self._record(FINISHED, 0)
        self.parts[FINISHED] = 0
        return self.n_rows

    def discard(self) -> None:
        """Forget what was written of this key, finished or not; what is in place stays."""
        with self._store.transaction():
            self._forget(self._run)
            self._create_staging()
        self.parts = {}

    def withdraw(self) -> None:
        """Leave nothing of this key beside the table."""
        with self._store.transaction():
            self._forget(self._run)
        self.parts = {}

    def close(self) -> None:
        """Give the table back."""
        self._store.close()

    def _opened(self) -> dict[str, int]:
        if not self._store.lock(f"mmp.{self._target}"):
            raise DataError(
                f"Another process is writing the table {self._name}.",
                hint="Wait for it, or name another table.",
            )
        with self._store.transaction():
            self._store.run(
                f"CREATE TABLE IF NOT EXISTS {self._manifest} (target text, run text, part text, "
                "n_rows bigint NOT NULL, PRIMARY KEY (target, run, part))"
            )
            rows = self._store.run(
                f"SELECT part, n_rows FROM {self._manifest} WHERE target = $1 AND run = $2",  # noqa: S608
                self._name,
                self._run,
            )
            parts = {str(part): int(n_rows) for part, n_rows in rows if part != _BEGUN}
            if FINISHED not in parts:
                self._forget_unfinished()
                self._create_staging()
                self._require_fit()
        return parts

    def _forget_unfinished(self) -> None:
        """Remove what other keys began to write to the same table: nobody goes on with it under the lock."""
        unfinished = self._store.run(
            f"SELECT run FROM {self._manifest} WHERE target = $1 AND run <> $2 "  # noqa: S608 - a quoted name
            "GROUP BY run HAVING bool_and(part <> $3)",
            self._name,
            self._run,
            FINISHED,
        )
        for (run,) in unfinished:
            self._forget(str(run))

    def _forget(self, run: str) -> None:
        self._store.run(f"DROP TABLE IF EXISTS {_quoted(self._folder or '', self._staging_of(run))}")
        self._store.run(
            f"DELETE FROM {self._manifest} WHERE target = $1 AND run = $2",  # noqa: S608 - a quoted name
            self._name,
            run,
        )

    def _staging_of(self, run: str) -> str:
        return f"mmp_{self._target}_{run[:16]}"

    def _create_staging(self) -> None:
        columns = ", ".join(f"{_quoted('', name)} {type_}" for name, type_ in column_types(self._schema))
        self._store.run(f"CREATE TABLE IF NOT EXISTS {self._staging} ({columns})")
        self._record(_BEGUN, 0, " ON CONFLICT DO NOTHING")

    def _record(self, part: str, n_rows: int, ending: str = "") -> None:
        # the primary key holds whatever the lock does not
        self._store.run(
            f"INSERT INTO {self._manifest} VALUES ($1, $2, $3, {n_rows}){ending}",  # noqa: S608 - a quoted name
            self._name,
            self._run,
            part,
        )

    def _require_complete(self) -> None:
        found = int(self._store.run(f"SELECT count(*) FROM {self._staging}")[0][0])  # noqa: S608
        if found != self.n_rows:
            raise DataError(
                f"Of the {self.n_rows:,} rows written for the table {self._name}, {found:,} are there.",
                hint="Run it again with --restart.",
            )

    def _replace(self) -> None:
        grants = self._store.grants(self._table)
        self._store.run(f"DROP TABLE IF EXISTS {self._table}")
        self._put_in_place()
        for grant in grants:
            self._store.run(grant)

    def _require_fit(self) -> None:
        """Have a table that is there refuse before the first row what it would after the last."""
        if self._mode != "replace" and self._store.exists(self._table):
            self._store.run(self._insertion("WHERE false"))

    def _append(self) -> None:
        if self._store.exists(self._table):
            self._insert()
        else:
            self._put_in_place()

    def _upsert(self) -> None:
        if self._store.exists(self._table):
            self._insert()
            return
        self._store.run(f"ALTER TABLE {self._staging} ADD PRIMARY KEY ({self._quoted_keys})")
        self._put_in_place()

    def _insert(self) -> None:
        self._store.run(self._insertion())
        self._store.run(f"DROP TABLE {self._staging}")

    def _insertion(self, which: str = "") -> str:
        names = ", ".join(_quoted("", name) for name in self._schema.names)
        added = f"INSERT INTO {self._table} ({names}) SELECT {names} FROM {self._staging} {which}"  # noqa: S608
        if self._mode == "append":
            return added
        others = [_quoted("", name) for name in self._schema.names if name not in self._keys]
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
        return f"{added} ON CONFLICT ({self._quoted_keys}) DO " + (
            f"UPDATE SET {changes}" if changes else "NOTHING"
        )

    @property
    def _quoted_keys(self) -> str:
        return ", ".join(_quoted("", name) for name in self._keys)

    def _put_in_place(self) -> None:
        _, _, name = self._name.rpartition(".")
        self._store.run(f"ALTER TABLE {self._staging} RENAME TO {_quoted('', name)}")


def column_types(schema: pa.Schema) -> list[tuple[str, str]]:
    """Return names and PostgreSQL types of columns.

    Raises
    ------
    DataError
        A column has a type that no column of a table has.

    Examples
    --------
    >>> import pyarrow as pa
    >>> column_types(pa.schema([("p", pa.float64()), ("at", pa.timestamp("us", "UTC"))]))
    [('p', 'double precision'), ('at', 'timestamptz')]
    """
    return [(each.name, _column_type(each.name, each.type)) for each in schema]


def _column_type(name: str, type_: pa.DataType) -> str:
    if pa.types.is_dictionary(type_):
        return _column_type(name, type_.value_type)
    if pa.types.is_list(type_):
        return f"{_column_type(name, type_.value_type)}[]"
    if pa.types.is_timestamp(type_):
        return "timestamptz" if type_.tz else "timestamp"
    for holds, known in _TYPES:
        if holds(type_):
            return known
    raise DataError(f"Column {name!r} has the type {type_}, which no table takes.", hint="Leave it out.")


def _quoted(folder: str, name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in (folder, name) if part)
