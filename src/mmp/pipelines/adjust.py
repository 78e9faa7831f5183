"""What comes between the fit and the test: calibration, the threshold, bounds and sets, in this order.

The threshold is of calibrated probabilities, and a set of classes has the one that is decided for in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mmp.pipelines import calibrate, decide, intervals

if TYPE_CHECKING:
    from mmp.modeling.conformal import PredictionSets
    from mmp.modeling.fit import Fitted
    from mmp.pipelines.decide import Decision
    from mmp.pipelines.fitting import Ready
    from mmp.pipelines.record import Findings
    from mmp.pipelines.steps import Steps
    from mmp.tracking.run import ActiveRun


@dataclass(frozen=True)
class Adjusted:
    """A model as it will predict.

    Parameters
    ----------
    fitted : Fitted
        The model, with its calibration and its bounds.
    decision : Decision
        Its threshold.
    sets : PredictionSets or None
        Which classes a row may be of.
    """

    fitted: Fitted
    decision: Decision
    sets: PredictionSets | None


def adjust(active: ActiveRun, fitted: Fitted, ready: Ready, steps: Steps, findings: Findings) -> Adjusted:
    """Do with a fitted model what the recipe asks for.

    Parameters
    ----------
    active : ActiveRun
        Where it is logged.
    fitted : Fitted
        The model as it was fitted.
    ready : Ready
        The recipe and the rows.
    steps : Steps
        Are told about each step.
    findings : Findings
        Takes what is worth telling.

    Raises
    ------
    MmpError
        Where there are no rows, or too few of them, for what the recipe asks for.
    """
    if ready.recipe.model.calibration.enabled:
        with steps("calibrate") as note:
            calibrated = calibrate.calibrate(fitted, ready.prepared, ready.recipe)
            findings.add(calibrated.findings)
            note(calibrated.summary)
        fitted, ready = calibrated.fitted, replace(ready, prepared=calibrated.prepared)
    decision = _decide(active, fitted, ready, steps)
    findings.add(decision.findings)
    fitted, sets = _intervals(active, fitted, ready, decision, steps)
    return Adjusted(fitted, decision, sets)


def _decide(active: ActiveRun, fitted: Fitted, ready: Ready, steps: Steps) -> Decision:
    recipe = ready.recipe
    if recipe.evaluation.searched is None:
        return decide.Decision(decide.written(recipe))
    with steps("decide") as note:
        decision = decide.choose(fitted.model, ready.prepared, recipe, ready.unseen)
        decide.log(active, decision, with_plots=recipe.evaluation.plots)
        note(decision.summary)
    return decision


def _intervals(
    active: ActiveRun, fitted: Fitted, ready: Ready, decision: Decision, steps: Steps
) -> tuple[Fitted, PredictionSets | None]:
    recipe, prepared = ready.recipe, ready.prepared
    if recipe.evaluation.intervals is None:
        return fitted, None
    with steps("intervals") as note:
        bounded = intervals.with_bounds(fitted, prepared, recipe, ready.row)
        sets = intervals.sets(fitted, prepared, recipe, decision.threshold)
        active.log_metrics({intervals.PROMISED: recipe.evaluation.intervals.coverage})
        note(intervals.in_words(recipe.evaluation.intervals, recipe, prepared))
    return bounded, sets
