"""Recipe against config and catalog: everything that can be known without data and without network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import inf
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from pydantic import ValidationError

from mmp.catalog.checks import CHECKS
from mmp.catalog.metrics import METRICS, UnknownMetricError, parse
from mmp.catalog.models import MODELS, ModelRow, find, row_for
from mmp.catalog.steps import STEPS
from mmp.catalog.tasks import TASKS
from mmp.errors import Finding, SettingsError
from mmp.lookup import absent, did_you_mean, install_line, is_dotted, is_installed
from mmp.settings.availability import is_old_model, missing_features, missing_in_config
from mmp.settings.config import Config
from mmp.settings.data import SPAN
from mmp.settings.document import dotted
from mmp.settings.loaded import Loaded
from mmp.settings.members import member_recipes
from mmp.settings.problems import Problem
from mmp.settings.promises import wrong_promises
from mmp.settings.recipe import Recipe
from mmp.settings.search import SEARCHABLE, is_path, replaced, space
from mmp.settings.sources import PYTHON, is_query, source_path

if TYPE_CHECKING:
    from mmp.catalog.models import Task
    from mmp.settings.base import Section
    from mmp.settings.data import Split
    from mmp.settings.document import Path_
    from mmp.settings.evaluation import ThresholdSearch
    from mmp.settings.model import Tunable
    from mmp.settings.steps import Step

S = TypeVar("S", Recipe, Config)

PARTS = ("train", "validation", "test", "calibration")
# How far from 1 shares may sum: what rounding to two digits does.
ROUNDING = 0.0101

_WAYS_TO_TAKE = ("feature_views", "features", "feature_service")
_STRATEGY_COLUMNS = {"temporal": "temporal_column", "group": "group_column", "predefined": "split_column"}

# Where a step belongs, and what it works on where it names no columns.
_ORDER = {
    "drop_missing": -1,
    "simple_imputer": 0, "constant_fill": 0, "forward_fill": 0, "backward_fill": 0,
    "interpolation": 0,
    "ordinal_encoder": 1, "one_hot_encoder": 1, "target_encoder": 1, "catboost_encoder": 1,
    "datetime_features": 1,
    "polynomial_features": 2, "tree_based_feature_generator": 2, "kbins_discretizer": 2,
    "standard_scaler": 3, "min_max_scaler": 3, "robust_scaler": 3,
}  # fmt: skip
_WORDS = frozenset({"numeric", "categorical", "datetime"})
# Parameters that are two numbers, and what they lie within.
_RANGES = {"feature_range": (-inf, inf), "quantile_range": (0.0, 100.0)}
# Hyperparameters that are a number or one of the library's words, such as sqrt and scale.
_OR_A_WORD = frozenset({"gamma", "max_features"})
_OWN_COLUMNS = {
    -1: _WORDS,
    0: _WORDS,
    1: frozenset({"categorical"}),
    2: frozenset({"numeric"}),
    3: frozenset({"numeric"}),
}

# Keys of modern-ml-pipeline 1.x that mean nothing now, and what says it instead.
_KEPT_IN_RECIPE = {
    "model.library": "the library follows from class_path",
    "model.computed": "a run works out its own values",
    "evaluation.optimization_metric": "it stands under model.hyperparameters",
}
_KEPT_IN_CONFIG = {
    "feature_store.enabled": "feature_store.provider says it",
    "serving.model_stage": "the registry has aliases instead of stages",
    "data_source.config.use_pandas_gbq": "there is one way to read",
    "output.inference.config.use_pandas_gbq": "there is one way to write",
}


@dataclass(frozen=True)
class _Issue:
    check: str
    level: Literal["error", "warn", "info"]
    key: str | Path_
    message: str
    column: str | None = None


_Issues = Iterator[_Issue]


def check(recipe: Loaded[Recipe] | Recipe, config: Loaded[Config] | Config) -> list[Finding]:
    """Check a recipe against a config and the catalog.

    Parameters
    ----------
    recipe : Loaded of Recipe, or Recipe
        What to train; findings of a loaded one carry file and line.
    config : Loaded of Config, or Config
        Where.

    Returns
    -------
    list of Finding
        What to tell; `require` turns those of level error into one error.

    Examples
    --------
    >>> recipe = Recipe.model_validate({
    ...     "name": "a", "task_choice": "regression", "model": {"class_path": "xgboost.XGBRegresor"},
    ...     "data": {"data_interface": {"target_column": "y"}}})
    >>> [finding.message for finding in check(recipe, Config())]
    ["there is no model 'xgboost.XGBRegresor' (did you mean 'xgboost.XGBRegressor'?)"]
    """
    what, place, line = _opened(recipe)
    where, _, _ = _opened(config)
    issues = [*_recipe(what), *_source(what, where), *_feature_store(what, where)]
    issues += _gates_of_others(what, where)
    issues += [_Issue("available", "error", key, text) for key, text in missing_features(what)]
    issues.sort(key=lambda issue: line(_path(issue.key)))
    findings = [_finding(issue, place) for issue in issues]
    return findings + check_config(config)


def check_config(config: Loaded[Config] | Config) -> list[Finding]:
    """Check a config by itself; returns what `check` does."""
    where, place, _ = _opened(config)
    return [_finding(issue, place) for issue in _config(where)]


def recipe_problems(recipe: Recipe) -> list[Problem]:
    """Return what is wrong with a recipe in itself."""
    return [Problem(_path(issue.key), issue.message) for issue in _recipe(recipe) if issue.level == "error"]


def _recipe(recipe: Recipe) -> _Issues:
    for one in _RECIPE_CHECKS:
        yield from one(recipe)


def require(findings: Sequence[Finding]) -> None:
    """Raise one error that lists the findings of level error; do nothing where there is none.

    Raises
    ------
    SettingsError
        One line a finding.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        lines = dict.fromkeys(f"{error.where}: {error.message}" for error in errors)
        raise SettingsError("\n".join(lines), where=errors[0].where)


