"""Nested cross-validation: every fold tunes for itself, so that no choice has seen the rows that judge it.

Folds that tuning was judged by say a little too much for what it chose. Here the rows that a fold learns
from are divided again (``data.split.inner_folds``), tuned on these parts, fitted as a whole, and judged by
the fold's own rows: the score is that of tuning and fitting together, as a new table would see it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mmp.pipelines.folds import for_good, judge, told
from mmp.pipelines.prepare import divide
from mmp.pipelines.tune import tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmp.catalog.models import ModelRow
    from mmp.errors import Finding
    from mmp.pipelines.folds import CrossValidated, Output
    from mmp.pipelines.prepare import Parts
    from mmp.pipelines.rows import Rows
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

NESTED = "nested"
"""What metrics of all folds together begin with, and where the run keeps what their rows were told."""


def cross_validate(
    active: ActiveRun,
    rows: Rows,
    divisions: Sequence[Parts],
    recipe: Recipe,
    row: ModelRow,
    tell: Callable[[str], None],
) -> CrossValidated:
    """Tune, fit and judge on each fold; parameters and errors as of `mmp.pipelines.folds.cross_validate`.

    Parameters
    ----------
    recipe : Recipe
        What to tune, as it was before the run tuned it.
    """
    outputs: list[Output] = []
    findings: list[Finding] = []
    for number, parts in enumerate(divisions, start=1):
        inner = divide(rows, parts["train"], _inner(recipe))
        progress = partial(_tell, tell, f"fold {number} of {len(divisions)}")
        tuned = tune(active, rows, inner, None, recipe, row, progress, name=f"fold_{number}")
        findings += tuned.findings
        best = tuned.recipe
        if best.model.early_stopping is not None:
            # the rows that judge must not say when to stop
            _, stopped = told(rows, inner, best, row)
            best = for_good(best, row, stopped)
        output, _ = told(rows, [parts], best, row)
        outputs += output
    return judge(active, rows, divisions, outputs, recipe, name=NESTED, found=findings)


def _tell(tell: Callable[[str], None], fold: str, trial: str) -> None:
    tell(f"{fold}, {trial}")


def _inner(recipe: Recipe) -> Recipe:
    """Return the recipe whose folds are those inside a fold."""
    split = recipe.data.split.model_copy(update={"folds": recipe.data.split.inner_folds})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"split": split})})
