"""Features as of now: one read of the online store a batch, in Feast's format and without Feast.

The store is asked once for all rows and views. What it answers is checked against each view's time
to live here, since the store does not: a value past it counts as not found, as in the offline join.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mmp.errors import FeatureStoreError, SettingsError
from mmp.features.online.wire import KEY_TYPES, EntityKeys, read_value
from mmp.settings.stores import RedisStore, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from mmp.features.online.wire import Value
    from mmp.features.references import FeatureSet, View
    from mmp.settings.stores import OnlineStore

__all__ = ["Found", "OnlineReader", "Store"]

Cells = tuple[float | None, "list[bytes | None]"]
"""What a store has of one entity and view: seconds of its event timestamp, and the stored features."""


class Store(Protocol):
    """Where the values are."""

    def read(self, entities: Sequence[Sequence[bytes]]) -> list[dict[bytes, list[Cells]]]:
        """Read entities.

        Parameters
        ----------
        entities : sequence of sequence of bytes
            Distinct entity keys, for each `Group` that the store was opened with.

        Returns
        -------
        list of dict
            For each group, by entity key: what there is for each of the group's views.
        """
        ...

    async def read_soon(self, entities: Sequence[Sequence[bytes]]) -> list[dict[bytes, list[Cells]]]:
        """Read as `read` does, and let the event loop go on meanwhile."""
        ...

    def ping(self) -> None:
        """Ask whether the store answers."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """Views that are found by the same columns of a row: one key, one read.

    Parameters
    ----------
    columns : tuple of str
        Those columns.
    keys : EntityKeys
        Writes the entity's key.
    views : tuple of View
        What is taken.
    """

    columns: tuple[str, ...]
    keys: EntityKeys
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What the store had for some rows.

    Parameters
    ----------
    values : dict of str to list
        By feature, one value a row; None where it is missing.
    found : dict of str to list of bool
        By view, whether the row's entity is there and its values still hold.
    event_times : dict of str to list of float or None
        By view, seconds since the epoch at which the values came to hold; None for an unknown entity.
    """

    values: dict[str, list[Value | None]] = field(default_factory=dict)
    found: dict[str, list[bool]] = field(default_factory=dict)
    event_times: dict[str, list[float | None]] = field(default_factory=dict)