def _opened(given: Loaded[S] | S) -> tuple[S, Callable[[Path_], str], Callable[[Path_], int]]:
    if isinstance(given, Loaded):
        return given.value, given.place, given.document.line
    return given, dotted, lambda _: 0


def _path(key: str | Path_) -> Path_:
    return tuple(key.split(".")) if isinstance(key, str) else key


def _finding(issue: _Issue, place: Callable[[Path_], str]) -> Finding:
    return Finding(issue.check, issue.level, issue.message, issue.column, place(_path(issue.key)))


# -- roles ---------------------------------------------------------------------------------------------


def _roles(recipe: Recipe) -> _Issues:
    columns = recipe.data.data_interface
    for role in TASKS[recipe.task_choice].roles:
        if getattr(columns, role) is None:
            message = f"{recipe.task_choice} needs it; write `{role}: NAME` under data.data_interface"
            yield _Issue("roles", "error", f"data.data_interface.{role}", message)
    features = columns.feature_columns or ()
    for role, name in _claimed(recipe):
        if name in features:
            message = f"{name!r} is the {role} column and cannot be a feature"
            yield _Issue("roles", "error", "data.data_interface.feature_columns", message, name)
    for name in columns.entity_columns:
        if name == columns.target_column:
            message = f"{name!r} is the target and cannot be an entity key"
            yield _Issue("roles", "error", "data.data_interface.entity_columns", message, name)
    if columns.positive_class is not None and recipe.task_choice != "classification":
        message = f"{recipe.task_choice} has no classes; leave it out"
        yield _Issue("roles", "error", "data.data_interface.positive_class", message)


def _repeated(recipe: Recipe) -> _Issues:
    for key in ("feature_columns", "entity_columns"):
        names = getattr(recipe.data.data_interface, key) or ()
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            message = f"{name!r} is listed more than once"
            yield _Issue("roles", "error", f"data.data_interface.{key}", message, name)


def _claimed(recipe: Recipe) -> Iterator[tuple[str, str]]:
    columns = recipe.data.data_interface
    if columns.target_column:
        yield "target", columns.target_column
    for name in columns.entity_columns:
        yield "entity", name


# -- model ---------------------------------------------------------------------------------------------


