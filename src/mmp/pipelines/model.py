"""From a run's name to its verified model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmp.data import sources
from mmp.data.template import Query
from mmp.errors import ArtifactError, Finding
from mmp.pipelines.source import opened
from mmp.tracking import artifacts, manifest
from mmp.tracking.run import ERROR, resolve_run
from mmp.tracking.scratch import scratch
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mmp.data.table import ColumnSpec, Table
    from mmp.modeling.bundle import Bundle
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
        texts = [spec.name for spec in (*bundle.inputs, *bundle.entities, bundle.target) if _as_words(spec)]
        found = opened(source, self.config, parameters)
        return sources.read(
            found,
            columns=columns,
            texts=texts,
            storage_options=self.config.files.storage_options,
            database=self.config.database if isinstance(found, Query) else None,
            application=f"mmp {self.run.run_id[:8]}",
        )


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
    with connect(config.mlflow, create=False) as store, scratch("model") as folder:
        run = store.get_run(_run_id(store, ref, config))
        _download(store, run, folder)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bundle = artifacts.load(folder, expected_digest=run.tags.get(manifest.TAG), trust=config.trust)
    findings = tuple(Finding("model", "warn", str(warning.message)) for warning in caught)
    return LoggedModel(bundle, run, findings, config)


def _download(store: Store, run: RunRecord, folder: Path) -> None:
    try:
        store.download(run.run_id, MODEL_FOLDER, folder)
    except ArtifactError as error:
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
