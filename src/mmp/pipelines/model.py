"""From a run's name to its verified model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmp.data import sources
from mmp.data.names import require
from mmp.data.template import Query
from mmp.errors import ArtifactError, FeatureStoreError, Finding, MissingColumnsError
from mmp.features import registry
from mmp.modeling import complete
from mmp.pipelines.enrich import extended
from mmp.pipelines.source import opened
from mmp.tracking import artifacts, manifest
from mmp.tracking.run import ERROR, KIND, PARENT, resolve_run
from mmp.tracking.scratch import scratch
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mmp.data.table import ColumnSpec, Table
    from mmp.modeling.bundle import Bundle
    from mmp.pipelines.steps import Steps
    from mmp.settings.config import Config
    from mmp.tracking.stores.base import RunRecord, Store

MODEL_FOLDER = "model"


@dataclass(frozen=True)
class LoggedModel:
    """A model and the run that logged it.

    Parameters
    ----------
    bundle : Bundle
        Verified against the run's tag.
    run : RunRecord
        The run.
    findings : tuple of Finding
        What loading it warned of.
    config : Config
        How tables in buckets and databases are reached.
    """

    bundle: Bundle
    run: RunRecord
    findings: tuple[Finding, ...]
    config: Config = field(repr=False)

    @property
    def application(self) -> str:
        """What a database calls us."""
        return f"mmp {self.run.run_id[:8]}"

    def read(
        self,
        source: str,
        columns: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Table:
        """Read a table for the model, which knows what its columns are.

        A small file may look like less than it is: three of the dates that were ambiguous in training
        may fit one format, and of the words among the numbers there may be none. What was text is
        text again, and times come in the format that they had.
        """
        bundle = self.bundle
        specs = (*bundle.inputs, *bundle.feature_keys, *bundle.entities, bundle.target)
        texts = [spec.name for spec in specs if _as_words(spec)]
        found = opened(source, self.config, parameters)
        return sources.read(
            found,
            columns=columns,
            texts=texts,
            storage_options=self.config.files.storage_options,
            database=self.config.database if isinstance(found, Query) else None,
            application=self.application,
        )

    def complete(self, table: Table) -> Table:
        """Add to a table what the offline store knows of each row, as of its event timestamp, else of now.

        Raises
        ------
        FeatureStoreError
            The store does not answer, or lacks a column.
        DataError
            The rows lack a key, or bring a part of the features.
        """
        bundle = self.bundle
        if bundle.features is None:
            return table
        lookup = complete.historical(bundle.features, self.config, application=self.application)
        return extended(table, complete.complete(bundle, table.arrow, lookup, where=table.source))

    def complete_now(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Add to rows what the online store knows of them.

        Raises
        ------
        FeatureStoreError, DataError
            As of `complete`.
        """
        if self.bundle.features is None:
            return rows
        with complete.now(self.bundle.features, self.config) as lookup:
            return complete.complete(self.bundle, rows, lookup)

    def feature_changes(self) -> tuple[Finding, ...]:
        """Return how feature views changed since the training, or refuse those that the model cannot take.

        Raises
        ------
        FeatureStoreError
            A view or a feature is gone, or of another type; the registry does not answer.
        """
        if self.bundle.features is None:
            return ()
        found = registry.compare(self.bundle.features, self.config.feature_store)
        errors = [finding.message for finding in found if finding.level == "error"]
        if errors:
            raise FeatureStoreError(" ".join(errors), hint="Mend the view and apply it, or train again.")
        return found


def _as_words(spec: ColumnSpec) -> bool:
    return spec.time_format is not None or (spec.kind == "text" and not spec.digits)


def load_model(ref: str, config: Config) -> LoggedModel:
    """Find a run and load its model.

    Parameters
    ----------
    ref : str
        A run id or the beginning of one, ``latest``, ``best``, or an alias of the registered model.
    config : Config
        Where runs are, and what is trusted.

    Raises
    ------
    RunNotFoundError
        No such run.
    ArtifactError
        The run has no model, or it is not as it was written.
    """
    with scratch("model") as folder:
        return load_folder(folder, fetch(ref, config, folder), config)


