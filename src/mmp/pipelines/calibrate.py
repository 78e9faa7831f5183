"""Calibration as a part of a run: fitted on rows that nothing else looks at, and judged by what it mends.

Those rows are of the calibration split. Where the recipe wants prediction sets too, which are measured on the
same split, each gets every other row of it: what a curve was fitted on promises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mmp.errors import Finding
from mmp.evaluation.evaluate import evaluate, requests
from mmp.modeling import calibration
from mmp.modeling.answer import answer
from mmp.modeling.engines.calibrated import CalibratedModel
from mmp.modeling.uncertainty import Uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sized

    import numpy.typing as npt

    from mmp.modeling.engines.base import Model
    from mmp.modeling.fit import Fitted
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target
    from mmp.pipelines.prepare import Prepared
    from mmp.settings.recipe import Recipe

UNCALIBRATED = "uncalibrated"
"""What metrics of the model before its calibration begin with; they are of the rows that judge it last."""

_PART = "calibration"
_SCARCE = 10  # rows of a class
_FEW = 1000
"""Rows below which isotonic regression fits what is there by chance (Niculescu-Mizil and Caruana, 2005)."""


@dataclass(frozen=True)
class Calibrated:
    """A calibrated model.

    Parameters
    ----------
    fitted : Fitted
        The model, its calibration in it.
    prepared : Prepared
        The rows, those of the calibration split being the ones that the calibration was not fitted on.
    findings : tuple of Finding
        What is worth telling.
    summary : str
        In a few words.
    """

    fitted: Fitted
    prepared: Prepared
    findings: tuple[Finding, ...]
    summary: str


def calibrate(fitted: Fitted, prepared: Prepared, recipe: Recipe) -> Calibrated:
    """Calibrate a classifier on the calibration split.

    Parameters
    ----------
    fitted : Fitted
        The classifier.
    prepared : Prepared
        The rows, ``calibration`` among them.
    recipe : Recipe
        Its ``model.calibration``.

    Raises
    ------
    DataError
        Where the model has no answer for one of them.
    """
    places = np.arange(len(prepared.targets[_PART]))
    ours, others = (places[::2], places[1::2]) if recipe.evaluation.intervals else (places, places[:0])
    matrix, target = _rows(prepared, ours)
    method = recipe.model.calibration.method
    output = answer(fitted.model, matrix, where=f"{_PART} split")
    model = CalibratedModel.of(fitted.model, calibration.fit(method, output, target.values))
    return Calibrated(
        replace(fitted, model=model),
        _without(prepared, others),
        tuple(_findings(method, target)),
        f"{method} on {len(ours):,} {_PART} rows",
    )


@dataclass(frozen=True)
class Before:
    """What a model said of some rows before its calibration; nothing where it has none.

    Parameters
    ----------
    output : ndarray of shape (n_rows, n_classes) or None
        The probabilities.
    metrics : mapping of str to mapping of str to float
        Those of probabilities, as of a part of the split; decisions are of calibrated ones.
    """

    output: npt.NDArray[np.float64] | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def before(model: Model, prepared: Prepared, part: str, recipe: Recipe) -> Before:
    """Return what a model said of a part before its calibration.

    Parameters
    ----------
    model : Model
        Calibrated, or not.
    prepared : Prepared
        The rows.
    part : str
        Which of them.
    recipe : Recipe
        Names the metrics.
    """
    if not isinstance(model, CalibratedModel):
        return Before()
    target, uncertainty = prepared.targets[part], Uncertainty(is_calibrated=True)
    asked, task = recipe.evaluation.metrics, recipe.task_choice
    output = answer(model.inside, prepared.matrices[part], where=f"{part} split")
    metrics = evaluate(
        target,
        output,
        task=task,
        metrics=asked and (*asked, *uncertainty.metrics),
        split=part,
        findings=[],
        uncertainty=uncertainty,
    )
    found = requests(tuple(metrics), task=task, classes=target.classes)
    kept = {metric.name: metrics[metric.name] for metric in found if metric.needs == "scores"}
    return Before(output, {UNCALIBRATED: kept})


def in_words(recipe: Recipe, parts: Mapping[str, Sized]) -> str | None:
    """Return what will be calibrated by how many rows; None where nothing is."""
    asked = recipe.model.calibration
    return f"{asked.method} on {len(parts[_PART]):,} {_PART} rows" if asked.enabled else None


def _rows(prepared: Prepared, places: npt.NDArray[np.intp]) -> tuple[Matrix, Target]:
    matrix = prepared.matrices[_PART]
    return replace(matrix, values=matrix.values[places]), prepared.targets[_PART].take(places)


def _without(prepared: Prepared, places: npt.NDArray[np.intp]) -> Prepared:
    """Keep of the calibration split what was not used."""
    matrices, targets = dict(prepared.matrices), dict(prepared.targets)
    matrices[_PART], targets[_PART] = _rows(prepared, places)
    if not len(places):
        del matrices[_PART], targets[_PART]
    return replace(prepared, matrices=matrices, targets=targets)


def _findings(method: str, target: Target) -> Iterator[Finding]:
    counts = np.bincount(target.values, minlength=target.n_classes).tolist()
    for label, count in zip(target.classes, counts, strict=True):
        if not count:
            message = f"No {_PART} row is of class {label}: its probabilities stay as the model gives them."
            yield Finding("calibration", "warn", message)
        elif count < _SCARCE:
            message = (
                f"Class {label} has {count} of the {len(target):,} {_PART} rows, and is calibrated by these."
            )
            yield Finding("calibration", "warn", message)
    if method == "isotonic" and len(target) < _FEW:
        yield Finding(
            "calibration",
            "warn",
            f"Isotonic calibration has {len(target):,} rows, and fits what is there by chance below {_FEW:,};"
            " `method: sigmoid`, beta or venn_abers needs fewer.",
        )
