"""A classifier whose probabilities are calibrated (`mmp.modeling.calibration`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mmp.modeling import engines
from mmp.modeling.calibration import Calibration
from mmp.modeling.engines.base import Model
from mmp.modeling.state import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    import numpy as np
    import numpy.typing as npt

    from mmp.modeling.engines.base import Output

_FILE = "calibration.npz"
_INSIDE = "inside"


@dataclass(frozen=True, eq=False)
class CalibratedModel(Model):
    """A model inside, and what calibrates its probabilities."""

    engine = "calibrated"
    inside: Model = field(kw_only=True)
    calibration: Calibration = field(kw_only=True)

    @classmethod
    def of(cls, inside: Model, calibration: Calibration) -> CalibratedModel:
        """Put a model inside."""
        return cls(
            inside.n_classes,
            inside.n_features,
            inside.threads,
            inside.best_iteration,
            inside.history,
            None if inside.fitted is None else calibration.many(inside.fitted),
            inside=inside,
            calibration=calibration,
        )

    @property
    def parts(self) -> tuple[Model, ...]:
        """The model inside."""
        return (self.inside,)

    @property
    def explained(self) -> Model:
        """What explains the model inside."""
        return self.inside.explained

    def _made_of(self, parts: Sequence[Model]) -> Self:
        return replace(self, inside=parts[0])

    def one(self, values: npt.NDArray[Any]) -> Output:
        """Predict one row."""
        output = self.inside.one(values)
        assert isinstance(output, list)
        return self.calibration.one(output)

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return self.calibration.many(self.inside.predict(values))

    def _save(self, folder: Path) -> dict[str, Any]:
        facts, arrays = self.calibration.state()
        write_arrays(folder / _FILE, arrays)
        return {"calibration": facts, _INSIDE: engines.save(self.inside, folder / _INSIDE)}


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> CalibratedModel:
    """Read the model inside and its calibration."""
    return CalibratedModel(
        meta["n_classes"],
        meta["n_features"],
        n_threads,
        inside=engines.load_saved(meta[_INSIDE], folder / _INSIDE, trust=trust, n_threads=n_threads),
        calibration=Calibration.restored(meta["calibration"], read_arrays(folder / _FILE)),
    )


def errors() -> tuple[type[Exception], ...]:
    """Return nothing: what is raised is raised by the model inside."""
    return ()
