"""Feast's store over the settings of a config, and Feast's failures as sentences."""

from __future__ import annotations

import json
import os
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.errors import FeatureStoreError, MissingExtraError, SettingsError, UnknownNameError
from mmp.features.repository import FILE, read
from mmp.lookup import did_you_mean, install_line, is_installed
from mmp.settings.secrets import without_credentials
from mmp.settings.stores import DuckdbOffline, FileOffline, PostgresOffline, RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from mmp.settings.stores import FeastConfig, FeatureStore

CONNECT_S = 5
_REDIS_S = 30
_POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg2://")


@contextmanager
def opened(store: FeatureStore, *, make: bool = False) -> Iterator[Any]:
    """Have Feast's store of a config.

    Parameters
    ----------
    store : FeatureStore
        The config's feature store.
    make : bool
        Whether a registry or a project that is not there is made; else it is refused, and Feast gets no
        chance to make one.

    Yields
    ------
    feast.FeatureStore

    Raises
    ------
    SettingsError
        Feast is not configured, or refuses what is.
    UnknownNameError
        The registry does not know the project.
    FeatureStoreError
        The registry or a store does not answer, or not as agreed.
    MissingExtraError
        Feast is not installed.
    """
    feast_config = _configured(store)
    with _quiet(), _translated(feast_config):
        from feast import FeatureStore as Feast

        config = _repo_config(feast_config)
        if not make:
            _require_project(config)
        feast = Feast(config=config)
        try:
            yield feast
        finally:
            _close(feast.registry)


def _close(registry: Any) -> None:
    """Give back the connections of a registry in a database, which Feast keeps until the process ends."""
    for name in ("write_engine", "read_engine"):
        if hasattr(registry, name):
            getattr(registry, name).dispose()


def _configured(store: FeatureStore) -> FeastConfig:
    if store.feast_config is None:
        raise SettingsError(
            "The config has no feature_store.feast_config.", hint="Say there where Feast's registry is."
        )
    if not is_installed("feast"):
        raise MissingExtraError(
            "The feature store is Feast, which is not installed.", hint=install_line("feast")
        )
    # Feast asks for it at import
    os.environ.setdefault("FEAST_USAGE", "False")
    return store.feast_config


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Feast's warnings about itself from whoever called us."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", module=r"(feast|pydantic|google|dask|ibis|typeguard|sqlalchemy)(\..*)?"
        )
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


@contextmanager
def _translated(config: FeastConfig) -> Iterator[None]:
    import psycopg
    from feast.errors import FeastError
    from pydantic import ValidationError
    from redis import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SettingsError(
            f"feature_store.feast_config: Feast refuses {wrong}.", hint="Check it against Feast's reference."
        ) from error
    except (SQLAlchemyError, psycopg.Error) as error:
        raise FeatureStoreError(
            f"Feast's registry does not answer: {_first(error)}.",
            hint="Check feature_store.feast_config.registry, and that the database runs.",
        ) from error
    except RedisError as error:
        raise FeatureStoreError(
            f"The online store does not answer: {_first(error)}.",
            hint="Check feature_store.feast_config.online_store, and that Redis runs.",
        ) from error
    except FeastError as error:
        raise FeatureStoreError(
            f"Feast says: {_first(error)}.", hint="Check feature_store.feast_config of the config."
        ) from error


def _first(error: Exception) -> str:
    """Return the first line of what an error says, without secrets and without the statement."""
    cause = getattr(error, "orig", None) or error
    line = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    return without_credentials(line).rstrip(".")


# ── Feast's own settings ────────────────────────────────────────────────────


def _repo_config(config: FeastConfig) -> Any:
    from feast import RepoConfig

    folder = Path(config.repo_path) if config.repo_path is not None else None
    content = read(config)
    if content is not None:
        return _ours(RepoConfig(**_without_ibis(content), repo_path=folder))
    missing = [name for name in ("project", "registry", "offline_store") if getattr(config, name) is None]
    if missing:
        raise SettingsError(
            f"feature_store.feast_config has no {' and no '.join(missing)}"
            f"{f', and {folder} no {FILE}' if folder is not None else ''}.",
            hint="Write them, or the folder of a Feast repository as repo_path.",
        )
    content = {
        "project": config.project,
        "provider": config.provider,
        "registry": _registry(config.registry.get_secret_value() if config.registry else ""),
        "entity_key_serialization_version": config.entity_key_serialization_version,
        "offline_store": _offline(config.offline_store),
        "online_store": _online(config.online_store),
        "repo_path": folder or Path.cwd(),
    }
    return _ours(RepoConfig(**{key: value for key, value in content.items() if value is not None}))


