"""From a recipe's source to labelled rows: what is a feature, what the target, what is left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mmp.data import checks, sources
from mmp.data.names import require
from mmp.data.table import take
from mmp.data.template import Query
from mmp.modeling.columns import from_table
from mmp.modeling.target import encode
from mmp.pipelines.decide import with_costs

if TYPE_CHECKING:
    from mmp.data.table import ColumnSpec, Table
    from mmp.errors import Finding
    from mmp.features.references import FeatureSet
    from mmp.modeling.target import Target
    from mmp.settings.config import Config
    from mmp.settings.recipe import Recipe


@dataclass(frozen=True)
class Rows:
    """Rows that a model can learn from.

    Parameters
    ----------
    table : Table
        The rows that have a target.
    features, entities : tuple of ColumnSpec
        What the target is predicted from, and the keys that go to the output.
    target : Target
        The target of the same rows.
    target_spec : ColumnSpec
        The column that it is.
    findings : tuple of Finding
        What the checks found.
    """

    table: Table
    features: tuple[ColumnSpec, ...]
    entities: tuple[ColumnSpec, ...]
    target: Target
    target_spec: ColumnSpec
    findings: tuple[Finding, ...]

    def without_table(self) -> Rows:
        """Return the same roles and target with no row of the table, which may then be freed."""
        return replace(self, table=take(self.table, np.empty(0, np.int64)))

    def describe_target(self) -> str:
        """Return the target in a few words: its classes and their shares, or its range."""
        name, target = self.target_spec.name, self.target
        if not target.classes:
            return f"{name} from {target.values.min():g} to {target.values.max():g}"
        counts = np.bincount(target.values, minlength=target.n_classes)
        if target.positive is not None:
            share = counts[target.positive] / len(target)
            return f"{name} = {target.classes[target.positive]} in {share:.1%}"
        return f"{name} of {target.n_classes} classes"


def read_table(
    recipe: Recipe,
    config: Config,
    source: str | Query,
    features: FeatureSet | None = None,
    *,
    application: str = "mmp",
) -> Table:
    """Read the table of a recipe, or the one that stands in for it.

    Parameters
    ----------
    recipe, config : Recipe, Config
        What, and how it is reached.
    source : str or Query
        From `pipelines.source.find_source`.
    features : FeatureSet, optional
        What the feature store will add: the table needs its keys and not its features.
    application : str
        What a database calls us.

    Raises
    ------
    DataError
        The source cannot be read, or lacks columns.
    """
    return sources.read(
        source,
        columns=_columns(recipe, features),
        texts=_text_keys(features),
        storage_options=config.files.storage_options,
        database=config.database if isinstance(source, Query) else None,
        application=application,
    )


def labelled_rows(table: Table, recipe: Recipe, features: FeatureSet | None = None) -> Rows:
    """Sort out the columns, leave out rows without a target, and check the rest.

    Parameters
    ----------
    table : Table
        As it was read and joined.
    recipe : Recipe
        Names the columns' roles and the levels of the checks.
    features : FeatureSet, optional
        What the feature store added; its keys are entity keys, but for those listed as features.

    Raises
    ------
    DataError
        A check that stops the run, or a target that cannot be predicted.
    """
    interface, task = recipe.data.data_interface, recipe.task_choice
    roles = checks.roles(table, recipe.data, keys=features.key_columns if features else ())
    target_name = str(roles.target)
    require(recipe.evaluation.slices, table.arrow.column_names, table.source)
    rows, _ = checks.drop_null_target(table, target_name)
    checked = checks.check(rows, roles, task=task, levels=recipe.data.checks)
    spec = rows.spec(target_name)
    target, assumed = encode(
        from_table(rows, [spec])[target_name],
        name=target_name,
        task=task,
        positive_class=interface.positive_class,
    )
    return Rows(
        table=rows,
        features=tuple(rows.spec(name) for name in roles.features if name not in checked.left_out),
        entities=tuple(rows.spec(name) for name in roles.entities),
        target=with_costs(target, recipe, target_name),
        target_spec=spec,
        findings=(*checked.findings, *assumed),
    )


def _columns(recipe: Recipe, features: FeatureSet | None) -> list[str] | None:
    """Return the columns to read, None for all: those that no key names are features."""
    interface, split = recipe.data.data_interface, recipe.data.split
    if interface.feature_columns is None:
        return None
    others = (
        interface.target_column, *interface.entity_columns, interface.timestamp_column,
        split.temporal_column, split.group_column, split.split_column, *recipe.evaluation.slices,
        *((*features.key_columns, features.timestamp_column) if features else ()),
    )  # fmt: skip
    stored = features.names if features else ()
    wanted = [*interface.feature_columns, *(name for name in others if name is not None)]
    return [name for name in dict.fromkeys(wanted) if name not in stored]


def _text_keys(features: FeatureSet | None) -> list[str]:
    """Return the keys that are text whatever they look like: a code may begin with zeros."""
    views = features.views if features else ()
    return [key.column for view in views for key in view.keys if key.value_type == "STRING"]
