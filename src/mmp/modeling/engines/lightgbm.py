"""LightGBM through its native interface: the same trees as `LGBMClassifier`, without scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import SettingsError
from mmp.modeling.engines.base import FitJob, Model, both_classes
from mmp.modeling.engines.compiled import NAME
from mmp.modeling.engines.leafwise import Leafwise, leafwise, n_leaves
from mmp.modeling.lean import library

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path
    from typing import Self

    import numpy.typing as npt

_FILE = "model.txt"
_WORTH_COMPILING = 5 * 10**8  # rows times leaves: the booster takes a sixth of a second for them
_ROUNDS = 100  # the library's own default
_QUIET = {"verbosity": -1}
_ONE_TREE_A_CLASS = {"multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr"}


@dataclass(frozen=True, eq=False)
class LightGBMModel(Model):
    """A booster, and its trees in machine code where a table is worth that."""

    engine = "lightgbm"
    booster: Any = None
    trees: Leafwise | None = None

    def predictor(self, n_rows: int | None = None) -> str:
        """Say what predicts."""
        return NAME if self.trees is not None else super().predictor(n_rows)

    def ready_for(self, n_rows: int | None) -> Self:
        """Return the same model, with compiled trees where they give the same bits and time is saved."""
        text = self.booster.model_to_string()
        if n_rows is not None and n_rows * n_leaves(text) < _WORTH_COMPILING:
            return self
        return replace(self, trees=leafwise(text, self.n_features, self._boosted))

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return self._boosted(values) if self.trees is None else self.trees.predict(values)

    def _boosted(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        output = self.booster.predict(values, num_threads=self._threads_for(values))
        if self.n_classes == 2 and output.ndim == 1:
            return both_classes(output)
        return np.asarray(output, np.float64)

    def scores(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the raw scores."""
        raw = self.booster.predict(values, raw_score=True, num_threads=self._threads_for(values))
        return np.asarray(raw, np.float64).reshape(len(values), -1)

    def contributions(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the booster's own contributions to its raw scores."""
        parts = self.booster.predict(values, pred_contrib=True, num_threads=self._threads_for(values))
        return np.asarray(parts, np.float64).reshape(len(values), -1, self.n_features + 1)

    def _save(self, folder: Path) -> dict[str, Any]:
        (folder / _FILE).write_bytes(self.booster.model_to_string().encode("utf-8"))
        return {}


def fit(job: FitJob) -> LightGBMModel:
    """Fit a booster; it keeps the trees up to the best round, if the fit stopped early."""
    lightgbm = library("lightgbm")
    params = _native(job)
    rounds = params.pop("n_estimators", _ROUNDS)
    train = lightgbm.Dataset(
        job.train.values,
        label=job.target.values,
        weight=job.weights,
        categorical_feature=sorted(job.train.categorical),
        params=params,
    )
    seen: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        params,
        train,
        rounds,
        valid_sets=[train.create_valid(v[0].values, v[1].values) for v in (job.validation,) if v],
        valid_names=["validation"] if job.validation else None,
        callbacks=_callbacks(job, seen),
    )
    return LightGBMModel(
        job.target.n_classes,
        job.train.values.shape[1],
        job.threads,
        booster.best_iteration - 1 if job.stopping else None,
        {f"validation_{name}": tuple(values) for name, values in seen.get("validation", {}).items()},
        booster=booster,
    )


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> LightGBMModel:
    """Read a booster."""
    text = (folder / _FILE).read_bytes().decode("utf-8")
    booster = library("lightgbm").Booster(model_str=text)
    return LightGBMModel(meta["n_classes"], meta["n_features"], n_threads, booster=booster)


def errors() -> tuple[type[Exception], ...]:
    """Return what LightGBM raises."""
    return library("lightgbm").basic.LightGBMError, ValueError, TypeError


def _native(job: FitJob) -> dict[str, Any]:
    params = dict(job.params) | {"num_threads": job.threads, "seed": job.seed} | _QUIET
    classes = job.target.n_classes
    default = {0: "regression", 2: "binary"}.get(classes, "multiclass")
    params["objective"] = params.get("objective") or default
    if params["objective"] in _ONE_TREE_A_CLASS:
        params["num_class"] = classes
    if job.stopping and params.get("boosting_type") == "dart":
        raise SettingsError(
            "LightGBM cannot stop early with boosting_type 'dart': it changes earlier trees.",
            hint="Leave out early_stopping, or use boosting_type 'gbdt'.",
        )
    if job.stopping and job.stopping.metric:
        params["metric"] = job.stopping.metric
    return params


def _callbacks(job: FitJob, seen: dict[str, dict[str, list[float]]]) -> list[Any]:
    lightgbm = library("lightgbm")
    callbacks = [lightgbm.record_evaluation(seen)] if job.validation else []
    if job.stopping:
        callbacks.append(lightgbm.early_stopping(job.stopping.rounds, verbose=False))
    if job.on_iteration:
        callbacks.append(_reporter(job.on_iteration))
    return callbacks


def _reporter(report: Callable[[int, Mapping[str, float]], bool | None]) -> Any:
    def after_iteration(env: Any) -> None:
        values = {f"validation_{name}": value for _, name, value, *_ in env.evaluation_result_list or ()}
        if report(env.iteration, values):
            raise library("lightgbm").callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    return after_iteration
