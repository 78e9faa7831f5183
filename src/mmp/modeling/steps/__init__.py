"""Steps: what exists while fitting. A step learns from the training rows and leaves ops behind.

A step is a function ``(settings, names, training) -> Fitted`` in this package, or anywhere under a
dotted path that the recipe names as its type; a class there is a transformer of scikit-learn's kind
(`mmp.modeling.steps.guest`). `names` are the columns it was given, `training` holds
the training rows as earlier steps have left them. To add one, write the function, put it into
`FIT_FUNCTIONS` and describe it in `mmp.catalog.steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from mmp.errors import SettingsError, UnknownNameError
from mmp.lookup import did_you_mean, is_dotted, resolve
from mmp.modeling.steps.dates import datetime_features
from mmp.modeling.steps.drop import drop_missing
from mmp.modeling.steps.encode import one_hot_encoder, ordinal_encoder
from mmp.modeling.steps.expand import kbins_discretizer, polynomial_features
from mmp.modeling.steps.guest import guest
from mmp.modeling.steps.impute import constant_fill, simple_imputer
from mmp.modeling.steps.scale import min_max_scaler, robust_scaler, standard_scaler
from mmp.modeling.steps.select import select
from mmp.modeling.steps.series import backward_fill, forward_fill, interpolation
from mmp.modeling.steps.target import catboost_encoder, target_encoder
from mmp.modeling.steps.trees import tree_based_feature_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmp.modeling.steps.base import Fitted, StepSettings
    from mmp.modeling.training import Training

FitFunction = Callable[[Any, "Sequence[str]", "Training"], "Fitted"]

__all__ = ["FIT_FUNCTIONS", "FitFunction", "fit_function", "select"]

FIT_FUNCTIONS: dict[str, FitFunction] = {
    "simple_imputer": simple_imputer,
    "constant_fill": constant_fill,
    "ordinal_encoder": ordinal_encoder,
    "one_hot_encoder": one_hot_encoder,
    "target_encoder": target_encoder,
    "catboost_encoder": catboost_encoder,
    "standard_scaler": standard_scaler,
    "min_max_scaler": min_max_scaler,
    "robust_scaler": robust_scaler,
    "datetime_features": datetime_features,
    "kbins_discretizer": kbins_discretizer,
    "polynomial_features": polynomial_features,
    "tree_based_feature_generator": tree_based_feature_generator,
    "drop_missing": drop_missing,
    "forward_fill": forward_fill,
    "backward_fill": backward_fill,
    "interpolation": interpolation,
}
"""Step type to the function that fits it."""


def fit_function(step: StepSettings) -> FitFunction:
    """Return the function that fits a step: of the table, or under its dotted path."""
    if step.type in FIT_FUNCTIONS:
        return FIT_FUNCTIONS[step.type]
    if not is_dotted(step.type):
        raise UnknownNameError(
            f"There is no step '{step.type}'.",
            hint=did_you_mean(step.type, FIT_FUNCTIONS) or "See mmp list steps.",
        )
    found = resolve(step.type)
    if isinstance(found, type):
        return guest
    if not callable(found):
        raise SettingsError(
            f"The step '{step.type}' is neither a transformer nor a function.",
            hint="Name a class with fit and transform, or a function (settings, names, training) -> Fitted.",
        )
    return cast("FitFunction", found)
