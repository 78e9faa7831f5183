"""The one way to fit an estimator: hyperparameters, weights, threads and early stopping put together."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmp.errors import DataError, Finding, MmpError, SettingsError, TrainingError
from mmp.modeling import engines, hyperparameters, threads
from mmp.modeling.answer import missing_values
from mmp.modeling.engines.base import FitJob, Stopping
from mmp.modeling.target import position_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.engines.base import Model
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target

_MOST_WATCHED = 10_000
_HINT = "Look at the split and at how the table was selected."


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop, as a recipe says it.

    Parameters
    ----------
    rounds : int
        Rounds without a better value on the validation split.
    metric : str or None
        mmp's name of a metric; None for the objective's own.
    """

    rounds: int
    metric: str | None = None


@dataclass(frozen=True)
class FitOptions:
    """How to fit, beside the hyperparameters.

    Parameters
    ----------
    seed : int
        Drives everything random.
    threads : int or "auto"
        Threads of the fit; auto goes by size and cores.
    library_defaults : bool
        Whether the library's own defaults hold instead of the catalog's.
    class_weight : "balanced", mapping of label to number, or None
        Weights of the classes, applied to the training rows.
    early_stopping : EarlyStopping or None
        When to stop early.
    trust : collection of str
        ``package.trust``: types that may be saved beyond those in code.
    allow_pickle : bool
        ``package.allow_pickle``.
    """

    seed: int = 42
    threads: int | Literal["auto"] = "auto"
    library_defaults: bool = False
    class_weight: Mapping[Any, float] | Literal["balanced"] | None = None
    early_stopping: EarlyStopping | None = None
    trust: Collection[str] = ()
    allow_pickle: bool = False


@dataclass(frozen=True)
class Fitted:
    """A fitted model and how it came about.

    Parameters
    ----------
    model : Model
        The model.
    params : mapping
        The full hyperparameters, seed and threads included, under the row's names.
    findings : tuple of Finding
        What had no effect, and what the library warned of.
    """

    model: Model
    params: Mapping[str, Any]
    findings: tuple[Finding, ...] = field(default=())


