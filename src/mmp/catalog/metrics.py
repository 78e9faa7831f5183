"""Every metric by name: its task, its direction, what it is computed from, and where the formula is.

A row with ``by_class`` stands for a family. ``f1`` itself is the value of the positive class
where there are two classes and the macro average where there are more; ``f1_macro`` and
``f1_weighted`` are averages over the classes, ``f1_<class>`` is the value of one class, and
``f1_*`` means every class.

A dotted path is a function of the user's own, whatever the task; greater is better by convention.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

Needs = Literal["labels", "scores", "values", "promises", "own"]

EVERY_CLASS = "*"
AVERAGES = ("macro", "weighted")
_QUANTILE = re.compile(r"p\d{1,2}(\.\d+)?")
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Parameters
    ----------
    name : str
        Name in a recipe and in MLflow (on the test split; the others have a prefix).
    tasks : tuple of str
        The tasks it belongs to.
    greater_is_better : bool
        Its direction.
    needs : {"labels", "scores", "values", "promises", "own"}
        Computed from decided classes, from probabilities, from predicted numbers, or from bounds, quantiles
        and sets, which only some models have; a function of the user's own says by its signature.
    formula : str
        Dotted path of the function that computes it.
    description : str
        One line for lists and references.
    by_class : bool
        Whether there is a value for each class, and so the variants.
    variant : str
        Empty in the table; ``macro``, ``weighted``, ``*`` or the name of a class where one was asked for,
        or a quantile in percent, such as ``p99.5``.
    by_quantile : bool
        Whether there is a value for each quantile of a model that has several.
    """

    name: str
    tasks: tuple[str, ...]
    greater_is_better: bool
    needs: Needs
    formula: str
    description: str
    by_class: bool = False
    variant: str = ""
    by_quantile: bool = False


class UnknownMetricError(LookupError):
    """A name that is no metric of the task.

    Parameters
    ----------
    name, task : str
        What was asked for.
    known : tuple of str
        The names that the task has.
    """

    def __init__(self, name: str, task: str, known: tuple[str, ...]) -> None:
        super().__init__(f"{name!r} is no metric of {task}")
        self.name = name
        self.task = task
        self.known = known


def _classification(
    name: str, needs: Needs, description: str, *, greater: bool = True, by_class: bool = False
) -> Metric:
    formula = f"mmp.evaluation.metrics.{name}"
    return Metric(name, ("classification",), greater, needs, formula, description, by_class)


def _regression(name: str, description: str, *, greater: bool = False) -> Metric:
    formula = f"mmp.evaluation.metrics.{name}"
    return Metric(name, ("regression",), greater, "values", formula, description)


def _promise(
    task: str, name: str, description: str, *, greater: bool = True, by_quantile: bool = False
) -> Metric:
    formula = f"mmp.evaluation.promises.{name}"
    return Metric(name, (task,), greater, "promises", formula, description, by_quantile=by_quantile)


