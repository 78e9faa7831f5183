"""The feature store's part of a config: Feast's registry and its two stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, SecretStr, Tag

from mmp.settings.base import Count, Int, Port, Section, Text


class RedisStore(Section):
    """Online features in Redis."""

    type: Literal["redis"]
    """Which store it is."""

    connection_string: SecretStr = SecretStr("localhost:6379")
    """`host:port`, with options after commas."""

    password: SecretStr | None = None
    """Password; put into the connection string."""

    redis_type: Literal["redis", "redis_cluster", "redis_sentinel"] = "redis"
    """Kind of installation."""

    sentinel_master: str | None = None
    """Name of the master, with sentinel."""

    key_ttl_seconds: Count | None = None
    """Seconds after which Redis forgets a key."""

    full_scan_for_deletion: bool | None = None
    """Whether removing a view scans all keys."""


class SqliteStore(Section):
    """Online features in an SQLite file."""

    type: Literal["sqlite"]
    """Which store it is."""

    path: Text = "data/online.db"
    """The file."""


class DynamoStore(Section):
    """Online features in DynamoDB."""

    type: Literal["dynamodb"]
    """Which store it is."""

    region: Text
    """AWS region."""

    table_name: str | None = None
    """Kept for old configs: Feast names the tables by `table_name_template`."""

    table_name_template: str | None = None
    """How tables are named."""

    endpoint_url: str | None = None
    """Another endpoint than AWS's."""

    batch_size: Count | None = None
    """Keys per request."""

    consistent_reads: bool | None = None
    """Whether reads wait for writes."""


class PostgresOffline(Section):
    """Historical features in PostgreSQL."""

    type: Literal["postgres"]
    """Which store it is."""

    host: Text = "localhost"
    """Host."""

    port: Port = 5432
    """Port."""

    database: Text
    """Database."""

    db_schema: str | None = None
    """Schema; `public` where left out."""

    user: Text
    """User."""

    password: SecretStr | None = None
    """Password."""

    sslmode: str | None = None
    """As in libpq; Feast's own default is `require`."""


class DuckdbOffline(Section):
    """Historical features in files, read by DuckDB."""

    type: Literal["duckdb"]
    """Which store it is."""

    staging_location: str | None = None
    """Where larger results are put down."""

    staging_location_endpoint_override: str | None = None
    """Another endpoint for it."""


class FileOffline(Section):
    """Historical features in files."""

    type: Literal["file", "dask"]
    """Which store it is."""

    path: str | None = None
    """Kept for old configs: each feature view names its own file."""


class BigqueryOffline(Section):
    """Historical features in BigQuery."""

    type: Literal["bigquery"]
    """Which store it is."""

    project_id: str | None = None
    """Project."""

    billing_project_id: str | None = None
    """Project that pays."""

    dataset_id: str | None = None
    """Data set."""

    dataset: str | None = None
    """Data set for temporary tables."""

    location: str | None = None
    """Location of the data set."""

    gcs_staging_location: str | None = None
    """Bucket where larger results are put down."""


def kind(given: Any) -> str | None:
    """Return what tells the members of a union of stores apart."""
    known = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return known if isinstance(known, str) else None


OnlineStore: TypeAlias = Annotated[
    Annotated[RedisStore, Tag("redis")]
    | Annotated[SqliteStore, Tag("sqlite")]
    | Annotated[DynamoStore, Tag("dynamodb")],
    Discriminator(kind),
]
OfflineStore: TypeAlias = Annotated[
    Annotated[PostgresOffline, Tag("postgres")]
    | Annotated[DuckdbOffline, Tag("duckdb")]
    | Annotated[FileOffline, Tag("file")]
    | Annotated[FileOffline, Tag("dask")]
    | Annotated[BigqueryOffline, Tag("bigquery")],
    Discriminator(kind),
]


class FeastConfig(Section):
    """Feast's settings, as in its `feature_store.yaml`."""

    repo_path: str | None = None
    """Folder of an existing Feast repository, instead of the keys below."""

    project: str | None = None
    """Name of the Feast project."""

    registry: SecretStr | None = None
    """Path or URL of the registry."""

    provider: str = "local"
    """Feast's provider."""

    entity_key_serialization_version: Int = 3
    """How Feast writes entity keys."""

    online_store: OnlineStore | None = None
    """Where features are read while serving."""

    offline_store: OfflineStore | None = None
    """Where features are read for training."""

    @property
    def online(self) -> OnlineStore | None:
        """The online store, its file where Feast has it: a relative path starts at the repository."""
        store = self.online_store
        if not isinstance(store, SqliteStore) or self.repo_path is None:
            return store
        return store.model_copy(update={"path": str(Path(self.repo_path, store.path))})


class FeatureStore(Section):
    """The feature store."""

    provider: Literal["none", "feast"] = "none"
    """Which product."""

    enabled: bool | None = None
    """Kept for old configs: the provider says it."""

    feast_config: FeastConfig | None = None
    """Feast's settings."""
