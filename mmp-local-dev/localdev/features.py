"""Register Feast's definitions and fill its online store: `python3 -m localdev.features`.

Importing Feast takes seconds, so a run looks first whether there is anything to do: it keeps the digest of
what was registered and of the rows that were materialized in `feast.local_dev`, and asks Redis whether they
are still there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import runpy
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from localdev import database
from localdev.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPOSITORY = database.FOLDER / "feast"
TABLES = ("user_transaction_features", "user_demographics", "merchant_features", "category_features")
_STATE = "mmp-local-dev:materialized"
_NEEDED = ("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD")


@dataclass(frozen=True)
class Applied:
    """What a run did."""

    registered: bool
    materialized: bool
    seconds: float


@dataclass(frozen=True)
class _State:
    """What there is to register and to materialize, each as a digest."""

    definitions: str
    rows: str

    @classmethod
    def now(cls, connection: Any) -> _State:
        files = (REPOSITORY / name for name in ("feature_store.yaml", "definitions.py"))
        definitions = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        newest = " UNION ALL ".join(
            f"SELECT '{name}' AS name, count(*), max(event_timestamp), max(created_timestamp)"  # noqa: S608
            f" FROM features.{name}"
            for name in TABLES
        )
        rows = connection.execute(f"{newest} ORDER BY name").fetchall()
        return cls(definitions, hashlib.sha256(f"{definitions} {rows}".encode()).hexdigest())


def apply(values: Mapping[str, str]) -> Applied:
    """Register the definitions, and materialize what is new, where either is needed.

    Parameters
    ----------
    values : mapping
        `POSTGRES_HOST`, `REDIS_HOST` and the like.

    Raises
    ------
    Failure
        When a value is missing.
    """
    began = monotonic()
    with database.connect(values) as connection, redis(values) as online:
        connection.execute("SELECT pg_advisory_lock(hashtext('localdev.features'))")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS feast.local_dev"
            " (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),"
            " definitions text NOT NULL, rows text NOT NULL, verified text)"
        )
        connection.commit()
        state = _State.now(connection)
        known = connection.execute("SELECT definitions, rows FROM feast.local_dev").fetchone() or ("", "")
        # Whoever empties Redis takes the mark with the features.
        is_filled = known[1] == state.rows == online.get(_STATE)
        is_registered = known[0] == state.definitions
        connection.commit()  # Feast's own connections must not wait for this one
        if is_filled and is_registered:
            return Applied(registered=False, materialized=False, seconds=monotonic() - began)
        _run(values, connection, register=not is_registered, materialize=not is_filled)
        online.set(_STATE, state.rows)
        connection.execute(
            "INSERT INTO feast.local_dev (definitions, rows) VALUES (%s, %s) ON CONFLICT (only_row)"
            " DO UPDATE SET definitions = excluded.definitions, rows = excluded.rows",
            (state.definitions, state.rows),
        )
    return Applied(not is_registered, not is_filled, monotonic() - began)


def is_current(values: Mapping[str, str]) -> bool:
    """Return whether the online store was filled with the rows that are there now.

    Parameters
    ----------
    values : mapping
        `POSTGRES_HOST`, `REDIS_HOST` and the like.

    Raises
    ------
    Failure
        When a value is missing.
    """
    with database.connect(values) as connection, redis(values) as online:
        return bool(online.get(_STATE) == _State.now(connection).rows)


def is_verified(values: Mapping[str, str]) -> bool:
    """Return whether Feast's answers were found right since these rows and definitions are there.

    Parameters
    ----------
    values : mapping
        `POSTGRES_HOST` and the like.

    Raises
    ------
    Failure
        When a value is missing, or the server is not there.
    """
    with database.connect(values) as connection:
        if not connection.execute("SELECT to_regclass('feast.local_dev')").fetchone()[0]:
            return False
        found = connection.execute("SELECT verified FROM feast.local_dev").fetchone()
        return bool(found and found[0] == _State.now(connection).rows)


def note_verified(values: Mapping[str, str]) -> None:
    """Remember that Feast's answers were found right.

    Parameters
    ----------
    values : mapping
        `POSTGRES_HOST` and the like.

    Raises
    ------
    Failure
        When a value is missing, or the server is not there.
    """
    with database.connect(values) as connection:
        connection.execute("UPDATE feast.local_dev SET verified = %s", (_State.now(connection).rows,))


def store(values: Mapping[str, str]) -> Any:
    """Return Feast's store over the folder feast/.

    Parameters
    ----------
    values : mapping
        What the `${…}` of feature_store.yaml stand for.
    """
    os.environ.update(environment(values))
    import yaml
    from feast import FeatureStore, RepoConfig

    text = os.path.expandvars((REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8"))
    return FeatureStore(config=RepoConfig(**yaml.safe_load(text), repo_path=REPOSITORY))


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of feature_store.yaml.

    Raises
    ------
    Failure
        When one is missing, or has a character that YAML would read as something else.
    """
    needed = {name: database.required(values, name) for name in (*_NEEDED, "REDIS_HOST", "REDIS_PORT")}
    needed["REDIS_PASSWORD"] = values.get("REDIS_PASSWORD", "")
    for name, forbidden in (("POSTGRES_PASSWORD", "'"), ("REDIS_PASSWORD", "',\"\\")):
        if found := set(forbidden) & set(needed[name]):
            raise Failure(f"{name} has {' '.join(sorted(found))} in it, which Feast's file cannot hold")
    return {**needed, "FEAST_USAGE": "False", "DO_NOT_TRACK": "true"}


