"""Any scikit-learn compatible estimator, saved with skops so that loading it runs no code of a stranger."""

from __future__ import annotations

import io
import pickle
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mmp.errors import ArtifactError, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean, resolve
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

_METHODS = ("fit", "predict", "get_params", "set_params")

# Parts of scikit-learn's own estimators that skops leaves to us: plain numbers behind a constructor.
TRUSTED: Final = frozenset(
    {
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)


@dataclass(frozen=True, eq=False)
class SklearnModel(Model):
    """An estimator, and how it may be saved."""

    engine = "sklearn"
    estimator: Any = None
    format: str = "skops"

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        if not self.n_classes:
            return np.asarray(self.estimator.predict(values), np.float64).reshape(len(values))
        output = np.zeros((len(values), self.n_classes))
        # a class without training rows is none of the estimator's, and has no probability
        output[:, self.estimator.classes_] = self.estimator.predict_proba(values)
        return output

    def _save(self, folder: Path) -> dict[str, Any]:
        path = folder / _FILE[self.format]
        if self.format == PICKLE:
            path.write_bytes(pickle.dumps(self.estimator))
        else:
            from skops.io import dumps

            path.write_bytes(steady(dumps(self.estimator)))
        return {"format": self.format}


def fit(job: FitJob) -> SklearnModel:
    """Fit the estimator, after making sure that it can be saved."""
    saved_as = check_saveable(job.row, job.params, trust=job.trust, allow_pickle=job.allow_pickle)
    estimator = fitted(job)
    if "n_jobs" in estimator.get_params(deep=False):
        # threads add up a forest's trees in the order they come, and two predictions differ
        estimator.set_params(n_jobs=1)
    return SklearnModel(
        job.target.n_classes, job.train.values.shape[1], job.threads, estimator=estimator, format=saved_as
    )


def fitted(job: FitJob) -> Any:
    """Return the fitted estimator of a job."""
    estimator = _estimator(job.row, job.params)
    own = estimator.get_params(deep=False)
    wanted = ((job.row.seed_param, job.seed), (job.row.thread_param, job.threads))
    estimator.set_params(**{name: value for name, value in wanted if name and name in own})
    with _threads(job.threads):
        return estimator.fit(job.train.values, job.target.values, **_weights(estimator, job))


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> SklearnModel:
    """Read an estimator; types outside skops' list, `TRUSTED` and `trust` are refused."""
    path = folder / _FILE[meta["format"]]
    read = _unpickled if meta["format"] == PICKLE else _unskopsed
    return SklearnModel(
        meta["n_classes"], meta["n_features"], n_threads, estimator=read(path, trust), format=meta["format"]
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
    from skops.io import dumps, get_untrusted_types

    unknown = set(get_untrusted_types(data=dumps(_rehearse(row, params)))) - TRUSTED - set(trust)
    if not unknown:
        return "skops"
    if allow_pickle:
        return PICKLE
    names = ", ".join(sorted(unknown))
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
    if row.task == "classification" and not hasattr(estimator, "predict_proba"):
        raise SettingsError(
            f"{row.name} predicts no probabilities, and a classifier here must.",
            hint="Name an estimator with predict_proba; sklearn.svm.SVC has it with 'probability: true'.",
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


def _threads(count: int) -> AbstractContextManager[Any]:
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(limits=count)
    return limits


def _unskopsed(path: Path, trust: Collection[str]) -> Any:
    from skops.io import get_untrusted_types, load

    data = path.read_bytes()
    allowed = TRUSTED | set(trust)
    found = set(get_untrusted_types(data=data))
    if found - allowed:
        names = ", ".join(sorted(found - allowed))
        raise ArtifactError(
            f"The model holds types that are not trusted: {names}.",
            hint=f"Add 'trust: [{names}]' to the config if you trust this code.",
        )
    return load(io.BytesIO(data), trusted=sorted(found))


def _unpickled(path: Path, trust: Collection[str]) -> Any:
    if PICKLE not in trust:
        raise ArtifactError(
            "The model is a pickle, and loading one runs whatever code it holds.",
            hint="Add 'trust: [pickle]' to the config if you trust whoever wrote it.",
        )
    return pickle.loads(path.read_bytes())  # noqa: S301 - asked for in two places, by name