def fetch(ref: str, config: Config, folder: Path) -> RunRecord:
    """Find a run and copy its model into a folder; raises what `load_model` does."""
    with connect(config.mlflow, create=False) as store:
        run = store.get_run(_run_id(store, ref, config))
        _download(store, run, folder)
    return run


def find_run(ref: str, config: Config) -> RunRecord:
    """Find a run.

    Raises
    ------
    RunNotFoundError
        No such run.
    """
    with connect(config.mlflow, create=False) as store:
        return store.get_run(_run_id(store, ref, config))


def load_folder(folder: Path, run: RunRecord, config: Config) -> LoggedModel:
    """Load what `fetch` copied, verified against the run's tag; raises what `load_model` does."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bundle = artifacts.load(folder, expected_digest=run.tags.get(manifest.TAG), trust=config.trust)
    findings = tuple(Finding("model", "warn", str(warning.message)) for warning in caught)
    return LoggedModel(bundle, run, findings, config)


def open_both(
    ref: str,
    config: Config,
    data: str,
    *,
    steps: Steps,
    parameters: Mapping[str, Any] | None = None,
    with_target: bool = False,
) -> tuple[LoggedModel, Table, tuple[Finding, ...]]:
    """Open a logged model and a table for it, with the features that the table does not bring.

    Parameters
    ----------
    ref : str
        The run, as of `load_model`.
    config : Config
        Where runs are.
    data : str
        The table.
    steps : Steps
        The steps ``load`` and ``read`` are done in.
    parameters : Mapping, optional
        Values for the variables of a query.
    with_target : bool
        Whether the table needs the target; then nothing is read that is not needed.

    Returns
    -------
    LoggedModel, Table
        Both.
    tuple of Finding
        What opening the model warned of; the table has its own.

    Raises
    ------
    MmpError
        Run, model or table are not as needed.
    """
    with steps("load") as note:
        logged = load_model(ref, config)
        note(f"{logged.run.name}, {logged.bundle.class_path}")
    with steps("read") as note:
        table = _labelled(logged, data, parameters) if with_target else logged.read(data, None, parameters)
        known = complete.is_complete(logged.bundle, table.arrow)
        changes = () if known else logged.feature_changes()
        table = logged.complete(table)
        note(f"{table.n_rows:,} rows from {table.source}")
    return logged, table, (*logged.findings, *changes)


def _labelled(logged: LoggedModel, data: str, parameters: Mapping[str, Any] | None) -> Table:
    """Read a table that has the target; where it has none, say what needs none."""
    bundle, target = logged.bundle, logged.bundle.target.name
    # features of the store may or may not be there
    columns = None if bundle.features is not None else [*(spec.name for spec in bundle.inputs), target]
    try:
        table = logged.read(data, columns, parameters)
        require([target], table.arrow.column_names, table.source)
    except MissingColumnsError as error:
        if target in error.columns:
            error.hint += f" {target!r} is the target; `mmp predict` needs none."
        raise
    return table


def _download(store: Store, run: RunRecord, folder: Path) -> None:
    try:
        store.download(run.run_id, MODEL_FOLDER, folder)
    except ArtifactError as error:
        if run.status == "FINISHED" and PARENT in run.tags:
            raise ArtifactError(
                f"The run {run.run_id} has no model: it is a {run.tags.get(KIND, 'run')} below another run.",
                hint=f"Name that one: {run.tags[PARENT][:8]}",
            ) from error
        if run.status == "FINISHED":
            raise
        reason = f": {run.tags[ERROR]}" if ERROR in run.tags else "."
        raise ArtifactError(
            f"The run {run.run_id} is {run.status} and has no model{reason}",
            hint="`mmp runs` lists the runs; latest is the newest that finished.",
        ) from error


def _run_id(store: Store, ref: str, config: Config) -> str:
    # numbers of different experiments do not compare: the best is the best beside the newest
    experiment = store.get_run(resolve_run(store, "latest")).experiment if ref == "best" else None
    return resolve_run(
        store, ref, experiment=experiment, registered_model_name=config.mlflow.registered_model_name
    )
