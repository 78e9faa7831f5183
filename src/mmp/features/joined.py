"""Rows with their features, and what those get for which a view has nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmp.data.buffers import one_chunk, strings, valid, values, wrap
from mmp.errors import Finding, UnknownEntityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from mmp.features.references import Default, FeatureSet, View


_MANY = 0.05


@dataclass(frozen=True)
class Joined:
    """Rows with their features.

    Parameters
    ----------
    table : pyarrow.Table
        The rows as they came, in their order, and after them one column per feature, of a type of `Table`.
    found : mapping of str to ndarray of bool, shape (n_rows,)
        By view: for which rows it had values that held.
    """

    table: pa.Table
    found: Mapping[str, npt.NDArray[np.bool_]]


def settle(joined: Joined, features: FeatureSet) -> pa.Table:
    """Return the rows as ``on_missing`` wants them where a view has nothing for a row.

    Only such rows are touched: a value that is null in the store is null.

    Parameters
    ----------
    joined : Joined
        Rows, nulls where nothing was found.
    features : FeatureSet
        Says what to do, and knows the defaults.

    Raises
    ------
    UnknownEntityError
        Where that is an error, and there is such a row.
    """
    table = joined.table
    for view, missing in _lacking(joined, features):
        if features.on_missing == "error":
            first = joined.table.slice(int(np.flatnonzero(missing)[0]), 1)
            example = {key.column: first.column(key.column)[0].as_py() for key in view.keys}
            raise unknown_entity(view, example, (int(np.count_nonzero(missing)), len(missing)))
        for name in (feature.name for feature in view.features if feature.name in features.defaults):
            place = table.column_names.index(name)
            filled = _filled(one_chunk(table.column(name)), missing, features.defaults[name])
            table = table.set_column(place, name, filled)
    return table


def unknown_entity(
    view: View, row: Mapping[str, object], shares: tuple[int, int] = (1, 1)
) -> UnknownEntityError:
    """Return the error of rows for which a view has nothing.

    Parameters
    ----------
    view : View
        The view.
    row : mapping
        The keys of one of them.
    shares : tuple of int
        How many there are, of how many rows.
    """
    keys = ", ".join(f"{key.column}={row[key.column]!r}" for key in view.keys)
    rows = f" {shares[0]:,} of {shares[1]:,} rows, such as" if shares[1] > 1 else ""
    return UnknownEntityError(
        f"The feature view '{view.name}' has nothing for{rows} {keys}.",
        hint="Materialize it (mmp features materialize) if it should; data.fetcher.on_missing: null or "
        "default lets such rows pass.",
    )


def findings(joined: Joined, features: FeatureSet) -> tuple[Finding, ...]:
    """Return which views have nothing for some of the rows, and for how many."""
    done = {"null": "their features are missing", "default": "they get the defaults", "error": ""}
    return tuple(
        Finding(
            "features_found",
            "warn" if missing.mean() >= _MANY else "info",
            f"The feature view '{view.name}' has nothing for {100 * missing.mean():.2g}% of the rows "
            f"({np.count_nonzero(missing):,} of {len(missing):,}); {done[features.on_missing]}.",
        )
        for view, missing in _lacking(joined, features)
    )


def with_defaults(joined: Joined, features: FeatureSet, rows: npt.NDArray[np.int64]) -> FeatureSet:
    """Return the features with what rows without any get: of each what is usual among some rows.

    Parameters
    ----------
    joined : Joined
        All rows.
    features : FeatureSet
        What was joined.
    rows : ndarray of int64
        Positions of the training rows.

    Returns
    -------
    FeatureSet
        With the median of numbers and times (of integers the lower of two), the most frequent text or
        truth, the first where several are. A feature that no training row has keeps no default.
    """
    usual: dict[str, Default] = {}
    for view in features.views:
        found = wrap(rows[joined.found[view.name][rows]], pa.int64())
        for feature in view.features:
            column = one_chunk(joined.table.column(feature.name)).take(found).drop_null()
            if len(column):
                usual[feature.name] = _usual(column)
    return replace(features, defaults=usual)


def _lacking(joined: Joined, features: FeatureSet) -> Iterator[tuple[View, npt.NDArray[np.bool_]]]:
    for view in features.views:
        missing = ~joined.found[view.name]
        if missing.any():
            yield view, missing


def _filled(array: pa.Array, rows: npt.NDArray[np.bool_], default: Default) -> pa.Array:
    present = valid(array)
    present = np.ones(len(array), np.bool_) if present is None else present.copy()
    present[rows] = True
    cells = values(array).copy()
    if not pa.types.is_dictionary(array.type):
        cells[rows] = default
        return wrap(cells, array.type, present)
    words = array.dictionary.to_pylist()
    if default not in words:
        words.append(default)
    cells[rows] = words.index(default)
    return pa.DictionaryArray.from_arrays(wrap(cells, pa.int32(), present), strings(words))


def _usual(column: pa.Array) -> Default:
    cells = values(column)
    if pa.types.is_dictionary(column.type):
        counts = np.bincount(cells, minlength=len(column.dictionary))
        words = column.dictionary.to_pylist()
        return str(min(words[code] for code in np.flatnonzero(counts == counts.max())))
    if pa.types.is_boolean(column.type):
        return bool(2 * np.count_nonzero(cells) > len(cells))
    if pa.types.is_floating(column.type):
        return float(np.median(cells))
    return int(np.sort(cells)[(len(cells) - 1) // 2])
