"""Metrics of the user's own: a function by its dotted path, greater being better.

The function takes two arrays by position, the truth and what the model says, and returns a number:

======================= =================================================================
a parameter called      gets
======================= =================================================================
anything (the first)    the labels as the data writes them, or the numbers
anything (the second)   the labels that the model decides for, or the numbers it predicts
``probability``, also   for two classes the probability of the positive one, shape (n,);
``y_score``,            for more, one column a class in sorted order, shape (n, k)
``y_prob``, ``y_proba``
======================= =================================================================
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp import lookup
from mmp.errors import SettingsError, TrainingError
from mmp.evaluation.metrics import Decisions, UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmp.evaluation.metrics import Errors
    from mmp.modeling.target import Target

PROBABILITY = frozenset({"probability", "probabilities", "y_score", "y_prob", "y_proba"})
# what numbers of another shape or kind than expected lead to
_FAILURES = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)


def function(path: str) -> Callable[..., Any]:
    """Return the function of a dotted path.

    Raises
    ------
    UnknownNameError, MissingExtraError
        Nothing stands there.
    SettingsError
        What stands there cannot be called with two arrays.
    """
    found = lookup.resolve(path)
    if not callable(found) or len(_positional(found)) < 2:
        raise SettingsError(
            f"The metric {path} is no function of two arrays.",
            hint="Write it as `def profit(truth, prediction)`, or `(truth, probability)`.",
        )
    return found


def value(path: str, rows: Decisions | Errors, target: Target) -> float:
    """Compute a metric of the user's own.

    Parameters
    ----------
    path : str
        Dotted path of the function.
    rows : Decisions or Errors
        Truth and output.
    target : Target
        Names the classes.

    Raises
    ------
    TrainingError
        The function fails, or returns no number.
    UndefinedMetricError
        What it returns is not finite.
    """
    call = function(path)
    try:
        result = float(call(*_arguments(call, rows, target)))
    except _FAILURES as error:
        raise TrainingError(
            f"The metric {path} failed: {type(error).__name__}: {error}.",
            hint="It gets the truth and the prediction as arrays, and returns a number.",
        ) from error
    if not math.isfinite(result):
        raise UndefinedMetricError(f"it returned {result}")
    return result


def _arguments(call: Callable[..., Any], rows: Decisions | Errors, target: Target) -> tuple[Any, Any]:
    if not isinstance(rows, Decisions):
        return rows.truth, rows.predicted
    labels = np.array(target.classes)
    if _positional(call)[1] not in PROBABILITY:
        return labels[rows.truth], labels[rows.decided]
    of_positive = None if target.positive is None else rows.probabilities[:, target.positive]
    return labels[rows.truth], rows.probabilities if of_positive is None else of_positive


def _positional(call: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, one in inspect.signature(call).parameters.items() if one.kind in kinds]