def _model(recipe: Recipe) -> _Issues:
    model = recipe.model
    named = [name for name in ("class_path", "preset", "ensemble") if getattr(model, name) is not None]
    if len(named) != 1:
        found = " and ".join(named) if named else "none of them is there"
        yield _Issue("model", "error", "model", f"exactly one of class_path, preset, ensemble: {found}")
    if model.class_weight is not None and recipe.task_choice != "classification":
        yield _Issue(
            "model", "error", "model.class_weight", f"{recipe.task_choice} has no classes; leave it out"
        )
    for block in ("fixed", "tunable"):
        if getattr(model.hyperparameters, block) and not model.hyperparameters.tuning_enabled:
            message = "it has no effect while tuning_enabled is false; write it under values"
            yield _Issue("hyperparameters", "warn", f"model.hyperparameters.{block}", message)
    if model.class_path is None or not TASKS[recipe.task_choice].available:
        return
    row = find(model.class_path, model.hyperparameters.values)
    if row is not None:
        yield from _catalog_model(recipe, row)
    elif not is_old_model(model.class_path):
        yield from _foreign_model(model.class_path)


def _foreign_model(class_path: str) -> _Issues:
    question = did_you_mean(class_path, MODELS)
    wrong = absent(class_path) if is_dotted(class_path) else "it is not a dotted path"
    if wrong:
        top = class_path.partition(".")[0]
        if question:
            message = f"there is no model {class_path!r} ({question})"
        else:
            line = f". {install_line(top)}" if "not installed" in wrong else ""
            message = f"there is no model {class_path!r}: {wrong}{line}"
        yield _Issue("model", "error", "model.class_path", message)


def _catalog_model(recipe: Recipe, row: ModelRow) -> _Issues:
    if row.task != recipe.task_choice:
        twins = [name for name, other in MODELS.items() if other.task == recipe.task_choice]
        question = did_you_mean(row.class_path, twins)
        message = f"{row.name} is for {row.task}, and task_choice is {recipe.task_choice}"
        yield _Issue("model", "error", "model.class_path", f"{message} ({question})" if question else message)
    if recipe.model.class_weight is not None and not row.weighted:
        message = f"{row.name} takes no weights; leave it out, or choose another model"
        yield _Issue("model", "error", "model.class_weight", message)
    package = (row.base or row).class_path.partition(".")[0]
    if not is_installed(package):
        message = f"{package} is not installed. {install_line(package)}"
        yield _Issue("model", "error", "model.class_path", message)
    for block in ("values", "fixed", "tunable"):
        for name in getattr(recipe.model.hyperparameters, block):
            if not (block == "tunable" and is_path(name)):
                yield from _hyperparameter(row, ("model", "hyperparameters", block, name))
    yield from _not_numbers(recipe, row)


def _hyperparameter(row: ModelRow, key: Path_) -> _Issues:
    name = str(key[-1])
    if name in row.reserved:
        yield _Issue("hyperparameters", "error", key, f"mmp sets this itself for {row.name}; leave it out")
    elif name not in row.names:
        question = did_you_mean(name, row.names) or f"it has: {', '.join(sorted(row.parameters))}"
        message = f"{row.name} has no such hyperparameter ({question})"
        yield _Issue("hyperparameters", "error", key, message)


def _not_numbers(recipe: Recipe, row: ModelRow) -> _Issues:
    """Find text where the catalog knows a number; which numbers go is the library's to say."""
    numbers = {name for name, space in row.search_space.items() if space.type != "categorical"}
    numbers |= {name for name, value in row.defaults.items() if type(value) in (int, float)}
    for block in ("values", "fixed"):
        for name, value in getattr(recipe.model.hyperparameters, block).items():
            canonical = row.aliases.get(name, name)
            if canonical in numbers - _OR_A_WORD and isinstance(value, str) and not _is_number(value):
                message = f"{row.name} takes a number for it, not {value!r}"
                yield _Issue("hyperparameters", "error", ("model", "hyperparameters", block, name), message)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _early_stopping(recipe: Recipe) -> _Issues:
    stopping = recipe.model.early_stopping
    if stopping is None:
        return
    by_share = recipe.data.split.strategy not in {"predefined", "cross_validation"}
    # the members of an ensemble can watch the rows of their folds
    if by_share and recipe.data.split.validation == 0 and recipe.model.class_path is not None:
        message = (
            "it watches the validation split, whose share is 0; write `validation: 0.15` under data.split"
        )
        yield _Issue("early_stopping", "error", "model.early_stopping", message)
    yield from _can_stop(recipe)


