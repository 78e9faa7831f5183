"""Registering the definitions of a Feast repository."""

from __future__ import annotations

import runpy
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.errors import SettingsError
from mmp.features.registry.opened import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.settings.stores import FeatureStore


def apply(store: FeatureStore, repo: Path | None = None) -> tuple[str, ...]:
    """Register what the Python files of a folder define, as ``feast apply`` does; what they lack is removed.

    Parameters
    ----------
    store : FeatureStore
        The config's feature store.
    repo : Path, optional
        The folder; ``feast_config.repo_path`` where it is left out.

    Returns
    -------
    tuple of str
        Names of the feature views that are registered now.

    Raises
    ------
    SettingsError
        There is no such folder, or it defines no feature view.
    FeatureStoreError
        The registry does not answer, or refuses a definition.
    """
    configured = store.feast_config.repo_path if store.feast_config else None
    folder = repo or (Path(configured) if configured else None)
    if folder is None or not folder.is_dir():
        raise SettingsError(
            f"There is no folder {folder} with definitions."
            if folder
            else "Nothing says where definitions are.",
            hint="Write feature_store.feast_config.repo_path: the folder whose Python files define views.",
        )
    with opened(store, make=True) as feast:
        ours = _defined(folder)
        kept = {(_kind(each), each.name) for each in ours}
        gone = [each for each in _there(feast) if (_kind(each), each.name) not in kept]
        feast.apply(ours, objects_to_delete=gone, partial=False)
        return tuple(sorted(each.name for each in ours if _kind(each) == "FeatureView"))


def _defined(folder: Path) -> list[Any]:
    from feast import Entity, FeatureService
    from feast.base_feature_view import BaseFeatureView
    from feast.data_source import DataSource

    found: dict[tuple[str, str], Any] = {}
    for file in sorted(folder.rglob("*.py")):
        with _importable(folder):
            said = runpy.run_path(str(file)).values()
        for each in said:
            if isinstance(each, (Entity, BaseFeatureView, FeatureService, DataSource)):
                found[_kind(each), each.name] = each
    sources = [
        each.batch_source for each in found.values() if getattr(each, "batch_source", None) is not None
    ]
    found |= {(_kind(each), each.name): each for each in sources}
    if not any(kind == "FeatureView" for kind, _ in found):
        raise SettingsError(
            f"The Python files of {folder} define no feature view.",
            hint="Is it the folder of the definitions?",
        )
    return list(found.values())


def _there(feast: Any) -> list[Any]:
    return [
        *feast.list_feature_services(),
        *feast.list_batch_feature_views(),
        *feast.list_on_demand_feature_views(),
        *feast.list_stream_feature_views(),
        *feast.list_data_sources(),
        *(each for each in feast.list_entities() if each.name != "__dummy"),
    ]


def _kind(definition: Any) -> str:
    from feast.data_source import DataSource

    return "DataSource" if isinstance(definition, DataSource) else type(definition).__name__


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
