"""What a model's output says beyond the answer: bounds, quantiles, sets of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mmp.modeling.conformal import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from mmp.modeling.conformal import PredictionSets

    Floats = npt.NDArray[np.float64]

_PREFIX: Final = "pred_p"
_OF_CALIBRATION: Final = ("ece", "brier_reliability", "brier_resolution", "brier_uncertainty")


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """How a model tells how sure it is.

    Parameters
    ----------
    columns : tuple of str
        Names of what the output of a regression has beyond the predicted number, `Model.columns`.
    sets : PredictionSets or None
        Which classes a row of a classification may be of.
    is_calibrated : bool
        Whether its probabilities are meant to come true.
    """

    columns: tuple[str, ...] = ()
    sets: PredictionSets | None = None
    is_calibrated: bool = False

    @property
    def quantiles(self) -> tuple[str, ...]:
        """The quantiles among the columns, as metrics call them: ``p99.5``."""
        return tuple(name.removeprefix("pred_") for name in self.columns if name.startswith(_PREFIX))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that judge it.

        Examples
        --------
        >>> Uncertainty(("pred_p90", "lower", "upper")).metrics
        ('pinball_loss', 'pinball_loss_p90', 'coverage_rate_p90', 'interval_coverage', 'interval_width')
        """
        each = ("pinball_loss", "coverage_rate")
        of_quantiles = tuple(f"{name}_{quantile}" for name in each for quantile in self.quantiles)
        mean = ("pinball_loss",) if self.quantiles else ()
        has_bounds = set(BOUNDS) <= set(self.columns) or len(self.quantiles) > 1
        of_bounds = ("interval_coverage", "interval_width") if has_bounds else ()
        of_sets = ("set_coverage", "set_size") if self.sets else ()
        return (*mean, *of_quantiles, *of_bounds, *of_sets, *(_OF_CALIBRATION if self.is_calibrated else ()))

    def beside(self, output: Floats) -> Mapping[str, Floats]:
        """Return the columns of a regression's output beyond the number, by name."""
        return dict(zip(self.columns, output.T[1:], strict=True)) if self.columns else {}

    def contained(self, output: Floats, decided: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_] | None:
        """Return which classes are in the set of each row, None where there are no sets."""
        return None if self.sets is None else self.sets.contained(output, decided)


CERTAIN: Final = Uncertainty()
"""Of a model that gives an answer and no more."""
