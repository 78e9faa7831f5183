"""From labelled rows to what the estimator takes: the split, and the steps fitted on its training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmp.catalog.steps import STEPS
from mmp.data.folds import folds
from mmp.data.split import split
from mmp.errors import EmptySplitError
from mmp.modeling import pipeline
from mmp.modeling.build import default_steps
from mmp.modeling.columns import from_table, take
from mmp.modeling.conformal import require_rows
from mmp.modeling.training import Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.modeling.columns import Columns
    from mmp.modeling.pipeline import FittedPipeline, Matrix
    from mmp.modeling.target import Target
    from mmp.pipelines.rows import Rows
    from mmp.settings.recipe import Recipe
    from mmp.settings.steps import Step

    Parts = Mapping[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Prepared:
    """The rows of each part as the estimator takes them, and what made them so.

    Parameters
    ----------
    steps : sequence of step settings
        Those of the recipe, or those that were chosen.
    pipeline : FittedPipeline
        From columns to the matrix.
    training : Columns
        The training rows before the steps, with the keys and times of series where steps read them.
    matrices, targets : mapping of str to Matrix, Target
        By part.
    """

    steps: Sequence[Any]
    pipeline: FittedPipeline
    training: Columns
    matrices: Mapping[str, Matrix]
    targets: Mapping[str, Target]


def split_rows(rows: Rows, recipe: Recipe) -> Parts:
    """Return the positions of each part that has rows.

    Raises
    ------
    DataError
        Where the rows cannot be divided as the recipe says, or are too few for what it promises.
    """
    splits = split(
        rows.table,
        recipe.data.split,
        task=recipe.task_choice,
        target=rows.target_spec.name,
        seed=recipe.evaluation.random_state,
    )
    parts = {name: positions for name, positions in vars(splits).items() if len(positions)}
    for part, key in _needed(recipe):
        if part not in parts:
            raise EmptySplitError(
                f"{key} needs {part} rows, and there are none.",
                hint=f"Mark some with `{part}` in data.split.split_column.",
            )
    if recipe.evaluation.intervals:
        # what calibrates probabilities gets every other row
        n_rows = len(splits.calibration) // (2 if recipe.model.calibration.enabled else 1)
        require_rows(n_rows, recipe.evaluation.intervals.coverage)
    return parts


def _needed(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the parts that a recipe cannot do without, and what needs them."""
    evaluation = recipe.evaluation
    if recipe.model.calibration.enabled:
        yield "calibration", "model.calibration"
    if evaluation.intervals is not None:
        yield "calibration", "evaluation.intervals"
    if evaluation.searched is not None and recipe.data.split.strategy != "cross_validation":
        yield "validation", "evaluation.threshold"


def fold_rows(rows: Rows, parts: Parts, recipe: Recipe) -> tuple[Parts, ...]:
    """Return the positions to learn from and to judge by of each fold, none without cross-validation.

    Raises
    ------
    DataError
        Where the rows cannot be divided as the recipe says.
    """
    if recipe.data.split.strategy != "cross_validation":
        return ()
    return divide(rows, parts["train"], recipe)


def divide(
    rows: Rows, positions: npt.NDArray[np.int64], recipe: Recipe, *, every_class: bool = True
) -> tuple[Parts, ...]:
    """Return the positions to learn from and to judge by of each fold of some rows.

    Parameters
    ----------
    rows : Rows
        All of them.
    positions : ndarray of int64
        Those to divide, ascending.
    recipe : Recipe
        Says by ``data.split`` what folds are like, and how many there are.
    every_class : bool
        Whether each class has to be among the rows that each fold learns from.

    Raises
    ------
    DataError
        Where the rows cannot be divided as the recipe says.
    """
    made = folds(
        rows.table,
        recipe.data.split,
        positions,
        task=recipe.task_choice,
        target=rows.target_spec.name,
        seed=recipe.evaluation.random_state,
        every_class=every_class,
    )
    return tuple({"train": fold.train, "validation": fold.validation} for fold in made)


def in_words(parts: Parts, divisions: Sequence[Parts] = ()) -> str:
    """Return how many rows each part has, and how many folds there are of those to learn from."""
    sizes = ", ".join(f"{name} {len(positions):,}" for name, positions in parts.items())
    return f"{sizes}; {len(divisions)} folds of train" if divisions else sizes


def prepare(rows: Rows, parts: Parts, recipe: Recipe, row: ModelRow) -> Prepared:
    """Fit the steps on the training rows, and put every part through them.

    Parameters
    ----------
    rows : Rows
        All of them.
    parts : mapping of str to ndarray of int64
        Positions by part, ``train`` among them.
    recipe : Recipe
        Names the steps and the seed.
    row : ModelRow
        Says what the estimator can take.

    Raises
    ------
    DataError, SettingsError
        Where a step does not fit its columns.
    """
    steps = recipe.preprocessor.steps if recipe.preprocessor else None
    series = _series(rows, recipe, steps or ())
    columns = from_table(rows.table, (*rows.features, *(series.specs if series else ())))
    training = take(columns, parts["train"])
    targets = {name: rows.target.take(positions) for name, positions in parts.items()}
    if steps is None:
        steps = default_steps(rows.features, training, model=row)
    fitted, matrix = pipeline.fit(
        steps,
        training,
        rows.features,
        targets["train"],
        seed=recipe.evaluation.random_state,
        dtype=row.matrix_dtype,
        native_categories=row.native_categories,
        trust=recipe.package.trust,
        series=series,
    )
    if matrix.rows is not None:
        targets["train"] = targets["train"].take(matrix.rows)
    others = {name: fitted.matrix(take(columns, part)) for name, part in parts.items() if name != "train"}
    return Prepared(steps, fitted, training, {"train": matrix, **others}, targets)


def _series(rows: Rows, recipe: Recipe, steps: Sequence[Step]) -> Series | None:
    """Return how the rows are ordered, where a step asks for it."""
    time = recipe.data.data_interface.timestamp_column
    is_asked = any(step.type in STEPS and STEPS[step.type].of_series for step in steps)
    if time is None or not (recipe.data.is_ordered and is_asked):
        return None
    # the feature store's keys find features; only those that the recipe names tell series apart
    own = recipe.data.data_interface.entity_columns
    return Series(tuple(spec for spec in rows.entities if spec.name in own), rows.table.spec(time))
