"""`mmp plan`: what a training would do, as far as it can be known before the estimator is fitted."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from mmp.lookup import resolve
from mmp.modeling import threads
from mmp.modeling.hyperparameters import complete
from mmp.modeling.union import unite
from mmp.pipelines import calibrate, decide, record
from mmp.pipelines.check import model_row, models, refuse_metrics, refuse_settings
from mmp.pipelines.enrich import enrich, feature_set, with_defaults
from mmp.pipelines.ensemble import names_of
from mmp.pipelines.model import MODEL_FOLDER
from mmp.pipelines.prepare import fold_rows, prepare, split_rows
from mmp.pipelines.rows import labelled_rows, read_table
from mmp.pipelines.source import find_source
from mmp.pipelines.tune import search
from mmp.settings.search import with_values
from mmp.tracking.stores.base import public_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mmp.catalog.models import ModelRow
    from mmp.errors import Finding
    from mmp.modeling.pipeline import FittedPipeline
    from mmp.pipelines.prepare import Parts, Prepared
    from mmp.pipelines.rows import Rows
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe

Origin = Literal["recipe", "catalog", "library", "mmp"]
_SIGNED = ("sklearn", "linear")  # engines whose class says its defaults, and is imported to be asked


@dataclass(frozen=True)
class PlannedColumn:
    """A column of the table.

    Parameters
    ----------
    name, kind : str
        What it is called and holds.
    role : str
        target, entity, feature, or that it is left out or divides the rows.
    becomes : tuple of str
        The features that are made of it.
    """

    name: str
    kind: str
    role: str
    becomes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedStep:
    """A preprocessing step: its type, its settings, and who chose it."""

    type: str
    settings: Mapping[str, Any]
    origin: Literal["recipe", "mmp"]


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter, its value, and where that comes from; a library's own may be known to it alone."""

    name: str
    value: Any
    origin: Origin


@dataclass(frozen=True)
class PlannedSearch:
    """Trials to come: how they are compared, and the space, each name with its type, range and scale."""

    trials: int
    metric: str
    space: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class PlannedMember:
    """One of the models of an ensemble, as a plan has them of a model by itself."""

    name: str
    model: str
    steps: tuple[PlannedStep, ...]
    parameters: tuple[Parameter, ...]
    search: PlannedSearch | None


@dataclass(frozen=True)
class Plan:
    """What a training would do.

    Parameters
    ----------
    recipe, config, source : str
        The files.
    query : mapping or None
        Of a query: its template, its parameters, and what is sent.
    task : str
        What is learned.
    n_rows, n_left_out : int
        Rows of the table, and those without a target.
    columns : tuple of PlannedColumn
        All of them.
    splits : mapping of str to int
        Rows of each part.
    folds : tuple of int
        Rows that judge in each fold, none without cross-validation.
    inner_folds : int or None
        Folds that each of them tunes on by itself.
    steps : tuple of PlannedStep
        In order.
    n_features : int
        Columns of the matrix.
    model : str
        Class path, or what it is made of.
    parameters : tuple of Parameter
        Every one.
    search : PlannedSearch or None
        The trials that look for better parameters; those above are of the first.
    members : tuple of PlannedMember
        The models that it is made of, whose steps and parameters stand here.
    calibration : str or None
        How the probabilities will be calibrated, and on how many rows.
    threshold : str or None
        From which probability on the positive class is predicted, or how that will be chosen.
    writes : mapping of str to str or None
        What will be written, and where.
    findings : tuple of Finding
        What was worth telling.
    """

    recipe: str
    config: str
    source: str
    query: Mapping[str, Any] | None
    task: str
    n_rows: int
    n_left_out: int
    columns: tuple[PlannedColumn, ...]
    splits: Mapping[str, int]
    folds: tuple[int, ...]
    inner_folds: int | None
    steps: tuple[PlannedStep, ...]
    n_features: int
    model: str
    parameters: tuple[Parameter, ...]
    search: PlannedSearch | None
    members: tuple[PlannedMember, ...]
    calibration: str | None
    threshold: str | None
    writes: Mapping[str, str | None]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return asdict(self)


