"""The recipe: what to train, on which columns, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from mmp.settings.base import Count, Float, Int, Scalar, Seconds, Section, Share, TaskName, Text, section
from mmp.settings.steps import Steps

# -- model ---------------------------------------------------------------------------------------------


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
    """Value by parameter name, used when tuning is off."""

    defaults: Literal["catalog", "library"] = "catalog"
    """Where parameters that are left out come from."""

    tuning_enabled: bool = False
    """Whether to search for the best values."""

    fixed: Mapping[str, Any] = Field(default_factory=dict)
    """Values that tuning leaves alone."""

    tunable: Mapping[str, Tunable] = Field(default_factory=dict)
    """Search space by parameter name; the catalog's where left out."""

    optimization_metric: Text | None = None
    """Metric that tuning improves; the task's own where left out."""

    n_trials: Count = 50
    """Number of trials."""

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


# -- data ----------------------------------------------------------------------------------------------


class Loader(Section):
    """Where the rows come from."""

    source_uri: Text | None = None
    """File, directory or glob of CSV or Parquet, SQL file, or URI; `-d` on the command line wins."""

    identifiers: Mapping[str, tuple[Text, ...]] = Field(default_factory=dict)
    """Parameters that may become SQL identifiers, each with the values it may take."""


class FeatureView(Section):
    """Features taken from one feature view."""

    join_key: Text
    """Column that joins the view."""

    features: tuple[Text, ...]
    """Names of the features."""


class Fetcher(Section):
    """Features added to the rows."""

    type: Literal["pass_through", "feature_store"] = "pass_through"
    """Whether to add features from the feature store."""

    feature_views: Mapping[str, FeatureView] | None = None
    """Features by view."""

    features: tuple[Text, ...] | None = None
    """Features as `view:feature`."""

    feature_service: Text | None = None
    """A feature service, by name."""

    timestamp_column: Text | None = None
    """Event timestamp for the point-in-time join."""

    on_missing: Literal["error", "null", "default"] = "null"
    """What an entity without features gets."""


class DataInterface(Section):
    """What the columns are for."""

    target_column: Text | None = None
    """Column to predict; required but for clustering."""

    entity_columns: tuple[Text, ...] = ()
    """Keys of a row: carried to the output, never features."""

    timestamp_column: Text | None = None
    """When a row happened; required for timeseries."""

    treatment_column: Text | None = None
    """Who was treated; required for causal."""

    feature_columns: tuple[Text, ...] | None = None
    """Columns to learn from; all others where left out."""

    sequence_length: Count | None = None
    """Steps that a sequence model looks back."""

    horizon: Count = 1
    """Steps to forecast."""

    positive_class: Scalar | None = None
    """The class that binary metrics and `probability` are about, as the data writes it."""


class Split(Section):
    """How rows are divided into train, validation, test and calibration."""

    strategy: Literal["random", "temporal", "group", "predefined", "cross_validation"] = "random"
    """How rows are assigned; random is stratified for classification."""

    temporal_column: Text | None = None
    """Column that orders the rows (temporal)."""

    group_column: Text | None = None
    """Column whose equal values stay together (group)."""

    split_column: Text | None = None
    """Column that names the part of each row (predefined)."""

    folds: Annotated[Int, Field(ge=2)] = 5
    """Number of folds (cross_validation)."""

    gap: Text | Annotated[Int, Field(ge=0)] | None = None
    """Embargo between train and the later parts: a span of time such as 7d, or a number of rows."""

    train: Share = 0.7
    """Share to fit on."""

    validation: Share = 0.15
    """Share for early stopping, tuning and thresholds."""

    test: Share = 0.15
    """Share for the final evaluation, touched once."""

    calibration: Share = 0.0
    """Share for calibration and intervals."""


class Data(Section):
    """The rows and their columns."""

    loader: Loader = section()
    """Where the rows come from."""

    fetcher: Fetcher = section()
    """Features added to the rows."""

    data_interface: DataInterface = section()
    """What the columns are for."""

    split: Split = section()
    """How rows are divided."""

    checks: Mapping[str, Literal["error", "warn", "off"]] = Field(default_factory=dict)
    """How strict each leakage or quality check is."""


class Preprocessor(Section):
    """What happens to the columns before the model."""

    steps: Steps | None = None
    """Steps in order; chosen from the task, the model and the columns where left out."""


# -- evaluation, monitoring and the rest ---------------------------------------------------------------


class Costs(Section):
    """What a wrong decision costs."""

    fp: Annotated[Float, Field(ge=0)] = 1.0
    """Cost of a false positive."""

    fn: Annotated[Float, Field(ge=0)] = 1.0
    """Cost of a false negative."""


class ThresholdSearch(Section):
    """A threshold chosen on the validation split."""

    optimise: Text
    """Metric to improve, or cost."""

    costs: Costs | None = None
    """What wrong decisions cost, for cost."""


class Explain(Section):
    """Which features a prediction comes from."""

    enabled: bool = True
    """Whether to explain."""

    max_rows: Count = 2000
    """Rows to explain, sampled."""


class Intervals(Section):
    """Prediction intervals by conformal prediction."""

    method: Literal["split", "normalised", "quantile"] = "split"
    """How wide they are where."""

    coverage: Annotated[Float, Field(gt=0, lt=1)] = 0.9
    """Share of values that they cover."""


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
    """Metrics by name; the task's set where left out."""

    random_state: Annotated[Int, Field(ge=0, lt=2**32)] = 42
    """The one seed: split, folds, model, sampling."""

    threshold: Literal["auto"] | Share | ThresholdSearch = 0.5
    """Probability from which the positive class is predicted."""

    explain: Explain = section()
    """Which features predictions come from."""

    plots: bool = True
    """Whether to draw plots."""

    slices: tuple[Text, ...] = ()
    """Columns by whose values metrics are broken down."""

    intervals: Intervals | None = None
    """Prediction intervals."""

    gates: Mapping[str, Gate] = Field(default_factory=dict)
    """Limits by metric."""

    optimization_metric: str | None = None
    """Kept for old recipes: it stands under model.hyperparameters now."""


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
