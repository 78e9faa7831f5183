"""The histories of feature views where they are: tables and queries in PostgreSQL, Parquet files."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlencode

import pyarrow as pa

from mmp.data.sql.address import Address
from mmp.data.sql.session import TransientError
from mmp.data.sql.workspace import DuckWorkspace, PostgresWorkspace, identifier
from mmp.errors import FeatureStoreError, SettingsError, SourceError
from mmp.features.repository import complete
from mmp.features.statements import History
from mmp.lookup import did_you_mean
from mmp.settings.stores import DuckdbOffline, FileOffline, PostgresOffline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmp.data.sql.workspace import Workspace
    from mmp.features.references import Source, View
    from mmp.settings.stores import FeatureStore, OfflineStore

RETRY_S = 10.0
_FIRST_PAUSE_S = 0.1
_DUCK_BYTES = 1 << 30
_Readable: TypeAlias = PostgresOffline | DuckdbOffline | FileOffline
_SOURCES = {PostgresOffline: "postgres", DuckdbOffline: "file", FileOffline: "file"}


@contextmanager
def workspace(store: FeatureStore, *, timeout_s: float, application: str) -> Iterator[Workspace]:
    """Open the offline store, to read histories and to make temporary tables.

    Raises
    ------
    SettingsError
        The config has no offline store, or one that mmp does not read.
    FeatureStoreError
        It does not answer, or fails on the way.
    """
    offline = _offline(store)
    with ExitStack() as stack:
        try:
            yield stack.enter_context(_open(offline, stack, timeout_s, application))
        except SourceError as error:
            raise FeatureStoreError(error.message, hint=error.hint) from error


def history(space: Workspace, view: View, number: int, keys: Sequence[str], store: FeatureStore) -> History:
    """Return what statements need of the history of a view.

    Parameters
    ----------
    space : Workspace
        The offline store.
    view : View
        What is taken.
    number : int
        Its position, for a name of its own.
    keys : sequence of str
        The columns of the spine that find the entity.
    store : FeatureStore
        Where relative paths of files begin.

    Raises
    ------
    FeatureStoreError
        The source is not of this store, or lacks a column.
    """
    source = view.source
    offline = _offline(store)
    if _SOURCES[type(offline)] != source.kind:
        raise FeatureStoreError(
            f"The source of the feature view {view.name!r} is of the kind {source.kind}, "
            f"and the offline store is {offline.type}.",
            hint="Check feature_store.feast_config.offline_store.",
        )
    where = _from_clause(source, store)
    columns = space.read(f"SELECT * FROM {where} AS h LIMIT 0").schema  # noqa: S608 - Feast's own table or query
    _require_columns(view, columns.names)
    moment = _time(columns.field(source.timestamp_column))
    created = source.created_column
    known = moment if created is None else f"coalesce({_time(columns.field(created))}, {moment})"
    return History(view, space.dialect, where, tuple(keys), f"mmp_history_{number}", moment, known)


def address(offline: PostgresOffline) -> Address:
    """Return where a PostgreSQL is, with libpq's own default for encryption."""
    user = quote(offline.user, safe="")
    password = offline.password.get_secret_value() if offline.password is not None else ""
    options = {"sslmode": offline.sslmode} if offline.sslmode else {}
    host, port, database = offline.host, offline.port, quote(offline.database, safe="")
    if host.startswith("/"):
        host, options = "", {**options, "host": host}
    elif ":" in host:
        host = f"[{host}]"
    at = f"{user}:{quote(password, safe='')}" if password else user
    query = f"?{urlencode(options)}" if options else ""
    return Address(
        "postgresql",
        f"postgresql://{at}@{host}:{port}/{database}{query}",
        f"postgresql://{host}:{port}/{database}",
    )


def _offline(store: FeatureStore) -> _Readable:
    config = complete(store).feast_config
    offline: OfflineStore | None = config.offline_store if config else None
    if isinstance(offline, (PostgresOffline, DuckdbOffline, FileOffline)):
        return offline
    kind = "none" if offline is None else offline.type
    raise SettingsError(
        f"feature_store.feast_config.offline_store is {kind}, from which mmp does not read.",
        hint="It reads postgres, duckdb and file.",
    )


def _open(
    offline: PostgresOffline | DuckdbOffline | FileOffline,
    stack: ExitStack,
    timeout_s: float,
    application: str,
) -> Workspace:
    if isinstance(offline, PostgresOffline):
        return _postgres(offline, timeout_s, application)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmp-features-")))
    return DuckWorkspace("The feature join", folder, timeout_s=timeout_s, memory_bytes=_DUCK_BYTES)


def _postgres(offline: PostgresOffline, timeout_s: float, application: str) -> PostgresWorkspace:
    where = address(offline)
    deadline, pause = time.monotonic() + RETRY_S, _FIRST_PAUSE_S
    while True:
        try:
            return PostgresWorkspace(
                where,
                "The feature join",
                timeout_s=timeout_s,
                schema=offline.db_schema or "public",
                application=application,
            )
        except TransientError as error:
            if time.monotonic() + pause > deadline:
                raise FeatureStoreError(
                    f"The offline store {error}.",
                    hint=f"It was tried for {RETRY_S:g} s; check that the database runs.",
                ) from error
        except SourceError as error:
            raise FeatureStoreError(
                error.message,
                hint="Check feature_store.feast_config.offline_store: host, port, user, password.",
            ) from error
        time.sleep(pause)
        pause *= 2


def _from_clause(source: Source, store: FeatureStore) -> str:
    if source.kind == "postgres":
        return f"({source.location})" if source.is_query else source.location
    return f"read_parquet({_text(_path(source.location, store))}, union_by_name = true)"


def _path(location: str, store: FeatureStore) -> str:
    if "://" in location and not location.startswith("file://"):
        raise FeatureStoreError(
            f"The features in {location} are in a bucket, which the feature join does not read.",
            hint="Copy the files here, or use a PostgreSQL offline store.",
        )
    base = (store.feast_config.repo_path if store.feast_config else None) or "."
    path = Path(base, location.removeprefix("file://"))
    return str(path / "**" / "*.parquet") if path.is_dir() else str(path)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _require_columns(view: View, names: Sequence[str]) -> None:
    source = view.source
    times = [name for name in (source.timestamp_column, source.created_column) if name is not None]
    wanted = [
        *(source.key_column(key) for key in view.keys),
        *times,
        *(feature.source_column for feature in view.features),
    ]
    missing = [name for name in dict.fromkeys(wanted) if name not in names]
    if missing:
        described = ", ".join(map(repr, missing))
        guess = did_you_mean(missing[0], names)
        raise FeatureStoreError(
            f"The source of the feature view {view.name!r} has no column {described}"
            f"{f' ({guess})' if guess else ''}.",
            hint=f"It has: {', '.join(sorted(names)[:30])}.",
        )


def _time(column: pa.Field) -> str:
    """Return a time of the history in microseconds, rounded up: nothing may be seen before it was."""
    name = f"h.{identifier(column.name)}"
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return f"make_timestamp((epoch_ns({name}) + 999) // 1000)::timestamptz"
    return f"{name}::timestamptz"