def _can_stop(recipe: Recipe) -> _Issues:
    stopping, model = recipe.model.early_stopping, recipe.model
    row = find(model.class_path or "", model.hyperparameters.values)
    if stopping is None or row is None:
        return
    if not row.early_stopping:
        message = f"{row.name} cannot stop early; leave it out, or choose a gradient-boosted model"
        yield _Issue("early_stopping", "error", "model.early_stopping", message)
    elif stopping.metric is not None and stopping.metric not in row.stopping_metrics:
        known = row.stopping_metrics
        question = did_you_mean(stopping.metric, known) or f"it can on: {', '.join(known)}"
        message = f"{row.name} cannot stop early on {stopping.metric!r} ({question})"
        yield _Issue("early_stopping", "error", "model.early_stopping.metric", message)


# -- ensembles and presets ---------------------------------------------------------------------------


def _ensemble(recipe: Recipe) -> _Issues:
    model = recipe.model
    if model.class_path is not None:
        return
    where = "write it in a member" if model.ensemble else "a preset chooses it"
    for key in ("values", "fixed", "tunable", "tuning_enabled"):
        if getattr(model.hyperparameters, key):
            message = f"it is of one model, and this is several; {where}"
            yield _Issue("ensemble", "error", f"model.hyperparameters.{key}", message)
    if model.preset and model.early_stopping:
        yield _Issue("ensemble", "error", "model.early_stopping", f"leave it out; {where}")
    for number, member in enumerate(member_recipes(recipe)):
        place = ("model", "ensemble", "members", number)
        for issue in _member(member):
            yield replace(issue, key=(*place, *_path(issue.key)[1:]))


def _member(recipe: Recipe) -> _Issues:
    """Find what is wrong with a member, taken for the model of a recipe."""
    if recipe.model.class_path is None:
        message = "a member is one estimator; write its class_path"
        yield _Issue("ensemble", "error", "model.class_path", message)
    if recipe.model.calibration.enabled:
        message = "what the members say together is calibrated; write it under model"
        yield _Issue("ensemble", "error", "model.calibration.enabled", message)
    elif recipe.model.class_path is not None:
        for check_one in (_model, _can_stop, _tuning):
            yield from check_one(recipe)


def _time_limit(recipe: Recipe) -> _Issues:
    if recipe.model.time_limit_s is not None and recipe.model.preset is None:
        message = "it is the time of a preset, and has no effect without one"
        yield _Issue("ensemble", "warn", "model.time_limit_s", message)


# -- tuning --------------------------------------------------------------------------------------------


def _tuning(recipe: Recipe) -> _Issues:
    settings = recipe.model.hyperparameters
    if not settings.tuning_enabled or recipe.model.class_path is None:
        return
    key = "model.hyperparameters.tuning_enabled"
    if not is_installed("optuna"):
        yield _Issue("tuning", "error", key, f"optuna is not installed. {install_line('optuna')}")
    division = recipe.data.split
    if division.strategy not in {"predefined", "cross_validation"} and not division.validation:
        message = (
            "trials are compared on the validation split, whose share is 0; write `validation: 0.15` under "
            "data.split"
        )
        yield _Issue("tuning", "error", key, message)
    row = row_for(recipe.model.class_path, cast("Task", recipe.task_choice), settings.values)
    if TASKS[recipe.task_choice].available and not space(settings, row):
        message = f"nothing is to be searched: mmp has no space for {row.name}; write `tunable`"
        yield _Issue("tuning", "error", key, message if not settings.fixed else f"{message}, or fix less")
    yield from _tunable(recipe, row)


def _tunable(recipe: Recipe, row: ModelRow) -> _Issues:
    settings, seen = recipe.model.hyperparameters, set[str]()
    fixed = {row.aliases.get(name, name) for name in settings.fixed}
    for name, one in settings.tunable.items():
        canonical = row.aliases.get(name, name)
        wrong = _wrong_range(one)
        if canonical in fixed:
            wrong = "it is fixed as well; keep one of the two"
        elif canonical in seen:
            wrong = f"it is another name of {canonical}, which is there already"
        elif is_path(name):
            wrong = wrong or _wrong_path(recipe, name, one)
        seen.add(canonical)
        if wrong:
            yield _Issue("tuning", "error", ("model", "hyperparameters", "tunable", name), wrong)


