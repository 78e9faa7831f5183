"""From the offline store to the online store: the values that hold now, of the entities that have news.

Feast's registry, key format and writers do it, and its watermarks say how far it went. What is read is ours:
Feast looks at event times only, so a row that came late, or a correction of a known event, would never be
written, and of two rows with equal times a database would choose.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mmp.errors import SettingsError
from mmp.features.registry.definitions import view_of
from mmp.features.registry.opened import opened
from mmp.features.sources import history, workspace
from mmp.features.statements import latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from mmp.features.references import View
    from mmp.settings.stores import FeatureStore

QUERY_TIMEOUT_S = 300.0
_BATCH_ROWS = 10_000
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Materialized:
    """What was written of one view.

    Parameters
    ----------
    view : str
        Its name.
    n_rows : int
        Entities written.
    since, until : datetime
        What became known between these was written; `since` is None where all was.
    seconds : float
        How long it took.
    """

    view: str
    n_rows: int
    since: datetime | None
    until: datetime
    seconds: float


def materialize(
    store: FeatureStore,
    views: Sequence[str] | None = None,
    *,
    until: datetime | None = None,
    is_full: bool = False,
    query_timeout: float = QUERY_TIMEOUT_S,
    on_progress: Callable[[str, int, int, float], None] | None = None,
) -> tuple[Materialized, ...]:
    """Write to the online store what became known since the last time.

    A view that was written stays written: its watermark is set when its last row is, and a run that was
    cut short goes on with the view it was at.

    Parameters
    ----------
    store : FeatureStore
        The config's feature store.
    views : sequence of str, optional
        The views; all that are online where it is left out.
    until : datetime, optional
        The moment as of which values hold; now where it is left out.
    is_full : bool
        Write every entity, whatever was written before: after the online store lost its content.
    query_timeout : float
        Seconds that a statement may take.
    on_progress : callable, optional
        Gets the view, entities written, entities to write, and entities a second.

    Raises
    ------
    UnknownNameError, SettingsError
        As of `resolve`.
    FeatureStoreError
        The registry or a store does not answer, or fails on the way.
    """
    moment = datetime.now(UTC) if until is None else until
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    done = []
    with opened(store) as feast:
        names = views if views is not None else _online_views(feast)
        plain = {name: view_of(feast, name) for name in names}
        for name, view in plain.items():
            began, since = time.monotonic(), None if is_full else _watermark(feast, name)
            rows = _read(view, store, moment, since, query_timeout)
            for n_rows in _write(feast, view, rows):
                if on_progress is not None:
                    on_progress(name, n_rows, len(rows), n_rows / max(time.monotonic() - began, 1e-9))
            if since is None or since < moment:
                feast.registry.apply_materialization(
                    feast.get_feature_view(name), feast.project, since or _BEGINNING, moment
                )
            done.append(Materialized(name, len(rows), since, moment, time.monotonic() - began))
    return tuple(done)


def _online_views(feast: Any) -> list[str]:
    return sorted(view.name for view in feast.list_batch_feature_views() if view.online)


def _watermark(feast: Any, name: str) -> datetime | None:
    until: datetime | None = feast.get_feature_view(name).most_recent_end_time
    return None if until is None else until.replace(tzinfo=UTC) if until.tzinfo is None else until


def _read(
    view: View, store: FeatureStore, until: datetime, since: datetime | None, timeout_s: float
) -> pa.Table:
    with workspace(store, timeout_s=timeout_s, application="mmp features materialize") as space:
        past = history(space, view, 0, (), store)
        space.seal()
        return space.read(latest(past, until, since))


def _write(feast: Any, view: View, rows: pa.Table) -> Iterator[int]:
    """Write batch after batch; yield how many rows are written."""
    from feast.infra.provider import get_provider

    definition = feast.get_feature_view(view.name)
    if not definition.online:
        raise SettingsError(
            f"The feature view {view.name!r} is not online.", hint="Define it with online=True, and apply."
        )
    provider = get_provider(feast.config)
    n_written = 0
    for batch in rows.to_batches(_BATCH_ROWS):
        provider.online_write_batch(feast.config, definition, _protos(view, batch), progress=None)
        n_written += batch.num_rows
        yield n_written


def _protos(view: View, batch: pa.RecordBatch) -> list[Any]:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    keys = _values(batch, [(f"k{n}", key.value_type) for n, key in enumerate(view.keys)])
    features = _values(batch, [(f"f{n}", each.value_type) for n, each in enumerate(view.features)])
    names = [key.name for key in view.keys]
    features_of = [each.source_name for each in view.features]
    return [
        (
            EntityKey(join_keys=names, entity_values=key),
            dict(zip(features_of, values, strict=True)),
            moment,
            created,
        )
        for key, values, moment, created in zip(
            keys, features, batch["moment"].to_pylist(), batch["created"].to_pylist(), strict=True
        )
    ]


def _values(batch: pa.RecordBatch, columns: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
    """Return the rows of some columns as Feast's values; NumPy between would lose long integers."""
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    protos = [
        python_values_to_proto_values(batch[name].to_pylist(), ValueType[value_type])
        for name, value_type in columns
    ]
    return list(zip(*protos, strict=True))
