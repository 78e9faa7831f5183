"""What a model says of rows that it was not fitted on: a fit a fold, in as much time as there is."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil, inf
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from mmp.modeling import threads
from mmp.modeling.answer import answer
from mmp.pipelines.check import model_row
from mmp.pipelines.fitting import fit
from mmp.pipelines.folds import for_good
from mmp.pipelines.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.engines.base import Model
    from mmp.modeling.target import Target
    from mmp.pipelines.prepare import Parts, Prepared
    from mmp.pipelines.rows import Rows
    from mmp.settings.recipe import Recipe

    Output = npt.NDArray[np.float64]
    Watch = Callable[[int, Mapping[str, float]], bool]

JUDGED, WATCHED = "judged", "validation"
"""The parts of a fold beside its training rows: those that judge, and those that early stopping looks at."""

_MOST_CELLS = 20_000_000  # of prepared folds that are kept for the models to come


@dataclass(frozen=True)
class Said:
    """A member, and what it says of rows that it was not fitted on.

    Parameters
    ----------
    recipe : Recipe
        Of this member alone, for the fit on all training rows.
    outputs : tuple of ndarray
        Of the ``validation`` rows of each fold.
    seconds : float
        Wall seconds that all of it took.
    once_s : float
        Seconds of one fit, as far as its rounds were of use: the last fit does without the others.
    """

    recipe: Recipe
    outputs: tuple[Output, ...]
    seconds: float
    once_s: float

    @property
    def row(self) -> ModelRow:
        """The estimator."""
        return model_row(self.recipe)

    @property
    def output(self) -> Output:
        """All outputs in the order of the folds."""
        return np.concatenate(self.outputs)


class Folds:
    """The rows of each fold as members take them, prepared once for those that take them alike.

    Parameters
    ----------
    rows : Rows
        All rows, the table among them.
    divisions : sequence of mapping of str to ndarray
        Positions of ``train`` and ``validation`` of each fold.
    watched : ndarray of int64 or None
        Positions of the rows that early stopping looks at, those of the fold that judge where None.
    """

    def __init__(
        self, rows: Rows, divisions: Sequence[Parts], watched: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.rows = rows
        self.divisions = divisions
        self._watched = watched
        self._kept: dict[tuple[object, ...], Prepared] = {}
        self._cells = 0

    def __len__(self) -> int:
        return len(self.divisions)

    def first(self, n_folds: int) -> Folds:
        """Return the first of them, with what is prepared of them."""
        some = Folds(self.rows, self.divisions[:n_folds], self._watched)
        some._kept, some._cells = self._kept, self._cells
        return some

    @property
    def n_rows(self) -> int:
        """Rows that the first fold learns from."""
        return len(self.divisions[0]["train"])

    @property
    def has_watched(self) -> bool:
        """Whether there are rows for early stopping that the last fit can look at, too."""
        return self._watched is not None

    @property
    def target(self) -> Target:
        """The truth of the rows that judge, in the order of the folds."""
        return self.rows.target.take(np.concatenate([parts["validation"] for parts in self.divisions]))

    def prepared(self, number: int, recipe: Recipe) -> Prepared:
        """Return the rows of one fold as the model of a recipe takes them."""
        key = (number, recipe.model.class_path, id(recipe.preprocessor))
        if key not in self._kept:
            made = self._prepare(number, recipe, model_row(recipe))
            self._cells += sum(matrix.values.size for matrix in made.matrices.values())
            if self._cells > _MOST_CELLS:
                return _watching(made, recipe)
            self._kept[key] = made
        return _watching(self._kept[key], recipe)

    def _prepare(self, number: int, recipe: Recipe, row: ModelRow) -> Prepared:
        fold = self.divisions[number]
        parts = {"train": fold["train"], JUDGED: fold["validation"]}
        if self._watched is not None:
            parts[WATCHED] = self._watched
        return prepare(self.rows, parts, recipe, row)


def _watching(prepared: Prepared, recipe: Recipe) -> Prepared:
    """Return the rows with those that early stopping is to look at, and without them where there is none."""
    matrices = dict(prepared.matrices)
    targets = {**prepared.targets, WATCHED: prepared.targets.get(WATCHED, prepared.targets[JUDGED])}
    watched = matrices.pop(WATCHED, matrices[JUDGED])
    if recipe.model.early_stopping is not None:
        matrices[WATCHED] = watched
    return replace(prepared, matrices=matrices, targets=targets)


def out_of_fold(
    folds: Folds,
    member: Recipe,
    tell: Callable[[str], None],
    *,
    seconds: float = inf,
    clock: Callable[[], float] = time.perf_counter,
) -> Said:
    """Fit a member on the rows of each fold, and keep what it says of those that it was not fitted on.

    Parameters
    ----------
    folds : Folds
        The rows.
    member : Recipe
        Of this member alone.
    tell : callable
        Is told in words how far it is.
    seconds : float
        Wall seconds after which boosters end as they are.
    clock : callable
        Tells the time in seconds.

    Raises
    ------
    MmpError
        As of one fit.
    """
    row, begun = model_row(member), clock()
    prepared = [folds.prepared(number, member) for number in range(len(folds))]
    n_threads = _at_a_time(prepared, member)
    turns = ceil(len(folds) / n_threads)

    def one(number: int) -> _Fold:
        tell(f"fold {number + 1} of {len(folds)}")
        began, turn = clock(), number // n_threads + 1
        watch = until(begun + seconds * turn / turns, clock)
        model = fit(prepared[number], member, row, on_iteration=watch).model
        output = answer(model, prepared[number].matrices[JUDGED], where=f"fold {number + 1}")
        return _Fold(model, output, clock() - began)

    made = _each(one, len(folds), n_threads)
    stopped = [each.model.best_iteration + 1 for each in made if each.model.best_iteration is not None]
    final = member if folds.has_watched else for_good(member, row, stopped)
    once_s = fmean(each.seconds * each.share for each in made)
    return Said(final, tuple(each.output for each in made), clock() - begun, once_s)


@dataclass(frozen=True)
class _Fold:
    """A fit, what it says, and the wall seconds of both."""

    model: Model
    output: Output
    seconds: float

    @property
    def share(self) -> float:
        """How many of its rounds were of use."""
        best, rounds = self.model.best_iteration, max(map(len, self.model.history.values()), default=0)
        return 1.0 if best is None or not rounds else min(1.0, (best + 1) / rounds)


def _at_a_time(prepared: Sequence[Prepared], member: Recipe) -> int:
    """Return how many folds to fit at once: several where a fit by itself uses one core."""
    n_rows, n_features = prepared[0].matrices["train"].values.shape
    is_narrow = member.model.threads == "auto" and threads.choose(n_rows, n_features) == 1
    return min(threads.cores(), len(prepared)) if is_narrow else 1


def _each(function: Callable[[int], _Fold], n_folds: int, n_threads: int) -> list[_Fold]:
    if n_threads == 1:
        return [function(number) for number in range(n_folds)]
    # fits in threads put each other's filters of warnings back
    with warnings.catch_warnings(), ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(function, range(n_folds)))


def until(end: float, clock: Callable[[], float]) -> Watch | None:
    """Return what ends a fit of rounds when it is time, None where there is no end."""
    return None if end == inf else lambda _round, _values: clock() >= end