def _wrong_range(one: Tunable) -> str:
    if one.type == "categorical":
        return ""
    if one.type == "int" and not all(float(end).is_integer() for end in one.range):
        return "the ends of an int are whole numbers"
    lowest = 1 if one.type == "int" else 0
    if one.log and (one.range[0] < lowest or one.range[0] == 0):
        return f"log needs a range above 0, and it begins at {one.range[0]}"
    return ""


def _wrong_path(recipe: Recipe, name: str, one: Tunable) -> str:
    if not name.startswith(SEARCHABLE):
        return f"of the keys of the recipe only those below {' and '.join(SEARCHABLE)} can be searched"
    for value in one.range or one.choices or ():
        try:
            replaced(recipe, name, value)
        except KeyError:
            return "the recipe has no such place; write the steps out, or correct the index"
        except ValidationError as error:
            return f"{value!r} is no value for it: {error.errors()[0]['msg']}"
    return ""


# -- probabilities and decisions -----------------------------------------------------------------------


def _calibration(recipe: Recipe) -> _Issues:
    if recipe.model.calibration.enabled and recipe.task_choice != "classification":
        message = f"{recipe.task_choice} has no probabilities to calibrate; leave it out"
        yield _Issue("calibration", "error", "model.calibration.enabled", message)


def _threshold(recipe: Recipe) -> _Issues:
    searched, key = recipe.evaluation.searched, "evaluation.threshold"
    if recipe.task_choice != "classification":
        if "threshold" in recipe.evaluation.model_fields_set:
            message = f"{recipe.task_choice} has no classes to decide between; leave it out"
            yield _Issue("threshold", "error" if searched else "warn", key, message)
        return
    if searched is None:
        return
    division = recipe.data.split
    if division.strategy not in {"predefined", "cross_validation"} and not division.validation:
        message = "validation rows choose it, and their share is 0; write `validation: 0.15` under data.split"
        yield _Issue("threshold", "error", key, message)
    if wrong := _wrong_aim(searched):
        yield _Issue("threshold", "error", key, wrong)
    elif searched.optimise is not None:
        yield from _metric_issues(f"{key}.optimise", searched.optimise, recipe, of_decisions=True)


def _wrong_aim(searched: ThresholdSearch) -> str:
    """Say what keeps a search for a threshold from having one aim, or return nothing."""
    if (searched.optimise is None) == (searched.top_k is None):
        return "exactly one of optimise and top_k is needed"
    if searched.top_k is not None and searched.top_k > 1 and not searched.top_k.is_integer():
        return f"top_k is a number of rows or a share below 1, not {searched.top_k:g}"
    if (searched.optimise == "cost") != (searched.costs is not None):
        return "cost has costs, and nothing else has; write `{optimise: cost, costs: {fp: 1, fn: 10}}`"
    if searched.costs is not None and not (searched.costs.fp or searched.costs.fn):
        return "one of the costs must be above 0"
    return ""


def _slices(recipe: Recipe) -> _Issues:
    if (target := recipe.data.data_interface.target_column) in recipe.evaluation.slices:
        message = f"'{target}' is the target, of which there is nothing to compare; leave it out"
        yield _Issue("slices", "error", "evaluation.slices", message)


def _promises(recipe: Recipe) -> _Issues:
    for key, message in wrong_promises(recipe):
        yield _Issue("uncertainty", "error", key, message)


# -- metrics -------------------------------------------------------------------------------------------


def _metrics(recipe: Recipe) -> _Issues:
    if not TASKS[recipe.task_choice].available or is_old_model(recipe.model.class_path):
        return  # what they have metrics of, they are to bring with them
    asked: list[tuple[Path_, str]] = [
        (("evaluation", "metrics", index), name) for index, name in enumerate(recipe.evaluation.metrics or ())
    ]
    asked += [(("evaluation", "gates", name), name) for name in recipe.evaluation.gates]
    tuned = recipe.model.hyperparameters.optimization_metric
    if tuned is not None:
        asked.append((("model", "hyperparameters", "optimization_metric"), tuned))
    for number, member in enumerate(recipe.model.ensemble.members if recipe.model.ensemble else ()):
        if (tuned := member.hyperparameters.optimization_metric) is not None:
            place = ("model", "ensemble", "members", number, "hyperparameters", "optimization_metric")
            asked.append((place, tuned))
    for key, name in asked:
        yield from _metric_issues(key, name, recipe)


