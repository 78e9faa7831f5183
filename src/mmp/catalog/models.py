"""The models mmp knows by name.

A row is looked up with `find` (the catalog, under any of its spellings) or `row_for` (any
scikit-learn compatible estimator). Conformance tests hold every name here equal to the library's own,
and every row to what mmp promises of a model.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmp.catalog import quantiles
from mmp.catalog.boosters import BOOSTERS
from mmp.catalog.estimators import ESTIMATORS
from mmp.catalog.row import ModelRow, Space, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MODELS", "SPELLINGS", "ModelRow", "Space", "Task", "find", "row_for"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_ROWS = (*BOOSTERS, *ESTIMATORS)

MODELS: Mapping[str, ModelRow] = MappingProxyType({row.class_path: row for row in _ROWS})
"""Class path to row, in the order of the documentation; a model of quantiles has a row by its base."""

SPELLINGS: Mapping[str, str] = MappingProxyType(
    {f"{row.home}.{row.name}": row.class_path for row in _ROWS} | {row.name: row.class_path for row in _ROWS}
)
"""Other spellings of the same classes: their home modules, and their bare names."""


def find(class_path: str, written: Mapping[str, Any] = _NOTHING) -> ModelRow | None:
    """Return the row of a class path in any spelling, or None where the catalog has none.

    Parameters
    ----------
    class_path : str
        As a recipe writes it.
    written : mapping
        The hyperparameters beside it: of a model that is made of another one, they say which.

    Examples
    --------
    >>> find("xgboost.sklearn.XGBClassifier").class_path
    'xgboost.XGBClassifier'
    >>> find("sklearn.ensemble.BaggingClassifier") is None
    True
    >>> find("QuantileEnsemble", {"base": "xgboost.XGBRegressor"}).base.name
    'XGBRegressor'
    """
    if class_path in quantiles.SPELLINGS:
        named = find(quantiles.base_of(written))
        base = named if named and named.quantile else quantiles.BASES[quantiles.DEFAULTS[quantiles.BASE]]
        return quantiles.row_of(base)
    return MODELS.get(SPELLINGS.get(class_path, class_path))


def row_for(class_path: str, task: Task, written: Mapping[str, Any] = _NOTHING) -> ModelRow:
    """Return the row of a class path, or a cautious one for an estimator outside the catalog.

    Examples
    --------
    >>> row_for("sklearn.ensemble.BaggingClassifier", "classification").engine
    'sklearn'
    """
    return find(class_path, written) or ModelRow(
        class_path,
        task,
        engine="sklearn",
        extra="sklearn" if class_path.startswith("sklearn.") else "",
        scale=True,
        in_blocks=True,
        seed_param="random_state",
        thread_param="n_jobs",
    )
