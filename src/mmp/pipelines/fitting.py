"""One fit as a recipe wants it, the same in a run, a trial and a fold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from mmp.catalog import quantiles
from mmp.errors import Finding
from mmp.modeling.answer import answer
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.modeling.uncertainty import Uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.engines.base import Model
    from mmp.modeling.fit import Fitted
    from mmp.modeling.pipeline import Matrix
    from mmp.pipelines.decide import Unseen
    from mmp.pipelines.prepare import Prepared
    from mmp.settings.recipe import Recipe

_TOLERATED = 0.1  # of a limit, by which it may be exceeded without a word


@dataclass(frozen=True)
class Ready:
    """Everything decided before the last fit.

    Parameters
    ----------
    recipe : Recipe
        With what was found out, such as the best values of its search.
    row : ModelRow
        The estimator; of several the one that counts most.
    prepared : Prepared
        The rows as the model takes them.
    metrics : mapping of str to mapping of str to float
        Of the folds, as of a part of the split.
    fit : callable
        Fits on the training rows.
    unseen : Unseen or None
        The rows of the folds, and what models told them that had not seen them.
    ends_at : float
        When the whole run is to be over, by `time.perf_counter`.
    limit_s : float
        Seconds that it may take.
    """

    recipe: Recipe
    row: ModelRow
    prepared: Prepared
    metrics: Mapping[str, Mapping[str, float]]
    fit: Callable[[], Fitted]
    unseen: Unseen | None = None
    ends_at: float = inf
    limit_s: float = inf

    @property
    def seconds(self) -> float:
        """Wall seconds that are left."""
        return max(0.0, self.ends_at - time.perf_counter())

    def late(self) -> list[Finding]:
        """Say that the run takes longer than it may, by more than a tenth."""
        over = time.perf_counter() - self.ends_at
        if over <= _TOLERATED * self.limit_s:
            return []
        took = f"The training took {self.limit_s + over:.1f} s"
        return [
            Finding("preset", "warn", f"{took}, longer than the {self.limit_s:g} s of model.time_limit_s.")
        ]


def fit(
    prepared: Prepared,
    recipe: Recipe,
    row: ModelRow,
    *,
    threads: int | None = None,
    on_iteration: Callable[[int, Mapping[str, float]], bool | None] | None = None,
) -> Fitted:
    """Fit the estimator of a recipe on the training rows; those of validation are watched.

    Parameters
    ----------
    prepared : Prepared
        The rows.
    recipe : Recipe
        Hyperparameters and everything else about the fit.
    row : ModelRow
        The estimator.
    threads : int, optional
        Instead of the recipe's.
    on_iteration : callable, optional
        Is told of every round of boosting; the fit ends where it returns true.

    Raises
    ------
    MmpError
        As of `mmp.modeling.fit.fit_model`.
    """
    model, stopping = recipe.model, recipe.model.early_stopping
    validation = None
    if "validation" in prepared.matrices:
        validation = prepared.matrices["validation"], prepared.targets["validation"]
    options = FitOptions(
        seed=recipe.evaluation.random_state,
        threads=threads or model.threads,
        library_defaults=model.hyperparameters.defaults == "library",
        class_weight=model.class_weight,
        early_stopping=EarlyStopping(stopping.rounds, stopping.metric) if stopping else None,
        trust=recipe.package.trust,
        allow_pickle=recipe.package.allow_pickle,
    )
    return fit_model(
        row,
        model.hyperparameters.values,
        prepared.matrices["train"],
        prepared.targets["train"],
        validation=validation,
        options=options,
        on_iteration=on_iteration,
    )


def uncertainty(recipe: Recipe) -> Uncertainty:
    """Return what the output of a fit says beyond the answer."""
    model = recipe.model
    return Uncertainty(quantiles.columns(quantiles.levels_of(model.class_path, model.hyperparameters.values)))


def predict(model: Model, matrices: Mapping[str, Matrix]) -> dict[str, npt.NDArray[np.float64]]:
    """Return what the model says of each part; of the training rows it may have said it already."""
    known = {"train": model.fitted}
    return {
        name: answer(model, matrix, where=f"{name} split", known=known.get(name))
        for name, matrix in matrices.items()
    }
