"""CatBoost: categories as bytes beside a float matrix, so that no data frame is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.modeling.engines.base import FitJob, Model
from mmp.modeling.lean import library
from mmp.modeling.pruned import Pruned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from mmp.modeling.target import Target

_FILE = "model.cbm"
_MISSING = b"missing"  # the other categories are decimal numbers


@dataclass(frozen=True, eq=False)
class CatBoostModel(Model):
    """A booster, and which columns of the matrix are category codes."""

    engine = "catboost"
    booster: Any = None
    categorical: tuple[int, ...] = ()

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        kind = "Probability" if self.n_classes else "RawFormulaVal"
        data = _features(values, self.categorical)
        output = self.booster.predict(data, prediction_type=kind, thread_count=self._threads_for(values))
        return np.asarray(output, np.float64)

    def scores(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the raw values of the formula."""
        data, threads = _features(values, self.categorical), self._threads_for(values)
        raw = self.booster.predict(data, prediction_type="RawFormulaVal", thread_count=threads)
        return np.asarray(raw, np.float64).reshape(len(values), -1)

    def contributions(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the booster's own contributions to its raw values, in the order of the matrix."""
        parts = self.booster.get_feature_importance(
            library("catboost").Pool(_features(values, self.categorical)),
            type="ShapValues",
            thread_count=self._threads_for(values),
        ).reshape(len(values), -1, self.n_features + 1)
        theirs = [*_numeric(self.n_features, self.categorical), *self.categorical, self.n_features]
        ordered = np.empty(parts.shape)
        ordered[:, :, theirs] = parts
        return ordered

    def _save(self, folder: Path) -> dict[str, Any]:
        # when and as what it was trained is no part of a model: one seed gives the same bytes
        metadata = self.booster.get_metadata()
        for name in ("model_guid", "train_finish_time"):
            metadata[name] = ""
        # save_model says nothing where the end of a small file has no room
        (folder / _FILE).write_bytes(self.booster._serialize_model())  # noqa: SLF001
        return {"categorical": list(self.categorical)}


def fit(job: FitJob) -> CatBoostModel:
    """Fit a booster; it keeps the trees up to the best round, if the fit stopped early."""
    categorical = tuple(sorted(job.train.categorical))
    booster = library("catboost").CatBoost(_native(job))
    reporter = _Reporter(job.on_iteration) if job.on_iteration else None
    booster.fit(
        _pool(job.train.values, categorical, job.target, job.weights),
        eval_set=_pool(job.validation[0].values, categorical, job.validation[1]) if job.validation else None,
        use_best_model=bool(job.stopping),
        early_stopping_rounds=job.stopping.rounds if job.stopping else None,
        callbacks=[reporter] if reporter else None,
    )
    if reporter and reporter.pruned:
        raise reporter.pruned
    seen = booster.get_evals_result().get("validation", {})
    return CatBoostModel(
        job.target.n_classes,
        job.train.values.shape[1],
        job.threads,
        booster.get_best_iteration() if job.stopping else None,
        {f"validation_{name}": tuple(values) for name, values in seen.items()},
        booster=booster,
        categorical=categorical,
    )


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> CatBoostModel:
    """Read a booster."""
    booster = library("catboost").CatBoost()
    booster.load_model(str(folder / _FILE), format="cbm")
    return CatBoostModel(
        meta["n_classes"],
        meta["n_features"],
        n_threads,
        booster=booster,
        categorical=tuple(meta["categorical"]),
    )


def errors() -> tuple[type[Exception], ...]:
    """Return what CatBoost raises."""
    return library("catboost").CatBoostError, ValueError, TypeError


def _native(job: FitJob) -> dict[str, Any]:
    classes = job.target.n_classes
    written = {name: value for name, value in job.params.items() if value is not None}
    if not isinstance(written.get("eval_metric", ""), str):  # it would be called as an object of ours
        raise TypeError("eval_metric is the name of a metric")
    params = {
        "loss_function": {0: "RMSE", 2: "Logloss"}.get(classes, "MultiClass"),
        **written,
        "random_seed": job.seed,
        "thread_count": job.threads,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }
    if classes > 2:
        params["classes_count"] = classes
    if job.stopping and job.stopping.metric:
        params["eval_metric"] = job.stopping.metric
    return params


def _pool(
    values: npt.NDArray[Any],
    categorical: tuple[int, ...],
    target: Target,
    weights: npt.NDArray[np.float64] | None = None,
) -> Any:
    return library("catboost").Pool(_features(values, categorical), label=target.values, weight=weights)


def _features(values: npt.NDArray[Any], categorical: tuple[int, ...]) -> Any:
    """Return the matrix as it is, or as CatBoost takes categories: numbers first, then bytes."""
    values = np.ascontiguousarray(values, np.float32)
    if not categorical:
        return values
    numeric = _numeric(values.shape[1], categorical)
    return library("catboost").FeaturesData(
        num_feature_data=np.ascontiguousarray(values[:, numeric]) if numeric else None,
        cat_feature_data=_as_bytes(values[:, categorical]),
    )


def _numeric(n_features: int, categorical: tuple[int, ...]) -> list[int]:
    return [position for position in range(n_features) if position not in categorical]


def _as_bytes(codes: npt.NDArray[np.float32]) -> npt.NDArray[np.object_]:
    known = ~np.isnan(codes)
    most = int(codes.max(where=known, initial=-1))
    words = np.array([*(b"%d" % code for code in range(most + 1)), _MISSING], dtype=object)
    return words[np.where(known, codes, most + 1).astype(np.int64)]


class _Reporter:
    def __init__(self, report: Callable[[int, Mapping[str, float]], bool | None]) -> None:
        self._report = report
        self.pruned: Pruned | None = None

    def after_iteration(self, info: Any) -> bool:
        seen = (info.metrics or {}).get("validation", {})
        values = {f"validation_{name}": values[-1] for name, values in seen.items()}
        try:
            return not self._report(info.iteration - 1, values)
        except Pruned as pruned:  # which CatBoost would make text of
            self.pruned = pruned
            return False