_ROWS = (
    _classification("accuracy", "labels", "share of rows whose class is right"),
    _classification("balanced_accuracy", "labels", "mean recall of the classes that occur"),
    _classification("precision", "labels", "right share of the rows given a class, or 0", by_class=True),
    _classification("recall", "labels", "found share of the rows of a class", by_class=True),
    _classification("f1", "labels", "harmonic mean of precision and recall", by_class=True),
    _classification("roc_auc", "scores", "chance that a row of a class outranks another", by_class=True),
    _classification("average_precision", "scores", "area under precision over recall", by_class=True),
    _classification("log_loss", "scores", "mean surprise at the true class, in nats", greater=False),
    _classification("brier", "scores", "mean squared error of the probabilities", greater=False),
    _classification(
        "brier_reliability", "scores", "part of brier that calibration could take away", greater=False
    ),
    _classification("brier_resolution", "scores", "part of brier that telling the rows apart takes away"),
    _classification("brier_uncertainty", "scores", "brier of the shares of the classes", greater=False),
    _classification(
        "ece",
        "scores",
        "distance of a class's probabilities from how often they come true",
        greater=False,
        by_class=True,
    ),
    _classification(
        "cost",
        "labels",
        "mean cost of a decision, by the costs of evaluation.threshold; 1 a wrong one without",
        greater=False,
    ),
    _classification("mcc", "labels", "Matthews' correlation of true and decided classes"),
    _regression("mae", "mean absolute error"),
    _regression("mse", "mean squared error"),
    _regression("rmse", "root of the mean squared error"),
    _regression("r2", "explained share of the target's variance", greater=True),
    _regression("mape", "mean absolute error as a fraction of the target"),
    _regression("smape", "mean absolute error as a fraction of the mean of target and prediction"),
    _regression("median_ae", "median absolute error"),
    _regression("max_error", "largest absolute error"),
    _promise("classification", "set_coverage", "share of rows whose class is in their prediction set"),
    _promise("classification", "set_size", "mean number of classes in a prediction set", greater=False),
    _promise("regression", "interval_coverage", "share of rows whose truth is between the bounds"),
    _promise("regression", "interval_width", "mean distance of the bounds", greater=False),
    _promise(
        "regression",
        "pinball_loss",
        "mean loss of a quantile, as in pinball_loss_p90, or of all",
        greater=False,
        by_quantile=True,
    ),
    _promise(
        "regression",
        "coverage_rate",
        "share of rows whose truth is at most a quantile, as in coverage_rate_p90",
        by_quantile=True,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}

ALIASES: dict[str, str] = {"r2_score": "r2", "mean_squared_error": "mse"}


def names(task: str) -> tuple[str, ...]:
    """Return the names of a task's metrics, without the variants.

    Examples
    --------
    >>> names("regression")[:3]
    ('mae', 'mse', 'rmse')
    """
    return tuple(metric.name for metric in METRICS.values() if task in metric.tasks)


def parse(name: str, task: str) -> Metric:
    """Find a metric of a task by its name, an alias of it, a variant, or the path of a function.

    The class of a variant is not looked at: which classes there are, only the data says.

    Raises
    ------
    UnknownMetricError
        Where the task has no such metric; it carries the names that the task has.

    Examples
    --------
    >>> parse("r2_score", "regression").name
    'r2'
    >>> parse("f1_weighted", "classification").variant
    'weighted'
    >>> parse("shop.money.profit", "regression").needs
    'own'
    >>> metric = parse("recall_no churn", "classification")
    >>> metric.name, metric.variant, metric.greater_is_better
    ('recall_no churn', 'no churn', True)
    """
    name = ALIASES.get(name, name)
    row = METRICS.get(name) or _family(name) or _own(name, task)
    if row is None or task not in row.tasks:
        raise UnknownMetricError(name, task, names(task))
    return replace(row, name=name, variant=name[len(row.name) + 1 :])


def parse_logged(name: str, *tasks: str) -> Metric:
    """Find a metric by the name that runs log it under, which may begin with what it is of.

    Raises
    ------
    UnknownMetricError
        Where none of the tasks has such a metric; it carries the names that they have.

    Examples
    --------
    >>> parse_logged("validation_rmse", "classification", "regression").greater_is_better
    False
    """
    plain = name.removeprefix("train_").removeprefix("validation_").removeprefix("uncalibrated_")
    known: dict[str, None] = {}
    for task in tasks:
        try:
            return parse(plain, task)
        except UnknownMetricError as error:
            known |= dict.fromkeys(error.known)
    raise UnknownMetricError(plain, " or ".join(tasks), tuple(known))


def _own(name: str, task: str) -> Metric | None:
    if _DOTTED.fullmatch(name) is None:
        return None
    return Metric(name, (task,), greater_is_better=True, needs="own", formula=name, description="your own")


def _family(name: str) -> Metric | None:
    for row in METRICS.values():
        if not name.startswith(f"{row.name}_"):
            continue
        variant = name[len(row.name) + 1 :]
        if (row.by_class and variant) or (row.by_quantile and _QUANTILE.fullmatch(variant)):
            return row
    return None
