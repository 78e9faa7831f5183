"""Cross-validation as a part of a run: a fit a fold, its metrics, and what each row was told unseen."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmp.catalog.tasks import TASKS
from mmp.errors import DataError, Finding
from mmp.evaluation.evaluate import evaluate, requests
from mmp.modeling.answer import answer
from mmp.modeling.decision import class_names, decide, numbers
from mmp.pipelines.decide import Unseen, of_folds
from mmp.pipelines.fitting import fit, uncertainty
from mmp.pipelines.prepare import prepare
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.target import Target
    from mmp.modeling.uncertainty import Uncertainty
    from mmp.pipelines.prepare import Parts
    from mmp.pipelines.rows import Rows
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

    Output = npt.NDArray[np.float64]

CV = "cv"
"""What metrics of all folds together begin with."""

_FOLDERS = {CV: "folds"}  # others are called as their metrics are
PREDICTIONS = "predictions.parquet"
"""Where the run keeps what each row was told by the model that had not seen it."""


@dataclass(frozen=True)
class CrossValidated:
    """What the folds came to.

    Parameters
    ----------
    recipe : Recipe
        For the final fit, which has no rows to stop early by: it goes on for as long as the folds did.
    metrics : mapping of str to float
        ``<name>_mean`` and its standard error ``<name>_se``.
    findings : tuple of Finding
        Metrics without a value on a fold.
    summary : str
        In a few words.
    unseen : Unseen
        The rows, and what they were told.
    """

    recipe: Recipe
    metrics: Mapping[str, float]
    findings: tuple[Finding, ...]
    summary: str
    unseen: Unseen


def cross_validate(
    active: ActiveRun,
    rows: Rows,
    divisions: Sequence[Parts],
    recipe: Recipe,
    row: ModelRow,
    tell: Callable[[str], None],
) -> CrossValidated:
    """Fit a fresh pipeline and a fresh estimator on each fold, and judge it by the rows it has not seen.

    Parameters
    ----------
    active : ActiveRun
        Where metrics go, step by step, and the predictions as a table.
    rows : Rows
        All rows, the table among them.
    divisions : sequence of mapping of str to ndarray
        Positions of ``train`` and ``validation`` of each fold.
    recipe : Recipe
        What to fit.
    row : ModelRow
        The estimator.
    tell : callable
        Is told in words how far it is.

    Raises
    ------
    MmpError
        As of one fit; a metric that has no value on any fold.
    """
    outputs, stopped = told(rows, divisions, recipe, row, tell)
    return replace(judge(active, rows, divisions, outputs, recipe), recipe=for_good(recipe, row, stopped))


def told(
    rows: Rows,
    divisions: Sequence[Parts],
    recipe: Recipe,
    row: ModelRow,
    tell: Callable[[str], None] | None = None,
) -> tuple[list[Output], list[int]]:
    """Return what a fresh fit on each fold says of the rows new to it, and its rounds if it stopped early."""
    outputs: list[Output] = []
    stopped: list[int] = []
    for number, parts in enumerate(divisions, start=1):
        if tell:
            tell(f"{number} of {len(divisions)}")
        prepared = prepare(rows, parts, recipe, row)
        fitted = fit(prepared, recipe, row)
        outputs.append(answer(fitted.model, prepared.matrices["validation"], where=f"fold {number}"))
        if fitted.model.best_iteration is not None:
            stopped.append(fitted.model.best_iteration + 1)
    return outputs, stopped


def judge(
    active: ActiveRun,
    rows: Rows,
    divisions: Sequence[Parts],
    outputs: Sequence[Output],
    recipe: Recipe,
    *,
    name: str = CV,
    found: Sequence[Finding] = (),
) -> CrossValidated:
    """Judge what models said of the rows of each fold that they had not seen.

    Parameters
    ----------
    active, rows, divisions, recipe
        As of `cross_validate`.
    outputs : sequence of ndarray
        Of the ``validation`` rows of each fold.
    name : str
        What the metrics begin with.
    found : sequence of Finding
        What is known already.

    Raises
    ------
    MmpError
        A metric that has no value on any fold.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    undefined: dict[str, str] = {}
    targets = [rows.target.take(parts["validation"]) for parts in divisions]
    thresholds = of_folds(recipe, targets, outputs)
    for number, (target, output) in enumerate(zip(targets, outputs, strict=True)):
        values = _evaluate(target, output, recipe, number, thresholds[number], undefined)
        active.log_metrics(values, prefix=f"{name}_", step=number)
        for metric, value in values.items():
            scores[metric].append(value)
    findings = (*found, *_findings(undefined, scores, recipe))
    _log_predictions(active, rows, divisions, outputs, thresholds, _FOLDERS.get(name, name), recipe)
    metrics = {
        f"{metric}_{what}": value
        for metric, values in scores.items()
        for what, value in _summary(values).items()
    }
    judged = np.concatenate([parts["validation"] for parts in divisions])
    return CrossValidated(
        recipe,
        metrics,
        findings,
        _in_words(recipe, metrics, len(divisions)),
        Unseen(rows.target.take(judged), np.concatenate(outputs)),
    )


