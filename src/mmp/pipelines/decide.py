"""The threshold as a part of a run: chosen on rows that neither fit nor judge the model, and kept with it.

Those are the validation rows or, with cross-validation, what each row of the folds was told by a model that
had not seen it; calibrated, where the model is. Where trials and folds are compared, no row has a say in its
own threshold: rows of a fold are decided at that of the other folds, rows that judge a trial at that of
every other one of them.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.catalog.metrics import parse
from mmp.errors import DataError, Finding, SettingsError
from mmp.evaluation.evaluate import requests
from mmp.evaluation.thresholds import TradeOff, crossed
from mmp.lookup import is_installed
from mmp.modeling.answer import answer
from mmp.modeling.decision import ARGMAX_THRESHOLD
from mmp.modeling.engines.calibrated import CalibratedModel
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Sized
    from pathlib import Path

    import numpy.typing as npt

    from mmp.catalog.metrics import Metric
    from mmp.modeling.engines.base import Model
    from mmp.modeling.target import Target
    from mmp.pipelines.prepare import Prepared
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

    Floats = npt.NDArray[np.float64]

FOLDER = "decision"
"""Where the run keeps how its threshold was chosen."""

_PART = "validation"
_MOST_LINES = 400  # of the table of thresholds
_SHOWN = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Unseen:
    """Rows of folds, and what each was told by a model that had not seen it."""

    target: Target
    output: Floats


@dataclass(frozen=True)
class Decision:
    """A threshold, and where it comes from.

    Parameters
    ----------
    threshold : float
        Lowest probability that decides for the positive class.
    facts : mapping
        How it was chosen, for those who ask the model; empty where the recipe writes it.
    trade_off : TradeOff or None
        What the rows that it was chosen on come to at others.
    metric : Metric or None
        What it is the best by.
    """

    threshold: float = ARGMAX_THRESHOLD
    facts: Mapping[str, Any] = field(default_factory=dict)
    trade_off: TradeOff | None = None
    metric: Metric | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A warning where it decides all rows alike."""
        share = self.facts["selected"] / self.facts["n_rows"] if self.facts else 0.5
        if 0 < share < 1:
            return ()
        message = f"The threshold makes {'every' if share else 'no'} {self.facts['rows']} row positive."
        return (Finding("threshold", "warn", message),)

    @property
    def summary(self) -> str:
        """The decision in a few words."""
        facts = self.facts
        aim = f"{facts['optimise']} {facts['value']:.4f}" if self.metric else f"at most {facts['top_k']:g}"
        return (
            f"positive from {self.threshold:.4g} on, {facts['selected']:,} of {facts['n_rows']:,} "
            f"{facts['rows']} rows, {aim}"
        )


def with_costs(target: Target, recipe: Recipe, name: str) -> Target:
    """Return the target with what wrong decisions cost, where the recipe says it.

    Raises
    ------
    SettingsError
        Where a threshold is asked for and the target has not two classes.
    """
    searched = recipe.evaluation.searched
    if target.classes and target.positive is None and (searched or written(recipe) != ARGMAX_THRESHOLD):
        raise SettingsError(
            f"evaluation.threshold decides between two classes, and '{name}' has {target.n_classes}.",
            hint="Leave it out: the most probable class is predicted.",
        )
    if searched is None or searched.costs is None:
        return target
    return replace(target, costs=costs_of(searched.costs.model_dump(), target.positive))


def costs_of(costs: Mapping[str, float], positive: int | None) -> tuple[float, ...]:
    """Return what a row costs that is wrongly given each class, from the costs of false positives and others.

    Examples
    --------
    >>> costs_of({"fp": 1, "fn": 10}, 1), costs_of({}, 1)
    ((10, 1), ())
    """
    if not costs:
        return ()
    return (costs["fn"], costs["fp"]) if positive == 1 else (costs["fp"], costs["fn"])


def thresholds(
    recipe: Recipe, target: Target, output: Floats, *, n_judged: int | None = None
) -> float | Floats:
    """Return what decides rows that trials are compared by: a number, or one a row that others chose.

    Parameters
    ----------
    recipe : Recipe
        Its ``evaluation.threshold``.
    target, output
        The rows.
    n_judged : int, optional
        How many rows there are together, where these are of one fold.
    """
    if recipe.evaluation.searched is None:
        return written(recipe)
    n_rows = n_judged or len(target)
    return crossed(lambda known, said: _chosen(recipe, TradeOff.of(known, said), n_rows)[0], target, output)


def of_folds(recipe: Recipe, targets: Sequence[Target], outputs: Sequence[Floats]) -> list[float]:
    """Return the threshold of each fold, chosen on the rows of the others."""
    if recipe.evaluation.searched is None:
        return [written(recipe)] * len(targets)
    n_rows, found = sum(map(len, targets)), []
    for number in range(len(targets)):
        others = [place for place in range(len(targets)) if place != number]
        truth = np.concatenate([targets[place].values for place in others])
        output = np.concatenate([outputs[place] for place in others])
        known = TradeOff.of(replace(targets[number], values=truth), output)
        found.append(_chosen(recipe, known, n_rows)[0])
    return found


def written(recipe: Recipe) -> float:
    """Return the number that a recipe has for its threshold; where it is searched, that of none."""
    threshold = recipe.evaluation.threshold
    return float(threshold) if isinstance(threshold, int | float) else ARGMAX_THRESHOLD


