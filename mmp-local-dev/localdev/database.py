"""The database of the infra, as its owner: where it is, and the files of sql/."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localdev import dotenv, program, python
from localdev.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER = Path(__file__).resolve().parents[1]
SQL = FOLDER / "sql"


def values(home: Path | None = None) -> dict[str, str]:
    """Return the values of a home's .env; what the environment says goes before.

    Parameters
    ----------
    home : Path, optional
        Directory of the .env; the folder mmp-local-dev itself where left out.
    """
    file = (home or FOLDER) / ".env"
    return {**(dotenv.read(file) if file.is_file() else {}), **os.environ}


def connect(values: Mapping[str, str], *, reader: bool = False) -> Any:
    """Connect to the database, as its owner or as the reader.

    Parameters
    ----------
    values : mapping
        `POSTGRES_HOST` and the like.
    reader : bool, optional
        Whether as the role that may only read.

    Raises
    ------
    Failure
        When a value is missing, the server is not there, or does not let us in.
    """
    import psycopg

    role = "POSTGRES_READER" if reader else "POSTGRES"
    host, port = required(values, "POSTGRES_HOST"), required(values, "POSTGRES_PORT")
    try:
        return psycopg.connect(
            host=host,
            port=port,
            dbname=required(values, "POSTGRES_DB"),
            user=required(values, f"{role}_USER"),
            password=required(values, f"{role}_PASSWORD"),
            sslmode=values.get("POSTGRES_SSLMODE", "prefer"),
            connect_timeout=10,
            application_name="mmp-local-dev",
            options="-c timezone=UTC -c client_min_messages=warning",
        )
    except psycopg.OperationalError as error:
        cause = " ".join(str(error).split()).rpartition("failed: ")[2].partition(" Is the server")[0]
        raise Failure(f"PostgreSQL at {host}:{port} does not let us in: {cause}") from error


def required(values: Mapping[str, str], name: str) -> str:
    """Return a value that must be there.

    Raises
    ------
    Failure
        When it is not.
    """
    if value := values.get(name):
        return value
    raise Failure(
        f"{name} is set neither in the environment nor in .env", f"{program.command('up')} writes it."
    )


def prepare(connection: Any, values: Mapping[str, str]) -> None:
    """Run the files of sql/ in order, within the transaction that is open; again without harm."""
    for setting, name in (
        ("reader", "POSTGRES_READER_USER"),
        ("reader_password", "POSTGRES_READER_PASSWORD"),
    ):
        said = values.get(name, "")
        connection.execute("SELECT set_config(%s, %s, true)", (f"localdev.{setting}", said))
    for file in sorted(SQL.glob("*.sql")):
        connection.execute(file.read_text(encoding="utf-8"))


def command(work: Callable[[], str]) -> int:
    """Do something, print what it says, and return the exit code; a failure is one sentence.

    Parameters
    ----------
    work : callable
        Returns the line to print.
    """
    python.enter()
    import psycopg

    try:
        print(work())
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except psycopg.OperationalError as error:
        print(f"PostgreSQL went away: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0
