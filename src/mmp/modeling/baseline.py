"""What the training data looked like, as a plain value that goes with the model.

Drift is measured against it, so it describes the raw columns, before any step; it holds no row.

A summary of numbers (integers, floats, and timestamps as microseconds)::

    {"kind": "float", "n_rows": 1000, "missing": 0.1,
     "min": 0.0, "max": 9.5, "mean": 2.1, "std": 1.7, "edges": [0.4, …], "shares": [0.1, …]}

A value belongs to the first bin whose edge is not below it; what is above the last edge has
a bin of its own, so there is a bin for every number: ``searchsorted(edges, values)``. A summary of
categories (text, booleans, and classes, whose kind is ``class``)::

    {"kind": "text", "n_rows": 1000, "missing": 0.0, "n_distinct": 812,
     "categories": ["a", …], "shares": [0.3, …], "other": 0.2}

Shares are of the rows that have a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.modeling.columns import Column
from mmp.modeling.decision import ARGMAX_THRESHOLD, class_names, decide, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.data.table import ColumnSpec
    from mmp.modeling.columns import Columns
    from mmp.modeling.target import Target

    Summary = dict[str, Any]

N_BINS = 10
N_CATEGORIES = 50


def baseline(
    columns: Columns,
    specs: Sequence[ColumnSpec],
    target: Target,
    output: npt.NDArray[np.float64],
    *,
    threshold: float = ARGMAX_THRESHOLD,
) -> dict[str, Any]:
    """Describe the training features, the target and what the model predicts.

    Parameters
    ----------
    columns : mapping of str to Column
        The raw training columns; those of `specs` are described.
    specs : sequence of ColumnSpec
        The features.
    target : Target
        The training target.
    output : ndarray of shape (n_rows, n_classes) or (n_rows,)
        What the model gives for rows it was not fitted on.
    threshold : float
        Lowest probability that decides for the positive class.

    Returns
    -------
    dict
        JSON-able. ``features`` by column name, ``target``, and ``predictions`` by the column names
        of the table of predictions: ``prediction``, and ``probability`` of the positive class or
        ``probability_<class>`` of every class where there are more than two.
    """
    return {
        "features": {spec.name: describe(columns[spec.name]) for spec in specs},
        "target": _target(target),
        "predictions": _predictions(target, output, threshold),
    }


def describe(column: Column) -> Summary:
    """Describe one column: its range and bins, or its categories.

    Examples
    --------
    >>> summary = describe(Column("integer", np.array([1, 1, 1, 5]), np.array([True, True, True, False])))
    >>> summary["missing"], summary["min"], summary["max"]
    (0.25, 1, 1)
    """
    n_rows = len(column)
    values = column.values if column.valid is None else column.values[column.valid]
    if column.kind == "text":
        summary = _categories(column.vocabulary, values)
    elif column.kind == "boolean":
        summary = _categories((False, True), values)
    else:
        summary = _numbers(values)
    missing = 1 - len(values) / n_rows if n_rows else 0.0
    return {"kind": column.kind, "n_rows": n_rows, "missing": missing, **summary}


def _target(target: Target) -> Summary:
    if target.kind == "regression":
        return describe(Column("float", target.values))
    return _classes(target, target.values)


def _predictions(target: Target, output: npt.NDArray[np.float64], threshold: float) -> dict[str, Summary]:
    if target.kind == "regression":
        return {"prediction": describe(Column("float", numbers(output)))}
    decided = decide(output, threshold=threshold, positive=target.positive)
    if target.positive is not None:
        scores = {"probability": output[:, target.positive]}
    else:
        names = class_names(target.classes)
        scores = {f"probability_{name}": output[:, code] for code, name in enumerate(names)}
    described = {name: describe(Column("float", values)) for name, values in scores.items()}
    return {"prediction": _classes(target, decided), **described}


def _classes(target: Target, codes: npt.NDArray[np.integer]) -> Summary:
    return {"kind": "class", "n_rows": len(codes), "missing": 0.0, **_categories(target.classes, codes)}


def _numbers(values: npt.NDArray[Any]) -> Summary:
    if not len(values):
        return {"min": None, "max": None, "mean": None, "std": None, "edges": [], "shares": []}
    ordered = np.sort(values)
    edges = _edges(ordered)
    counts = np.diff(np.searchsorted(ordered, edges, side="right"), prepend=0, append=len(ordered))
    low, high = ordered[[0, -1]].tolist()
    scale = float(max(abs(low), abs(high))) or 1.0  # squares and sums of large values would overflow
    scaled = ordered / scale
    return {
        "min": low,
        "max": high,
        "mean": float(scaled.mean()) * scale,
        "std": float(scaled.std()) * scale,
        "edges": edges.tolist(),
        "shares": (counts / len(ordered)).tolist(),
    }


def _edges(ordered: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the upper edges of all bins but the last.

    Deciles; a value so frequent that several of them fall on it has a bin to itself, so that
    a move away from it shows on either side, even where it is the lowest or highest.
    """
    deciles = ordered[np.arange(1, N_BINS) * len(ordered) // N_BINS]
    frequent = deciles[1:][deciles[1:] == deciles[:-1]]
    below = np.nextafter(frequent, -np.inf) if ordered.dtype.kind == "f" else frequent - 1
    return np.unique(np.concatenate((deciles, below)))


def _categories(labels: Sequence[object], codes: npt.NDArray[Any]) -> Summary:
    counts = np.bincount(codes, minlength=len(labels))
    top = np.argsort(-counts, kind="stable")[:N_CATEGORIES]
    top = top[counts[top] > 0]
    total = max(len(codes), 1)
    return {
        "n_distinct": int(np.count_nonzero(counts)),
        "categories": [labels[code] for code in top],
        "shares": (counts[top] / total).tolist(),
        "other": float((len(codes) - counts[top].sum()) / total),
    }