def _ours(config: Any) -> Any:
    """Have no correction in Redis passed over, and the registry's file where its repository is.

    Feast looks for it in the working directory where settings do not come from its own file.
    """
    if hasattr(config.online_store, "skip_dedup"):
        config.online_store.skip_dedup = True
    registry = config.registry
    if registry.registry_type == "file" and "://" not in registry.path:
        registry.path = str(Path(config.repo_path, registry.path).absolute())
    return config


def _registry(path: str) -> Any:
    for scheme in _POSTGRES:
        if path.startswith(scheme):
            path = f"postgresql+psycopg://{path.removeprefix(scheme)}"
    if not path.startswith(("postgresql+", "sqlite:", "mysql")):
        return path
    arguments = {"connect_timeout": CONNECT_S} if path.startswith("postgresql+") else {}
    return {
        "registry_type": "sql",
        "path": path,
        # every command looks for itself what is registered
        "cache_ttl_seconds": 60,
        "sqlalchemy_config_kwargs": {"echo": False, "connect_args": arguments},
    }


def _without_ibis(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a repository's settings with the other store of the same files.

    Feast's DuckDB store needs one more library to be imported, and mmp reads the files itself.
    """
    offline = content.get("offline_store")
    kind = offline.get("type") if isinstance(offline, dict) else offline
    return {**content, "offline_store": {"type": "file"}} if kind == "duckdb" else dict(content)


def _offline(store: BaseModel | None) -> Mapping[str, Any] | None:
    if isinstance(store, PostgresOffline):
        return {
            **_given(store),
            "password": store.password.get_secret_value() if store.password else "",
            "sslmode": store.sslmode or "prefer",
        }
    # Feast's own have no `path`: each feature view names its own file
    if isinstance(store, (FileOffline, DuckdbOffline)):
        return {"type": "file"}
    return None if store is None else _given(store)


def _online(store: BaseModel | None) -> Mapping[str, Any] | None:
    if not isinstance(store, RedisStore):
        return {"type": "sqlite", "path": "data/online.db"} if store is None else _given(store)
    given = {key: value for key, value in _given(store).items() if key != "password"}
    return {**given, "connection_string": _connection_string(store)}


def _connection_string(store: RedisStore) -> str:
    """Return where Redis is, with the password and with the timeouts that Feast leaves out."""
    text = store.connection_string.get_secret_value()
    known = {part.partition("=")[0].strip() for part in text.split(",") if "=" in part}
    password = store.password.get_secret_value() if store.password else ""
    if "," in password:
        raise SettingsError(
            "feature_store.feast_config.online_store.password has a comma, which Feast cannot read.",
            hint="Give Redis another password.",
        )
    options = {
        **({"password": json.dumps(password)} if password else {}),
        "retry": "null",
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": _REDIS_S,
    }
    return ",".join([text, *(f"{name}={value}" for name, value in options.items() if name not in known)])


def _given(store: BaseModel) -> dict[str, Any]:
    return {
        name: getattr(store, name) for name in type(store).model_fields if getattr(store, name) is not None
    }


# ── whether there is what is to be read ─────────────────────────────────────


def _require_project(config: Any) -> None:
    registry = config.registry
    projects = _sql_projects(registry) if registry.registry_type == "sql" else _file_projects(config)
    if projects is not None and config.project not in projects:
        raise UnknownNameError(
            f"Feast's registry knows no project {config.project!r}.",
            hint=did_you_mean(config.project, projects)
            or (f"It knows: {', '.join(sorted(projects))}." if projects else "Run mmp features apply first."),
        )


def _sql_projects(registry: Any) -> set[str]:
    from feast.infra.registry.sql import feast_metadata, projects
    from sqlalchemy import create_engine, inspect, select

    engine = create_engine(registry.path, **registry.sqlalchemy_config_kwargs)
    try:
        with engine.connect() as connection:
            known = inspect(connection)
            tables = [table for table in (projects, feast_metadata) if known.has_table(table.name)]
            return {name for table in tables for name in connection.scalars(select(table.c.project_id))}
    finally:
        engine.dispose()


def _file_projects(config: Any) -> set[str] | None:
    from feast.protos.feast.core.Registry_pb2 import Registry
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    path = config.registry.path
    if "://" in path:
        return None
    file = Path(config.repo_path or ".", path)
    try:
        content = Registry.FromString(file.read_bytes())
    except OSError as error:
        raise FeatureStoreError(
            f"Feast's registry {path} cannot be read: {error.strerror}.", hint="Run mmp features apply first."
        ) from error
    except DecodeError as error:
        raise FeatureStoreError(f"{path} is no registry of Feast's.", hint="Check the path.") from error
    return {each.spec.name for each in content.projects} | {each.project for each in content.project_metadata}
