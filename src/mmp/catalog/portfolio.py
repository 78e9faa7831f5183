"""What a preset tries, in order: estimators with values that did well on the tables of `bench/quality.py`.

Boosters grow for as long as it helps, so none has a number of rounds of its own: `ROUNDS` is the most.
The first of each kind come first, because several kinds together are better than several of a kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mmp.catalog.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.catalog.row import ModelRow

Effort = Literal["fast", "good", "best"]

ROUNDS = 2000
PATIENCE = 50
"""Rounds without a better value after which a booster ends."""


@dataclass(frozen=True)
class Candidate:
    """An estimator with some of its hyperparameters.

    Parameters
    ----------
    classifier, regressor : str
        Class paths.
    values : mapping
        Hyperparameters, the catalog's defaults for the rest.
    most_rows : int
        Training rows beyond which it takes too long to be tried.
    """

    classifier: str
    regressor: str
    values: Mapping[str, Any] = field(default_factory=dict)
    most_rows: int = 1_000_000_000

    def row(self, task: str) -> ModelRow:
        """Return the estimator for a task."""
        return MODELS[self.classifier if task == "classification" else self.regressor]

    def values_for(self, task: str) -> dict[str, Any]:
        """Return the hyperparameters, and the most rounds where they end by themselves."""
        row = self.row(task)
        rounds = {row.rounds_param: ROUNDS} if row.early_stopping and row.rounds_param else {}
        return {**rounds, **self.values}


def _pair(path: str) -> tuple[str, str]:
    return f"{path}Classifier", f"{path}Regressor"


_LIGHTGBM = _pair("lightgbm.LGBM")
_XGBOOST = _pair("xgboost.XGB")
_CATBOOST = _pair("catboost.CatBoost")
_EXTRA_TREES = _pair("sklearn.ensemble.ExtraTrees")
_FOREST = _pair("sklearn.ensemble.RandomForest")
_LINEAR = ("sklearn.linear_model.LogisticRegression", "sklearn.linear_model.Ridge")
_KERNEL = ("sklearn.svm.SVC", "sklearn.svm.SVR")

PORTFOLIO = (
    Candidate(*_LIGHTGBM),
    Candidate(*_XGBOOST),
    Candidate(*_LINEAR, {"max_iter": 300}),
    Candidate(*_CATBOOST, {"learning_rate": 0.08}),
    Candidate(*_KERNEL, most_rows=3_000),
    Candidate(*_XGBOOST, {"max_depth": 2, "learning_rate": 0.1}),
    Candidate(*_EXTRA_TREES, {"n_estimators": 300, "min_samples_leaf": 1}, most_rows=200_000),
    Candidate(*_LIGHTGBM, {"learning_rate": 0.02, "num_leaves": 63, "colsample_bytree": 0.6}),
    Candidate(*_FOREST, {"n_estimators": 300, "min_samples_leaf": 5, "max_features": 0.5}, most_rows=200_000),
    Candidate(*_LIGHTGBM, {"num_leaves": 7, "min_child_samples": 10, "reg_lambda": 1.0}),
    Candidate(*_XGBOOST, {"max_depth": 8, "min_child_weight": 5.0, "colsample_bytree": 0.5}),
    Candidate(*_CATBOOST, {"depth": 4, "learning_rate": 0.1}),
)
"""In the order in which they are tried; those whose library is not installed are left out."""

FAST = 3
"""How many of them `preset: fast` tries."""

SECONDS: Mapping[Effort, float] = {"fast": 60.0, "good": 300.0, "best": 600.0}
"""Seconds that a preset takes where the recipe does not say."""

MEMBERS: Mapping[Effort, int] = {"fast": 3, "good": 6, "best": 10}
"""Most members of what comes out."""