def _metric_issues(key: str | Path_, name: str, recipe: Recipe, *, of_decisions: bool = False) -> _Issues:
    try:
        metric = parse(name, recipe.task_choice)
    except UnknownMetricError as error:
        question = did_you_mean(name, error.known) or f"known are: {', '.join(error.known)}"
        message = f"{name!r} is no metric of {recipe.task_choice} ({question})"
        yield _Issue("metrics", "error", key, message)
        return
    wrong = absent(metric.formula) if metric.needs == "own" else ""
    if wrong:
        yield _Issue("metrics", "error", key, f"there is no metric {name!r}: {wrong}")
    elif of_decisions and metric.needs not in {"labels", "own"}:
        decided = [one.name for one in METRICS.values() if one.needs == "labels"]
        message = f"{name} is the same at every threshold; choose one of {', '.join(decided)}"
        yield _Issue("threshold", "error", key, message)


# -- gates ---------------------------------------------------------------------------------------------


def _gates(recipe: Recipe) -> _Issues:
    split = recipe.data.split
    for name, gate in recipe.evaluation.gates.items():
        key = ("evaluation", "gates", name)
        if gate.min is None and gate.max is None and gate.vs is None:
            yield _Issue("gates", "error", key, "it limits nothing; write min, max or `vs: champion`")
        if gate.min is not None and gate.max is not None and gate.min > gate.max:
            message = f"nothing is at least {gate.min:g} and at most {gate.max:g}"
            yield _Issue("gates", "error", key, message)
        if gate.tolerance and gate.vs is None:
            yield _Issue("gates", "warn", (*key, "tolerance"), "it has no effect without vs")
    if recipe.evaluation.gates and split.strategy != "predefined" and not split.test:
        message = (
            "gates are held against the test split, whose share is 0; write `test: 0.15` under data.split"
        )
        yield _Issue("gates", "error", "evaluation.gates", message)


def _gates_of_others(recipe: Recipe, config: Config) -> _Issues:
    for name, gate in recipe.evaluation.gates.items():
        if gate.vs is not None and config.mlflow.registered_model_name is None:
            message = f"the config names no model that has a {gate.vs}; write mlflow.registered_model_name"
            yield _Issue("gates", "error", ("evaluation", "gates", name, "vs"), message)


# -- features ------------------------------------------------------------------------------------------


def _fetcher(recipe: Recipe) -> _Issues:
    fetcher = recipe.data.fetcher
    ways = [name for name in _WAYS_TO_TAKE if getattr(fetcher, name)]
    if fetcher.type == "pass_through":
        for name in ways:
            message = "it has no effect while data.fetcher.type is pass_through; write feature_store there"
            yield _Issue("features", "warn", f"data.fetcher.{name}", message)
        return
    if not ways:
        message = f"the feature store needs one of {', '.join(_WAYS_TO_TAKE)}"
        yield _Issue("features", "error", "data.fetcher", message)
    moment = recipe.data.event_timestamp
    if moment is None:
        message = (
            "nothing says at which moment a row sees its features; write `timestamp_column: NAME` under "
            "data.fetcher"
        )
        yield _Issue("features", "error", "data.fetcher.timestamp_column", message)
    elif moment == recipe.data.data_interface.target_column:
        message = f"{moment!r} is the target, which does not say when"
        yield _Issue("features", "error", "data.fetcher.timestamp_column", message)


def _feature_store(recipe: Recipe, config: Config) -> _Issues:
    store = config.feature_store
    if recipe.data.fetcher.type == "feature_store" and (
        store.provider == "none" or store.feast_config is None
    ):
        message = "the config names no feature store; write feature_store: {provider: feast, feast_config: …}"
        yield _Issue("features", "error", "data.fetcher.type", message)


# -- split ---------------------------------------------------------------------------------------------


