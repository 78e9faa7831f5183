"""The database of the infra, as its owner: where it is, and the files of sql/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    stated = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    own = {name.strip(): value.strip().strip("\"'") for name, _, value in stated}
    return {**own, **os.environ}


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
    SystemExit
        When a value is missing.
    psycopg.OperationalError
        When the server is not there, or does not let us in.
    """
    import psycopg

    role = "POSTGRES_READER" if reader else "POSTGRES"
    return psycopg.connect(
        host=required(values, "POSTGRES_HOST"),
        port=int(required(values, "POSTGRES_PORT")),
        dbname=required(values, "POSTGRES_DB"),
        user=required(values, f"{role}_USER"),
        password=required(values, f"{role}_PASSWORD"),
        connect_timeout=10,
        application_name="mmp-local-dev",
        options="-c timezone=UTC -c client_min_messages=warning",
    )


def required(values: Mapping[str, str], name: str) -> str:
    """Return a value that must be there.

    Raises
    ------
    SystemExit
        When it is not.
    """
    if value := values.get(name):
        return value
    raise SystemExit(f"{name} is not set: neither in the environment nor in .env (bootstrap.py up writes it)")


def prepare(connection: Any, values: Mapping[str, str]) -> None:
    """Run the files of sql/ in order, within the transaction that is open; again without harm."""
    for setting, name in (
        ("reader", "POSTGRES_READER_USER"),
        ("reader_password", "POSTGRES_READER_PASSWORD"),
    ):
        said = values.get(name, "")
        connection.execute("SELECT set_config(%s, %s, true)", (f"localdev.{setting}", said))
    for file in sorted(SQL.glob("*.sql")):
        connection.execute(cast("LiteralString", file.read_text(encoding="utf-8")))
