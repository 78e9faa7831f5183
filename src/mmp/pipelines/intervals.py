"""How sure a model is, as `evaluation.intervals` asks for it: bounds of a number, or a set of classes.

What is promised is measured on the rows of the calibration split, which no other step of a run looks at, by
the model that is deployed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mmp.errors import EmptySplitError
from mmp.modeling.answer import answer
from mmp.modeling.conformal import PredictionSets
from mmp.modeling.decision import decide
from mmp.modeling.engines.interval import IntervalModel

if TYPE_CHECKING:
    from mmp.catalog.models import ModelRow
    from mmp.modeling.fit import Fitted
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target
    from mmp.pipelines.prepare import Prepared
    from mmp.settings.evaluation import Intervals
    from mmp.settings.recipe import Recipe

PROMISED = "promised_coverage"
"""What the run calls the share that the recipe asks for, beside what was measured."""

_PART = "calibration"


def with_bounds(fitted: Fitted, prepared: Prepared, recipe: Recipe, row: ModelRow) -> Fitted:
    """Give a model of numbers bounds that keep what the recipe promises.

    Parameters
    ----------
    fitted : Fitted
        The model that predicts.
    prepared : Prepared
        The rows, ``calibration`` among them.
    recipe : Recipe
        Its ``evaluation.intervals``; the model is returned as it is where there are none.
    row : ModelRow
        The estimator.

    Raises
    ------
    DataError
        Where there are too few calibration rows for the promise, or the model has no answer for one.
    """
    asked = recipe.evaluation.intervals
    if asked is None or recipe.task_choice != "regression":
        return fitted
    model, (matrix, target) = fitted.model, _rows(prepared)
    answer(model, matrix, where=f"{_PART} split")
    bounded = IntervalModel(
        0,
        model.n_features,
        model.threads,
        model.best_iteration,
        model.history,
        inside=model,
        method=asked.method,
        coverage=asked.coverage,
    )
    return replace(fitted, model=bounded.measured(matrix.values, target.values))


def sets(fitted: Fitted, prepared: Prepared, recipe: Recipe, threshold: float) -> PredictionSets | None:
    """Return which classes a row may be of, so that the recipe's promise is kept.

    Parameters
    ----------
    fitted : Fitted
        The model as it is deployed, its probabilities calibrated where they are.
    prepared, recipe
        As of `with_bounds`.
    threshold : float
        Lowest probability that decides for the positive class.

    Raises
    ------
    DataError
        As of `with_bounds`.
    """
    asked = recipe.evaluation.intervals
    if asked is None or recipe.task_choice != "classification":
        return None
    matrix, target = _rows(prepared)
    probabilities = answer(fitted.model, matrix, where=f"{_PART} split")
    decided = decide(probabilities, threshold=threshold, positive=target.positive)
    return PredictionSets.fitted(probabilities, decided, target.values, asked.coverage)


def _rows(prepared: Prepared) -> tuple[Matrix, Target]:
    if _PART not in prepared.matrices:
        raise EmptySplitError(
            "Intervals are measured on the calibration split, and it has no rows.",
            hint="Write `calibration: 0.1` under data.split, and less for train.",
        )
    return prepared.matrices[_PART], prepared.targets[_PART]


def in_words(asked: Intervals, recipe: Recipe, prepared: Prepared) -> str:
    """Say what is promised, and by how many rows."""
    what = "prediction sets" if recipe.task_choice == "classification" else f"{asked.method} intervals"
    n_rows = len(prepared.targets[_PART])
    return f"{what} that hold {asked.coverage:.4g} of new rows, by {n_rows:,} calibration rows"
