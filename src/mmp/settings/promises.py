"""What a recipe wants to know of how sure its model is, as far as its settings tell that it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmp.catalog import quantiles
from mmp.catalog.metrics import UnknownMetricError, parse
from mmp.catalog.models import find
from mmp.catalog.tasks import TASKS
from mmp.lookup import did_you_mean
from mmp.settings.availability import is_old_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.settings.document import Path_
    from mmp.settings.recipe import Recipe

    Wrong = Iterator[tuple[Path_, str]]

_METHOD = ("evaluation", "intervals", "method")
_VALUES = ("model", "hyperparameters", "values")


def wrong_promises(recipe: Recipe) -> Wrong:
    """Yield the place of what cannot be, and a clause that says why and what to write."""
    if TASKS[recipe.task_choice].available and not is_old_model(recipe.model.class_path):
        yield from _intervals(recipe)
        yield from _quantiles(recipe)
        yield from _metrics(recipe)


def _intervals(recipe: Recipe) -> Wrong:
    asked = recipe.evaluation.intervals
    if asked is None:
        return
    if recipe.task_choice == "classification":
        if asked.method != "split":
            yield _METHOD, f"{asked.method} is for numbers; for prediction sets write split"
    elif asked.method != "split" and recipe.model.class_path is None:
        yield _METHOD, f"{asked.method} fits one estimator a second time, and this is several; write split"
    elif asked.method == "quantile":
        row = find(str(recipe.model.class_path), recipe.model.hyperparameters.values)
        if row is None or quantiles.base_for(row) is None:
            name = row.name if row else recipe.model.class_path
            yield _METHOD, f"{name} has no loss for quantiles; write normalised or split"


def _quantiles(recipe: Recipe) -> Wrong:
    for number, member in enumerate(recipe.model.ensemble.members if recipe.model.ensemble else ()):
        if member.class_path in quantiles.SPELLINGS:
            place = ("model", "ensemble", "members", number, "class_path")
            yield place, "a member predicts one number; choose another, or take this one by itself"
    if recipe.model.class_path not in quantiles.SPELLINGS:
        return
    values = recipe.model.hyperparameters.values
    named = quantiles.base_of(values)
    base = find(named)
    if base is None or base.quantile is None:
        question = did_you_mean(named, quantiles.BASES) or f"choose {', '.join(quantiles.BASES)}"
        yield (*_VALUES, quantiles.BASE), f"{named} has no loss for quantiles ({question})"
    if quantiles.LEVELS in values and (wrong := quantiles.wrong_levels(values[quantiles.LEVELS])):
        yield (*_VALUES, quantiles.LEVELS), wrong


def _metrics(recipe: Recipe) -> Wrong:
    asked: list[tuple[Path_, str]] = [
        (("evaluation", "metrics", index), name) for index, name in enumerate(recipe.evaluation.metrics or ())
    ]
    asked += [(("evaluation", "gates", name), name) for name in recipe.evaluation.gates]
    tuned = recipe.model.hyperparameters.optimization_metric
    key: Path_ = ("model", "hyperparameters", "optimization_metric")
    for place, name in [*asked, *([(key, tuned)] if tuned else [])]:
        if wrong := _wrong_metric(recipe, name, is_tuned=place == key):
            yield place, f"{name}: {wrong}"


def _wrong_metric(recipe: Recipe, name: str, *, is_tuned: bool) -> str:
    try:
        metric = parse(name, recipe.task_choice)
    except UnknownMetricError:  # which is told elsewhere
        return ""
    if metric.needs != "promises":
        return ""
    if metric.by_quantile:
        return _wrong_quantile(recipe, metric.name, metric.variant, is_tuned=is_tuned)
    if len(_levels(recipe)) > 1:
        return ""
    if recipe.evaluation.intervals is None:
        return "the model has no intervals; write `intervals: {coverage: 0.9}` under evaluation"
    return "intervals are measured once the model is tuned; tune on another metric" if is_tuned else ""


def _wrong_quantile(recipe: Recipe, name: str, variant: str, *, is_tuned: bool) -> str:
    if recipe.model.class_path not in quantiles.SPELLINGS:
        return f"the model has no quantiles; write `class_path: {quantiles.CLASS_PATH}` under model"
    if name.startswith("coverage_rate"):
        if is_tuned:
            return f"a share of rows is no aim; tune on {quantiles.LOSS}"
        if not variant:
            return "it is of one quantile, such as coverage_rate_p90"
    known = [quantiles.percent(level) for level in _levels(recipe)]
    return "" if not variant or variant in known else f"the model has the quantiles {', '.join(known)}"


def _levels(recipe: Recipe) -> tuple[float, ...]:
    return quantiles.levels_of(recipe.model.class_path, recipe.model.hyperparameters.values)
