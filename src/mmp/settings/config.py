"""The config: where things are; tracking, data, stores, serving, output, logs."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr, model_validator

from mmp.errors import SettingsError
from mmp.settings.adapters import AnyTarget, Database, DatabaseSource, DataSource, Files, FilesSource
from mmp.settings.base import Count, Seconds, Section, Text, Upper, section
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
        return f"{self.experiment_prefix.rstrip('/')}/{name}" if self.experiment_prefix else name


class Signing(Section):
    """Signatures of models."""

    private_key_file: str | None = None
    """Ed25519 key that signs new models."""

    public_key_file: str | None = None
    """Key that checks them."""

    required: bool = False
    """Whether to refuse models that are not signed."""


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

    @property
    def files(self) -> Files:
        """Where relative sources start, and how buckets are reached, whatever else rows come from."""
        return self.data_source.config if isinstance(self.data_source, FilesSource) else Files()

    @property
    def database(self) -> Database:
        """The database that queries go to; `SettingsError` where rows come from elsewhere."""
        if isinstance(self.data_source, DatabaseSource):
            return self.data_source.config
        raise SettingsError(
            "A query needs a database, and the config names none.",
            hint="Write data_source: {adapter_type: sql, config: {connection_uri: 'postgresql://…'}}",
        )

    @property
    def query_timeout_s(self) -> float:
        """How long a statement may take, of whichever database: what the source says, else its default."""
        source = self.data_source
        database = source.config if isinstance(source, DatabaseSource) else None
        return float(database.query_timeout if database else Database.model_fields["query_timeout"].default)