class OnlineReader:
    """Reads the features of a model; open it once and keep it.

    Parameters
    ----------
    features : FeatureSet
        What the model takes.
    store : Store
        Where from.
    groups : sequence of Group
        The views by their keys, as the store was opened with them.
    """

    def __init__(self, features: FeatureSet, store: Store, groups: Sequence[Group]) -> None:
        self.features = features
        self._store, self._groups = store, groups

    @classmethod
    def open(cls, features: FeatureSet, store: OnlineStore | None, *, timeout_s: float) -> OnlineReader:
        """Resolve everything that a read needs; nothing is asked of the store yet.

        Parameters
        ----------
        features : FeatureSet
            What the model takes.
        store : OnlineStore
            The config's ``feature_store.feast_config.online_store``.
        timeout_s : float
            Time budget of a read, connecting included.

        Raises
        ------
        SettingsError
            The config names no online store, or one that mmp cannot read.
        """
        groups = _groups(features)
        if isinstance(store, RedisStore):
            from mmp.features.online.redis import RedisReader

            return cls(features, RedisReader(features, groups, store, timeout_s=timeout_s), groups)
        if isinstance(store, SqliteStore):
            from mmp.features.online.sqlite import SqliteReader

            return cls(features, SqliteReader(features, groups, store, timeout_s=timeout_s), groups)
        what = "names no online store" if store is None else f"has an online store of type {store.type}"
        raise SettingsError(
            f"The model takes features from {features.project}, and the config {what}.",
            hint="Write feature_store.feast_config.online_store with type redis or sqlite.",
        )

    def read(self, keys: Mapping[str, Sequence[Value | None]], *, now: float | None = None) -> Found:
        """Read the features of some rows, in one round trip.

        Parameters
        ----------
        keys : mapping of str to sequence
            By column, the join keys of the rows, of the kinds that the references say.
        now : float, optional
            Seconds since the epoch that values must not have outlived.

        Raises
        ------
        FeatureStoreError
            The store does not answer in time, or not as agreed.
        """
        rows, asked = self._asked(keys)
        return self._found(rows, self._store.read(asked) if any(asked) else [], now)

    async def read_soon(
        self, keys: Mapping[str, Sequence[Value | None]], *, now: float | None = None
    ) -> Found:
        """Read as `read` does, and let the event loop go on meanwhile."""
        rows, asked = self._asked(keys)
        return self._found(rows, await self._store.read_soon(asked) if any(asked) else [], now)

    def _asked(
        self, keys: Mapping[str, Sequence[Value | None]]
    ) -> tuple[list[list[bytes | None]], list[list[bytes]]]:
        """Return for each group the entity of each row, and the distinct ones."""
        rows = [_entities(group, keys) for group in self._groups]
        return rows, [list(dict.fromkeys(entity for entity in entities if entity)) for entities in rows]

    def _found(
        self,
        rows: Sequence[Sequence[bytes | None]],
        answers: Sequence[Mapping[bytes, list[Cells]]],
        now: float | None,
    ) -> Found:
        now = time.time() if now is None else now
        result = Found()
        for group, entities, answer in zip(self._groups, rows, answers or [{} for _ in rows], strict=True):
            for position, view in enumerate(group.views):
                read = {key: _read(cells[position], view, now) for key, cells in answer.items()}
                _spread(view, entities, read, result)
        return result

    def ping(self) -> None:
        """Ask whether the store answers.

        Raises
        ------
        FeatureStoreError
            It does not.
        """
        self._store.ping()

    def close(self) -> None:
        """Let go of connections."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _groups(features: FeatureSet) -> tuple[Group, ...]:
    if features.key_version != 3:
        raise SettingsError(
            f"The feature store writes entity keys of version {features.key_version}.",
            hint="Set entity_key_serialization_version to 3, and materialize again.",
        )
    by_keys: dict[tuple[object, ...], list[View]] = {}
    for view in features.views:
        for key in view.keys:
            if key.value_type not in KEY_TYPES:
                raise FeatureStoreError(
                    f"The join key '{key.name}' of {view.name} is {key.value_type}, which no key can be.",
                    hint="Give the entity a value type of STRING, INT32 or INT64.",
                )
        by_keys.setdefault(view.keys, []).append(view)
    return tuple(
        Group(tuple(key.column for key in views[0].keys), EntityKeys(views[0].keys), tuple(views))
        for views in by_keys.values()
    )


def _entities(group: Group, keys: Mapping[str, Sequence[Value | None]]) -> list[bytes | None]:
    rows = zip(*(keys[column] for column in group.columns), strict=True)
    return [None if None in row else group.keys.of(row) for row in rows]


def _read(cells: Cells, view: View, now: float) -> tuple[float | None, bool, list[Value | None]]:
    at, stored = cells
    holds = at is not None and (view.ttl_s is None or at + view.ttl_s >= now)
    return at, holds, [read_value(content) for content in stored] if holds else [None] * len(stored)


def _spread(
    view: View,
    entities: Sequence[bytes | None],
    read: Mapping[bytes, tuple[float | None, bool, list[Value | None]]],
    result: Found,
) -> None:
    """Put what was read of distinct entities beside the rows that asked."""
    nothing: tuple[float | None, bool, list[Value | None]] = (None, False, [None] * len(view.features))
    rows = [nothing if entity is None else read.get(entity, nothing) for entity in entities]
    result.event_times[view.name] = [row[0] for row in rows]
    result.found[view.name] = [row[1] for row in rows]
    for position, feature in enumerate(view.features):
        result.values[feature.name] = [row[2][position] for row in rows]
