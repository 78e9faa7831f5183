"""Where a database is: its dialect, what its driver takes, and what messages call it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mmp.errors import SettingsError

if TYPE_CHECKING:
    from mmp.data.statement import Dialect

_DIALECTS: dict[str, Dialect] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "duckdb": "duckdb",
}
MEMORY = ":memory:"


@dataclass(frozen=True)
class Address:
    """A database.

    Parameters
    ----------
    dialect : {"postgresql", "sqlite", "duckdb"}
        Whose SQL it speaks.
    uri : str
        What libpq takes, password and all; of the others the path of the file.
    name : str
        What messages call it: no password.
    """

    dialect: Dialect
    uri: str = field(repr=False)
    name: str


def address(uri: str) -> Address:
    """Read a connection URI.

    Parameters
    ----------
    uri : str
        ``postgresql://…`` (``postgres://`` and SQLAlchemy's ``postgresql+driver://`` are the same),
        ``sqlite:///file`` or ``duckdb:///file``; four slashes for an absolute path.

    Raises
    ------
    SettingsError
        It is of another kind, or names no file.

    Examples
    --------
    >>> address("postgresql+psycopg2://app:hunter2@db:5433/shop")
    Address(dialect='postgresql', name='postgresql://db:5433/shop')
    """
    scheme, separator, rest = uri.partition("://")
    dialect = _DIALECTS.get(scheme.partition("+")[0].lower())
    if dialect is None or not separator:
        kind = f"{scheme}://" if separator else "It"
        raise SettingsError(
            f"data_source.config.connection_uri: {kind} is no database that mmp reads.",
            hint="It reads postgresql://, sqlite:/// and duckdb:///.",
        )
    if dialect == "postgresql":
        return _postgresql(rest)
    path = rest.removeprefix("/")
    if dialect == "duckdb" and path in ("", MEMORY):
        return Address(dialect, MEMORY, "duckdb in memory")
    if not path or path == MEMORY:
        raise SettingsError(
            f"data_source.config.connection_uri: {scheme}:// names no file.",
            hint=f"Write {scheme}:///file.db",
        )
    path = unquote(path.partition("?")[0])
    return Address(dialect, path, f"{dialect}:///{path}")


def _postgresql(rest: str) -> Address:
    uri = f"postgresql://{rest}"
    try:
        parts = urlsplit(uri)
        hosts = parts.netloc.rpartition("@")[2] or "localhost"
        database = unquote(parts.path.removeprefix("/"))
    except ValueError as error:
        raise SettingsError(
            "data_source.config.connection_uri is no URI.",
            hint="Write postgresql://user:password@host:5432/db",
        ) from error
    if ":" not in hosts.rpartition("]")[2]:
        hosts += ":5432"
    return Address("postgresql", uri, f"postgresql://{hosts}/{database}")
