"""The members of an ensemble, each as the recipe of a model by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmp.catalog.models import find
from mmp.catalog.portfolio import FAST, PATIENCE, PORTFOLIO
from mmp.lookup import is_installed
from mmp.settings.model import EarlyStopping, Hyperparameters, Model

if TYPE_CHECKING:
    from mmp.settings.recipe import Recipe


def member_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return a recipe for each member: the whole's, with the member for a model.

    What a member leaves out of class weights, threads and early stopping, it has from the whole; a model
    that cannot stop early goes on to its end.
    """
    members = recipe.model.ensemble.members if recipe.model.ensemble else ()
    return tuple(recipe.model_copy(update={"model": _inherited(member, recipe.model)}) for member in members)


def candidate_recipes(recipe: Recipe, n_rows: int = 0) -> tuple[Recipe, ...]:
    """Return a recipe for each model that a preset tries on so many rows, in their order.

    Those whose library is not installed are left out. Boosters end by themselves.
    """
    task = recipe.task_choice
    found = [
        Model(
            class_path=one.row(task).class_path,
            hyperparameters=Hyperparameters(values=one.values_for(task)),
            early_stopping=EarlyStopping(rounds=PATIENCE) if one.row(task).early_stopping else None,
        )
        for one in PORTFOLIO
        if n_rows <= one.most_rows and is_installed(one.row(task).class_path.partition(".")[0])
    ]
    most = FAST if recipe.model.preset == "fast" else len(found)
    return tuple(
        recipe.model_copy(update={"model": _inherited(model, recipe.model)}) for model in found[:most]
    )


def _inherited(member: Model, whole: Model) -> Model:
    row = find(member.class_path or "", member.hyperparameters.values)
    can_stop = row is not None and row.early_stopping
    return member.model_copy(
        update={
            "class_weight": whole.class_weight if member.class_weight is None else member.class_weight,
            "threads": whole.threads if member.threads == "auto" else member.threads,
            "early_stopping": member.early_stopping or (whole.early_stopping if can_stop else None),
        }
    )
