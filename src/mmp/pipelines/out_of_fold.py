"""What a model says of rows that it was not fitted on: a fit a fold, in as much time as there is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mmp.modeling.answer import answer
from mmp.pipelines.check import model_row
from mmp.pipelines.fitting import fit
from mmp.pipelines.folds import for_good
from mmp.pipelines.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
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
        Wall seconds that its fits took.
    share : float
        Of their rounds that were of use, where they stopped early: the last fit does without the others.
    """

    recipe: Recipe
    outputs: tuple[Output, ...]
    seconds: float
    share: float = 1.0

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
        row = model_row(recipe)
        # what `modeling.build` and `prepare` look at
        traits = (row.engine, row.matrix_dtype, row.native_categories, row.handles_nulls, row.scale)
        key = (number, *traits, id(recipe.preprocessor))
        if key not in self._kept:
            made = self._prepare(number, recipe, row)
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
    outputs: list[Output] = []
    stopped: list[int] = []
    rounds, row, begun = 0, model_row(member), clock()
    for number in range(len(folds)):
        tell(f"fold {number + 1} of {len(folds)}")
        prepared = folds.prepared(number, member)
        watch = until(begun + seconds * (number + 1) / len(folds), clock)
        model = fit(prepared, member, row, on_iteration=watch).model
        outputs.append(answer(model, prepared.matrices[JUDGED], where=f"fold {number + 1}"))
        if model.best_iteration is not None:
            stopped.append(model.best_iteration + 1)
            rounds += max(map(len, model.history.values()))
    if not folds.has_watched:
        member = for_good(member, row, stopped)
    return Said(member, tuple(outputs), clock() - begun, sum(stopped) / rounds if rounds else 1.0)


def until(end: float, clock: Callable[[], float]) -> Watch | None:
    """Return what ends a fit of rounds when it is time, None where there is no end."""
    return None if end == inf else lambda _round, _values: clock() >= end
