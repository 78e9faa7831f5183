"""From the truth and a model's output to metrics by name."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp import lookup
from mmp.catalog.metrics import AVERAGES, EVERY_CLASS, METRICS, Metric, UnknownMetricError, parse
from mmp.catalog.tasks import TASKS
from mmp.errors import DataError, EmptySplitError, Finding, TrainingError, UnknownNameError
from mmp.evaluation import own
from mmp.evaluation.metrics import Decisions, Errors, Tally, UndefinedMetricError, macro, weighted
from mmp.modeling.decision import ARGMAX_THRESHOLD, class_names, decide, numbers
from mmp.modeling.uncertainty import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.modeling.target import Target
    from mmp.modeling.uncertainty import Uncertainty

MOST_CLASSES_SHOWN = 20  # with more, the default set has no metrics of each


def evaluate(
    target: Target,
    output: npt.NDArray[np.float64],
    *,
    task: str,
    metrics: Sequence[str] | None = None,
    threshold: float | npt.NDArray[np.float64] = ARGMAX_THRESHOLD,
    split: str = "test",
    findings: list[Finding] | None = None,
    uncertainty: Uncertainty = CERTAIN,
) -> dict[str, float]:
    """Compute metrics of one split.

    Parameters
    ----------
    target : Target
        The truth.
    output : ndarray of shape (n_rows, n_classes), (n_rows,) or (n_rows, n_columns)
        Probabilities, or predicted numbers, which are the first of several columns.
    task : str
        The task, whose metrics these are.
    metrics : sequence of str, optional
        What to compute. Default, and where empty: the task's default set with the averages over
        the classes and, for up to 20 classes, the decisions on each.
    threshold : float or ndarray of shape (n_rows,)
        Lowest probability that decides for the positive class, for two classes; one for all, or a row's own.
    split : str
        The split, for messages.
    findings : list of Finding, optional
        Takes a warning for the metrics of the default set that have no value on these rows.
    uncertainty : Uncertainty
        What the output says beyond the answer; the default set has its metrics.

    Returns
    -------
    dict of str to float
        Finite values by name, in the order asked for.

    Raises
    ------
    UnknownNameError
        A name that is no metric of the task, or that asks for a class that the target has not.
    DataError
        A metric that was asked for by name and has no value on these rows.
    EmptySplitError
        No rows.
    TrainingError
        Output that is not finite, or a metric of the user's own that fails.

    Examples
    --------
    >>> from mmp.modeling.target import Target
    >>> target = Target("regression", np.array([1.0, 2.0, 4.0]), (), None)
    >>> evaluate(target, np.array([1.0, 3.0, 4.0]), task="regression", metrics=["max_error", "r2_score"])
    {'max_error': 1.0, 'r2': 0.7857142857142857}
    """
    _check(output, split)
    values: dict[str, float] = {}
    undefined: dict[str, list[str]] = defaultdict(list)
    rows = rows_of(target, output, threshold=threshold, uncertainty=uncertainty)
    beside = (*uncertainty.metrics, *target.metrics)
    for metric in requests(metrics, task=task, classes=target.classes, beside=beside):
        try:
            values[metric.name] = _value(metric, rows, target)
        except UndefinedMetricError as error:
            undefined[str(error)].append(metric.name)
    messages = [
        f"No {', '.join(names)} on the {split} split: {reason}." for reason, names in undefined.items()
    ]
    if messages and (metrics or findings is None):
        raise DataError(" ".join(messages), hint="Leave these out of evaluation.metrics, or split otherwise.")
    if findings is not None:
        findings += [Finding("metrics", "warn", message) for message in messages]
    return values


def requests(
    names: Sequence[str] | None, *, task: str, classes: Sequence[object], beside: Sequence[str] = ()
) -> tuple[Metric, ...]:
    """Resolve metric names, before anything is fitted where the classes are known by then.

    Parameters
    ----------
    names : sequence of str or None
        Names as in a recipe; the task's default set where there are none.
    task : str
        The task.
    classes : sequence
        The labels, for classification. A class may be asked for by its label or by its name.
    beside : sequence of str
        What to add to the default set.

    Returns
    -------
    tuple of Metric
        Each once, in the order asked for; `Metric.name` is the name to log.

    Raises
    ------
    UnknownNameError
        A name that is no metric of the task, or that asks for a class that the target has not.

    Examples
    --------
    >>> found = requests(["f1", "f1_>50K"], task="classification", classes=["<=50K", ">50K"])
    >>> [metric.name for metric in found]
    ['f1', 'f1_50K_1']
    """
    wanted = names or (*_defaults(task, len(classes)), *beside)
    metrics = [metric for name in wanted for metric in _variants(_parse(name, task), classes)]
    for metric in metrics:
        if metric.needs == "own":
            own.function(metric.formula)
    return tuple({metric.name: metric for metric in metrics}.values())


def by_split(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Join the metrics of several splits under the names they are logged by.

    Examples
    --------
    >>> by_split({"test": {"mae": 2.0}, "train": {"mae": 1.0}})
    {'mae': 2.0, 'train_mae': 1.0}
    """
    return {
        name if split == "test" else f"{split}_{name}": value
        for split, metrics in values.items()
        for name, value in metrics.items()
    }


