"""Everything that can be found out about a run without fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from mmp.catalog.models import row_for
from mmp.pipelines.source import find_source
from mmp.settings import checks
from mmp.settings.evaluation import ThresholdSearch
from mmp.settings.members import candidate_recipes, member_recipes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmp.catalog.models import ModelRow
    from mmp.data.template import Query
    from mmp.errors import Finding
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe


@dataclass(frozen=True)
class Checked:
    """What was checked and what was found.

    Parameters
    ----------
    what : tuple of str
        ``settings``, and ``data`` where the table was read.
    summary : str
        The same in a few words.
    findings : tuple of Finding
        None of them an error.
    """

    what: tuple[str, ...]
    summary: str
    findings: tuple[Finding, ...]


def check(
    recipe: Loaded[Recipe],
    config: Loaded[Config],
    *,
    data: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    read_data: bool = True,
) -> Checked:
    """Check a recipe against its config and its table, as `train` would, up to the estimator's fit.

    Parameters
    ----------
    recipe, config : Loaded
        The files.
    data : str, optional
        A table instead of the recipe's own.
    parameters : Mapping, optional
        Values for the variables of a query; it is rendered even where nothing is read.
    read_data : bool
        Whether to look at the table at all.

    Raises
    ------
    SettingsError, DataError
        What `train` would refuse.
    """
    findings = refuse_settings(recipe, config)
    has_source = data is not None or recipe.value.data.loader.source_uri is not None
    source = find_source(recipe.value, config.value, data, parameters) if has_source else None
    if source is None or not read_data:
        return Checked(
            ("settings",), f"{recipe.path} holds together with {config.path}; no table was read", findings
        )
    return _check_data(recipe, config, source, findings)


def refuse_settings(recipe: Loaded[Recipe], config: Loaded[Config]) -> tuple[Finding, ...]:
    """Return what is worth telling about the settings, or refuse them with all that is wrong.

    Raises
    ------
    SettingsError
        Naming every reason and its place.
    """
    findings = checks.check(recipe, config)
    checks.require(findings)
    return tuple(findings)


def refuse_metrics(recipe: Recipe, classes: Sequence[object]) -> None:
    """Do nothing where the target has the classes of all metrics that a recipe names anywhere.

    Parameters
    ----------
    recipe : Recipe
        Names metrics to report, to tune and to decide by, and for gates.
    classes : sequence
        The target's, for classification.

    Raises
    ------
    UnknownNameError
        A metric of a class that the target has not.
    """
    from mmp.evaluation.evaluate import requests

    search = recipe.evaluation.threshold
    chosen = [search.optimise] if isinstance(search, ThresholdSearch) else []
    tuned = [one.model.hyperparameters.optimization_metric for one in models(recipe)]
    asked = (*(recipe.evaluation.metrics or ()), *recipe.evaluation.gates, *chosen, *tuned)
    requests([name for name in asked if name], task=recipe.task_choice, classes=classes)


def model_row(recipe: Recipe) -> ModelRow:
    """Return the catalog's row of a recipe's model, or one made for a path outside the catalog."""
    task = cast(
        "Literal['classification', 'regression']", recipe.task_choice
    )  # settings.checks lets no other pass
    settings = recipe.model.hyperparameters
    return row_for(str(recipe.model.class_path), task, {**settings.values, **settings.fixed})


def models(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return a recipe for each estimator: itself, one for each member, or for each that a preset tries."""
    if recipe.model.preset:
        return candidate_recipes(recipe)
    return member_recipes(recipe) if recipe.model.ensemble else (recipe,)


def _check_data(
    recipe: Loaded[Recipe], config: Loaded[Config], source: str | Query, findings: tuple[Finding, ...]
) -> Checked:
    # in here, because settings alone are checked without loading Arrow and NumPy
    from mmp.modeling.union import unite
    from mmp.pipelines import calibrate, decide
    from mmp.pipelines.enrich import enrich, feature_set, with_defaults
    from mmp.pipelines.prepare import fold_rows, in_words, prepare, split_rows
    from mmp.pipelines.rows import labelled_rows, read_table

    what = recipe.value
    where, features = config.value, feature_set(what, config.value)
    table = read_table(what, where, source, features, application="mmp validate")
    enriched = enrich(table, features, what, where, application="mmp validate")
    rows = labelled_rows(enriched.table, what, features)
    refuse_metrics(what, rows.target.classes)
    parts = split_rows(rows, what)
    divisions = fold_rows(rows, parts, what)
    rows, _ = with_defaults(rows, enriched, parts["train"])
    estimators = {one.model.class_path: one for one in models(what)}
    made = [prepare(rows, parts, one, model_row(one)) for one in estimators.values()]
    n_columns = len(unite([prepared.pipeline for prepared in made]).pipeline.names)
    summary = (
        f"{recipe.path} holds together with {config.path} and {table.source}: {table.n_rows:,} rows, "
        f"{len(rows.features)} features, target {rows.describe_target()}; {in_words(parts, divisions)}; "
        f"{what.model.named} on {n_columns} columns"
    )
    if calibrated := calibrate.in_words(what, parts):
        summary += f", calibrated by {calibrated}"
    if what.evaluation.searched:
        summary += f", threshold {decide.in_words(what, rows.target, parts, divisions)}"
    return Checked(("settings", "data"), summary, (*findings, *enriched.findings, *rows.findings))
