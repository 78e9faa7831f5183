"""`mmp features`: what is defined, registering it, and filling the online store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmp.features import registry
from mmp.pipelines.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mmp.features.registry import Materialized, ViewListing
    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config


def listing(config: Config) -> tuple[ViewListing, ...]:
    """Return the feature views of the config's project, by name.

    Raises
    ------
    MmpError
        There is no feature store, or its registry does not answer.
    """
    return registry.views(config.feature_store)


def apply(config: Config, repo: str | None = None) -> tuple[str, ...]:
    """Register what the Python files of a folder define, and return the names of the views.

    Raises
    ------
    MmpError
        There is no such folder, it defines nothing, or the registry refuses it.
    """
    return registry.apply(config.feature_store, Path(repo) if repo is not None else None)


def materialize(
    config: Config,
    views: Sequence[str] | None = None,
    *,
    until: datetime | None = None,
    is_full: bool = False,
    watcher: Watcher | None = None,
) -> tuple[Materialized, ...]:
    """Write what became known since the last time to the online store.

    Parameters
    ----------
    config : Config
        Where the stores are.
    views : sequence of str, optional
        The views; all that are online where they are left out.
    until : datetime, optional
        The moment as of which values hold; now where it is left out.
    is_full : bool
        Write every entity, whatever was written before.
    watcher : Watcher, optional
        Is told how far it is.

    Raises
    ------
    MmpError
        A store or the registry does not answer, or there is no such view.
    """
    steps = Steps(watcher)

    def on_progress(view: str, n_rows: int, of: int, rate: float) -> None:
        steps.progress(f"{view}: {n_rows:,} of {of:,} entities, {rate:,.0f} rows/s")

    with steps("write") as note:
        done = registry.materialize(
            config.feature_store,
            views,
            until=until,
            is_full=is_full,
            query_timeout=config.query_timeout_s,
            on_progress=on_progress,
        )
        for each in done:
            note(f"{each.view} {each.n_rows:,}")
    return done
