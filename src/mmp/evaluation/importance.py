"""What a model loses without a column: how much worse it does on rows whose column is shuffled.

References
----------
Fisher, A., Rudin, C. and Dominici, F. (2019). All models are wrong, but many are useful. JMLR 20.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mmp.catalog.metrics import METRICS
from mmp.catalog.tasks import TASKS
from mmp.errors import DataError
from mmp.evaluation.evaluate import evaluate
from mmp.modeling.answer import answer
from mmp.modeling.columns import take

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.modeling.bundle import Bundle
    from mmp.modeling.columns import Columns
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target

MAX_ROWS: Final = 1000
"""The first so many rows of a sample are enough to rank columns."""

BUDGET_S: Final = 10.0
"""Wall seconds after which no further columns are shuffled."""


def importance(
    bundle: Bundle, columns: Columns, target: Target, *, seed: int, budget_s: float = BUDGET_S
) -> dict[str, float]:
    """Shuffle one column after the other, with everything the steps made of it.

    Parameters
    ----------
    bundle : Bundle
        The model.
    columns : mapping of str to Column
        Its inputs, of rows that it was not fitted on.
    target : Target
        Of the same rows.
    seed : int
        Of the shuffling.
    budget_s : float
        Wall seconds after which no further columns are shuffled.

    Returns
    -------
    dict of str to float
        What the task's primary metric loses, by column; empty where the rows give it no value or
        the time does not do for every column.
    """
    first = np.arange(min(len(target), MAX_ROWS))
    matrix, target = bundle.pipeline.matrix(take(columns, first)), target.take(first)
    order = np.random.default_rng(seed).permutation(len(matrix.values))
    metric, until = TASKS[bundle.task].primary_metric, time.monotonic() + budget_s
    losses = {}
    try:
        before = _score(bundle, matrix, target, metric)
        for name in (spec.name for spec in bundle.pipeline.inputs):
            if time.monotonic() > until:
                return {}
            after = _score(bundle, _shuffled(bundle, matrix, name, order), target, metric)
            losses[name] = before - after if METRICS[metric].greater_is_better else after - before
    except DataError:  # one class, or a target that does not vary
        return {}
    return losses


def _shuffled(bundle: Bundle, matrix: Matrix, name: str, order: npt.NDArray[np.int64]) -> Matrix:
    own = [position for position, of in enumerate(bundle.pipeline.origins) if name in of]
    values = matrix.values.copy()
    values[:, own] = matrix.values[order][:, own]
    return replace(matrix, values=values)


def _score(bundle: Bundle, matrix: Matrix, target: Target, metric: str) -> float:
    output = answer(bundle.model, matrix)
    return evaluate(target, output, task=bundle.task, metrics=[metric], threshold=bundle.threshold)[metric]
