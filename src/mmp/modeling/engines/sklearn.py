"""Any scikit-learn compatible estimator, saved with skops so that loading it runs no code of a stranger."""

from __future__ import annotations

import io
import pickle
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.errors import ArtifactError, DataError, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean, resolve
from mmp.modeling.engines import shape
from mmp.modeling.engines.base import FitJob, Model
from mmp.modeling.engines.steady import steady

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow

_FILE = {"skops": "model.skops", "pickle": "model.pkl"}
PICKLE: Final = "pickle"
"""The word in the config's ``trust`` that allows a model to be a pickle."""

_FOLDS = 5
_METHODS = ("fit", "predict", "get_params", "set_params")

# Parts of scikit-learn's own estimators that skops leaves to us: plain numbers behind a constructor.
TRUSTED: Final = frozenset(
    {
        "functools.partial",  # what it is a part of is a type of its own, and looked at
        "numpy.dtype",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
    }
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What the numbers of a fitted target count in.

    Parameters
    ----------
    zero, one : float
        What 0 stands for, and the size of 1.
    """

    zero: float = 0.0
    one: float = 1.0


@dataclass(frozen=True, eq=False)
class SklearnModel(Model):
    """An estimator, how it may be saved, whether it wants blocks of rows, and the unit of its numbers."""

    engine = "sklearn"
    estimator: Any = None
    format: str = "skops"
    in_blocks: bool = False
    unit: Unit = Unit()

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        together = shape.in_blocks if self.in_blocks else shape.in_company
        n_threads = 1 if self.in_blocks else self._threads_for(values)
        predict = self.estimator.predict_proba if self.n_classes else self.estimator.predict
        with _limited(self._pools, n_threads):
            answer = together(predict, values)
        if not self.n_classes:
            numbers = np.asarray(answer, np.float64).reshape(len(values))
            return numbers if self.unit == Unit() else numbers * self.unit.one + self.unit.zero
        output = np.zeros((len(values), self.n_classes))
        # a class without training rows is none of the estimator's, and has no probability
        output[:, self.estimator.classes_] = answer
        return output

    @cached_property
    def _pools(self) -> Any:
        """Looked for once: it takes longer than a prediction."""
        return _controller()

    def _save(self, folder: Path) -> dict[str, Any]:
        path = folder / _FILE[self.format]
        if self.format == PICKLE:
            path.write_bytes(pickle.dumps(self.estimator))
        else:
            from skops.io import dumps

            path.write_bytes(steady(dumps(self.estimator)))
        return {"format": self.format, "in_blocks": self.in_blocks, "unit": asdict(self.unit)}


def fit(job: FitJob) -> SklearnModel:
    """Fit the estimator, after making sure that it can be saved."""
    saved_as = check_saveable(job.row, job.params, trust=job.trust, allow_pickle=job.allow_pickle)
    estimator, unit = fitted(job)
    if job.row.early_stopping:
        _forget_scorer(estimator)
    if "n_jobs" in estimator.get_params(deep=False):
        # threads add up a forest's trees in the order they come, and two predictions differ
        estimator.set_params(n_jobs=1)
    model = SklearnModel(
        job.target.n_classes,
        job.train.values.shape[1],
        job.threads,
        estimator=estimator,
        format=saved_as,
        in_blocks=job.row.in_blocks,
        unit=unit,
        **(_cut(estimator) if job.stopping else {}),
    )
    model.predict(job.train.values[:1])  # some find out only now that a hyperparameter cannot be
    return model


def fitted(job: FitJob) -> tuple[Any, Unit]:
    """Return the fitted estimator of a job, and what its numbers count in."""
    estimator = _estimator(job.row, job.params)
    own = estimator.get_params(deep=False)
    wanted = ((job.row.seed_param, job.seed), (job.row.thread_param, job.threads))
    estimator.set_params(**{name: value for name, value in wanted if name and name in own})
    if job.row.native_categories:
        estimator.set_params(categorical_features=_categories(job, estimator.max_bins))
    if job.row.calibrated:
        estimator = _calibrated(estimator, job)
    unit = _unit(job)
    target = job.target.values if unit == Unit() else (job.target.values - unit.zero) / unit.one
    with _limited(_controller(), job.threads):
        return estimator.fit(job.train.values, target, **_weights(estimator, job), **_watched(job)), unit


def _watched(job: FitJob) -> dict[str, Any]:
    """Return the validation rows that say when to stop; a class without training rows has no place there."""
    if not (job.stopping and job.validation):
        return {}
    matrix, target = job.validation
    known = np.isin(target.values, job.target.values) if target.classes else slice(None)
    return {"X_val": matrix.values[known], "y_val": target.values[known]}


def _forget_scorer(estimator: Any) -> None:
    """Take away what the fit watched itself with: a method of its own, which no file can hold."""
    estimator._scorer = None  # noqa: SLF001 - neither has another name
    vars(estimator).pop("_raw_predict", None)


def _cut(estimator: Any) -> dict[str, Any]:
    """Cut off the trees behind the best round, which scikit-learn keeps."""
    scores = estimator.validation_score_[1:]  # the first is of no tree
    best = int(np.argmax(scores))
    del estimator._predictors[best + 1 :]  # noqa: SLF001 - it has no other name
    return {"best_iteration": best, "history": {"validation_score": tuple(scores.tolist())}}


def _categories(job: FitJob, most: int) -> list[int] | None:
    """Return the positions of the categorical features, each of which has room for its levels."""
    # scikit-learn moves them to the front, and the constraint's positions do not go along
    if job.train.categorical and isinstance(job.params.get("interaction_cst"), list):
        raise SettingsError(
            f"{job.row.name} applies 'interaction_cst' to other features where some are categorical.",
            hint="Leave it out, or add a one_hot_encoder step.",
        )
    for position, n_levels in job.train.categorical.items():
        if n_levels > most:
            raise DataError(
                f"{job.row.name} takes at most {most} categories, and {job.train.names[position]!r}"
                f" has {n_levels:,}.",
                hint="Add a target_encoder step for it.",
            )
    return sorted(job.train.categorical) or None


def _calibrated(estimator: Any, job: FitJob) -> Any:
    """Give an estimator of scores its probabilities: a sigmoid over scores that are out of fold."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold

    present, counts = np.unique(job.target.values, return_counts=True)
    if counts.min() == 1:
        raise DataError(
            f"{job.row.name} gets its probabilities out of fold, and the class"
            f" {job.target.classes[present[counts.argmin()]]!r} has one training row.",
            hint="Leave the class out, or choose a model that has probabilities of its own.",
        )
    folds = StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=job.seed)
    return CalibratedClassifierCV(estimator, ensemble=False, cv=folds)


