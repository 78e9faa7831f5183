"""A question to PostgreSQL whose answer is a few rows: is it there, and what is it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from mmp.data.sql.postgres import connect, failure
from mmp.data.sql.session import TransientError
from mmp.errors import SourceError

if TYPE_CHECKING:
    from mmp.data.sql.address import Address

APPLICATION = "mmp system-check"


def ask(where: Address, question: str, *values: str, timeout_s: float) -> list[dict[str, Any]]:
    """Return the rows of a query, read-only and bounded in time.

    Parameters
    ----------
    where : Address
        A PostgreSQL database.
    question : str
        One query, with ``$1`` and so on.
    *values : str
        What these stand for.
    timeout_s : float
        Seconds that the database may work.

    Raises
    ------
    SourceError
        It cannot be reached, or refuses.
    """
    import adbc_driver_manager

    try:
        with closing(connect(where, APPLICATION)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}")
            cursor.execute(question, values or None)
            rows: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            return rows
    except TransientError as error:
        raise SourceError(f"{error}.", hint="Start it, or mend host and port in the config.") from error
    except adbc_driver_manager.Error as error:
        raise failure(error, "system-check", where, question) from error
