"""The adapters of a config: where rows come from, and where predictions go."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, SecretStr, Tag

from mmp.settings.base import Count, Int, Options, Section, Text, section


class Files(Section):
    """Files, here or in a bucket."""

    base_path: Text = "."
    """Folder, or `s3://…`, `gs://…`, that relative paths start from."""

    storage_options: Options = Field(default_factory=dict)
    """Options for the storage library, credentials among them."""


class Database(Section):
    """A database."""

    connection_uri: SecretStr
    """`postgresql://…`, `sqlite:///…`, `duckdb:///…` or `bigquery://…`."""

    query_timeout: Count = 300
    """Seconds a query may take."""

    project_id: str | None = None
    """BigQuery: project."""

    dataset_id: str | None = None
    """BigQuery: data set."""

    location: str = "US"
    """BigQuery: location."""

    credentials_path: str | None = None
    """BigQuery: file of the service account."""

    use_pandas_gbq: bool | None = None
    """Kept for old configs; has no effect."""


class FeastSource(Section):
    """Kept for old configs: the feature store has a section of its own."""

    repo_path: str | None = None
    """Folder of the Feast repository."""

    feature_service: str | None = None
    """Feature service."""


class FilesSource(Section):
    """Rows from files."""

    name: str | None = None
    """A name for messages."""

    adapter_type: Literal["storage", "local_files", "s3", "gcs"] = "storage"
    """Which kind of source."""

    config: Files = section()
    """Where the files are."""


class DatabaseSource(Section):
    """Rows from a database."""

    name: str | None = None
    """A name for messages."""

    adapter_type: Literal["sql", "postgresql", "bigquery"]
    """Which kind of source."""

    config: Database
    """How to reach it."""


class StoreSource(Section):
    """Kept for old configs: rows from the feature store."""

    name: str | None = None
    """A name for messages."""

    adapter_type: Literal["feature_store"]
    """Which kind of source."""

    config: FeastSource = section()
    """Where it is."""


def adapter(given: Any) -> str | None:
    """Return what tells the members of a union of adapters apart; files where nothing is said."""
    known = given.get("adapter_type") if isinstance(given, dict) else getattr(given, "adapter_type", None)
    known = "storage" if known is None else known
    return known if isinstance(known, str) else None


DataSource: TypeAlias = Annotated[
    Annotated[FilesSource, Tag("storage")]
    | Annotated[FilesSource, Tag("local_files")]
    | Annotated[FilesSource, Tag("s3")]
    | Annotated[FilesSource, Tag("gcs")]
    | Annotated[DatabaseSource, Tag("sql")]
    | Annotated[DatabaseSource, Tag("postgresql")]
    | Annotated[DatabaseSource, Tag("bigquery")]
    | Annotated[StoreSource, Tag("feature_store")],
    Discriminator(adapter),
]


class FilesOutput(Section):
    """Predictions as files."""

    base_path: Text = "./predictions"
    """Folder or bucket."""

    file_name: Text | None = None
    """Name without suffix; `{run_id}` is replaced."""

    file_format: Literal["parquet", "csv", "json"] = "parquet"
    """Format."""

    storage_options: Options = Field(default_factory=dict)
    """Options for the storage library, credentials among them."""


class TableOutput(Section):
    """Predictions as a table."""

    connection_uri: SecretStr
    """The database; it need not be the one rows come from."""

    table: Text
    """Table."""

    mode: Literal["replace", "append", "upsert"] = "append"
    """What happens to rows that are there."""

    project_id: str | None = None
    """BigQuery: project."""

    dataset_id: str | None = None
    """BigQuery: data set."""

    location: str = "US"
    """BigQuery: location."""

    credentials_path: str | None = None
    """BigQuery: file of the service account."""

    use_pandas_gbq: bool | None = None
    """Kept for old configs; has no effect."""


class Target(Section):
    """Where predictions of a batch go."""

    name: str | None = None
    """A name for messages."""

    enabled: bool = True
    """Whether to write them."""

    on_bad_row: Literal["error", "reject"] = "error"
    """What a row that cannot be predicted does."""

    max_bad_rows: Annotated[Int, Field(ge=0)] | None = None
    """Rejected rows from which the run fails."""

    lineage_columns: bool = False
    """Add run id and time to each row; two runs then differ in bytes."""

    explain_top_k: Count | None = None
    """Add to each row so many columns that say most about it, with their SHAP values."""


class FilesTarget(Target):
    """Predictions as files."""

    adapter_type: Literal["storage"] = "storage"
    """Which kind of output."""

    config: FilesOutput = section()
    """Where they go."""


class TableTarget(Target):
    """Predictions as a table."""

    adapter_type: Literal["sql", "bigquery"]
    """Which kind of output."""

    config: TableOutput
    """Where they go."""


AnyTarget: TypeAlias = Annotated[
    Annotated[FilesTarget, Tag("storage")]
    | Annotated[TableTarget, Tag("sql")]
    | Annotated[TableTarget, Tag("bigquery")],
    Discriminator(adapter),
]
