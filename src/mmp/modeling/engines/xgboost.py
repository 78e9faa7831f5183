"""XGBoost through its native interface: the same trees as `XGBClassifier`, without scikit-learn."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import SettingsError
from mmp.modeling.engines.base import FitJob, Model, both_classes
from mmp.modeling.engines.compiled import NAME, compiled
from mmp.modeling.engines.shapley import Forest, Tree
from mmp.modeling.engines.walk import Walk, of_xgboost
from mmp.modeling.lean import library
from mmp.modeling.state import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from mmp.modeling.engines.base import Output
    from mmp.modeling.engines.walk import Singles
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target

_FILE = "model.ubj"
_WALK = "trees.npz"
_WALKED = "trees walked in NumPy"
_EDGE_ROWS = 1024
_FEW_ROWS = 32  # as many as golden rows, so that loading compares the walk
_CONSTRAINTS = {"interaction_constraints", "monotone_constraints"}
_ROUNDS = 100  # the library's own default


@dataclass(frozen=True, eq=False)
class XGBoostModel(Model):
    """A booster, or its file and a walk through its trees, which does without the library for few rows.

    Parameters
    ----------
    own : object
        The booster, where it is loaded already.
    file : bytes
        The booster's file, for when it is needed.
    walk : Walk or None
        Its trees.
    """

    engine = "xgboost"
    own: Any = None
    file: bytes = field(default=b"", repr=False)
    walk: Walk | None = None
    _setting: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @cached_property
    def booster(self) -> Any:
        """The booster."""
        if self.own is not None:
            self.own.set_param({"nthread": self.threads})
            return self.own
        return library("xgboost").Booster({"nthread": self.threads}, model_file=bytearray(self.file))

    def one(self, values: npt.NDArray[Any]) -> Output:
        """Predict one row."""
        return super().one(values) if self.walk is None else self.walk.one(values)

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        if self.walk is None:
            return self._boosted(values)
        return self.walk.many(values) if len(values) <= _FEW_ROWS else self._many[1](values)

    def predictor(self, n_rows: int | None = None) -> str:
        """Say what predicts a table of so many rows."""
        if self.walk is None:
            return super().predictor(n_rows)
        return _WALKED if n_rows is not None and n_rows <= _FEW_ROWS else self._many[0]

    @cached_property
    def _many(self) -> tuple[str, Callable[[Singles], npt.NDArray[np.float64]]]:
        """Find what gives the walk's bits, on this machine and with the libraries here, and is quicker."""
        walk = self.walk
        assert walk is not None, "without it there is no choice"
        trees = compiled(list(walk.trees()), walk.base)
        if trees is not None:

            def together(values: Singles) -> npt.NDArray[np.float64]:
                return walk.answers(trees.margins(values))

            if walk.agrees(together, self.n_features, n_rows=_EDGE_ROWS):
                return NAME, together
        if walk.agrees(self._boosted, self.n_features):
            return super().predictor(), self._boosted
        return _WALKED, walk.many

    def _boosted(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        with self._threads_set(values):
            return _probabilities(self.booster.inplace_predict(values), self.n_classes)

    def scores(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the margins."""
        margins = self.booster.inplace_predict(values, predict_type="margin")
        return np.asarray(margins, np.float64).reshape(len(values), -1)

    def contributions(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return exact contributions to the margins.

        The booster's own (``pred_contribs``) for categories, DART and vector leaves; of ordinary trees the
        same numbers from `mmp.modeling.engines.shapley`, which takes an eighth of the time.
        """
        if self._forest is None:
            return self._own_contributions(values)
        parts = self._forest.parts(values)
        base = self.scores(values) - parts.sum(axis=2)
        base[:] = base.mean(axis=0)
        return np.concatenate((parts, base[:, :, None]), axis=2)

    @cached_property
    def _forest(self) -> Forest | None:
        return _forest(self.booster)

    def _own_contributions(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        types = self.booster.feature_types
        with self._threads_set(values) as n_threads:
            rows = library("xgboost").DMatrix(
                values, feature_types=types, enable_categorical=types is not None, nthread=n_threads
            )
            parts = self.booster.predict(rows, pred_contribs=True, strict_shape=True)
        return np.asarray(parts, np.float64)

    @contextmanager
    def _threads_set(self, values: npt.NDArray[Any]) -> Iterator[int]:
        """Let a booster use as many threads as a matrix is worth.

        Setting that while another thread predicts is an error in XGBoost. So predictions of several
        threads wait for each other, but for those of one: nothing has to be set for them.
        """
        n_threads = self._threads_for(values)
        if self.threads == 1:
            yield n_threads
            return
        with self._setting:
            self.booster.set_param({"nthread": n_threads})
            yield n_threads

    def _save(self, folder: Path) -> dict[str, Any]:
        (folder / _FILE).write_bytes(self.file or self.booster.save_raw("ubj"))
        walk = self.walk or of_xgboost(_learner(self.booster), self.n_features)
        if walk is None or not walk.agrees(self._boosted, self.n_features):
            return {}
        write_arrays(folder / _WALK, walk.arrays())
        return {"walk": walk.meta()}


def fit(job: FitJob) -> XGBoostModel:
    """Fit a booster and cut off the trees behind the best round, if the fit stopped early."""
    xgboost = library("xgboost")
    params = _native(job)
    rounds = params.pop("n_estimators", None) or _ROUNDS
    train = _dmatrix(job.train, job.target, params, weight=job.weights)
    watched, seen = [], {}  # type: list[Any], dict[str, dict[str, list[float]]]
    if job.validation:
        watched = [(_dmatrix(*job.validation, params, ref=train), "validation")]
    callbacks: list[Any] = [_reporter(job.on_iteration)] if job.on_iteration else []
    answers: list[npt.NDArray[Any]] = []
    # behind a best round stand trees that no prediction uses, and DART weighs its trees anew in every round
    if not job.stopping and params.get("booster") != "dart":
        callbacks.append(_keeper(answers, train))
    booster = xgboost.train(
        params,
        train,
        rounds,
        evals=watched,
        evals_result=seen,
        early_stopping_rounds=job.stopping.rounds if job.stopping else None,
        callbacks=callbacks,
        verbose_eval=False,
    )
    best = _best(booster) if job.stopping else None
    return XGBoostModel(
        job.target.n_classes,
        job.train.values.shape[1],
        job.threads,
        best,
        {f"validation_{name}": tuple(values) for name, values in seen.get("validation", {}).items()},
        _probabilities(answers[0], job.target.n_classes) if answers else None,
        own=booster if best is None else booster[: best + 1],
    )


def _best(booster: Any) -> int:
    """Return the best round; the last one where the fit was ended before any was compared."""
    return int(booster.attr("best_iteration") or booster.num_boosted_rounds() - 1)


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> XGBoostModel:
    """Read a booster; where there is a walk, without the library."""
    walk = Walk.of(read_arrays(folder / _WALK), meta["walk"]) if "walk" in meta else None
    file = (folder / _FILE).read_bytes()
    model = XGBoostModel(meta["n_classes"], meta["n_features"], n_threads, file=file, walk=walk)
    if walk is None:
        assert model.booster, "a file that cannot be read is found now"
    return model


def errors() -> tuple[type[Exception], ...]:
    """Return what XGBoost raises."""
    return library("xgboost").core.XGBoostError, ValueError, TypeError


def _probabilities(output: npt.NDArray[Any], n_classes: int) -> npt.NDArray[np.float64]:
    """Return the probability of each of two classes too, or numbers as they are."""
    if n_classes == 2 and output.ndim == 1:
        return both_classes(output)
    return np.asarray(output, np.float64)


def _native(job: FitJob) -> dict[str, Any]:
    params = {"objective": None} | dict(job.params) | {"nthread": job.threads, "seed": job.seed}
    if params.get("booster") == "gblinear":
        raise SettingsError(
            "XGBoost's 'gblinear' booster is not supported: it predicts without trees.",
            hint="Use sklearn.linear_model.LogisticRegression or LinearRegression.",
        )
    params |= {name: _as_text(params[name]) for name in _CONSTRAINTS & params.keys()}
    if job.stopping and job.stopping.metric:
        params["eval_metric"] = job.stopping.metric
    classes = job.target.n_classes
    if classes > 2:  # as XGBClassifier does
        params["objective"] = None
    if str(params["objective"]).startswith("multi:") or classes > 2:
        params |= {"objective": "multi:softprob", "num_class": classes}
    params["objective"] = params["objective"] or ("binary:logistic" if classes else "reg:squarederror")
    return params


def _learner(booster: Any) -> dict[str, Any]:
    learner: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))["learner"]
    return learner


def _forest(booster: Any) -> Forest | None:
    """Return a booster's trees, None where they are not plain numeric ones."""
    learner = _learner(booster)["gradient_booster"]
    if learner["name"] != "gbtree":
        return None
    trees = [_tree(tree) for tree in learner["model"]["trees"]]
    plain = [tree for tree in trees if tree is not None]
    return Forest.of(plain, learner["model"]["tree_info"]) if plain and len(plain) == len(trees) else None


def _tree(stored: Mapping[str, Any]) -> Tree | None:
    cover = np.array(stored["sum_hessian"], np.float64)
    vector = int(stored["tree_param"]["size_leaf_vector"]) > 1
    if vector or any(stored["split_type"]) or not (cover > 0).all():
        return None
    conditions = np.array(stored["split_conditions"], np.float32)  # thresholds, and the values of leaves
    return Tree(
        left=np.array(stored["left_children"], np.intp),
        right=np.array(stored["right_children"], np.intp),
        feature=np.array(stored["split_indices"], np.intp),
        threshold=conditions,
        missing_left=np.array(stored["default_left"], np.bool_),
        cover=cover,
        value=conditions.astype(np.float64),
    )


def _as_text(constraints: Any) -> Any:
    """Write constraints as the text in which XGBoost takes them by position."""
    if not isinstance(constraints, list):
        return constraints
    text = ",".join(str(member) for member in constraints)
    return f"[{text}]" if isinstance(constraints[0], list) else f"({text})"


def _dmatrix(
    matrix: Matrix,
    target: Target,
    params: Mapping[str, Any],
    *,
    weight: npt.NDArray[np.float64] | None = None,
    ref: Any = None,
) -> Any:
    xgboost = library("xgboost")
    types = ["c" if position in matrix.categorical else "q" for position in range(matrix.values.shape[1])]
    common = {
        "label": target.values,
        "weight": weight,
        "feature_types": types if matrix.categorical else None,
        "enable_categorical": bool(matrix.categorical),
        "nthread": params["nthread"],
    }
    if params.get("tree_method") in {None, "auto", "hist"}:
        max_bin = params.get("max_bin")
        return xgboost.QuantileDMatrix(matrix.values, ref=ref, max_bin=max_bin, **common)
    return xgboost.DMatrix(matrix.values, **common)


def _reporter(report: Callable[[int, Mapping[str, float]], bool | None]) -> Any:
    class Reporter(library("xgboost").callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, _model: Any, epoch: int, evals_log: Any) -> bool:
            seen = evals_log.get("validation", {})
            return bool(report(epoch, {f"validation_{name}": values[-1] for name, values in seen.items()}))

    return Reporter()


def _keeper(answers: list[npt.NDArray[Any]], train: Any) -> Any:
    """Return what keeps the answers for the training rows, which boosting has summed up on its way."""

    class Keeper(library("xgboost").callback.TrainingCallback):  # type: ignore[misc]
        def after_training(self, model: Any) -> Any:
            answers.append(model.predict(train))
            return model

    return Keeper()
