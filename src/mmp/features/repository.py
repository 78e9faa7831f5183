"""What `feature_store.yaml` says of the stores, for a config that only names the folder of a repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from mmp.errors import SettingsError
from mmp.settings.stores import (
    DuckdbOffline,
    DynamoStore,
    FeastConfig,
    FeatureStore,
    FileOffline,
    PostgresOffline,
    RedisStore,
    SqliteStore,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "feature_store.yaml"

_STORES: Mapping[str, Mapping[str, Any]] = {
    "offline_store": {
        "postgres": PostgresOffline,
        "duckdb": DuckdbOffline,
        "file": FileOffline,
        "dask": FileOffline,
    },
    "online_store": {"redis": RedisStore, "sqlite": SqliteStore, "dynamodb": DynamoStore},
}
_PLAIN = ("project", "entity_key_serialization_version")


def complete(store: FeatureStore) -> FeatureStore:
    """Return settings with what the config leaves to the file of its Feast repository.

    What the config says itself wins. Options of Feast's that mmp has no use for are left out; `${VAR}` is
    read from the environment, as Feast does.

    Parameters
    ----------
    store : FeatureStore
        The config's feature store.

    Raises
    ------
    SettingsError
        The file cannot be read, or has a value that no store takes.
    """
    config = store.feast_config
    content = None if config is None else read(config)
    if config is None or content is None:
        return store
    given = {name: getattr(config, name) for name in config.model_fields_set}
    found = {name: content[name] for name in _PLAIN if name in content}
    found |= {name: _store(content[name], _STORES[name]) for name in _STORES if name in content}
    try:
        whole = FeastConfig.model_validate({**{k: v for k, v in found.items() if v is not None}, **given})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SettingsError(
            f"{_path(config)} has values that mmp cannot use: {wrong}.", hint="Mend the file, or the config."
        ) from error
    return store.model_copy(update={"feast_config": whole})


def read(config: FeastConfig) -> dict[str, Any] | None:
    """Return the content of the repository's file, or None where there is none.

    Raises
    ------
    SettingsError
        It is no YAML mapping.
    """
    path = _path(config)
    if path is None or not path.is_file():
        return None
    try:
        content = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no YAML.", hint="Check it with Feast's own command.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} is no mapping.", hint="Check it with Feast's own command.")
    return content


def _path(config: FeastConfig) -> Path | None:
    return None if config.repo_path is None else Path(config.repo_path, FILE)


def _store(content: Any, kinds: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the options that our store of that type has; a store that mmp does not know is none."""
    options = content if isinstance(content, dict) else {"type": content}
    section = kinds.get(str(options.get("type")))
    if section is None:
        return None
    return {name: value for name, value in options.items() if name in section.model_fields}
