"""The model of quantiles as an estimator of scikit-learn's kind, for use outside of a run.

In a recipe it is ``class_path: mmp.modeling.quantile.QuantileEnsemble``, which needs no scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from mmp.catalog import quantiles as known
from mmp.catalog.models import find
from mmp.modeling.fit import FitOptions, fit_model
from mmp.modeling.pipeline import Matrix
from mmp.modeling.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


class QuantileEnsemble(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Several quantiles of a number, by any regression of the catalog that has a loss for them.

    Parameters
    ----------
    base : str
        Class path of the regression, one of `mmp.catalog.quantiles.BASES`.
    quantiles : sequence of float
        Which ones, between 0 and 1.
    hyperparameters : mapping, optional
        Of the base; mmp's defaults hold for the rest.
    random_state : int
        The seed.
    n_jobs : int
        Threads.

    Attributes
    ----------
    columns_ : tuple of str
        Names of the quantiles, rising: ``pred_p50``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(size=(500, 1))
    >>> model = QuantileEnsemble("sklearn.linear_model.QuantileRegressor", quantiles=[0.9, 0.5])
    >>> model = model.fit(X, X[:, 0] + rng.uniform(size=500))
    >>> model.columns_, model.predict_quantiles(np.array([[0.5]])).round(1).tolist()
    (('pred_p50', 'pred_p90'), [[1.0, 1.4]])
    """

    def __init__(
        self,
        base: str = known.DEFAULTS[known.BASE],
        quantiles: Sequence[float] = tuple(known.DEFAULTS[known.LEVELS]),
        hyperparameters: Mapping[str, Any] | None = None,
        random_state: int = 42,
        n_jobs: int = 1,
    ) -> None:
        self.base = base
        self.quantiles = quantiles
        self.hyperparameters = hyperparameters
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit the base to each quantile.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Numbers.
        y : array-like of shape (n_rows,)
            The target.

        Raises
        ------
        SettingsError
            Where the base has no loss for quantiles, or a hyperparameter is none of its own.
        DataError
            Where the target is the same in every row.
        """
        values, target = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2)
        own = {known.BASE: self.base, known.LEVELS: list(self.quantiles)}
        row = find(known.CLASS_PATH, own)
        assert row is not None
        names = tuple(str(position) for position in range(values.shape[1]))
        self._dtype = row.matrix_dtype
        fitted = fit_model(
            row,
            {**(self.hyperparameters or {}), **own},
            Matrix(np.ascontiguousarray(values, row.matrix_dtype), names, {}),
            Target("regression", np.asarray(target, np.float64)),
            options=FitOptions(seed=self.random_state, threads=self.n_jobs),
        )
        self.model_ = fitted.model
        self.columns_ = fitted.model.columns
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the median of each row; without one, the quantile nearest to it: shape (n_rows,)."""
        return np.ascontiguousarray(self._output(X)[:, 0])

    def predict_quantiles(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the quantiles of each row, in the order of `columns_`: shape (n_rows, n_quantiles)."""
        return self._output(X)[:, 1:]

    def _output(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        check_is_fitted(self)
        values = validate_data(self, X, reset=False)
        return self.model_.predict(np.ascontiguousarray(values, self._dtype))
