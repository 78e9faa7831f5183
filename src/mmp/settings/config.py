"""The config: where things are; tracking, data, stores, serving, output, logs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import Discriminator, Field, SecretStr, Tag, model_validator

from mmp.settings.base import Count, Int, Options, Seconds, Section, Text, Upper, section
from mmp.settings.serving import Serving
from mmp.settings.stores import FeatureStore


class Environment(Section):
    """Which environment this is."""

    name: Text = "local"
    """Name; the file's own where left out."""

    description: str | None = None
    """A note to the reader."""


class Mlflow(Section):
    """Where runs are tracked."""

    tracking_uri: Text = "sqlite:///mlruns/mlflow.db"
    """Server, `sqlite:///…`, or a directory; credentials in it become username and password."""

    experiment_name: Text = "mmp"
    """Experiment, unless the recipe names one."""

    experiment_prefix: Text | None = None
    """Goes before the experiment's name: `<prefix>/<name>`."""

    tracking_username: str | None = None
    """User, for basic auth."""

    tracking_password: SecretStr | None = None
    """Password, for basic auth."""

    s3_endpoint_url: str | None = None
    """Endpoint of an S3-compatible artifact store."""

    artifact_root: str | None = None
    """Where artifacts of new experiments go."""

    registered_model_name: Text | None = None
    """Register each model that succeeds under this name."""

    required: bool = True
    """Whether to refuse to start without the server."""

    timeout_s: Seconds = 10.0
    """How long to wait for the server."""

    @model_validator(mode="before")
    @classmethod
    def _credentials_apart(cls, given: Any) -> Any:
        uri = given.get("tracking_uri") if isinstance(given, dict) else None
        if not isinstance(uri, str) or "@" not in uri or not uri.startswith(("http://", "https://")):
            return given
        parts = urlsplit(uri)
        user, _, host = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        apart = {"tracking_username": unquote(name), "tracking_password": unquote(password)}
        given = {key: value for key, value in given.items() if value is not None}
        return {**apart, **given, "tracking_uri": urlunsplit(parts._replace(netloc=host))}

    def experiment(self, name: str | None = None) -> str:
        """Return the full name of an experiment.

        Parameters
        ----------
        name : str, optional
            What the recipe's `tracking.experiment` says.

        Examples
        --------
        >>> Mlflow(experiment_prefix="team").experiment("churn"), Mlflow().experiment()
        ('team/churn', 'mmp')
        """
        name = name or self.experiment_name
        return f"{self.experiment_prefix}/{name}" if self.experiment_prefix else name


class Signing(Section):
    """Signatures of models."""

    private_key_file: str | None = None
    """Ed25519 key that signs new models."""

    public_key_file: str | None = None
    """Key that checks them."""

    required: bool = False
    """Whether to refuse models that are not signed."""


# -- data source ---------------------------------------------------------------------------------------


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


# -- output --------------------------------------------------------------------------------------------


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


class Output(Section):
    """Where results go."""

    inference: AnyTarget = section()
    """Predictions of a batch."""


class Logging(Section):
    """Log files."""

    base_path: Text = "./logs"
    """Folder."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Upper] = "INFO"
    """Least level to write."""

    retention_days: Count = 30
    """Days after which a log file is removed."""

    upload_to_mlflow: bool = True
    """Whether the run keeps its log file."""


class Config(Section):
    """Where things are."""

    environment: Environment = section()
    """Which environment this is."""

    mlflow: Mlflow = section()
    """Where runs are tracked."""

    trust: tuple[Text, ...] = ()
    """Types outside the closed table that a loaded model may hold, by dotted path."""

    signing: Signing = section()
    """Signatures of models."""

    data_source: DataSource = section()
    """Where rows come from."""

    feature_store: FeatureStore = section()
    """The feature store."""

    serving: Serving = section()
    """The HTTP server."""

    output: Output = section()
    """Where results go."""

    logging: Logging = section()
    """Log files."""
