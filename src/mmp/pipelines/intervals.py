"""How sure a model is, as `evaluation.intervals` asks for it: bounds of a number, or a set of classes.

What is promised is measured on the rows of the calibration split, which no other step of a run looks at, by
the model that is deployed. So it holds whatever a second model is like; how wide bounds are where depends on
that. For sizes of errors it learns from rows that were not known to the model that made the errors, out of
fold: a model hardly errs on the rows that it was fitted on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.catalog import quantiles
from mmp.errors import DataError, EmptySplitError, SettingsError
from mmp.modeling.answer import answer
from mmp.modeling.conformal import PredictionSets
from mmp.modeling.decision import decide, numbers
from mmp.modeling.engines.interval import IntervalModel
from mmp.pipelines.fitting import fit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.engines.base import Model
    from mmp.modeling.fit import Fitted
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target
    from mmp.pipelines.prepare import Prepared
    from mmp.settings.evaluation import Intervals
    from mmp.settings.recipe import Recipe

PROMISED = "promised_coverage"
"""What the run calls the share that the recipe asks for, beside what was measured."""

_PART = "calibration"
_FOLDS = 5
_LEAST = 0.3  # of the mean error: fewer, and noise of the second model makes bounds wider than it saves
_DIGITS = 12
_METRICS = frozenset({"eval_metric", "metric", "custom_metric", "scoring"})
_OF_TARGET = _METRICS | {
    "base_score", "loss", "loss_function", "monotone_constraints", "monotonic_cst", "objective",
}  # fmt: skip


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
        Where there are too few calibration rows for the promise, the model has no answer for one, or errs
        everywhere alike.
    SettingsError
        Where the estimator has no loss for the quantiles that are asked for.
    """
    asked = recipe.evaluation.intervals
    if asked is None or recipe.task_choice != "regression":
        return fitted
    model, (matrix, target) = fitted.model, _rows(prepared)
    answer(model, matrix, where=f"{_PART} split")
    second, least = None, 0.0
    if asked.method == "normalised":
        second, least = _sizes(model, prepared, recipe, row)
    elif asked.method == "quantile":
        second = _quantiles(prepared, recipe, row, asked.coverage)
    bounded = IntervalModel(
        0,
        model.n_features,
        model.threads,
        model.best_iteration,
        model.history,
        inside=model,
        method=asked.method,
        coverage=asked.coverage,
        second=second,
        least=least,
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


def _sizes(model: Model, prepared: Prepared, recipe: Recipe, row: ModelRow) -> tuple[Model, float]:
    """Fit the same estimator to how far it is off; return it, and the smallest size to believe.

    References
    ----------
    Lei, J. et al. (2018). Distribution-free predictive inference for regression. JASA 113, section 5.2.
    """
    errors = _errors(prepared, recipe, row)
    if not np.ptp(errors.values):
        raise DataError(
            f"The model is off by {errors.values[0]:g} on every row: there is nothing to normalise by.",
            hint="Write `method: split` under evaluation.intervals.",
        )
    targets = {"train": errors}
    if "validation" in prepared.matrices:
        said = numbers(model.predict(prepared.matrices["validation"].values))
        targets["validation"] = _apart(prepared.targets["validation"], said)
    base = row.base or row
    matrices = {name: prepared.matrices[name] for name in targets}
    rows = replace(prepared, matrices=matrices, targets=targets)
    second = fit(rows, _plain(recipe, base, _OF_TARGET), base).model
    return second, _LEAST * float(errors.values.mean())


def _errors(prepared: Prepared, recipe: Recipe, row: ModelRow) -> Target:
    """Return how far off models are that do not know the row, for each training row."""
    matrix, target = prepared.matrices["train"], prepared.targets["train"]
    fold = np.random.default_rng(recipe.evaluation.random_state).permutation(len(target)) % _FOLDS
    said = np.empty(len(target))
    for number in range(_FOLDS):
        known = np.flatnonzero(fold != number)
        matrices = {**prepared.matrices, "train": replace(matrix, values=matrix.values[known])}
        targets = {**prepared.targets, "train": target.take(known)}
        one = fit(replace(prepared, matrices=matrices, targets=targets), recipe, row).model
        said[fold == number] = numbers(one.predict(matrix.values[fold == number]))
    return _apart(target, said)


def _apart(target: Target, said: npt.NDArray[np.float64]) -> Target:
    return replace(target, values=np.abs(target.values - said))


def _quantiles(prepared: Prepared, recipe: Recipe, row: ModelRow, coverage: float) -> Model:
    """Fit the same estimator, or for a linear one its sibling, to the quantiles between which so many lie."""
    base = quantiles.base_for(row)
    if base is None:
        raise SettingsError(
            f"{row.name} has no loss for quantiles, which 'method: quantile' needs.",
            hint="Write `method: normalised` or `split` under evaluation.intervals, or choose one of "
            f"{', '.join(quantiles.BASES)}.",
        )
    tail = round((1 - coverage) / 2, _DIGITS)
    own = {quantiles.BASE: base.class_path, quantiles.LEVELS: [tail, round(1 - tail, _DIGITS)]}
    ours = quantiles.row_of(base)
    same = base is (row.base or row)
    return fit(prepared, _plain(recipe, ours, ours.reserved | _METRICS, own, keep=same), ours).model


def _plain(
    recipe: Recipe,
    row: ModelRow,
    without: Collection[str],
    own: Mapping[str, Any] | None = None,
    *,
    keep: bool = True,
) -> Recipe:
    """Return a recipe for another target or loss: without hyperparameters that are of the first one."""
    settings, stopping = recipe.model.hyperparameters, recipe.model.early_stopping
    written = settings.values if keep else {}
    taken = {*without, *quantiles.DEFAULTS}
    values = {name: value for name, value in written.items() if row.aliases.get(name, name) not in taken}
    model = {
        "hyperparameters": settings.model_copy(update={"values": {**values, **(own or {})}}),
        "early_stopping": stopping and stopping.model_copy(update={"metric": None}),
    }
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=model)})


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
