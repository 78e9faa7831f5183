"""The stores that a config names: tracking, database, Redis, Feast's registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmp.errors import FeatureStoreError, RunNotFoundError, SettingsError, SourceError
from mmp.lookup import is_installed
from mmp.pipelines.system.base import TIME_LIMIT_S, Found, System, version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mmp.data.sql.address import Address
    from mmp.settings.recipe import Recipe

_ANSWER_S = TIME_LIMIT_S - 1
_FEAST = FeatureStoreError.exit_code
_OLDEST_REDIS = "7"
_OLDEST_POSTGRES = "15"
_WHO = """
SELECT current_setting('server_version') AS version, current_user::text AS role,
    has_database_privilege(current_database(), 'CREATE')
    OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspname !~ '^(pg_|information_schema$)'
        AND has_schema_privilege(n.oid, 'CREATE'))
    OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
        AND has_schema_privilege(n.oid, 'USAGE')
        AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS writes
"""
_APPLIED = "SELECT to_regclass('feature_views') IS NOT NULL AS is_there"
_VIEWS = """
SELECT 'view' AS kind, feature_view_name AS name FROM feature_views WHERE project_id = $1
UNION ALL SELECT 'view', feature_view_name FROM on_demand_feature_views WHERE project_id = $1
UNION ALL SELECT 'view', feature_view_name FROM stream_feature_views WHERE project_id = $1
UNION ALL SELECT 'service', feature_service_name FROM feature_services WHERE project_id = $1
"""


def tracking(system: System) -> Found:
    """Check that the experiment's runs can be listed; nothing is written, so it may be one to come."""
    from mmp.tracking.stores import connect
    from mmp.tracking.stores.base import public_uri

    mlflow = system.config.mlflow
    settings = mlflow.model_copy(update={"timeout_s": min(mlflow.timeout_s, _ANSWER_S)})
    name = mlflow.experiment(system.recipe.tracking.experiment if system.recipe is not None else None)
    try:
        with connect(settings, create=False) as store:
            newest = store.search([name], limit=1)
            told = f"newest run {newest[0].run_id[:8]}" if newest else "no runs yet"
            return Found(f"{public_uri(store.uri)}, experiment {name}: {told}")
    except RunNotFoundError:
        return Found(f"no runs yet; the first training makes {public_uri(mlflow.tracking_uri)}")


def redis(system: System) -> Found:
    """Check that the online store's Redis answers, takes the password, and is new enough."""
    feast = system.config.feature_store.feast_config
    store = feast.online_store if feast is not None else None
    if system.config.feature_store.provider == "none" or store is None or store.type != "redis":
        return Found("the config names no Redis", "skipped")
    from mmp.features.ping import address, ping

    host, port, options = address(store)
    there = ping(store, timeout_s=_ANSWER_S / 2)
    text = f"Redis {there or 'of unknown version'} at {host}:{port}"
    if there and version(there) < version(_OLDEST_REDIS):
        return Found(text, "warn", f"Use Redis {_OLDEST_REDIS} or newer.")
    if "password" not in options and host not in {"localhost", "127.0.0.1", "::1"}:
        return Found(f"{text}, without a password", "warn", "Set requirepass there and REDIS_PASSWORD here.")
    return Found(text + (", with a password" if "password" in options else ""))


def database(system: System) -> Found:
    """Check that the database of the data source lets us in, is new enough, and lets us read only."""
    source = system.config.data_source
    if source.adapter_type not in {"sql", "postgresql"}:
        return Found("rows come from files", "skipped")
    from mmp.data.sql.address import address

    where = address(source.config.connection_uri.get_secret_value())
    if where.dialect != "postgresql":
        return _file(where)
    there = _ask(where, _WHO)[0]
    text = f"PostgreSQL {there['version']} at {where.name} as {there['role']}"
    if version(there["version"]) < version(_OLDEST_POSTGRES):
        return Found(
            f"{text}; mmp needs {_OLDEST_POSTGRES} or newer",
            "fail",
            f"Use PostgreSQL {_OLDEST_POSTGRES} or newer.",
            SourceError.exit_code,
        )
    if there["writes"]:
        return Found(
            f"{text}, who may write",
            "warn",
            "Let recipes read with a role that may only SELECT: GRANT SELECT, no CREATE, no ownership.",
        )
    return Found(f"{text}, who may only read")


def _file(where: Address) -> Found:
    if where.uri == ":memory:" or Path(where.uri).is_file():
        return Found(where.name)
    return Found(
        f"{where.name} is not there",
        "fail",
        "Mend data_source.config.connection_uri of the config.",
        SourceError.exit_code,
    )


def _ask(where: Address, question: str, *values: str) -> list[dict[str, Any]]:
    if not is_installed("adbc_driver_postgresql"):
        raise SettingsError("adbc-driver-postgresql is not installed.", hint="pip install '.[sql]'")
    from mmp.data.sql.probe import ask

    return ask(where, question, *values, timeout_s=_ANSWER_S)


def feast(system: System) -> Found:
    """Check that Feast's registry answers, and knows what the recipe names."""
    settings = system.config.feature_store.feast_config
    if system.config.feature_store.provider != "feast" or settings is None:
        return Found("the config names no feature store", "skipped")
    registry = settings.registry.get_secret_value() if settings.registry is not None else ""
    if not registry.startswith("postgres"):
        return _by_feast(system)
    from mmp.data.sql.address import address

    project, where = settings.project or "", address(registry)
    try:
        is_applied = _ask(where, _APPLIED)[0]["is_there"]
        known = {(row["kind"], row["name"]) for row in _ask(where, _VIEWS, project)} if is_applied else set()
    except SourceError as error:
        raise FeatureStoreError(
            f"Feast's registry: {error.message}", hint="Mend feature_store.feast_config.registry."
        ) from error
    return _known(known, set(_named(system.recipe)), f"project {project} at {where.name}")


def _by_feast(system: System) -> Found:
    """Read a registry that is no PostgreSQL as a run does: importing Feast takes seconds."""
    from mmp.features import registry

    store, recipe = system.config.feature_store, system.recipe
    assert store.feast_config is not None
    if recipe is not None and recipe.data.fetcher.type == "feature_store":
        registry.resolve(recipe.data.fetcher, store)
    known = {("view", listing.view.name) for listing in registry.views(store)}
    return _known(known, set(), f"project {store.feast_config.project or ''} in Feast's registry")


def _known(known: set[tuple[str, str]], named: set[tuple[str, str]], place: str) -> Found:
    views = sorted(name for kind, name in known if kind == "view")
    if not views:
        return Found(f"{place} has no feature views", "fail", "Apply them: `mmp features apply`.", _FEAST)
    missing = [f"the {kind} {name}" for kind, name in sorted(named - known)]
    if missing:
        return Found(
            f"{place} lacks {', '.join(missing)}, which the recipe names",
            "fail",
            f"Apply it (`mmp features apply`), or name one of {', '.join(views)}.",
            _FEAST,
        )
    return Found(f"{place}: {', '.join(views)}")


def _named(recipe: Recipe | None) -> Iterator[tuple[str, str]]:
    """Yield the views and the service that a recipe takes features from."""
    if recipe is None or recipe.data.fetcher.type != "feature_store":
        return
    fetcher = recipe.data.fetcher
    for view in fetcher.feature_views or ():
        yield "view", view
    for feature in fetcher.features or ():
        yield "view", feature.partition(":")[0]
    if fetcher.feature_service is not None:
        yield "service", fetcher.feature_service
