"""Fill the database with the world of cards: `python3 -m localdev.seed`.

A second run sees the mark that the first one left and does nothing; a world of another version replaces all
rows in one transaction. The last day of the world is yesterday unless `--until` says another one, so that
features are fresh when they are served. Needs psycopg, and NumPy where there is something to load.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from localdev import database
from localdev.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localdev.world import Column, Table

VERSION = "1"
DIGEST = "d7dd7df933e920ffb1307ad0d5a26cac3705cfd0c936ca58bc4b6ba816771369"
_ROWS = 8_192


@dataclass(frozen=True)
class Seeded:
    """What the database holds."""

    until: date
    rows: int
    """Rows that this run loaded: none where they were there."""

    seconds: float


def seed(values: Mapping[str, str], until: date | None = None) -> Seeded:
    """Make schemas, tables and grants, and load the world unless it is there.

    Parameters
    ----------
    values : mapping
        `POSTGRES_HOST` and the like.
    until : date, optional
        The day at whose first moment the world ends, in UTC. Where left out: today, or the day of the world
        that is there.

    Raises
    ------
    Failure
        When the day has not come, or this machine makes another world than the one this version describes.
    """
    began = monotonic()
    with database.connect(values) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('localdev.seed'))")
        found = _mark(connection)
        if found and (until is None or until == found):
            return Seeded(found, 0, monotonic() - began)
        database.prepare(connection, values)
        today = datetime.now(UTC).date()
        if (until := until or today) > today:
            raise Failure(f"the world cannot end on {until}", "What is not known yet is in no table.")
        rows = _load(connection, until)
    with database.connect(values) as connection:
        connection.autocommit = True
        connection.execute("ANALYZE public.transactions, public.seed")
    return Seeded(until, rows, monotonic() - began)


def _mark(connection: Any) -> date | None:
    """Return the last day of the world that is there, if it is this version's."""
    there = connection.execute("SELECT to_regclass('public.seed')").fetchone()[0]
    row = there and connection.execute("SELECT version, digest, until FROM public.seed").fetchone()
    return row[2] if row and row[:2] == (VERSION, DIGEST) else None


def _load(connection: Any, until: date) -> int:
    from localdev import world

    tables = world.generate()
    if (made := world.digest(tables)) != DIGEST:
        raise Failure(f"the seed data came out as {made}, not as {DIGEST}", "Nothing was loaded.")
    names = ", ".join(table.name for table in tables)
    connection.execute(f"TRUNCATE public.seed, {names}")
    for table in tables:
        columns = ", ".join(column.name for column in table.columns)
        with connection.cursor().copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for lines in _lines(table, until):
                copy.write(lines)
        connection.execute(f"ANALYZE {table.name}")
    connection.execute(
        "INSERT INTO public.seed (version, digest, until) VALUES (%s, %s, %s)", (VERSION, DIGEST, until)
    )
    return sum(len(table) for table in tables)


def _lines(table: Table, until: date) -> Iterator[bytes]:
    """Yield the rows as COPY reads them, some thousand at a time."""
    cells = [_cells(column, until) for column in table.columns]
    for first in range(0, len(table), _ROWS):
        rows = zip(*(column[first : first + _ROWS] for column in cells), strict=True)
        yield ("\n".join(map("\t".join, rows)) + "\n").encode()


def _cells(column: Column, until: date) -> Sequence[str]:
    """Return the values of a column as text."""
    read = [r"\N", *_texts(column, until)]
    if column.valid is None:
        return read[1:]
    return [read[place] for place in (column.valid * range(1, len(read))).tolist()]


def _texts(column: Column, until: date) -> list[str]:
    import numpy as np

    from localdev import world

    if column.kind == "timestamptz":
        began = np.datetime64(until) - np.timedelta64(world.END, "s")
        moments = began + column.values.astype("timedelta64[s]")
        return [f"{moment}Z" for moment in np.datetime_as_string(moments).tolist()]
    numbers = column.values.tolist()
    if column.words:
        return [column.words[number] for number in numbers]
    if column.kind == "boolean":
        return ["t" if number else "f" for number in numbers]
    if not column.decimals:
        return [str(number) for number in numbers]
    unit, width = 10**column.decimals, column.decimals
    return [f"{number // unit}.{number % unit:0{width}}" for number in numbers]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python3 -m localdev.seed", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--home", type=Path, help="directory of .env; mmp-local-dev where left out")
    parser.add_argument(
        "--until", type=date.fromisoformat, metavar="DATE", help="the world ends as this day begins"
    )
    given = parser.parse_args(words)
    return database.command(lambda: _told(seed(database.values(given.home), given.until)))


def _told(done: Seeded) -> str:
    what = f"{done.rows:,} rows loaded" if done.rows else "the rows are there"
    return f"seed: {what}, until {done.until} ({done.seconds:.1f} s)"


if __name__ == "__main__":
    sys.exit(main())