def _unit(job: FitJob) -> Unit:
    if not job.row.scale_target or job.target.classes:
        return Unit()
    return Unit(float(job.target.values.mean()), float(job.target.values.std()) or 1.0)


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> SklearnModel:
    """Read an estimator; types outside skops' list, `TRUSTED` and `trust` are refused."""
    path = folder / _FILE[meta["format"]]
    is_pickle = meta["format"] == PICKLE
    estimator = _unpickled(path, trust) if is_pickle else unskopsed(path.read_bytes(), trust)
    return SklearnModel(
        meta["n_classes"],
        meta["n_features"],
        n_threads,
        estimator=estimator,
        format=meta["format"],
        in_blocks=meta["in_blocks"],
        unit=Unit(**meta["unit"]),
    )


def errors() -> tuple[type[Exception], ...]:
    """Return what scikit-learn and what follows its ways raise."""
    return ValueError, TypeError, ArithmeticError, NotImplementedError


def check_saveable(
    row: ModelRow, params: Mapping[str, Any], *, trust: Collection[str] = (), allow_pickle: bool = False
) -> str:
    """Say how an estimator will be saved, by fitting a small one to made-up rows first.

    Returns
    -------
    {"skops", "pickle"}
        The format.

    Raises
    ------
    SettingsError
        Where it holds types that neither skops, nor the table here, nor `trust` knows, and
        `allow_pickle` is false.
    """
    if row.parameters:  # of the catalog: a conformance test has fitted and saved it
        return "skops"
    from skops.io import dumps

    unknown = untrusted(dumps(_rehearse(row, params)), trust)
    if not unknown:
        return "skops"
    if allow_pickle:
        return PICKLE
    names = ", ".join(unknown)
    raise SettingsError(
        f"{row.name} cannot be saved safely: it holds {names}.",
        hint=f"Add 'package: {{trust: [{names}]}}' to the recipe if you trust this code,"
        " or 'package: {allow_pickle: true}'.",
    )


