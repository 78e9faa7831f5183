"""The recipe: what to train, on which columns, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from mmp.settings.base import Section, TaskName, Text, section
from mmp.settings.data import Data
from mmp.settings.evaluation import Evaluation, Monitoring
from mmp.settings.model import Model
from mmp.settings.steps import Steps


class Preprocessor(Section):
    """What happens to the columns before the model."""

    steps: Steps | None = None
    """Steps in order; chosen from the task, the model and the columns where left out."""


class Metadata(Section):
    """Notes to people."""

    author: str | None = None
    """Who wrote it."""

    description: str | None = None
    """What it is for."""

    tuning_note: str | None = None
    """A note on tuning."""

    tags: Mapping[str, str] = Field(default_factory=dict)
    """Tags of the run."""


class Package(Section):
    """What the model's file may hold."""

    allow_pickle: bool = False
    """Whether a model that has no safe format may be pickled."""

    trust: tuple[Text, ...] = ()
    """Types outside the closed table that may be saved, by dotted path."""


class Tracking(Section):
    """Where the run is listed."""

    experiment: Text | None = None
    """Name of the experiment; the config's where left out."""


class Recipe(Section):
    """What to train, on which columns, and how it is judged."""

    name: Text
    """Name of the recipe; runs are called after it."""

    task_choice: TaskName
    """Kind of problem."""

    model: Model
    """The model."""

    data: Data
    """The rows and their columns."""

    preprocessor: Preprocessor | None = None
    """What happens to the columns before the model; chosen for it where left out."""

    evaluation: Evaluation = section()
    """How the model is judged."""

    monitoring: Monitoring = section()
    """Comparison of new data with the training data."""

    metadata: Metadata = section()
    """Notes to people."""

    package: Package = section()
    """What the model's file may hold."""

    tracking: Tracking = section()
    """Where the run is listed."""