def plan(
    recipe: Loaded[Recipe],
    config: Loaded[Config],
    *,
    data: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Plan:
    """Go the way of a training up to the estimator, and write nothing.

    The steps are fitted, because only then it is known what they make of the columns.

    Parameters
    ----------
    recipe, config : Loaded
        What to do, and where.
    data : str, optional
        The table, instead of the recipe's own.
    parameters : Mapping, optional
        Values for the variables of a query.

    Raises
    ------
    MmpError
        What `train` would refuse.
    """
    what, where = recipe.value, config.value
    findings = refuse_settings(recipe, config)
    source = find_source(what, where, data, parameters)
    features = feature_set(what, where)
    table = read_table(what, where, source, features, application="mmp plan")
    enriched = enrich(table, features, what, where, application="mmp plan")
    rows = labelled_rows(enriched.table, what, features)
    refuse_metrics(what, rows.target.classes)
    parts = split_rows(rows, what)
    rows, _ = with_defaults(rows, enriched, parts["train"])
    divisions, recipes = fold_rows(rows, parts, what), models(what)
    planned = [_planned(rows, parts, one, name) for one, name in zip(recipes, names_of(recipes), strict=True)]
    members = tuple(one.member for one in planned)
    alone = members[0] if what.model.class_path else None
    pipeline = unite([one.prepared.pipeline for one in planned]).pipeline
    return Plan(
        recipe=recipe.path,
        config=config.path,
        source=table.source,
        query=None if isinstance(source, str) else source.as_dict(),
        task=what.task_choice,
        n_rows=table.n_rows,
        n_left_out=table.n_rows - rows.table.n_rows,
        columns=tuple(_columns(rows, pipeline, what)),
        splits={name: len(positions) for name, positions in parts.items()},
        folds=tuple(len(fold["validation"]) for fold in divisions),
        inner_folds=what.data.split.inner_folds if divisions and alone and alone.search else None,
        steps=alone.steps if alone else (),
        n_features=len(pipeline.names),
        model=what.model.named,
        parameters=alone.parameters if alone else (),
        search=alone.search if alone else None,
        members=() if alone else members,
        calibration=calibrate.in_words(what, parts),
        threshold=decide.in_words(what, rows.target, parts, divisions),
        writes=_writes(what, where),
        findings=(
            *findings,
            *enriched.findings,
            *rows.findings,
            *dict.fromkeys(found for one in planned for found in one.findings),
        ),
    )


@dataclass(frozen=True)
class _Planned:
    """An estimator as it would be fitted, and its rows."""

    member: PlannedMember
    prepared: Prepared
    findings: tuple[Finding, ...]


def _planned(rows: Rows, parts: Parts, recipe: Recipe, name: str) -> _Planned:
    row = model_row(recipe)
    prepared = prepare(rows, parts, recipe, row)
    settings, told = _parameters(recipe, row, prepared)
    steps, search_ = tuple(_steps(recipe, prepared)), _search(rows, parts, recipe, row)
    return _Planned(PlannedMember(name, row.class_path, steps, settings, search_), prepared, told)


def _columns(rows: Rows, pipeline: FittedPipeline, recipe: Recipe) -> Iterator[PlannedColumn]:
    becomes: dict[str, list[str]] = {}
    for feature, sources in zip(pipeline.names, pipeline.origins, strict=True):
        for source in sources:
            becomes.setdefault(source, []).append(feature)
    named = (
        {spec.name: "entity" for spec in rows.entities}
        | dict(_named_roles(recipe))
        | {spec.name: "feature" for spec in rows.features}
    )
    for spec in rows.table.specs:
        role = named.get(spec.name, "left out")
        yield PlannedColumn(spec.name, spec.kind, role, tuple(becomes.get(spec.name, ())))


def _named_roles(recipe: Recipe) -> Iterator[tuple[str, str]]:
    interface, division = recipe.data.data_interface, recipe.data.split
    for name in (division.temporal_column, division.group_column, division.split_column):
        if name is not None:
            yield name, "divides"
    for name in (recipe.data.event_timestamp, interface.timestamp_column):
        if name is not None:
            yield name, "timestamp"
    yield str(interface.target_column), "target"


def _steps(recipe: Recipe, prepared: Prepared) -> Iterator[PlannedStep]:
    is_written = recipe.preprocessor is not None and recipe.preprocessor.steps is not None
    for step in prepared.steps:
        settings = step.model_dump(mode="json", exclude={"type"}, exclude_none=True)
        yield PlannedStep(step.type, settings, "recipe" if is_written else "mmp")


def _parameters(
    recipe: Recipe, row: ModelRow, prepared: Prepared
) -> tuple[tuple[Parameter, ...], tuple[Finding, ...]]:
    tuning = recipe.model.hyperparameters
    if tuning.tuning_enabled:
        tuning = with_values(recipe, {}, row).model.hyperparameters
    values, findings = complete(
        row,
        tuning.values,
        target=prepared.targets["train"],
        library_defaults=tuning.defaults == "library",
    )
    written = {row.aliases.get(name, name) for name in tuning.values}
    found = {
        name: Parameter(name, value, "recipe" if name in written else "catalog")
        for name, value in values.items()
    }
    own = {row.seed_param: recipe.evaluation.random_state, row.thread_param: _threads(recipe, prepared)}
    for name, value in own.items():
        if name is not None and name not in found:
            found[name] = Parameter(name, value, "mmp")
    defaults = _library_defaults(row)
    for name in sorted((row.parameters or defaults.keys()) - found.keys()):
        found[name] = Parameter(name, defaults.get(name), "library")
    return tuple(found.values()), findings


def _search(rows: Rows, parts: Parts, recipe: Recipe, row: ModelRow) -> PlannedSearch | None:
    if not recipe.model.hyperparameters.tuning_enabled:
        return None
    wanted = search(rows, parts["train"], recipe, row)
    space = {name: asdict(one) for name, one in wanted.space.items()}
    return PlannedSearch(wanted.n_trials, wanted.metric, space)


def _threads(recipe: Recipe, prepared: Prepared) -> int:
    n_rows, n_features = prepared.matrices["train"].values.shape
    return threads.choose(n_rows, n_features, recipe.model.threads)


def _library_defaults(row: ModelRow) -> dict[str, Any]:
    """Return what the class itself says of its parameters, where it says it."""
    if row.engine not in _SIGNED:
        return {}
    signature = inspect.signature(resolve(row.class_path))  # type: ignore[arg-type]
    return {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.default is not parameter.empty and parameter.default != "deprecated"
    }


def _writes(recipe: Recipe, config: Config) -> dict[str, str | None]:
    experiment, _ = record.names(recipe, config)
    tracking = config.mlflow
    return {
        "tracking": public_uri(tracking.tracking_uri),
        "experiment": experiment,
        "run": f"{recipe.name}_<UTC timestamp>",
        "artifacts": public_uri(tracking.artifact_root)
        if tracking.artifact_root
        else "the store's own place",
        "model": f"runs:/<run id>/{MODEL_FOLDER}",
        "registered_model": tracking.registered_model_name,
        "log": str(PurePosixPath(config.logging.base_path, "mmp-*.log")),
    }