def _split(recipe: Recipe) -> _Issues:
    split = recipe.data.split
    needed = _STRATEGY_COLUMNS.get(split.strategy)
    if needed and getattr(split, needed) is None:
        message = f"the strategy {split.strategy} needs it; write `{needed}: NAME` under data.split"
        yield _Issue("split", "error", f"data.split.{needed}", message)
    of_folds = ("temporal", "group") if split.strategy == "cross_validation" else ()
    if of_folds and split.temporal_column is not None and split.group_column is not None:
        message = (
            "folds are either of groups or follow on each other in time; leave this or temporal_column out"
        )
        yield _Issue("split", "error", "data.split.group_column", message)
    for strategy, column in _STRATEGY_COLUMNS.items():
        if getattr(split, column) is not None and strategy not in (split.strategy, *of_folds):
            message = (
                f"it has no effect: the strategy is {split.strategy}; write `strategy: {strategy}` to use it"
            )
            yield _Issue("split", "warn", f"data.split.{column}", message)
    yield from _gap(split)
    yield from _inner_folds(recipe)
    if split.strategy != "predefined":
        yield from _shares(split)
    needs_calibration = recipe.model.calibration.enabled or recipe.evaluation.intervals is not None
    if needs_calibration and split.calibration == 0 and split.strategy != "predefined":
        message = "its share is 0; write `calibration: 0.1` under data.split, and less for train"
        yield _Issue("split", "error", "data.split.calibration", message)


def _inner_folds(recipe: Recipe) -> _Issues:
    split, model = recipe.data.split, recipe.model
    if split.inner_folds is None:
        return
    missing = "tuning_enabled: true" if split.strategy == "cross_validation" else "strategy: cross_validation"
    if split.strategy != "cross_validation" or not model.hyperparameters.tuning_enabled:
        message = f"it has no effect on a model that is not tuned over folds; write `{missing}` to use it"
        yield _Issue("split", "warn", "data.split.inner_folds", message)
    elif model.class_path is None:
        message = "it has no effect on several models; name a class_path to use it"
        yield _Issue("split", "warn", "data.split.inner_folds", message)


def _gap(split: Split) -> _Issues:
    if isinstance(split.gap, str) and SPAN.fullmatch(split.gap) is None:
        message = (
            f"{split.gap!r} is no span of time; write one such as 90s, 12h, 7d or 2w, or a number of rows"
        )
        yield _Issue("split", "error", "data.split.gap", message)
    elif split.gap is not None and split.strategy == "cross_validation" and split.temporal_column is None:
        message = "it has no effect on folds that are drawn; write `temporal_column: NAME` to use it"
        yield _Issue("split", "warn", "data.split.gap", message)
    elif split.gap is not None and split.strategy not in {"temporal", "cross_validation"}:
        message = f"it has no effect: the strategy is {split.strategy}; write `strategy: temporal` to use it"
        yield _Issue("split", "warn", "data.split.gap", message)


def _shares(split: Split) -> _Issues:
    shares = {part: getattr(split, part) for part in PARTS}
    total = sum(shares.values())
    if abs(total - 1) <= 1e-6:
        return
    if abs(total - 1) <= ROUNDING:
        message = f"the shares sum to {total:g}, and are taken in proportion"
        yield _Issue("split", "warn", "data.split", message)
        return
    added = " + ".join(f"{part} {share:g}" for part, share in shares.items() if share)
    message = f"the shares sum to {total:g}, not 1: {added}"
    unset = [part for part in PARTS if part not in split.model_fields_set and shares[part]]
    if unset and abs(sum(shares[part] for part in split.model_fields_set & set(PARTS)) - 1) <= ROUNDING:
        message += f"; write {' and '.join(f'`{part}: 0`' for part in unset)}"
    yield _Issue("split", "error", "data.split", message)


def _data_checks(recipe: Recipe) -> _Issues:
    for name in recipe.data.checks:
        if name not in CHECKS:
            question = did_you_mean(name, CHECKS) or f"known are: {', '.join(CHECKS)}"
            yield _Issue(
                "data.checks", "error", ("data", "checks", name), f"there is no such check ({question})"
            )


# -- steps ---------------------------------------------------------------------------------------------


def _steps(recipe: Recipe) -> _Issues:
    steps = (recipe.preprocessor.steps if recipe.preprocessor else None) or ()
    claimed = {name: role for role, name in _claimed(recipe)}
    for step in steps:
        yield from _one_step(step, recipe)
        for name in _names(step):
            if name in claimed:
                message = f"{name!r} is the {claimed[name]} column, and no step may touch it"
                key = ("preprocessor", "steps", step.position, "columns")
                yield _Issue("steps", "error", key, message, name)
    for index, step in enumerate(steps):
        late = next((other for other in steps[index + 1 :] if _is_wrong_order(step, other)), None)
        if late is not None:
            message = f"{step.type} stands before {late.type} of the same columns; {late.type} belongs first"
            yield _Issue("steps", "warn", ("preprocessor", "steps", step.position), message)