def in_words(
    recipe: Recipe, target: Target, parts: Mapping[str, Sized], divisions: Sequence[Mapping[str, Sized]]
) -> str | None:
    """Return the threshold, or how and on which rows it will be chosen; None without two classes."""
    searched = recipe.evaluation.searched
    if target.positive is None:
        return None
    if searched is None:
        return f"{written(recipe):g}"
    n_rows = sum(len(fold[_PART]) for fold in divisions or [parts])
    where = f"{n_rows:,} {'out-of-fold' if divisions else _PART} rows"
    if searched.top_k is not None:
        return f"at most {searched.top_k:g} of {where}"
    costs = f" (fp {searched.costs.fp:g}, fn {searched.costs.fn:g})" if searched.costs else ""
    return f"by {searched.optimise}{costs} on {where}"


def choose(model: Model, prepared: Prepared, recipe: Recipe, unseen: Unseen | None) -> Decision:
    """Choose the threshold as a recipe says.

    Parameters
    ----------
    model : Model
        As it will predict.
    prepared : Prepared
        The rows, ``validation`` among them where there are no folds.
    recipe : Recipe
        Its ``evaluation.threshold``.
    unseen : Unseen or None
        The rows of folds, where there are some; what they were told is calibrated here.

    Raises
    ------
    DataError
        Where what is to be optimised has no value at any threshold.
    """
    searched = recipe.evaluation.searched
    if searched is None:
        return Decision(written(recipe))
    rows, where = _rows(model, prepared, unseen)
    trade_off = TradeOff.of(rows.target, rows.output)
    threshold, place, metric = _chosen(recipe, trade_off, len(rows.target))
    if place is None:
        raise DataError(
            f"No threshold has a value of {searched.optimise} on the {where} rows.",
            hint="Optimise another metric, or split otherwise.",
        )
    values = {} if metric is None else {"value": float(trade_off.values(metric)[place])}
    facts = {
        **searched.model_dump(exclude_none=True),
        **values,
        "rows": where,
        "n_rows": len(rows.target),
        "selected": int(trade_off.selected[place]),
    }
    return Decision(threshold, facts, trade_off, metric)


def _rows(model: Model, prepared: Prepared, unseen: Unseen | None) -> tuple[Unseen, str]:
    if unseen is not None:
        if isinstance(model, CalibratedModel):
            unseen = replace(unseen, output=model.calibration.many(unseen.output))
        return unseen, "out-of-fold"
    output = answer(model, prepared.matrices[_PART], where=f"{_PART} split")
    return Unseen(prepared.targets[_PART], output), _PART


def _chosen(recipe: Recipe, trade_off: TradeOff, n_judged: int) -> tuple[float, int | None, Metric | None]:
    """Return the threshold, its place, and what it is the best by; 0.5 and no place without a value.

    A number of rows to decide for is one of all that judge, of which those here may be a part.
    """
    searched = recipe.evaluation.searched
    assert searched is not None
    if searched.top_k is not None:
        share = searched.top_k / n_judged if searched.top_k >= 1 else searched.top_k
        # a number that floats miss by their last bit is met
        place = trade_off.within(int(share * len(trade_off.target) + 1e-9))
        return float(trade_off.thresholds[place]), place, None
    (metric,) = requests([str(searched.optimise)], task=recipe.task_choice, classes=trade_off.target.classes)
    best = trade_off.best(metric)
    threshold = ARGMAX_THRESHOLD if best is None else float(trade_off.thresholds[best])
    return threshold, best, metric


# -- what the run keeps --------------------------------------------------------------------------------


def log(active: ActiveRun, decision: Decision, *, with_plots: bool) -> None:
    """Keep how a threshold was chosen: the choice as JSON, what others come to as a table and a picture."""
    trade_off = decision.trade_off
    if trade_off is None:
        return
    active.log_params({"decision.threshold": decision.threshold})
    table = curve(decision)
    with scratch(FOLDER) as folder:
        chosen = {"threshold": decision.threshold, **decision.facts}
        (folder / "decision.json").write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
        with (folder / "thresholds.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
        if with_plots and is_installed("matplotlib"):
            _draw(decision, table, folder)
        active.add_folder(folder, FOLDER)


def curve(decision: Decision) -> dict[str, npt.NDArray[Any]]:
    """Return what thresholds come to, column by column, the highest first: at most 400 of them, by rank."""
    trade_off = decision.trade_off
    assert trade_off is not None
    target, n_all = trade_off.target, len(trade_off.thresholds)
    kept = np.linspace(0, n_all - 1, _MOST_LINES).round().astype(int)
    kept = np.unique(np.append(kept, np.flatnonzero(trade_off.thresholds == decision.threshold)))
    metrics = [parse(name, "classification") for name in (*_SHOWN, *target.metrics)]
    if decision.metric is not None:
        metrics.append(decision.metric)
    return {
        "threshold": trade_off.thresholds[kept],
        "selected": trade_off.selected[kept],
        **{metric.name: trade_off.values(metric)[kept] for metric in metrics},
    }


def _draw(decision: Decision, table: Mapping[str, npt.NDArray[Any]], folder: Path) -> None:
    from mmp.evaluation.plots import canvas, thresholds

    figure = thresholds.trade_off(
        table,
        decision.threshold,
        title=f"Threshold · {decision.facts['rows']}, {decision.facts['n_rows']:,} rows",
    )
    canvas.save(figure, folder / "thresholds.png")
