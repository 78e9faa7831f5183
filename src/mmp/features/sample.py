"""Entities drawn from the histories of feature views, the same for the same number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmp.data.buffers import one_chunk, wrap
from mmp.data.sql.workspace import identifier
from mmp.errors import FeatureStoreError
from mmp.features.sources import history, workspace

if TYPE_CHECKING:
    from mmp.features.references import FeatureSet, View
    from mmp.features.statements import History
    from mmp.settings.stores import FeatureStore


def sample(
    features: FeatureSet, store: FeatureStore, n_rows: int, *, seed: int = 0, query_timeout: float = 300.0
) -> pa.Table:
    """Return rows of keys, each of an entity that a history has.

    Keys of different entities stand beside each other as they come, so a row need not have been seen
    as it is; of a composite entity all keys are of one row of its history.

    Parameters
    ----------
    features : FeatureSet
        The views.
    store : FeatureStore
        The config's feature store.
    n_rows : int
        How many; fewer entities are repeated.
    seed : int
        Another number draws others.
    query_timeout : float
        Seconds that a statement may take.

    Raises
    ------
    FeatureStoreError
        The offline store does not answer, fails on the way, or has no entity.
    """
    columns: dict[str, pa.Array] = {}
    with workspace(store, timeout_s=query_timeout, application="mmp features parity") as space:
        # composite entities first: a key that stands alone elsewhere is taken from them
        views = sorted(features.views, key=lambda view: -len(view.keys))
        wanted = [view for number, view in enumerate(views) if _is_new(view, views[:number])]
        pasts = [history(space, view, number, (), store) for number, view in enumerate(wanted)]
        space.seal()
        for past in pasts:
            found = space.read(_statement(past, n_rows, seed))
            if not len(found):
                raise FeatureStoreError(
                    f"The feature view '{past.view.name}' has no row in its source.",
                    hint="Fill it, or name other views with --view.",
                )
            names = [key.column for key in past.view.keys if key.column not in columns]
            for name in names:
                columns[name] = _repeated(found.column(name), n_rows)
    return pa.Table.from_arrays(list(columns.values()), list(columns))


def _is_new(view: View, before: list[View]) -> bool:
    known = {key.column for other in before for key in other.keys}
    return not known.issuperset(key.column for key in view.keys)


def _statement(past: History, n_rows: int, seed: int) -> str:
    named = ", ".join(
        f"{source} AS {identifier(key.column)}"
        for source, key in zip(past.source_keys, past.view.keys, strict=True)
    )
    text = " || ',' || ".join(f"CAST({identifier(key.column)} AS text)" for key in past.view.keys)
    filled = " AND ".join(f"{source} IS NOT NULL" for source in past.source_keys)
    return (
        f"SELECT * FROM (SELECT DISTINCT {named} FROM {past.source} AS h WHERE {filled}) AS entities "  # noqa: S608 - names are quoted
        f"ORDER BY md5('{int(seed)},' || {text}), {text} LIMIT {int(n_rows)}"
    )


def _repeated(column: pa.ChunkedArray, n_rows: int) -> pa.Array:
    found = one_chunk(column)
    return found.take(wrap(np.arange(n_rows) % len(found), pa.int64()))
