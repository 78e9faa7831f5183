"""What the catalog says of one model: pure data, so that validating a recipe imports no library."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Task = Literal["classification", "regression"]
Case = Literal["many_classes", "few_rows"]
Engine = Literal["xgboost", "lightgbm", "catboost", "linear", "sklearn", "quantiles"]
FEW_ROWS = 200
"""Training rows a class, on average, below which defaults are those for few rows."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_FILES: Mapping[Engine, str] = MappingProxyType(
    {
        "xgboost": "model.ubj",
        "lightgbm": "model.txt",
        "catboost": "model.cbm",
        "linear": "model.npz",
        "sklearn": "model.skops",
    }
)


@dataclass(frozen=True, slots=True)
class Space:
    """Where tuning looks for one hyperparameter; its fields are the keys of a recipe's ``tunable``.

    Parameters
    ----------
    type : {"int", "float", "categorical"}
        What is drawn.
    range : tuple
        Both ends, or the choices.
    log : bool
        Whether the drawing is uniform in the logarithm.
    """

    type: Literal["int", "float", "categorical"]
    range: tuple[Any, ...]
    log: bool = False


@dataclass(frozen=True, slots=True)
class QuantileLoss:
    """How a library is asked for quantiles instead of a mean.

    Parameters
    ----------
    parameter : str
        The hyperparameter that says which.
    beside : mapping
        What else asks for them.
    one, many : str
        How `parameter` is written, ``{}`` being the quantile, or several with commas; empty where it is the
        number, or a list of numbers.
    at_once : bool
        Whether one fit gives several.
    """

    parameter: str
    beside: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    one: str = ""
    many: str = ""
    at_once: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The hyperparameters that it takes."""
        return frozenset({self.parameter, *self.beside})

    def asking(self, levels: Sequence[float]) -> dict[str, Any]:
        """Return the hyperparameters that ask for quantiles, of which there is one unless `at_once`.

        Examples
        --------
        >>> QuantileLoss("alpha", {"objective": "quantile"}).asking([0.9])
        {'objective': 'quantile', 'alpha': 0.9}
        """
        template = self.one if len(levels) == 1 else self.many
        if template:
            return {**self.beside, self.parameter: template.format(",".join(map(repr, levels)))}
        return {**self.beside, self.parameter: list(levels) if self.at_once else levels[0]}


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What mmp knows of an estimator without importing it.

    Parameters
    ----------
    class_path : str
        Dotted path of the library's scikit-learn style class.
    task : {"classification", "regression"}
        What it predicts.
    engine : str
        The module of `mmp.modeling.engines` that fits it.
    extra : str
        The extra of mmp that installs it; empty where it is the user's own.
    home : str
        The module that defines the class, which is where some people copy its path from.
    parameters : frozenset of str
        Every hyperparameter a recipe may set, under one name each. Empty where only the class knows.
    aliases : mapping of str to str
        Other names of the same hyperparameters.
    ignored : frozenset of str
        Accepted without effect: how much a library prints and the like.
    reserved : frozenset of str
        Parameters of the signature that mmp sets itself.
    fixed : mapping
        Values that reserved and ignored parameters have always.
    defaults : mapping
        Values for what the recipe leaves unset.
    cases : mapping of {"many_classes", "few_rows"} to mapping
        Defaults in place of those, for a classification of more than two classes, and for one of less than
        `FEW_ROWS` rows a class, which has the last word.
    yielding : mapping of str to mapping
        Defaults that fall away where the recipe writes one of these values, which they exclude.
    search_space : mapping of str to Space
        Where tuning looks when the recipe does not say.
    of_target : frozenset of str
        Hyperparameters that count in the unit of a regression's target: their default stands for so many
        of its standard deviations. What a recipe writes is the library's own number.
    handles_nulls : bool
        Whether missing values may stay in the matrix, as NaN.
    native_categories : bool
        Whether the matrix may hold category codes.
    weighted : bool
        Whether rows may weigh differently, which class weights come down to.
    sparse : bool
        Whether the library could take a sparse matrix too.
    scale : bool
        Whether the numbers want one scale.
    shrinks : bool
        Whether it holds the coefficients of many 0/1 columns down, so that it learns more from the levels
        of a long text column than from their target means.
    scale_target : bool
        Whether a regression's target is fitted on the scale of its standard deviation, behind the scenes.
    in_blocks : bool
        Whether rows are predicted in blocks of one shape: the last bits of a matrix product go by the
        number of rows in it.
    calibrated : bool
        For classification: whether the library has no probabilities for it but by calibrating its scores.
    one_vs_rest : bool
        For a linear model of several classes: whether each has a sigmoid of its own.
    keeps : str
        Which of the training rows the model's file holds; empty where it is none.
    matrix_dtype : {"float32", "float64"}
        What the library computes with.
    seed_param, thread_param : str or None
        Names of the hyperparameters for the seed and the number of threads.
    rounds_param : str or None
        Name of the hyperparameter that counts boosting rounds.
    early_stopping : bool
        Whether a validation split may end the fit.
    stopping_metrics : mapping of str to tuple of (str, str)
        mmp's metric name to the library's, for two classes (or a number) and for more; empty where the
        library has none.
    objectives : tuple of str
        For classification: the objectives whose output is probabilities; empty means no such choice.
    quantile : QuantileLoss or None
        For regression: how it is asked for quantiles; None where it cannot be.
    base : ModelRow or None
        The row of what is fitted, where this one is a model made of such.
    """

    class_path: str
    task: Task
    engine: Engine
    extra: str
    home: str = ""
    parameters: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    ignored: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    defaults: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    cases: Mapping[Case, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    yielding: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _NOTHING)
    search_space: Mapping[str, Space] = field(default_factory=lambda: _NOTHING)
    of_target: frozenset[str] = frozenset()
    handles_nulls: bool = False
    native_categories: bool = False
    weighted: bool = True
    sparse: bool = False
    scale: bool = False
    shrinks: bool = False
    scale_target: bool = False
    in_blocks: bool = False
    calibrated: bool = False
    one_vs_rest: bool = False
    keeps: str = ""
    matrix_dtype: Literal["float32", "float64"] = "float64"
    seed_param: str | None = None
    thread_param: str | None = None
    rounds_param: str | None = None
    early_stopping: bool = False
    stopping_metrics: Mapping[str, tuple[str, str]] = field(default_factory=lambda: _NOTHING)
    objectives: tuple[str, ...] = ()
    quantile: QuantileLoss | None = None
    base: ModelRow | None = None

    @property
    def name(self) -> str:
        """The class's own name, for tables and messages."""
        return self.class_path.rpartition(".")[2]

    @property
    def file(self) -> str:
        """The file that a fitted model is saved as, or as which those that it is made of are."""
        return _FILES[(self.base or self).engine]

    @property
    def fitted_by(self) -> Engine:
        """The engine of the library that fits."""
        return (self.base or self).engine

    @property
    def names(self) -> frozenset[str]:
        """Every name a recipe may write under ``hyperparameters``."""
        return self.parameters | self.ignored | self.aliases.keys()


def words(text: str) -> frozenset[str]:
    """Read names with spaces between them."""
    return frozenset(text.split())


def aliases_of(text: str) -> dict[str, str]:
    """Read lines of ``name: alias alias`` as a map from alias to name."""
    pairs = (line.split(":") for line in text.strip().splitlines())
    return {alias: name.strip() for name, others in pairs for alias in others.split()}


def stopping_on(**theirs: str | tuple[str, str]) -> dict[str, tuple[str, str]]:
    """Return `ModelRow.stopping_metrics`; one name stands for two classes and for more."""
    return {name: (their, their) if isinstance(their, str) else their for name, their in theirs.items()}


def adding(shared: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Add to the sets and tables that both tasks of a library share."""
    return {**shared, **{name: shared.get(name, type(value)()) | value for name, value in more.items()}}
