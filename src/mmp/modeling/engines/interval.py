"""A model of a number between two bounds that the truth is promised to lie in.

How far the bounds are from the prediction is measured on calibration rows (`mmp.modeling.conformal`), by the
model that is deployed:

============== =============================================================================
method         bounds, ``t`` being measured
============== =============================================================================
``split``      the prediction ± ``t``, everywhere the same
``normalised`` the prediction ± ``t`` times how large a second model expects the error to be
``quantile``   the lower and upper quantile of a second model, moved apart by ``t``
============== =============================================================================

The prediction lies between the bounds always: the first two go to both sides of it, and quantiles on the
wrong side of it are moved to it before they are measured and after. Going far enough is going one rounding
further, so that a truth on a bound, which is where those of a discrete target lie, is inside it.

References
----------
Papadopoulos, H. et al. (2002). Inductive confidence machines for regression. ECML.
Lei, J. et al. (2018). Distribution-free predictive inference for regression. JASA 113.
Romano, Y., Patterson, E. and Candès, E. (2019). Conformalized quantile regression. NeurIPS 32.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmp.modeling import engines
from mmp.modeling.conformal import BOUNDS, reach
from mmp.modeling.decision import numbers
from mmp.modeling.engines.base import Model

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    import numpy.typing as npt

    from mmp.modeling.engines.base import Output

    Floats = npt.NDArray[np.float64]
    Method = Literal["split", "normalised", "quantile"]

_ROUNDINGS = 4 * np.finfo(np.float64).eps
_INSIDE = "inside"
_SECOND = "second"


@dataclass(frozen=True, eq=False)
class IntervalModel(Model):
    """A regression model with bounds.

    Parameters
    ----------
    inside : Model
        What predicts.
    method : {"split", "normalised", "quantile"}
        How the bounds are made.
    second : Model or None
        What says how large errors are (``normalised``), or the two quantiles in the second and third
        column of its output (``quantile``).
    least : float
        The smallest size of an error that is believed (``normalised``).
    coverage : float
        The share of truths between the bounds, as promised.
    reach : float
        How far the bounds go, ``t`` above; NaN before `measured`.
    """

    engine = "interval"
    inside: Model = field(kw_only=True)
    method: Method = field(kw_only=True)
    coverage: float = field(kw_only=True)
    second: Model | None = field(default=None, kw_only=True)
    least: float = field(default=0.0, kw_only=True)
    reach: float = field(default=np.nan, kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the model inside, and the bounds."""
        return (*self.inside.columns, *BOUNDS)

    @property
    def parts(self) -> tuple[Model, ...]:
        """The models inside."""
        return (self.inside,) if self.second is None else (self.inside, self.second)

    @property
    def explained(self) -> Model:
        """What explains the model that predicts."""
        return self.inside.explained

    def _made_of(self, parts: Sequence[Model]) -> Self:
        return replace(self, inside=parts[0], second=parts[1] if len(parts) > 1 else None)

    def measured(self, values: npt.NDArray[Any], truth: Floats) -> Self:
        """Return the model with bounds that keep its promise.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            Rows that no model inside was fitted on.
        truth : ndarray of shape (n_rows,)
            Their targets.

        Raises
        ------
        DataError
            Where there are too few of them to promise so much.
        """
        prediction, second = numbers(self.inside.predict(values)), self._seconded(values)
        return replace(self, reach=reach(self._scores(prediction, second, truth), self.coverage))

    def one(self, values: npt.NDArray[Any]) -> Output:
        """Predict one row."""
        inside = self.inside.one(values)
        output = inside if isinstance(inside, list) else [inside]
        bounds = self._bounds(np.array(output[:1]), self._seconded(values))
        return [*output, *(float(bound[0]) for bound in bounds)]

    def _predict(self, values: npt.NDArray[Any]) -> Floats:
        inside = self.inside.predict(values)
        return np.column_stack((inside, *self._bounds(numbers(inside), self._seconded(values))))

    def _seconded(self, values: npt.NDArray[Any]) -> Floats:
        """Return what the second model says; where there is none, that errors are everywhere of size 1."""
        return np.ones(len(values)) if self.second is None else self.second.predict(values)

    def _scores(self, prediction: Floats, second: Floats, truth: Floats) -> Floats:
        """Return the smallest reach at which each truth is between its bounds."""
        if self.method != "quantile":
            return np.abs(truth - prediction) / np.maximum(second, self.least)
        low, high = _around(prediction, second)
        beyond = np.where(truth < prediction, low - truth, truth - high)
        return np.where(truth == prediction, low - high, beyond)  # there whatever the reach

    def _bounds(self, prediction: Floats, second: Floats) -> tuple[Floats, Floats]:
        if self.method == "quantile":
            low, high = _around(prediction, second)
            step = self.reach + _ROUNDINGS * (np.maximum(np.abs(low), np.abs(high)) + abs(self.reach))
            return np.minimum(low - step, prediction), np.maximum(high + step, prediction)
        step = self.reach * np.maximum(second, self.least)
        step += _ROUNDINGS * (np.abs(prediction) + step)
        return prediction - step, prediction + step

    def _save(self, folder: Path) -> dict[str, Any]:
        second = engines.save(self.second, folder / _SECOND) if self.second else None
        return {
            "method": self.method,
            "coverage": self.coverage,
            "least": self.least,
            "reach": self.reach,
            _INSIDE: engines.save(self.inside, folder / _INSIDE),
            _SECOND: second,
        }


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> IntervalModel:
    """Read the models inside, and how far the bounds go."""
    inside, second = (
        engines.load_saved(meta[name], folder / name, trust=trust, n_threads=n_threads)
        if meta[name]
        else None
        for name in (_INSIDE, _SECOND)
    )
    assert inside is not None
    return IntervalModel(
        meta["n_classes"],
        meta["n_features"],
        n_threads,
        inside=inside,
        second=second,
        method=meta["method"],
        coverage=meta["coverage"],
        least=meta["least"],
        reach=meta["reach"],
    )


def errors() -> tuple[type[Exception], ...]:
    """Return nothing: what is raised is raised by the models inside."""
    return ()


def _around(prediction: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return the quantiles of a second model, those on the wrong side of the prediction moved to it."""
    return np.minimum(second[:, 1], prediction), np.maximum(second[:, 2], prediction)
