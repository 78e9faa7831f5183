"""What a recipe can say and this version cannot do yet: one row each, removed when it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmp.catalog.models import find
from mmp.catalog.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mmp.settings.config import Config
    from mmp.settings.document import Path_
    from mmp.settings.recipe import Recipe


@dataclass(frozen=True)
class NotYet:
    """A feature that is still to come.

    Parameters
    ----------
    key : str
        Where it is asked for, dotted.
    feature : str
        What it is, as the subject of a sentence.
    instead : str
        What to write for now.
    is_used : callable
        Whether a recipe, or a config, asks for it.
    """

    key: str
    feature: str
    instead: str
    is_used: Callable[[Any], bool]

    @property
    def sentence(self) -> str:
        """Say that it is not available, and what to do."""
        return f"{self.feature} is not available in this version yet; {self.instead}"


OLD_MODELS = ("mmp.models.", "src.models.", "causalml.", "rtdl_revisiting_models.")
"""Where modern-ml-pipeline 1.x had models that are no estimators of scikit-learn's kind."""


def is_old_model(class_path: str | None) -> bool:
    """Tell whether a class path is of modern-ml-pipeline 1.x and has no successor here."""
    return class_path is not None and class_path.startswith(OLD_MODELS) and find(class_path) is None


NOT_YET = (
    NotYet(
        "model.class_path",
        "this model of modern-ml-pipeline 1.x",
        "choose another (mmp list models)",
        lambda r: TASKS[r.task_choice].available and is_old_model(r.model.class_path),
    ),
)

NOT_YET_IN_CONFIG = (
    NotYet("signing.required", "signing", "set it to false", lambda c: c.signing.required),
    NotYet("signing.private_key_file", "signing", "leave it out", lambda c: bool(c.signing.private_key_file)),
)


def missing_features(recipe: Recipe) -> Iterator[tuple[Path_, str]]:
    """Yield the place and the sentence of what a recipe asks for that is still to come."""
    if not TASKS[recipe.task_choice].available:
        ready = " or ".join(task.name for task in TASKS.values() if task.available)
        yield (
            ("task_choice",),
            f"{recipe.task_choice} is not available in this version yet; choose {ready}",
        )
    for row in NOT_YET:
        if row.is_used(recipe):
            yield tuple(row.key.split(".")), row.sentence


def missing_in_config(config: Config) -> Iterator[tuple[Path_, str]]:
    """Yield the place and the sentence of what a config asks for that is still to come."""
    for row in NOT_YET_IN_CONFIG:
        if row.is_used(config):
            yield tuple(row.key.split(".")), row.sentence
