"""Transformers of scikit-learn's kind, by dotted path."""

from __future__ import annotations

from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import DataError, Finding, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean, resolve
from mmp.modeling.ops.guest import REFUSALS, Guest, arrays_of, kind_of, outputs, table
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.modeling.training import Training


def guest(step: StepSettings, names: Sequence[str], training: Training) -> Fitted:
    """Let a transformer make columns of the ones it is given, which it replaces.

    It is fitted on the training rows, and given the target. The training rows get what its
    `fit_transform` returns, where it has one, so that a transformer that learns from the target may
    give them out-of-fold values.

    Raises
    ------
    SettingsError
        Where it is no transformer, lacks a parameter, or holds types that cannot be saved safely.
    DataError
        Where it does not take the columns.
    """
    if not names:
        return Fitted(())
    transformer = _made(step, training)
    _check_saveable(step, transformer, training)
    columns = [training[name] for name in names]
    as_frame = not (step.type.startswith("sklearn.") and all(column.kind in NUMBERS for column in columns))
    result = _fit(step, transformer, table(names, columns, as_frame=as_frame), training)
    _check_saveable(step, transformer, training)
    arrays = arrays_of(result)
    kinds = tuple(kind_of(values) for values in arrays)
    made = tuple(
        name if name in names else training.new_name(name)
        for name in _names(step, transformer, names, len(arrays))
    )
    op = Guest(
        reads=tuple(names),
        targets=made,
        type=step.type,
        names=tuple(names),
        kinds=tuple(column.kind for column in columns),
        kinds_out=kinds,
        as_frame=as_frame,
        transformer=transformer,
    )
    return Fitted(
        (op,),
        dropped=tuple(name for name in names if name not in made),
        out_of_fold=dict(zip(made, outputs(result, kinds), strict=True)),
        findings=(_slower(step),),
    )


def _slower(step: StepSettings) -> Finding:
    top = step.type.partition(".")[0]
    needed = "scikit-learn is" if top == "sklearn" else f"scikit-learn and '{top}' are"
    message = (
        f"{step.type} runs as it is: it is slower than a step of mmp's own, for one row above all, "
        f"and the model can only be loaded where {needed} installed."
    )
    return Finding("steps", "info", message)


def _made(step: StepSettings, training: Training) -> Any:
    """Make the transformer, and refuse what is none, and parameters that it lacks."""
    found: Any = resolve(step.type)
    if not all(callable(getattr(found, method, None)) for method in ("fit", "transform")):
        raise SettingsError(
            f"The step '{step.type}' is no transformer.",
            hint="Name a class with fit and transform, or a function (settings, names, training) -> Fitted.",
        )
    parameters = parameters_of(step)
    accepted = signature(found).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for name in parameters:
        if name not in accepted and not takes_any:
            raise UnknownNameError(
                f"The step {step.type} has no parameter '{name}'.",
                hint=did_you_mean(name, list(accepted)) or f"It has {', '.join(accepted) or 'none'}.",
            )
    if "random_state" in accepted and accepted["random_state"].default is None:
        parameters = {"random_state": training.seed, **parameters}
    try:
        return found(**parameters)
    except REFUSALS as error:
        raise SettingsError(
            f"The step {step.type} cannot be made: {error}.", hint="Correct its parameters."
        ) from error


def parameters_of(step: StepSettings) -> Mapping[str, Any]:
    """Return the parameters of a step by dotted path."""
    return dict(getattr(step, "model_extra", None) or {})


def _check_saveable(step: StepSettings, transformer: Any, training: Training) -> None:
    from skops.io import dumps
    from skops.io.exceptions import UnsupportedTypeException

    from mmp.modeling.engines.sklearn import untrusted

    try:
        data = dumps(transformer)
    except UnsupportedTypeException as error:
        raise SettingsError(
            f"The step {step.type} cannot be saved: {error}", hint="Use another; no other format is safe."
        ) from error
    if unknown := untrusted(data, training.trust):
        names = ", ".join(unknown)
        raise SettingsError(
            f"The step {step.type} cannot be saved safely: it holds {names}.",
            hint=f"Add 'package: {{trust: [{names}]}}' to the recipe if you trust this code.",
        )


def _fit(step: StepSettings, transformer: Any, rows: Any, training: Training) -> Any:
    """Fit to the training rows, and return what becomes of them."""
    outcome = training.target.values
    try:
        with _seeded(training.seed):
            if hasattr(transformer, "fit_transform"):
                return transformer.fit_transform(rows, outcome)
            return transformer.fit(rows, outcome).transform(rows)
    except REFUSALS as error:
        raise DataError(
            f"The step {step.type} could not be fitted: {' '.join(str(error).split())[:300]}",
            hint="Look at its parameters, and name the columns it is for under columns.",
        ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, which is what a transformer without a seed of its own draws from."""
    state = np.random.get_state()  # noqa: NPY002 - it is that generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _names(step: StepSettings, transformer: Any, names: Sequence[str], count: int) -> list[str]:
    """Return what the transformer calls its columns."""
    name_them = getattr(transformer, "get_feature_names_out", None)
    given: npt.NDArray[Any] = np.array(names, object)
    if name_them is not None:
        found = [str(name) for name in name_them(given)]
    elif count == len(names):
        found = list(names)
    else:
        found = [f"{step.type.rpartition('.')[2]} {number}" for number in range(1, count + 1)]
    if len(found) != count:
        raise SettingsError(
            f"The step {step.type} names {len(found)} columns and makes {count}.",
            hint="Correct its get_feature_names_out.",
        )
    return found
