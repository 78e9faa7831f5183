"""The `evaluation` and `monitoring` blocks of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from mmp.settings.base import Count, Float, Int, Section, Share, Text, section

AUTO = "mcc"
"""What a threshold of auto is the best by: it is the same whichever class is called positive, and 0 where all
rows are decided alike, which f1 may find best; rare positives do not come with as many false ones, as by
balanced_accuracy."""


class Costs(Section):
    """What a wrong decision costs."""

    fp: Annotated[Float, Field(ge=0)] = 1.0
    """Cost of a false positive."""

    fn: Annotated[Float, Field(ge=0)] = 1.0
    """Cost of a false negative."""


class ThresholdSearch(Section):
    """A threshold chosen on the validation split: the best by a metric, or by how many rows it gives."""

    optimise: Text | None = None
    """Metric of decisions to improve, such as f1, or cost."""

    costs: Costs | None = None
    """What wrong decisions cost, for cost."""

    top_k: Annotated[Float, Field(gt=0)] | None = None
    """Most of the validation rows to decide for, instead of a metric: a number, or below 1 a share."""


class Explain(Section):
    """Which features a prediction comes from."""

    enabled: bool = True
    """Whether to explain."""

    max_rows: Count = 2000
    """Rows to explain, sampled."""


class Intervals(Section):
    """Bounds around predicted numbers, or sets of classes, that keep a promise: conformal prediction."""

    method: Literal["split", "normalised", "quantile"] = "split"
    """How wide bounds are where: everywhere the same, by sizes of errors, or by quantiles; split for sets."""

    coverage: Annotated[Float, Field(gt=0, lt=1)] = 0.9
    """Share of new rows whose number is between the bounds, or whose class is in the set, as promised."""


class Gate(Section):
    """A limit for one metric; a run that misses it fails."""

    min: Float | None = None
    """Lowest value allowed."""

    max: Float | None = None
    """Highest value allowed."""

    vs: Text | None = None
    """Model to compare with, by registry alias."""

    tolerance: Annotated[Float, Field(ge=0)] = 0.0
    """How much worse than that model is allowed."""


class Evaluation(Section):
    """How the model is judged."""

    metrics: tuple[Text, ...] | None = None
    """Metrics by name, or functions of your own by dotted path; the task's set where left out."""

    random_state: Annotated[Int, Field(ge=0, lt=2**32)] = 42
    """The one seed: split, folds, model, sampling."""

    threshold: Literal["auto"] | Share | ThresholdSearch = 0.5
    """Probability from which the positive class is predicted; auto is the best by mcc."""

    explain: Explain = section()
    """Which features predictions come from."""

    plots: bool = True
    """Whether to draw plots."""

    slices: tuple[Text, ...] = ()
    """Columns by whose values metrics are broken down."""

    intervals: Intervals | None = None
    """Bounds or sets of classes with a promise; they need rows of the calibration split."""

    gates: Mapping[str, Gate] = Field(default_factory=dict)
    """Limits by metric."""

    optimization_metric: str | None = None
    """Kept for old recipes: it stands under model.hyperparameters now."""

    @property
    def searched(self) -> ThresholdSearch | None:
        """How the threshold is chosen; None where it is written."""
        if self.threshold == "auto":
            return ThresholdSearch(optimise=AUTO)
        return self.threshold if isinstance(self.threshold, ThresholdSearch) else None


class DataDrift(Section):
    """When the features have moved."""

    enabled: bool = True
    """Whether to look at features."""

    psi_threshold_warning: Annotated[Float, Field(ge=0)] = 0.1
    """Population stability index that warns."""

    psi_threshold_alert: Annotated[Float, Field(ge=0)] = 0.2
    """Population stability index that alerts."""

    missing_rate_threshold: Share = 0.05
    """Change of the share of missing values that warns."""


class PredictionDrift(Section):
    """When the predictions have moved."""

    enabled: bool = True
    """Whether to look at predictions."""

    psi_threshold: Annotated[Float, Field(ge=0)] = 0.2
    """Population stability index that warns."""

    extrapolation_threshold: Share = 0.05
    """Share of predictions outside the training range that warns."""


class Monitoring(Section):
    """Comparison of new data with the training data."""

    enabled: bool = False
    """Whether batch runs compare; the baseline is kept in any case."""

    data_drift: DataDrift = section()
    """When the features have moved."""

    prediction_drift: PredictionDrift = section()
    """When the predictions have moved."""