def fit_model(
    row: ModelRow,
    written: Mapping[str, Any],
    train: Matrix,
    target: Target,
    *,
    validation: tuple[Matrix, Target] | None = None,
    options: FitOptions | None = None,
    on_iteration: Callable[[int, Mapping[str, float]], bool | None] | None = None,
) -> Fitted:
    """Fit an estimator.

    Gradient-boosted trees look at the validation rows after every round, for the history. Where the fit
    does not stop by them, at most 10,000 rows, evenly spaced, are looked at: what that costs stays small.

    Parameters
    ----------
    row : ModelRow
        The estimator, of `mmp.catalog.models.row_for`.
    written : mapping
        Hyperparameters as the recipe writes them.
    train : Matrix
        Training rows.
    target : Target
        Their target.
    validation : tuple of (Matrix, Target), optional
        Rows to watch.
    options : FitOptions, optional
        Everything else.
    on_iteration : callable, optional
        Called with the round, from 0, and its values on the validation rows; the fit ends where it
        returns true.

    Raises
    ------
    SettingsError
        Where a hyperparameter is unknown or refused, or the recipe asks for what the estimator lacks.
    DataError
        Where the training rows are of one class, or their target is one number.
    TrainingError
        Where the library fails otherwise.
    """
    options = options or FitOptions()
    _check_learnable(row, target)
    _check_missing(row, train)
    params, findings = hyperparameters.complete(
        row, written, target=target, library_defaults=options.library_defaults
    )
    _check_objective(row, params)
    _check_rounds(row, params)
    stopping = _stopping(row, params, target, options, has_validation=validation is not None)
    weights = _weights(params, target, options.class_weight)
    seed = _pop_number(row, params, row.seed_param, options.seed)
    n_rows, n_features = train.values.shape
    asked = _pop_number(row, params, row.thread_param, options.threads)
    n_threads = threads.choose(n_rows, n_features, asked)
    job = FitJob(
        row=row,
        params=hyperparameters.by_position(params, train.names),
        train=train,
        target=target,
        validation=_watched(validation) if validation and not stopping else validation,
        stopping=stopping,
        weights=weights,
        seed=seed,
        threads=n_threads,
        on_iteration=on_iteration,
        trust=options.trust,
        allow_pickle=options.allow_pickle,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _fit(job)
    used = {name: value for name, value in ((row.seed_param, seed), (row.thread_param, n_threads)) if name}
    return Fitted(model, {**params, **used}, (*findings, *_kept_rows(row), *_warned(row, caught)))


def _fit(job: FitJob) -> Model:
    try:
        return engines.fit(job)
    except MmpError:
        raise
    except engines.engine(job.row.fitted_by).errors() as error:
        raise _translated(error, job) from error


def _check_learnable(row: ModelRow, target: Target) -> None:
    if row.task != target.kind:
        raise SettingsError(
            f"{row.name} is for {row.task}, and the task is {target.kind}.",
            hint="Change task_choice or model.class_path.",
        )
    if not len(target):
        raise DataError("There are no training rows.", hint=_HINT)
    first = target.values[0]
    if (target.values == first).all():
        value = repr(target.classes[first]) if target.classes else f"{first:g}"
        raise DataError(
            f"The target is {value} in every training row: there is nothing to learn.", hint=_HINT
        )


def _check_missing(row: ModelRow, train: Matrix) -> None:
    """Refuse what the catalog knows cannot be fitted; an estimator outside it says so itself."""
    if row.parameters and not row.handles_nulls and np.isnan(train.values).any():
        raise missing_values(train, name=row.name, where="train split")


def _check_objective(row: ModelRow, params: Mapping[str, Any]) -> None:
    for name in ("objective", "loss_function", "loss"):
        value = params.get(name)
        if row.objectives and value is not None and value not in row.objectives:
            raise SettingsError(
                f"{row.name} gives no probabilities with '{name}: {value}'.",
                hint=f"Leave it out, or use {', '.join(row.objectives)}.",
            )


def _check_rounds(row: ModelRow, params: Mapping[str, Any]) -> None:
    """Refuse here what one library takes for no rounds, and another stumbles over."""
    rounds = params.get(row.rounds_param) if row.rounds_param else None
    if rounds is not None and not (type(rounds) is int and rounds > 0):
        raise SettingsError(
            f"{row.name}'s hyperparameter '{row.rounds_param}' is a whole number from 1, not {rounds!r}.",
            hint=f"Correct model.hyperparameters.values.{row.rounds_param}.",
        )


def _stopping(
    row: ModelRow, params: dict[str, Any], target: Target, options: FitOptions, *, has_validation: bool
) -> Stopping | None:
    """Return when to stop: as `model.early_stopping` says, or the library's own hyperparameter."""
    own = [params.pop(name, None) for name in ("early_stopping_rounds", "early_stopping_round", "od_wait")]
    rounds = next((value for value in own if value), None) if row.early_stopping else None
    asked = options.early_stopping or (EarlyStopping(rounds) if rounds else None)
    if asked is None:
        return None
    if not row.early_stopping:
        raise SettingsError(
            f"{row.name} cannot stop early.",
            hint="Leave out model.early_stopping, or choose a gradient-boosted model.",
        )
    if not has_validation:
        raise SettingsError(
            "Early stopping needs validation rows, and there are none.",
            hint="Give data.split.validation a share.",
        )
    stopping = Stopping(asked.rounds, _metric(row, asked.metric, target))
    if row.fitted_by == "sklearn":  # it is told by hyperparameters
        scoring = stopping.metric or params.get("scoring", "loss")
        params |= {"early_stopping": True, "n_iter_no_change": stopping.rounds, "scoring": scoring}
    return stopping


def _watched(validation: tuple[Matrix, Target]) -> tuple[Matrix, Target]:
    matrix, target = validation
    if len(target) <= _MOST_WATCHED:
        return validation
    positions = np.linspace(0, len(target) - 1, _MOST_WATCHED).astype(np.int64)
    return replace(matrix, values=matrix.values[positions]), target.take(positions)


def _metric(row: ModelRow, name: str | None, target: Target) -> str | None:
    if name is None:
        return None
    many = target.n_classes > 2
    theirs = row.stopping_metrics.get(name, ("", ""))[many]
    if not theirs:
        usable = [mine for mine, pair in row.stopping_metrics.items() if pair[many]]
        raise SettingsError(
            f"{row.name} cannot stop early on '{name}'.", hint=f"It can on {', '.join(usable)}."
        )
    return theirs


def _weights(
    params: dict[str, Any], target: Target, class_weight: Mapping[Any, float] | str | None
) -> npt.NDArray[np.float64] | None:
    """Return a weight a row from the class weights, which every library then means the same by."""
    own = params.get("class_weight")
    if own == "balanced" or (own is not None and not isinstance(own, str)):
        if class_weight is not None:
            raise SettingsError(
                "Class weights are written twice, as model.class_weight and as a hyperparameter.",
                hint="Keep model.class_weight.",
            )
        class_weight = params.pop("class_weight")
    by_class = None if class_weight is None else weights_by_class(class_weight, target)
    if target.positive == 0 and params.get("scale_pos_weight") is not None:
        # the libraries mean the second class by it
        by_class = np.ones(2) if by_class is None else by_class
        by_class[0] *= params.pop("scale_pos_weight")
    return None if by_class is None else by_class[target.values]


def weights_by_class(class_weight: Mapping[Any, float] | str, target: Target) -> npt.NDArray[np.float64]:
    """Return the weight of each class, in the order of the target's classes.

    Parameters
    ----------
    class_weight : mapping of label to number, or "balanced"
        As a recipe says it.
    target : Target
        The rows that are balanced.

    Raises
    ------
    SettingsError
        Where there are no classes, or none of a label.
    """
    if not target.classes:
        raise SettingsError("class_weight is for classification.", hint="Leave it out.")
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise SettingsError(
                f"class_weight '{class_weight}' is unknown.",
                hint="Write balanced, or a map of labels to numbers.",
            )
        counts = np.bincount(target.values, minlength=target.n_classes)
        return len(target) / (target.n_classes * np.maximum(counts, 1))
    weights = np.ones(target.n_classes)
    for label, weight in class_weight.items():
        weights[position_of(target.classes, label, key="class_weight")] = weight
    return weights


def _pop_number(row: ModelRow, params: dict[str, Any], name: str | None, default: Any) -> Any:
    """Take what the recipe wrote as a hyperparameter, else the run's own."""
    value = params.pop(name, None) if name else None
    if value is None:
        return default
    if type(value) is not int:
        raise SettingsError(
            f"{row.name}'s hyperparameter '{name}' is a whole number, not {value!r}.",
            hint=f"Correct model.hyperparameters.values.{name}, or leave it out.",
        )
    return value


def _kept_rows(row: ModelRow) -> Iterator[Finding]:
    if row.keeps:
        message = f"The model's file holds {row.keeps}: whoever has the file can read them."
        yield Finding("privacy", "warn", message)


def _warned(row: ModelRow, caught: Sequence[warnings.WarningMessage]) -> tuple[Finding, ...]:
    messages = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    return tuple(Finding("fit", "warn", f"{row.name} warned: {message}") for message in messages)


def _translated(error: Exception, job: FitJob) -> MmpError:
    """Return the library's refusal in one sentence, with the hyperparameter it is about."""
    row, text = job.row, _sentence(error)
    if name := _blamed(text, job):
        return SettingsError(
            f"{row.name} refused the hyperparameter '{name}: {job.params[name]}': {text}",
            hint=f"Correct model.hyperparameters.values.{name}.",
        )
    if "NaN" in text and np.isnan(job.train.values).any():
        return missing_values(job.train, name=row.name, where="train split")
    return TrainingError(
        f"{row.name} could not be fitted: {text}",
        hint="Look at the hyperparameters and at the training rows.",
    )


def _blamed(text: str, job: FitJob) -> str | None:
    """Return the hyperparameter of the job that a message speaks of, by any of its names or by its value."""
    words = set(re.findall(r"\w+", text))
    for name, value in job.params.items():
        if name in job.row.fixed:
            continue
        spellings = {alias for alias, canonical in job.row.aliases.items() if canonical == name}
        if words & (spellings | {name}) or (isinstance(value, str) and repr(value) in text):
            return name
    return None


def _sentence(error: Exception) -> str:
    """Return the first sentence of a library's message, without its C++ places and stack."""
    lines = [line.strip() for line in str(error).split("Stack trace")[0].splitlines() if line.strip()]
    text = re.sub(r"^(\[[\d:]+\]\s*)?\S+\.(cc|cpp|h|pyx)\S*:\s*", "", " ".join(lines))
    text = re.sub(r" at \S+\.(cc|cpp|h), line \d+\s*", "", text)
    return text[:300].rstrip(".") + "."
