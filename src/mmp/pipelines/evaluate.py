"""A logged model on new labelled data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.data import checks
from mmp.errors import SettingsError
from mmp.evaluation.confidence import Resampled, intervals
from mmp.evaluation.evaluate import evaluate as metrics_of
from mmp.evaluation.evaluate import rows_of
from mmp.modeling.columns import coerce
from mmp.modeling.target import Target, encode_known
from mmp.pipelines.decide import costs_of
from mmp.pipelines.model import open_both
from mmp.pipelines.steps import Steps
from mmp.settings.evaluation import Evaluation as Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmp.data.table import Table
    from mmp.errors import Finding
    from mmp.evaluation.confidence import Interval
    from mmp.modeling.bundle import Bundle
    from mmp.pipelines.model import LoggedModel
    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config


@dataclass(frozen=True)
class Evaluation:
    """How a model did on a table.

    Parameters
    ----------
    run_id : str
        The model's run.
    source : str
        The table.
    n_rows : int
        Rows with a target.
    metrics, logged : mapping of str to float
        Here, and on the test split of the training run.
    intervals : mapping of str to Interval
        95 % intervals of the metrics here.
    findings : tuple of Finding
        What was worth telling.
    calibration : str or None
        How the model's probabilities are calibrated.
    threshold : float or None
        From which one on it predicts the positive class.
    report : str or None
        The file that holds the same.
    """

    run_id: str
    source: str
    n_rows: int
    metrics: Mapping[str, float]
    logged: Mapping[str, float]
    intervals: Mapping[str, Interval]
    findings: tuple[Finding, ...]
    calibration: str | None = None
    threshold: float | None = None
    report: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings]}


def evaluate(
    ref: str,
    config: Config,
    *,
    data: str,
    parameters: Mapping[str, Any] | None = None,
    report: str | None = None,
    watcher: Watcher | None = None,
) -> Evaluation:
    """Evaluate a logged model on a labelled table.

    Parameters
    ----------
    ref : str
        The run: an id, ``latest``, ``best`` or an alias.
    config : Config
        Where runs are.
    data : str
        The table; it needs the model's inputs and the target.
    parameters : Mapping, optional
        Values for the variables of a query.
    report : str, optional
        A file to write the result to, as JSON.
    watcher : Watcher, optional
        Is told about the steps.

    Raises
    ------
    MmpError
        Run, model or table are not as needed.
    """
    steps = Steps(watcher)
    logged, table, opened = open_both(ref, config, data, steps=steps, parameters=parameters, with_target=True)
    bundle = logged.bundle
    labelled, n_null = checks.drop_null_target(table, bundle.target.name)
    findings = [*opened, *labelled.findings]
    with steps("evaluate") as note:
        target, output = _target(bundle, labelled), bundle.output(labelled.arrow, where=table.source)
        metrics = metrics_of(
            target,
            output,
            task=bundle.task,
            threshold=bundle.threshold,
            split="given",
            findings=findings,
            uncertainty=bundle.uncertainty,
        )
        rows = rows_of(target, output, threshold=bundle.threshold, uncertainty=bundle.uncertainty)
        drawn = Resampled.of(target, rows, seed=_seed(logged))
        note(f"{labelled.n_rows:,} rows, {len(metrics)} metrics")
        if n_null:
            note(f"{n_null:,} rows without target left out")
    result = Evaluation(
        run_id=logged.run.run_id,
        source=table.source,
        n_rows=labelled.n_rows,
        metrics=metrics,
        intervals=intervals(drawn, metrics, findings=findings),
        logged={name: value for name, value in bundle.metrics.get("test", {}).items() if name in metrics},
        findings=tuple(findings),
        calibration=bundle.calibration,
        threshold=None if bundle.positive is None else bundle.threshold,
        report=report,
    )
    if report:
        _write(result, Path(report))
    return result


def _seed(logged: LoggedModel) -> int:
    """Return the seed of the recipe that the model was trained from."""
    return int(logged.run.params.get("evaluation.random_state", Settings().random_state))


def _target(bundle: Bundle, table: Table) -> Target:
    known = Target(
        "classification" if bundle.classes else "regression",
        np.empty(0),
        bundle.classes,
        bundle.positive,
        costs_of(bundle.decision.get("costs", {}), bundle.positive),
    )
    column = coerce([bundle.target], table.arrow.select([bundle.target.name]), where=table.source)[
        bundle.target.name
    ]
    return encode_known(column, name=bundle.target.name, like=known)


def _write(result: Evaluation, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(
            json.dumps(result.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        partial.replace(path)
    except OSError as error:
        raise SettingsError(
            f"The report {path} cannot be written: {error.strerror}.", hint="Choose another -o."
        ) from error