def _evaluate(
    target: Target,
    output: Output,
    recipe: Recipe,
    number: int,
    threshold: float,
    undefined: dict[str, str],
) -> dict[str, float]:
    """Return the metrics of a fold, and note why those that are missing have no value on it."""
    found: dict[str, float] = {}
    asked, task = recipe.evaluation.metrics, recipe.task_choice
    says = uncertainty(recipe)
    for metric in requests(asked, task=task, classes=target.classes, beside=(*target.metrics, *says.metrics)):
        if metric.needs == "promises" and metric.name not in says.metrics:
            continue  # it is of the model of all folds
        try:
            found |= evaluate(
                target,
                output,
                task=task,
                metrics=[metric.name],
                threshold=threshold,
                split=f"fold {number + 1} validation",
                uncertainty=says,
            )
        except DataError as error:
            undefined[metric.name] = error.message
    return found


def _findings(
    undefined: Mapping[str, str], scores: Mapping[str, Sequence[float]], recipe: Recipe
) -> tuple[Finding, ...]:
    nowhere = [name for name in undefined if name not in scores]
    if nowhere and recipe.evaluation.metrics:
        raise DataError(
            undefined[nowhere[0]], hint=f"Leave {nowhere[0]} out of evaluation.metrics, or divide otherwise."
        )
    return tuple(
        Finding("metrics", "warn", f"{message} Its mean is over the other folds.")
        for message in dict.fromkeys(undefined.values())
    )


def _summary(values: Sequence[float]) -> dict[str, float]:
    """Return the mean over the folds and, of two or more, its standard error.

    Examples
    --------
    >>> _summary([1.0, 3.0])
    {'mean': 2.0, 'se': 1.0}
    """
    spread = {"se": stdev(values) / math.sqrt(len(values))} if len(values) > 1 else {}
    return {"mean": fmean(values), **spread}


def for_good(recipe: Recipe, row: ModelRow, stopped: Sequence[int]) -> Recipe:
    """Return the recipe of a fit without validation rows: it goes on for as long as those that stopped."""
    if recipe.model.early_stopping is None or not stopped or row.rounds_param is None:
        return recipe
    settings = recipe.model.hyperparameters
    kept = {n: v for n, v in settings.values.items() if row.aliases.get(n, n) != row.rounds_param}
    values = {**kept, row.rounds_param: round(fmean(stopped))}
    plain = settings.model_copy(update={"values": values})
    return recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"hyperparameters": plain, "early_stopping": None})}
    )


def _in_words(recipe: Recipe, metrics: Mapping[str, float], n_folds: int) -> str:
    primary = TASKS[recipe.task_choice].primary_metric
    if f"{primary}_mean" not in metrics:
        return f"{n_folds} folds"
    error = metrics.get(f"{primary}_se")
    spread = "" if error is None else f" ± {error:.4f}"
    return f"{n_folds} folds, {primary} {metrics[f'{primary}_mean']:.4f}{spread}"


def _log_predictions(
    active: ActiveRun,
    rows: Rows,
    divisions: Sequence[Parts],
    outputs: Sequence[Output],
    thresholds: Sequence[float],
    where: str,
    recipe: Recipe,
) -> None:
    judged = np.concatenate([parts["validation"] for parts in divisions])
    sizes = [len(parts["validation"]) for parts in divisions]
    order = np.argsort(judged, kind="stable")
    target, output = rows.target.take(judged[order]), np.concatenate(outputs)[order]
    columns = {
        "row": pa.array(judged[order]),
        "fold": pa.array(np.repeat(np.arange(len(divisions)), sizes)[order]),
        **{spec.name: rows.table.arrow.column(spec.name).take(judged[order]) for spec in rows.entities},
        **_answers(target, output, np.repeat(thresholds, sizes)[order], uncertainty(recipe)),
    }
    with scratch("folds") as folder:
        pq.write_table(pa.table(columns), folder / PREDICTIONS)
        active.add_folder(folder, where)


def _answers(target: Target, output: Output, thresholds: Output, says: Uncertainty) -> dict[str, Any]:
    """Return the truth and the answers, under the names that predictions have."""
    if not target.classes:
        beside = {name: pa.array(values) for name, values in says.beside(output).items()}
        return {"target": pa.array(target.values), "prediction": pa.array(numbers(output)), **beside}
    labels = pa.array(list(target.classes))
    decided = decide(output, threshold=thresholds, positive=target.positive)
    binary = {} if target.positive is None else {"probability": pa.array(output[:, target.positive])}
    names = class_names(target.classes)
    return {
        "target": labels.take(pa.array(target.values)),
        "prediction": labels.take(pa.array(decided)),
        **binary,
        **{f"probability_{name}": pa.array(output[:, code]) for code, name in enumerate(names)},
    }
