"""The leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mmp.catalog.metrics import UnknownMetricError, parse_logged
from mmp.catalog.tasks import TASKS
from mmp.errors import RunNotFoundError, UnknownNameError
from mmp.lookup import capitalized, did_you_mean
from mmp.tracking.run import TASK, TRAINED
from mmp.tracking.stores import connect
from mmp.tracking.stores.base import Order

if TYPE_CHECKING:
    from mmp.settings.config import Config
    from mmp.tracking.stores.base import RunRecord


@dataclass(frozen=True)
class Row:
    """One training run."""

    run_id: str
    name: str
    experiment: str
    status: str
    started: str
    model: str
    scores: tuple[float | None, ...]

    def as_dict(self, metrics: tuple[str, ...]) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        scores = dict(zip(metrics, self.scores, strict=True))
        return {
            "run_id": self.run_id,
            "name": self.name,
            "experiment": self.experiment,
            "status": self.status,
            "started": self.started,
            "model": self.model,
            "metrics": {name: value for name, value in scores.items() if value is not None},
        }


@dataclass(frozen=True)
class Leaderboard:
    """Training runs, and the test metrics that are shown of them."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def leaderboard(
    config: Config, *, experiment: str | None = None, sort: str | None = None, limit: int = 20
) -> Leaderboard:
    """List training runs, the newest first, or the best first.

    Parameters
    ----------
    config : Config
        Where runs are.
    experiment : str, optional
        Only this one.
    sort : str, optional
        A metric; which way is better follows from it.
    limit : int
        How many runs at most.

    Raises
    ------
    UnknownNameError
        `sort` is no metric.
    """
    order = _order(sort) if sort else None
    try:
        with connect(config.mlflow, create=False) as store:
            found = store.search([experiment] if experiment else None, tags=TRAINED, order=order, limit=limit)
    except RunNotFoundError:
        return Leaderboard((), ())
    primary = [TASKS[run.tags[TASK]].primary_metric for run in found if run.tags.get(TASK) in TASKS]
    metrics = tuple(dict.fromkeys([*([sort] if sort else []), *primary]))
    return Leaderboard(metrics, tuple(_row(run, metrics) for run in found))


def _row(run: RunRecord, metrics: tuple[str, ...]) -> Row:
    started = datetime.fromtimestamp((run.start_time_ms or 0) / 1000, UTC)
    return Row(
        run_id=run.run_id,
        name=run.name,
        experiment=run.experiment,
        status=run.status,
        started=started.strftime("%Y-%m-%d %H:%M:%S"),
        model=run.tags.get("mmp.model", "").rpartition(".")[2],
        scores=tuple(run.metrics.get(name) for name in metrics),
    )


def _order(metric: str) -> Order:
    try:
        return Order(metric, descending=parse_logged(metric, *TASKS).greater_is_better)
    except UnknownMetricError as error:
        question = capitalized(did_you_mean(error.name, error.known))
        raise UnknownNameError(
            f"There is no metric '{metric}'.", hint=question or "`mmp list metrics` lists them."
        ) from error