@contextmanager
def redis(values: Mapping[str, str]) -> Iterator[Any]:
    """Have a client of the online store.

    Parameters
    ----------
    values : mapping
        `REDIS_HOST` and the like.

    Raises
    ------
    Failure
        When a value is missing, or the server fails.
    """
    from redis import Redis, RedisError

    host, port = database.required(values, "REDIS_HOST"), database.required(values, "REDIS_PORT")
    password = values.get("REDIS_PASSWORD") or None
    try:
        with Redis(
            host=host,
            port=int(port),
            password=password,
            decode_responses=True,
            socket_connect_timeout=5,
            socket_timeout=30,
            retry=None,
        ) as client:
            yield client
    except RedisError as error:
        raise Failure(f"Redis at {host}:{port} does not do what it should: {error}") from error


def _run(values: Mapping[str, str], connection: Any, *, register: bool, materialize: bool) -> None:
    feast = store(values)
    if register:
        _register(feast)
    if materialize:
        _materialize(feast, connection)


def _register(feast: Any) -> None:
    from feast import Entity, FeatureService, FeatureView
    from feast.data_source import DataSource

    kinds = (Entity, FeatureView, FeatureService, DataSource)
    said = runpy.run_path(str(REPOSITORY / "definitions.py")).values()
    ours = [it for it in said if isinstance(it, (Entity, FeatureView, FeatureService))]
    ours += [it.batch_source for it in ours if isinstance(it, FeatureView)]
    there = [
        *feast.list_feature_services(),
        *feast.list_feature_views(),
        *feast.list_data_sources(),
        *(it for it in feast.list_entities() if it.name != "__dummy"),
    ]
    kept = {(kind, it.name) for it in ours for kind in kinds if isinstance(it, kind)}
    gone = [it for it in there for kind in kinds if isinstance(it, kind) and (kind, it.name) not in kept]
    feast.apply(ours, objects_to_delete=gone, partial=False)


def _materialize(feast: Any, connection: Any) -> None:
    # From the first row on, not from Feast's watermark: a late row has an old event time, and Redis may have
    # been emptied. Of each entity the last row is read, so the whole history costs a second.
    oldest = " UNION ALL ".join(f"SELECT min(event_timestamp) FROM features.{name}" for name in TABLES)  # noqa: S608
    first = min((row[0] for row in connection.execute(oldest) if row[0]), default=None)
    connection.commit()
    if first is not None:
        feast.materialize(first, datetime.now(UTC), feature_views=list(TABLES))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python3 -m localdev.features", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--home", type=Path, help="directory of .env; mmp-local-dev where left out")
    given = parser.parse_args(words)
    return database.command(lambda: _told(apply(database.values(given.home))))


def _told(done: Applied) -> str:
    did = [
        word for word, was in (("registered", done.registered), ("materialized", done.materialized)) if was
    ]
    return f"features: {' and '.join(did) or 'nothing to do'} ({done.seconds:.1f} s)"


if __name__ == "__main__":
    sys.exit(main())