def _one_step(step: Step, recipe: Recipe) -> _Issues:
    place = ("preprocessor", "steps", step.position)
    row = STEPS.get(step.type)
    if row is None:
        wrong = absent(step.type)
        if wrong:
            package = step.type.partition(".")[0]
            line = f". {install_line(package)}" if "not installed" in wrong else ""
            yield _Issue("steps", "error", (*place, "type"), f"there is no step {step.type!r}: {wrong}{line}")
    elif row.of_series and not recipe.data.is_ordered:
        message = (
            f"{step.type} is not available but for ordered series; write "
            "data.data_interface.timestamp_column and data.split.strategy: temporal, or use simple_imputer "
            "or constant_fill"
        )
        yield _Issue("steps", "error", (*place, "type"), message)
    for name, (lowest, highest) in _RANGES.items():
        given = getattr(step, name, None) if row else None
        if given is not None and not lowest <= given[0] < given[1] <= highest:
            within = f", from {lowest:g} to {highest:g}" if highest < inf else ""
            message = f"{list(given)} is no range: write a smaller and a larger number{within}"
            yield _Issue("steps", "error", (*place, name), message)


def _names(step: Step) -> tuple[str, ...]:
    return (step.columns,) if isinstance(step.columns, str) else step.columns or ()


def _is_wrong_order(step: Step, later: Step) -> bool:
    if step.type not in _ORDER or later.type not in _ORDER:
        return False
    return _ORDER[step.type] > _ORDER[later.type] and _may_meet(step, later)


def _may_meet(step: Step, other: Step) -> bool:
    mine = frozenset(_names(step)) or _OWN_COLUMNS[_ORDER[step.type]]
    theirs = frozenset(_names(other)) or _OWN_COLUMNS[_ORDER[other.type]]
    return any(fnmatchcase(a, b) or fnmatchcase(b, a) for a in mine for b in theirs)


# -- source and config ---------------------------------------------------------------------------------


def _source(recipe: Recipe, config: Config) -> _Issues:
    uri = recipe.data.loader.source_uri
    if uri is not None:
        try:
            source = source_path(uri, config.files.base_path)
            if is_query(source):
                config.database  # noqa: B018 - says that there is none
        except SettingsError as error:
            yield _Issue("source", "error", "data.loader.source_uri", f"{error.message} {error.hint}".strip())
            return
        if source.startswith(PYTHON) and (wrong := absent(source.removeprefix(PYTHON))):
            yield _Issue("source", "error", "data.loader.source_uri", f"there is no {source}: {wrong}")


def _config(config: Config) -> _Issues:
    for key, text in missing_in_config(config):
        yield _Issue("available", "error", key, text)
    if not config.mlflow.required:
        message = "it has no effect yet: a training needs its tracking server from start to end"
        yield _Issue("tracking", "warn", "mlflow.required", message)
    for name, given in (("auth", config.serving.auth), ("cors", config.serving.cors)):
        if given.model_fields_set and "enabled" not in given.model_fields_set:
            yield _Issue("serving", "warn", f"serving.{name}", "it has no effect without `enabled: true`")
    yield from _kept(config, _KEPT_IN_CONFIG)


def _recipe_kept(recipe: Recipe) -> _Issues:
    yield from _kept(recipe, _KEPT_IN_RECIPE)


def _kept(root: Section, keys: dict[str, str]) -> _Issues:
    for key, reason in keys.items():
        *above, last = key.split(".")
        section: object = root
        for name in above:
            section = getattr(section, name, None)
        if last in getattr(section, "model_fields_set", ()):
            yield _Issue("kept", "info", key, f"kept for old files, without effect: {reason}")


_RECIPE_CHECKS: tuple[Callable[[Recipe], _Issues], ...] = (
    _roles,
    _repeated,
    _model,
    _early_stopping,
    _ensemble,
    _time_limit,
    _tuning,
    _calibration,
    _threshold,
    _promises,
    _metrics,
    _gates,
    _slices,
    _fetcher,
    _split,
    _data_checks,
    _steps,
    _recipe_kept,
)
