"""Several quantiles of a number, in rising order, whatever the library that fits them.

A library that fits several at once is asked for all of them, else each has a fit of its own. Fitted apart
they can cross, so each row's are sorted, which brings them closer to the true ones and never further away.

The prediction is the median; where that was not asked for, the quantile nearest to it, the lower of two.

References
----------
Koenker, R. and Bassett, G. (1978). Regression quantiles. Econometrica 46.
Chernozhukov, V., Fernández-Val, I. and Galichon, A. (2010). Quantile and probability curves without crossing.
Econometrica 78.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.catalog import quantiles
from mmp.errors import SettingsError
from mmp.modeling import engines
from mmp.modeling.engines.base import FitJob, Model

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class QuantileModel(Model):
    """Models of quantiles as one.

    Parameters
    ----------
    levels : tuple of float
        Which quantiles, rising.
    inside : tuple of Model
        One for each of them, or one that gives all.
    """

    engine = "quantiles"
    levels: tuple[float, ...] = field(kw_only=True)
    inside: tuple[Model, ...] = field(kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """One for each quantile."""
        return quantiles.columns(self.levels)

    @property
    def parts(self) -> tuple[Model, ...]:
        """The models inside."""
        return self.inside

    @property
    def explained(self) -> Model:
        """What explains the quantile that is the prediction."""
        if len(self.inside) == len(self.levels):
            return self.inside[self._middle].explained
        return _OneOfMany(0, self.n_features, self.threads, many=self.inside[0], position=self._middle)

    def _made_of(self, parts: Sequence[Model]) -> Self:
        return replace(self, inside=tuple(parts))

    @property
    def _middle(self) -> int:
        return min(range(len(self.levels)), key=lambda place: abs(self.levels[place] - 0.5))

    def _predict(self, values: npt.NDArray[Any]) -> Floats:
        rising = np.sort(np.column_stack([model.predict(values) for model in self.inside]), axis=1)
        return np.column_stack((rising[:, self._middle], rising))

    def _save(self, folder: Path) -> dict[str, Any]:
        inside = [engines.save(model, folder / str(place)) for place, model in enumerate(self.inside)]
        return {"levels": list(self.levels), "inside": inside}


@dataclass(frozen=True, eq=False)
class _OneOfMany(Model):
    """One of the numbers that a model gives, to be explained."""

    engine = "quantiles"
    many: Model = field(kw_only=True)
    position: int = field(kw_only=True)

    @property
    def parts(self) -> tuple[Model, ...]:
        return (self.many,)

    def contributions(self, values: npt.NDArray[Any]) -> Floats | None:
        parts = self.many.contributions(values)
        return None if parts is None else parts[:, [self.position]]

    def _predict(self, values: npt.NDArray[Any]) -> Floats:
        return np.ascontiguousarray(self.many.predict(values)[:, self.position])

    def _save(self, folder: Path) -> dict[str, Any]:
        raise NotImplementedError("it is part of a model that is saved")


def fit(job: FitJob) -> QuantileModel:
    """Fit the base once where it gives several quantiles at once, else once for each."""
    base, levels = _base(job), _levels(job)
    assert base.quantile is not None
    params = {name: value for name, value in job.params.items() if name not in quantiles.DEFAULTS}
    groups = [levels] if base.quantile.at_once else [(level,) for level in levels]
    job = replace(job, row=base, stopping=replace(job.stopping, metric=None) if job.stopping else None)
    if len(groups) > 1:  # rounds that begin anew are no history
        job = replace(job, on_iteration=None)
    inside = tuple(engines.fit(replace(job, params=params | base.quantile.asking(group))) for group in groups)
    stopped = [model.best_iteration for model in inside if model.best_iteration is not None]
    return QuantileModel(
        0,
        job.train.values.shape[1],
        job.threads,
        max(stopped, default=None),
        _histories(inside, groups),
        levels=levels,
        inside=inside,
    )


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> QuantileModel:
    """Read the models inside."""
    inside = tuple(
        engines.load_saved(saved, folder / str(place), trust=trust, n_threads=n_threads)
        for place, saved in enumerate(meta["inside"])
    )
    return QuantileModel(
        meta["n_classes"], meta["n_features"], n_threads, levels=tuple(meta["levels"]), inside=inside
    )


def errors() -> tuple[type[Exception], ...]:
    """Return nothing: what is raised is raised by the models inside."""
    return ()


def _base(job: FitJob) -> Any:
    wanted = job.params[quantiles.BASE]
    if job.row.base is None or wanted not in (job.row.base.class_path, job.row.base.name):
        raise SettingsError(
            f"{wanted} has no loss for quantiles.", hint=f"Choose {', '.join(quantiles.BASES)}."
        )
    return job.row.base


def _levels(job: FitJob) -> tuple[float, ...]:
    levels = job.params[quantiles.LEVELS]
    if wrong := quantiles.wrong_levels(levels):
        raise SettingsError(
            f"{job.row.name}'s hyperparameter 'quantiles: {levels}' does not do: {wrong}.",
            hint="Correct model.hyperparameters.values.quantiles.",
        )
    return tuple(sorted(float(level) for level in levels))


def _histories(inside: Sequence[Model], groups: Sequence[Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Return the histories of all fits, each under its quantile where there are several."""
    return {
        name.partition(":")[0] + (f"_{quantiles.percent(group[0])}" if len(groups) > 1 else ""): values
        for model, group in zip(inside, groups, strict=True)
        for name, values in model.history.items()
    }