def _rehearse(row: ModelRow, params: Mapping[str, Any]) -> Any:
    estimator = _estimator(row, params)
    if "n_estimators" in estimator.get_params(deep=False):
        estimator.set_params(n_estimators=2)
    rng = np.random.default_rng(0)
    rows = rng.random((60, 3))
    target = rows.sum(axis=1) if row.task == "regression" else np.arange(60) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters comes again with the real rows
        return estimator.fit(rows, target)


def _estimator(row: ModelRow, params: Mapping[str, Any]) -> Any:
    """Make the estimator, and refuse what is none for the task before any row is read."""
    made = resolve(row.class_path)
    if not (isinstance(made, type) and all(hasattr(made, name) for name in _METHODS)):
        raise SettingsError(
            f"{row.class_path} is no scikit-learn compatible estimator.",
            hint=f"Name a class that has {', '.join(_METHODS)}.",
        )
    _check_names(made, row, params)
    estimator = made(**params)
    _check_task(estimator, row)
    return estimator


def _check_names(made: type, row: ModelRow, params: Mapping[str, Any]) -> None:
    """Refuse a hyperparameter that the class does not have, and one that it needs and does not get."""
    accepted = signature(made).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for name in params:
        if name not in accepted and not takes_any:
            raise UnknownNameError(
                f"{row.name} has no hyperparameter '{name}'.",
                hint=did_you_mean(name, list(accepted)) or f"It has {', '.join(accepted)}.",
            )
    for name, parameter in accepted.items():
        required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if required and name not in params:
            raise SettingsError(
                f"{row.name} needs the hyperparameter '{name}'.",
                hint="Add it under model.hyperparameters.values, or choose another estimator.",
            )


def _check_task(estimator: Any, row: ModelRow) -> None:
    from sklearn.base import is_classifier, is_regressor

    fits = is_classifier(estimator) if row.task == "classification" else is_regressor(estimator)
    if not fits:
        raise SettingsError(
            f"{row.class_path} is no estimator for {row.task}.",
            hint="Change task_choice, or name a class that fits it.",
        )
    if row.task == "classification" and not (row.calibrated or hasattr(estimator, "predict_proba")):
        raise SettingsError(
            f"{row.name} predicts no probabilities, and a classifier here must.",
            hint="Name an estimator with predict_proba, or one of the catalog (mmp list models).",
        )


def _weights(estimator: Any, job: FitJob) -> dict[str, Any]:
    if job.weights is None:
        return {}
    if "sample_weight" not in signature(estimator.fit).parameters:
        raise SettingsError(
            f"{job.row.name} takes no weights, so class_weight cannot be applied.",
            hint="Leave out model.class_weight, or choose another estimator.",
        )
    return {"sample_weight": job.weights}


def _controller() -> Any:
    """Return what holds the thread pools of native libraries, or None where nothing does."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController()


def _limited(controller: Any, n_threads: int) -> AbstractContextManager[Any]:
    limits: AbstractContextManager[Any] = controller.limit(limits=n_threads) if controller else nullcontext()
    return limits


def unskopsed(data: bytes, trust: Collection[str]) -> Any:
    """Read what skops wrote.

    Raises
    ------
    ArtifactError
        Where it holds types outside skops' list, `TRUSTED` and `trust`.
    """
    from skops.io import get_untrusted_types, load

    if unknown := untrusted(data, trust):
        names = ", ".join(unknown)
        raise ArtifactError(
            f"The model holds types that are not trusted: {names}.",
            hint=f"Add 'trust: [{names}]' to the config if you trust this code.",
        )
    return load(io.BytesIO(data), trusted=get_untrusted_types(data=data))


def untrusted(data: bytes, trust: Collection[str]) -> list[str]:
    """Return the types of a skops file that neither skops, nor the table here, nor `trust` knows."""
    from skops.io import get_untrusted_types

    return sorted(set(get_untrusted_types(data=data)) - TRUSTED - set(trust))


def _unpickled(path: Path, trust: Collection[str]) -> Any:
    if PICKLE not in trust:
        raise ArtifactError(
            "The model is a pickle, and loading one runs whatever code it holds.",
            hint="Add 'trust: [pickle]' to the config if you trust whoever wrote it.",
        )
    return pickle.loads(path.read_bytes())  # noqa: S301 - asked for in two places, by name
