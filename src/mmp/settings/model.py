"""The `model` block of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from mmp.settings.base import Count, Float, Scalar, Seconds, Section, Text, section
from mmp.settings.document import scalar


class Tunable(Section):
    """The values that tuning may try for one hyperparameter."""

    type: Literal["int", "float", "categorical"]
    """Kind of value."""

    range: tuple[Any, ...] = ()
    """Lowest and highest value; for categorical, every value."""

    log: bool = False
    """Whether to search on a logarithmic scale."""

    choices: tuple[Any, ...] | None = None
    """Kept for old recipes: another name for the range of a categorical."""

    default: Any = None
    """Kept for old recipes; has no effect."""

    description: str | None = None
    """A note to the reader."""

    @model_validator(mode="before")
    @classmethod
    def _quoted_numbers_are_numbers(cls, given: Any) -> Any:
        """Read the ends of a range as modern-ml-pipeline 1.x wrote them, such as '1e-5' in quotes."""
        ends = given.get("range") if isinstance(given, dict) else None
        if not isinstance(ends, list) or given.get("type") == "categorical":
            return given
        return {**given, "range": [scalar(end) if isinstance(end, str) else end for end in ends]}

    @model_validator(mode="after")
    def _has_values(self) -> Tunable:
        if self.type == "categorical":
            if not (self.range or self.choices):
                raise PydanticCustomError("range", "a categorical needs its values in 'range'")
        elif len(self.range) != 2 or not all(isinstance(end, int | float) for end in self.range):
            raise PydanticCustomError("range", "'range' must be two numbers, [lowest, highest]")
        elif self.range[0] >= self.range[1]:
            raise PydanticCustomError("range", "the first number of 'range' must be below the second")
        return self


class Hyperparameters(Section):
    """Hyperparameters of the model, fixed or to be searched."""

    values: Mapping[str, Any] = Field(default_factory=dict)
    """Value by parameter name; with tuning, where the search begins."""

    defaults: Literal["catalog", "library"] = "catalog"
    """Where parameters that are left out come from."""

    tuning_enabled: bool = False
    """Whether to search for the best values."""

    fixed: Mapping[str, Any] = Field(default_factory=dict)
    """Values that tuning leaves alone."""

    tunable: Mapping[str, Tunable] = Field(default_factory=dict)
    """Search space by the name of a parameter or the path of a key; the catalog's where left out."""

    optimization_metric: Text | None = None
    """Metric that tuning improves; the task's own where left out."""

    n_trials: Count = 50
    """Number of trials, the first of them the recipe as it stands."""

    timeout: Seconds | None = None
    """Seconds after which no new trial begins."""

    n_jobs: Count = 1
    """Trials at a time."""

    pruning: bool = True
    """Whether to stop trials that fall behind."""

    storage: SecretStr | None = None
    """URL of a database that makes a study resumable and shared."""


class Calibration(Section):
    """Calibration of probabilities (classification)."""

    enabled: bool = False
    """Whether to calibrate."""

    method: Literal["isotonic", "beta", "sigmoid", "venn_abers"] = "isotonic"
    """How to calibrate."""


class EarlyStopping(Section):
    """Stop boosting when the validation split gets no better."""

    rounds: Count
    """Rounds without improvement after which to stop."""

    metric: Text | None = None
    """Metric of the library to watch; its default for the objective where left out."""


class Ensemble(Section):
    """Several models as one."""

    members: tuple[Model, ...] = Field(min_length=2)
    """The models: blocks like `model`."""

    method: Literal["voting", "stacking", "greedy"] = "voting"
    """How their predictions become one."""


class Model(Section):
    """The model: exactly one of class_path, preset and ensemble."""

    class_path: Text | None = None
    """Dotted path of an estimator with scikit-learn's interface."""

    preset: Literal["fast", "good", "best"] | None = None
    """Let mmp choose and tune models with this much effort."""

    time_limit_s: Seconds | None = None
    """Seconds that a preset may take."""

    ensemble: Ensemble | None = None
    """Several models as one."""

    class_weight: Literal["balanced"] | Mapping[Scalar, Annotated[Float, Field(gt=0)]] | None = None
    """Weight of each class, or balanced."""

    threads: Literal["auto"] | Count = "auto"
    """Threads for fitting; auto goes by size and cores."""

    library: str | None = None
    """Kept for old recipes: the library follows from class_path."""

    hyperparameters: Hyperparameters = section()
    """Hyperparameters, fixed or to be searched."""

    calibration: Calibration = section()
    """Calibration of probabilities (classification)."""

    early_stopping: EarlyStopping | None = None
    """Stop boosting when the validation split gets no better."""

    computed: Mapping[str, Any] | None = None
    """Kept for old recipes; has no effect."""

    @property
    def named(self) -> str:
        """What the model is in a few words: its class path, or how it comes to be."""
        if self.ensemble is not None:
            return f"{self.ensemble.method} ensemble of {len(self.ensemble.members)}"
        return f"preset {self.preset}" if self.preset else str(self.class_path)
