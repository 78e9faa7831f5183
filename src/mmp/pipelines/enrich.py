"""What the feature store adds to the rows of a recipe, as of when, and what rows without it get."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mmp.data.arrow import normalise
from mmp.data.buffers import one_chunk, valid
from mmp.errors import Finding, SettingsError
from mmp.features import joined as policy
from mmp.features import offline, registry
from mmp.features.joined import Joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from mmp.data.table import Table
    from mmp.features.references import FeatureSet
    from mmp.pipelines.rows import Rows
    from mmp.settings.config import Config
    from mmp.settings.recipe import Recipe


@dataclass(frozen=True)
class Enriched:
    """A table with the features of its rows.

    Parameters
    ----------
    table : Table
        As it was read, and after its columns one per feature, null where nothing was found.
    features : FeatureSet or None
        What was added.
    found : mapping of str to ndarray of bool, shape (n_rows,)
        By view: for which rows it had values that held.
    findings : tuple of Finding
        What is worth telling of it.
    """

    table: Table
    features: FeatureSet | None = None
    found: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def feature_set(recipe: Recipe, config: Config) -> FeatureSet | None:
    """Return what a recipe takes from the feature store, None where that is nothing.

    Raises
    ------
    MmpError
        The store does not answer, does not know what is asked for, or would add the target.
    """
    if recipe.data.fetcher.type == "pass_through":
        return None
    features = registry.resolve(recipe.data.fetcher, config.feature_store)
    target = recipe.data.data_interface.target_column
    if target in features.names:
        raise SettingsError(
            f"The target {target!r} is one of the features that data.fetcher adds.",
            hint="Leave it out there; a target stands in the source.",
        )
    return replace(features, timestamp_column=recipe.data.event_timestamp)


def enrich(
    table: Table, features: FeatureSet | None, recipe: Recipe, config: Config, *, application: str = "mmp"
) -> Enriched:
    """Add to each row the features that were known at its event timestamp.

    Parameters
    ----------
    table : Table
        As it was read.
    features : FeatureSet or None
        From `feature_set`.
    recipe, config : Recipe, Config
        Which of them are learned from, and where the store is.
    application : str
        What a database calls us.

    Raises
    ------
    DataError
        The rows lack a key, or have a column that the store is to add; an entity has no features, where
        that is an error.
    FeatureStoreError
        The store does not answer, or fails on the way.
    """
    if features is None:
        return Enriched(table)
    joined = offline.join(
        table.arrow,
        features,
        config.feature_store,
        query_timeout=config.query_timeout_s,
        application=application,
    )
    if features.on_missing == "error":
        policy.settle(joined, features)
    findings = (
        *registry.findings(features),
        *policy.findings(joined, features),
        *_not_learned_from(features, recipe),
    )
    return Enriched(extended(table, joined.table), features, joined.found, findings)


def with_defaults(
    rows: Rows, enriched: Enriched, training: npt.NDArray[np.int64]
) -> tuple[Rows, FeatureSet | None]:
    """Give rows without features what is usual among the training rows that have them.

    Parameters
    ----------
    rows : Rows
        Those with a target.
    enriched : Enriched
        The table that they are from.
    training : ndarray of int64
        Positions of the training rows among `rows`.
    """
    features = enriched.features
    if features is None or features.on_missing != "default":
        return rows, features
    labelled = valid(one_chunk(enriched.table.arrow.column(rows.target_spec.name)))
    found = {view: has if labelled is None else has[labelled] for view, has in enriched.found.items()}
    joined = Joined(rows.table.arrow, found)
    features = policy.with_defaults(joined, features, training)
    filled = policy.settle(joined, features)
    specs = [replace(spec, has_nulls=filled.column(spec.name).null_count > 0) for spec in rows.table.specs]
    table = replace(rows.table, arrow=filled, specs=tuple(specs))
    learned = tuple(table.spec(spec.name) for spec in rows.features)
    return replace(rows, table=table, features=learned), features


def extended(table: Table, arrow: pa.Table) -> Table:
    """Return a table that columns were added to."""
    added = arrow.column_names[len(table.names) :]
    specs = tuple(normalise(name, arrow.column(name)).spec for name in added)
    return replace(table, arrow=arrow, specs=(*table.specs, *specs))


def _not_learned_from(features: FeatureSet, recipe: Recipe) -> tuple[Finding, ...]:
    listed = recipe.data.data_interface.feature_columns
    unused = [name for name in features.names if listed is not None and name not in listed]
    if not unused:
        return ()
    message = (
        f"feature_columns does not list {len(unused)} of the {len(features.names)} features that "
        f"data.fetcher takes, {unused[0]!r} among them; they are not learned from."
    )
    return (Finding("features_unused", "warn", message),)
