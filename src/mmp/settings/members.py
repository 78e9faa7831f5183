"""The members of an ensemble, each as the recipe of a model by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmp.catalog.models import find

if TYPE_CHECKING:
    from mmp.settings.model import Model
    from mmp.settings.recipe import Recipe


def member_recipes(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return a recipe for each member: the whole's, with the member for a model.

    What a member leaves out of class weights, threads and early stopping, it has from the whole; a model
    that cannot stop early goes on to its end.
    """
    members = recipe.model.ensemble.members if recipe.model.ensemble else ()
    return tuple(recipe.model_copy(update={"model": _inherited(member, recipe.model)}) for member in members)


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
