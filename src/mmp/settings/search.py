"""What tuning searches: hyperparameters by their names, and other keys of the recipe by their paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mmp.catalog.row import Space
from mmp.settings.base import Section
from mmp.settings.steps import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.catalog.models import ModelRow
    from mmp.settings.model import Hyperparameters
    from mmp.settings.recipe import Recipe

S = TypeVar("S", bound=Section)

SEARCHABLE = ("preprocessor.steps[", "model.class_weight", "model.early_stopping.")
"""How the paths of keys begin that may be searched: no other leaves rows and judgement as they are."""

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def is_path(name: str) -> bool:
    """Tell whether a name of ``tunable`` is the path of a key, not a hyperparameter."""
    return "." in name


def space(settings: Hyperparameters, row: ModelRow) -> dict[str, Space]:
    """Return where to look: as the recipe says, or as the catalog does for what is not fixed.

    Hyperparameters go by the row's own names.
    """
    if settings.tunable:
        return {
            row.aliases.get(name, name): Space(one.type, one.range or one.choices or (), one.log)
            for name, one in settings.tunable.items()
        }
    fixed = {row.aliases.get(name, name) for name in settings.fixed}
    return {name: one for name, one in row.search_space.items() if name not in fixed}


def with_values(recipe: Recipe, drawn: Mapping[str, Any], row: ModelRow) -> Recipe:
    """Return a recipe as it would be without tuning, with values of its search written into it.

    Parameters
    ----------
    recipe : Recipe
        Whose ``values`` hold where nothing else is said, and ``fixed`` above them.
    drawn : mapping
        By names of `space`.
    row : ModelRow
        Knows the other names of hyperparameters.

    Raises
    ------
    ValueError
        A value that its key does not take (pydantic's ValidationError).
    """
    settings = recipe.model.hyperparameters
    written = {
        row.aliases.get(name, name): value
        for name, value in [*settings.values.items(), *settings.fixed.items(), *drawn.items()]
        if not is_path(name)
    }
    made = recipe
    for name, value in drawn.items():
        if is_path(name):
            made = replaced(made, name, value)
    plain = settings.model_copy(update={"values": written, "tuning_enabled": False})
    return made.model_copy(update={"model": made.model.model_copy(update={"hyperparameters": plain})})


def replaced(given: S, path: str, value: object) -> S:
    """Return settings with another value under one key.

    Raises
    ------
    KeyError
        There is no such place.
    ValueError
        The key does not take the value (pydantic's ValidationError).

    Examples
    --------
    >>> from mmp.settings.model import Model
    >>> model = Model(class_path="a.B", early_stopping={"rounds": 5})
    >>> replaced(model, "early_stopping.rounds", 9).early_stopping
    EarlyStopping(rounds=9, metric=None)
    """
    parts = [int(index) if index else name for name, index in _PART.findall(path)]
    return cast("S", _replaced(given, parts, value))


def _replaced(given: Any, path: list[str | int], value: object) -> Any:
    part, *rest = path
    if isinstance(given, tuple) and isinstance(part, int):
        place = _place(given, part)
        return (*given[:place], _replaced(given[place], rest, value), *given[place + 1 :])
    if not isinstance(given, Section) or (rest and not hasattr(given, str(part))):
        raise KeyError(part)
    if rest:
        return given.model_copy(update={str(part): _replaced(getattr(given, str(part)), rest, value)})
    written = {name: inner for name, inner in given if name in given.model_fields_set}
    made = type(given).model_validate({**written, str(part): value})
    if isinstance(given, Step) and isinstance(made, Step):
        made._position = given.position  # noqa: SLF001 - frozen to everybody else
    return made


def _place(given: tuple[Any, ...], index: int) -> int:
    """Return where a step of a file stands, of which one before it may have become several."""
    for place, one in enumerate(given):
        if getattr(one, "position", place) == index:
            return place
    raise KeyError(index)
