"""The online store in an SQLite file: for one machine, and for a first look."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.errors import FeatureStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmp.features.online import Cells, Group
    from mmp.features.references import FeatureSet, View
    from mmp.settings.stores import SqliteStore

_KEYS_A_QUERY = 500
_HINT = "Fill it: mmp features apply, then mmp features materialize."


class SqliteReader:
    """Reads the tables that Feast keeps, one a view and a row for each feature of an entity.

    Parameters
    ----------
    features : FeatureSet
        Its project is a part of the tables' names.
    groups : sequence of Group
        The views by their keys.
    store : SqliteStore
        The file.
    timeout_s : float
        How long to wait for a writer.
    """

    def __init__(
        self, features: FeatureSet, groups: Sequence[Group], store: SqliteStore, *, timeout_s: float
    ) -> None:
        self._project, self._groups = features.project, groups
        self._path, self._timeout_s = Path(store.path), timeout_s
        self._local = threading.local()

    def read(self, entities: Sequence[Sequence[bytes]]) -> list[dict[bytes, list[Cells]]]:
        """Read the rows of entities; see `mmp.features.online.Store`."""
        try:
            connection = self._connection()
            return [
                _by_key(keys, group.views, [self._view(connection, view, keys) for view in group.views])
                for group, keys in zip(self._groups, entities, strict=True)
            ]
        except sqlite3.Error as error:
            raise FeatureStoreError(
                f"The online store {self._path} cannot be read: {error}.", hint=_HINT
            ) from error

    async def read_soon(self, entities: Sequence[Sequence[bytes]]) -> list[dict[bytes, list[Cells]]]:
        """Read the rows of entities on a thread."""
        return await asyncio.to_thread(self.read, entities)

    def ping(self) -> None:
        """Open the file."""
        self.read([[] for _ in self._groups])

    def close(self) -> None:
        """Close this thread's connection."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = self._local.__dict__.get("connection")
        if found is None:
            if not self._path.is_file():
                raise FeatureStoreError(f"There is no online store {self._path}.", hint=_HINT)
            found = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=self._timeout_s
            )
            self._local.connection = found
        return found

    def _view(self, connection: sqlite3.Connection, view: View, keys: Sequence[bytes]) -> dict[bytes, Cells]:
        table = f"{self._project}_{view.name}".replace('"', '""')
        order = {feature.source_name: position for position, feature in enumerate(view.features)}
        found: dict[bytes, Cells] = {}
        for some in _slices(keys):
            marks = ",".join("?" * len(some))
            query = (
                f'SELECT entity_key, feature_name, value, event_ts FROM "{table}" '  # noqa: S608 - a quoted name
                f"WHERE entity_key IN ({marks})"
            )
            for key, name, value, at in connection.execute(query, some):
                _, values = found.setdefault(key, (_seconds(at), [None] * len(order)))
                if name in order:
                    values[order[name]] = value
        return found


def _by_key(
    keys: Sequence[bytes], views: Sequence[View], found: Sequence[dict[bytes, Cells]]
) -> dict[bytes, list[Cells]]:
    nothing: list[Cells] = [(None, [None] * len(view.features)) for view in views]
    return {key: [there.get(key, none) for there, none in zip(found, nothing, strict=True)] for key in keys}


def _slices(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _KEYS_A_QUERY] for start in range(0, len(keys), _KEYS_A_QUERY))


def _seconds(stored: float | str) -> float:
    """Return the seconds since the epoch of a stored moment.

    Feast writes a moment in UTC as if it were one of this machine's zone, and reads it back so; once it
    wrote text.
    """
    moment = _read_back(stored)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _read_back(stored: float | str) -> datetime:
    if isinstance(stored, str):
        return datetime.fromisoformat(stored)
    return datetime.fromtimestamp(stored)  # noqa: DTZ006 - Feast's own way
