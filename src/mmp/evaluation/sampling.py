"""SHAP values of any model by sampling: what it says when columns of a row become those of other rows.

The columns of a few reference rows are exchanged for those of the row to explain, one by one in a
random order and in the reverse of it; what each exchange changes is the column's part. The parts of
a row sum exactly to the difference between its score and the mean score of the reference rows.

References
----------
Mitchell, R. et al. (2022). Sampling permutations for Shapley value estimation. JMLR 23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.modeling.columns import Column, column_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.engines.base import Model

    Floats = npt.NDArray[np.float64]

N_REFERENCES: Final = 16
N_ORDERS: Final = 1  # each forwards and backwards
_SEED: Final = 0
_CELLS: Final = 4_000_000  # of the largest matrix to predict at once


def background(bundle: Bundle, n_rows: int = N_REFERENCES) -> Floats:
    """Draw reference rows, each column by itself, from the distribution of the training columns.

    They show nobody, and are the same whenever and wherever the model is explained.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        As the model takes them.
    """
    rng = np.random.default_rng(_SEED)
    summaries = bundle.baseline["features"]
    columns = {
        spec.name: _drawn(spec.kind, summaries[spec.name], rng, n_rows) for spec in bundle.pipeline.inputs
    }
    columns |= {spec.name: column_of(spec.kind, [None] * n_rows) for spec in bundle.pipeline.keys}
    return np.asarray(bundle.pipeline.matrix(columns).values)


def sampled(
    model: Model, references: Floats, origins: Sequence[tuple[str, ...]]
) -> Callable[[Floats], Floats]:
    """Return a function that samples the parts of features in a model's predictions.

    Parameters
    ----------
    model : Model
        The model.
    references : ndarray of shape (n_references, n_features)
        Rows that columns are exchanged with.
    origins : sequence of tuple of str
        The columns that each feature is made of; features of the same ones are exchanged together,
        and the first of them has the part of all.

    Returns
    -------
    callable
        From rows of shape (n_rows, n_features) to parts of shape (n_rows, n_scores, n_features + 1).
    """
    groups = {of: [i for i, other in enumerate(origins) if other == of] for of in dict.fromkeys(origins)}
    players = list(groups.values())
    rng = np.random.default_rng(_SEED)
    orders = [order for _ in range(N_ORDERS) for order in _both_ways(rng.permutation(len(players)))]
    block = max(1, _CELLS // references.size)

    def explain_rows(values: Floats) -> Floats:
        blocks = range(0, len(values), block)
        return np.concatenate(
            [_parts(model, values[i : i + block], references, players, orders) for i in blocks]
        )

    return explain_rows


def _both_ways(order: npt.NDArray[np.int64]) -> tuple[list[int], list[int]]:
    forwards: list[int] = order.tolist()
    return forwards, forwards[::-1]


def _parts(
    model: Model, values: Floats, references: Floats, players: list[list[int]], orders: list[list[int]]
) -> Floats:
    n_rows, n_features = values.shape

    def mean_scores(mixed: Floats) -> Floats:
        scores = model.scores(mixed)
        return np.asarray(scores.reshape(n_rows, len(references), -1).mean(axis=1))

    base = model.scores(references).mean(axis=0)
    parts = np.zeros((n_rows, len(base), n_features + 1))
    parts[:, :, -1] = base
    for order in orders:
        mixed = np.tile(references, (n_rows, 1))
        before = np.broadcast_to(base, (n_rows, len(base)))
        for player in order:
            features = players[player]
            mixed[:, features] = np.repeat(values[:, features], len(references), axis=0)
            after = mean_scores(mixed)
            parts[:, :, features[0]] += (after - before) / len(orders)
            before = after
    return parts


def _drawn(kind: Kind, summary: Mapping[str, Any], rng: np.random.Generator, n_rows: int) -> Column:
    valid = rng.random(n_rows) >= summary["missing"]
    if "categories" in summary:
        return _drawn_category(kind, summary, rng, valid)
    if summary["min"] is None:
        return Column(kind, np.zeros(n_rows, np.float64 if kind == "float" else np.int64), valid & False)
    # a bin by its share, then a place in it
    ends = np.array([summary["min"], *summary["edges"], summary["max"]], np.float64)
    bins = rng.choice(len(summary["shares"]), n_rows, p=_shares(summary["shares"]))
    place = rng.random(n_rows)
    drawn = ends[bins] * (1 - place) + ends[bins + 1] * place
    if kind == "float":
        return Column(kind, np.where(valid, drawn, np.nan), valid)
    return Column(kind, np.rint(drawn).astype(np.int64), valid)


def _drawn_category(
    kind: Kind, summary: Mapping[str, Any], rng: np.random.Generator, valid: npt.NDArray[np.bool_]
) -> Column:
    categories = summary["categories"]
    if not categories:
        return Column(kind, np.full(len(valid), -1, np.int32), valid & False, ())
    codes = rng.choice(len(categories), len(valid), p=_shares(summary["shares"])).astype(np.int32)
    if kind == "boolean":
        return Column(kind, np.array(categories, np.bool_)[codes], valid)
    return Column(kind, np.where(valid, codes, -1).astype(np.int32), valid, tuple(categories))


def _shares(shares: Sequence[float]) -> Floats:
    weights = np.asarray(shares, np.float64)
    return np.asarray(weights / weights.sum())
