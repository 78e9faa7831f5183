"""What every engine takes and gives: one job, one model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from mmp.modeling import threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.pipeline import Matrix
    from mmp.modeling.target import Target

    Output = float | list[float]


@dataclass(frozen=True, slots=True)
class Stopping:
    """When a fit has gone on for long enough.

    Parameters
    ----------
    rounds : int
        Rounds without a better value on the validation split.
    metric : str or None
        The library's own name of the metric; None for the objective's.
    """

    rounds: int
    metric: str | None = None


@dataclass(frozen=True)
class FitJob:
    """Everything an engine needs to fit.

    Parameters
    ----------
    row : ModelRow
        The estimator.
    params : mapping
        Its hyperparameters under the row's names, without seed and threads.
    train : Matrix
        The training rows; NaN where a value is missing.
    target : Target
        What belongs to them.
    validation : tuple of (Matrix, Target) or None
        Rows that the history and early stopping look at.
    stopping : Stopping or None
        When to stop early.
    weights : ndarray of float64 or None
        Weights of the training rows.
    seed, threads : int
        One of each for everything inside.
    on_iteration : callable or None
        Called with the round, from 0, and its values on the validation split; the fit ends where it
        returns true.
    trust : collection of str
        Dotted types, beyond those in code, that may be saved.
    allow_pickle : bool
        Whether an estimator that cannot be saved safely may be pickled.
    """

    row: ModelRow
    params: Mapping[str, Any]
    train: Matrix
    target: Target
    validation: tuple[Matrix, Target] | None = None
    stopping: Stopping | None = None
    weights: npt.NDArray[np.float64] | None = None
    seed: int = 42
    threads: int = 1
    on_iteration: Callable[[int, Mapping[str, float]], bool | None] | None = None
    trust: Collection[str] = ()
    allow_pickle: bool = False


@dataclass(frozen=True, eq=False)
class Model(ABC):
    """A fitted estimator: from a matrix to probabilities or numbers, and to files.

    A model may be made of models: what calibrates one, adds bounds to it or joins several is an engine of
    its own that holds them, so that there is one way to predict.

    Parameters
    ----------
    n_classes : int
        Number of classes, 0 for regression.
    n_features : int
        Number of columns of the matrix.
    threads : int
        Most threads that a prediction may use.
    best_iteration : int or None
        The last round that predictions use, from 0, where the fit stopped early.
    history : mapping of str to tuple of float
        ``validation_<metric>``, in the library's words, by round. Not saved.
    fitted : ndarray of float64 or None
        What `predict` gives for the training rows, where the library has it from fitting. Not saved.
    """

    engine: ClassVar[str]

    n_classes: int
    n_features: int
    threads: int = 1
    best_iteration: int | None = None
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    fitted: npt.NDArray[np.float64] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what each row's output has beyond a predicted number, which comes first."""
        return ()

    @property
    def parts(self) -> tuple[Model, ...]:
        """The models that it is made of."""
        return ()

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of the engines whose libraries it needs."""
        return _distinct(name for part in self.parts for name in part.libraries) or (self.engine,)

    @property
    def explained(self) -> Model:
        """The model whose contributions explain this one: itself, or what it does no more than adjust."""
        return self

    def predictor(self, n_rows: int | None = None) -> str:
        """Say what predicts a table of so many rows, None where nobody knows how many."""
        inside = _distinct(part.predictor(n_rows) for part in self.parts)
        return ", ".join(inside) or f"{self.engine}'s own call"

    def ready_for(self, n_rows: int | None) -> Self:
        """Return the same model in the form that is quickest for so many rows, None for nobody knows."""
        return self._made_of([part.ready_for(n_rows) for part in self.parts])

    def with_threads(self, n_threads: int) -> Self:
        """Return the same model, predicting with at most so many threads."""
        parts = [part.with_threads(n_threads) for part in self.parts]
        return replace(self._made_of(parts), threads=n_threads)

    def _made_of(self, parts: Sequence[Model]) -> Self:  # noqa: ARG002 - for those that have parts
        """Return the same model, made of these in place of its parts."""
        return self

    def predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Predict every row by itself: its answer does not depend on what stands beside it.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            The matrix, C-order.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_classes), (n_rows,) or (n_rows, 1 + len(columns))
            Probabilities, or numbers; in columns where there is more of a row than a number.
        """
        if values.ndim != 2 or values.shape[1] != self.n_features:
            raise ValueError(
                f"A matrix of {self.n_features} columns is needed, not one of shape {values.shape}."
            )
        if not len(values):
            return np.empty((0, *self._width))
        return np.ascontiguousarray(self._predict(values))

    @property
    def _width(self) -> tuple[int, ...]:
        """Shape of one row's output."""
        if self.n_classes:
            return (self.n_classes,)
        return (1 + len(self.columns),) if self.columns else ()

    def scores(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what the model says before its link function, of shape (n_rows, n_scores).

        A booster of two classes has one score, the log-odds of the second; where there is no link
        function, scores are the predictions.
        """
        return self.predict(values).reshape(len(values), -1)

    def contributions(
        self,
        values: npt.NDArray[Any],  # noqa: ARG002 - for those that have their own
    ) -> npt.NDArray[np.float64] | None:
        """Share the scores of each row out among the features, exactly, as SHAP values.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_features)
            The matrix, C-order.

        Returns
        -------
        ndarray of shape (n_rows, n_scores, n_features + 1), or None
            The last one is the base value, the score of a row of which nothing is known; all of them
            sum to the score. None where the library has no contributions of its own.

        References
        ----------
        Lundberg, S. M. et al. (2020). From local explanations to global understanding with explainable
        AI for trees. Nature Machine Intelligence, 2.
        """
        return None

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the estimator's own files into a folder and return, for JSON, what `load` wants to know."""
        return {"n_classes": self.n_classes, "n_features": self.n_features, **self._save(folder)}

    def _threads_for(self, values: npt.NDArray[Any]) -> int:
        """Return the threads worth starting for a matrix."""
        n_rows, n_features = values.shape
        return min(self.threads, threads.choose(n_rows, n_features))

    def one(self, values: npt.NDArray[Any]) -> Output:
        """Predict a matrix of one row as `predict` does: a list of its output's columns, or a number."""
        output: list[Output] = self.predict(values).tolist()
        return output[0]

    @abstractmethod
    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]: ...

    @abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]: ...


class Engine(Protocol):
    """What a module of this package has to offer."""

    def fit(self, job: FitJob) -> Model:
        """Fit the estimator of a job."""

    def load(self, folder: Path, meta: Mapping[str, Any], *, trust: Collection[str], n_threads: int) -> Model:
        """Read what `Model.save` wrote; `meta` is what it returned."""

    def errors(self) -> tuple[type[Exception], ...]:
        """Return what the library raises where it refuses a hyperparameter or a matrix."""


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def both_classes(positive: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return the columns of both classes from the probability of the second."""
    return np.stack((1 - positive, positive), axis=1).astype(np.float64)