def _defaults(task: str, n_classes: int) -> Iterator[str]:
    variants = (*AVERAGES, EVERY_CLASS) if n_classes <= MOST_CLASSES_SHOWN else AVERAGES
    for name in TASKS[task].metrics:
        yield name
        if METRICS[name].by_class and METRICS[name].needs == "labels":
            yield from (f"{name}_{variant}" for variant in variants)


def _parse(name: str, task: str) -> Metric:
    try:
        return parse(name, task)
    except UnknownMetricError as error:
        message = f"Metric '{name}' is not known for {task}."
        raise UnknownNameError(message, hint=_hint(name, task, error.known)) from None


def _hint(name: str, task: str, known: tuple[str, ...]) -> str:
    if name in METRICS:
        return f"It is a metric of {', '.join(METRICS[name].tasks)}."
    return lookup.did_you_mean(name, known) or f"Metrics of {task}: {', '.join(known)}."


def _variants(metric: Metric, classes: Sequence[object]) -> Iterator[Metric]:
    if metric.by_quantile or metric.variant in ("", *AVERAGES):
        yield metric
        return
    family, names = metric.name.removesuffix(f"_{metric.variant}"), class_names(classes)
    wanted = names if metric.variant == EVERY_CLASS else (_class_name(metric, names, classes),)
    for name in wanted:
        yield replace(metric, name=f"{family}_{name}", variant=name)


def _class_name(metric: Metric, names: tuple[str, ...], classes: Sequence[object]) -> str:
    spellings = {str(label): name for label, name in zip(classes, names, strict=True)}
    spellings |= {name: name for name in names}
    if metric.variant not in spellings:
        listed, family = ", ".join(map(str, classes)), metric.name.removesuffix(f"_{metric.variant}")
        raise UnknownNameError(
            f"Metric '{metric.name}' asks for class '{metric.variant}', which the target does not have.",
            hint=lookup.did_you_mean(metric.variant, spellings)
            or f"Classes: {listed}; without one it is {family}.",
        )
    return spellings[metric.variant]


def _check(output: npt.NDArray[np.float64], split: str) -> None:
    if not len(output):
        raise EmptySplitError(f"The {split} split has no rows to compute metrics on.")
    broken = output.size - np.count_nonzero(np.isfinite(output))
    if broken:
        raise TrainingError(
            f"The model gave {broken} values on the {split} split that are no finite numbers."
        )


def rows_of(
    target: Target,
    output: npt.NDArray[np.float64],
    *,
    threshold: float | npt.NDArray[np.float64] = ARGMAX_THRESHOLD,
    uncertainty: Uncertainty = CERTAIN,
) -> Decisions | Errors:
    """Return what the formulas of a task take."""
    if target.kind == "regression":
        return Errors(target.values, numbers(output), beside=uncertainty.beside(output))
    decided = decide(output, threshold=threshold, positive=target.positive)
    contained = uncertainty.contained(output, decided)
    return Decisions(target.values, decided, output, target.costs, contained=contained)


def value_of(metric: Metric, rows: Decisions | Tally | Errors, target: Target) -> npt.NDArray[np.float64]:
    """Return the value of a metric of mmp's own, or its values where the rows are resamples.

    Raises
    ------
    UndefinedMetricError
        It has none on these rows. Where it has none but for the classes that occur, it is NaN.
    """
    formula: Any = lookup.resolve(metric.formula)
    with np.errstate(all="ignore"):
        if metric.by_quantile:
            return np.asarray(formula(rows, metric.variant), np.float64)
        if not metric.by_class or isinstance(rows, Errors):
            return np.asarray(formula(rows), np.float64)
        variant = _variant(metric, target)
        if variant == "macro":
            return macro(formula, rows, occurring=metric.needs == "labels")
        if variant == "weighted":
            return weighted(formula, rows)
        return np.asarray(formula(rows, class_names(target.classes).index(variant)), np.float64)


def _value(metric: Metric, rows: Decisions | Errors, target: Target) -> float:
    if metric.needs == "own":
        return own.value(metric.formula, rows, target)
    value = float(value_of(metric, rows, target))
    if metric.by_class and isinstance(rows, Decisions) and math.isnan(value):
        raise UndefinedMetricError(_one_sided(rows, target, _codes(metric, target)))
    if not math.isfinite(value):
        raise UndefinedMetricError("the numbers are too large for it")
    return value


def _variant(metric: Metric, target: Target) -> str:
    """Return the average or the class that a metric is of; without either, the positive class's."""
    return metric.variant or (
        "macro" if target.positive is None else class_names(target.classes)[target.positive]
    )


def _codes(metric: Metric, target: Target) -> Sequence[int]:
    variant = _variant(metric, target)
    return range(target.n_classes) if variant in AVERAGES else [class_names(target.classes).index(variant)]


def _one_sided(rows: Decisions, target: Target, codes: Iterable[int]) -> str:
    absent = [str(target.classes[code]) for code in codes if not rows.actual[code]]
    if absent:
        more = f" and {len(absent) - MOST_CLASSES_SHOWN} more" if len(absent) > MOST_CLASSES_SHOWN else ""
        return f"no row is of class {', '.join(absent[:MOST_CLASSES_SHOWN])}{more}"
    return f"every row is of class {target.classes[rows.actual.argmax()]}"
