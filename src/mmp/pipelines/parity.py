"""Whether the online store says what the offline store says, of the same entities and the same moment."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.data.table import ColumnSpec
from mmp.errors import SettingsError, UnknownNameError
from mmp.features import offline, registry, repository
from mmp.features.online import OnlineReader
from mmp.features.references import KINDS
from mmp.features.sample import sample
from mmp.lookup import did_you_mean
from mmp.modeling import golden
from mmp.modeling.columns import coerce
from mmp.modeling.complete import complete, joined_now, read_now
from mmp.modeling.values import CellError, read
from mmp.pipelines.model import load_model
from mmp.pipelines.steps import Steps
from mmp.settings.data import Fetcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmp.errors import Finding
    from mmp.features.joined import Joined
    from mmp.features.online import Found
    from mmp.features.references import Feature, FeatureSet, View
    from mmp.modeling.columns import Columns
    from mmp.modeling.values import Value
    from mmp.pipelines.model import LoggedModel
    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config

N_ROWS = 1000
_WORST = 3
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Difference:
    """One value that differs.

    Parameters
    ----------
    keys : mapping of str to object
        Whose.
    offline, online : object
        What each store says; None where it has nothing.
    reason : {"value", "null", "kind", "stale", "absent"}
        Two values; one of them missing; an online value of another type; values online that hold no
        more, while the offline store has newer ones; an entity that only one store has.
    distance : float or None
        How far two numbers are apart.
    """

    keys: Mapping[str, Any]
    offline: Any
    online: Any
    reason: str
    distance: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What was found of one feature.

    Parameters
    ----------
    view, feature : str
        Which.
    n_different : int
        Rows in which the stores differ by more than is tolerated.
    worst : tuple of Difference
        The largest of these.
    """

    view: str
    feature: str
    n_different: int
    worst: tuple[Difference, ...]


@dataclass(frozen=True)
class Freshness:
    """How old what the online store has of one view is.

    Parameters
    ----------
    view : str
        Which.
    n_offline, n_online, n_stale : int
        Rows for which each store has values that hold, and those whose online values hold no more.
    oldest_s, ttl_s : float or None
        Age in seconds of the oldest that hold online, and how old they may get.
    """

    view: str
    n_offline: int
    n_online: int
    n_stale: int
    oldest_s: float | None
    ttl_s: float | None


@dataclass(frozen=True)
class PredictionVerdict:
    """How far predictions from both stores are apart, undecided: probabilities or values."""

    run_id: str
    n_rows: int
    n_different: int
    largest: float


@dataclass(frozen=True)
class Parity:
    """What a comparison of both stores gave.

    Parameters
    ----------
    moment : datetime
        As of when.
    n_rows : int
        Rows that were compared.
    tolerance : float
        How far numbers may be apart, as a share of the larger one where that is above 1.
    features : tuple of Verdict
        In the order of the views.
    views : tuple of Freshness
        Likewise.
    predictions : PredictionVerdict or None
        Of the model that was named.
    findings : tuple of Finding
        What was worth telling.
    """

    moment: datetime
    n_rows: int
    tolerance: float
    features: tuple[Verdict, ...]
    views: tuple[Freshness, ...]
    predictions: PredictionVerdict | None
    findings: tuple[Finding, ...]

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        n_predictions = self.predictions.n_different if self.predictions is not None else 0
        return not n_predictions and not any(verdict.n_different for verdict in self.features)

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {"ok": self.is_equal, **asdict(self), "moment": self.moment.isoformat()}


def parity(
    config: Config,
    *,
    ref: str | None = None,
    views: Sequence[str] | None = None,
    n_rows: int = N_ROWS,
    seed: int = 0,
    tolerance: float = 0.0,
    watcher: Watcher | None = None,
) -> Parity:
    """Read entities from both stores as of now, and compare what they say.

    Parameters
    ----------
    config : Config
        Where the stores are.
    ref : str, optional
        A run, whose model's features are compared, and its predictions from both stores.
    views : sequence of str, optional
        Without a run the feature views; all that are online where they are left out.
    n_rows : int
        Rows to draw.
    seed : int
        Another number draws others.
    tolerance : float
        How far numbers may be apart, as a share of the larger one where that is above 1.
    watcher : Watcher, optional
        Is told about the steps.

    Raises
    ------
    MmpError
        Run, stores or registry do not answer, or not as needed.
    """
    steps = Steps(watcher)
    with steps("features") as note:
        logged = load_model(ref, config) if ref is not None else None
        features = _of_model(logged) if logged is not None else _of_registry(config, views)
        findings = logged.feature_changes() if logged is not None else ()
        note(f"{len(features.names)} features of {len(features.views)} views")
    with steps("sample") as note:
        rows = sample(features, config.feature_store, n_rows, seed=seed, query_timeout=config.query_timeout_s)
        keys = coerce(_key_specs(features), rows)
        note(f"{rows.num_rows:,} rows")
    moment = datetime.now(UTC)
    with steps("offline") as note:
        joined = offline.join(
            rows,
            features,
            config.feature_store,
            as_of=moment,
            query_timeout=config.query_timeout_s,
            application="mmp features parity",
        )
        note(f"as of {moment:%Y-%m-%d %H:%M:%S} UTC")
    with steps("online") as note:
        found = _read(features, keys, config, moment)
        note("in one round trip")
    with steps("compare") as note:
        both = _Both(features, keys, joined, found)
        verdicts = tuple(both.verdicts(tolerance))
        predictions = None if logged is None else _predictions(logged, both, tolerance)
        note(f"{sum(bool(verdict.n_different) for verdict in verdicts)} of {len(verdicts)} features differ")
    return Parity(
        moment=moment,
        n_rows=rows.num_rows,
        tolerance=tolerance,
        features=verdicts,
        views=tuple(both.freshness(moment.timestamp())),
        predictions=predictions,
        findings=findings,
    )


def _of_model(logged: LoggedModel) -> FeatureSet:
    if logged.bundle.features is None:
        raise SettingsError(
            f"The model of run {logged.run.run_id} takes no features from the feature store.",
            hint="Leave --run-id out to compare feature views.",
        )
    return logged.bundle.features


def _of_registry(config: Config, views: Sequence[str] | None) -> FeatureSet:
    """Return all features of some views, named so that none has the name of another."""
    listed = {each.view.name: each for each in registry.views(config.feature_store)}
    names = views or [name for name, each in listed.items() if each.is_online]
    if unknown := next((name for name in names if name not in listed), None):
        raise UnknownNameError(
            f"Feast's registry has no feature view {unknown!r}.",
            hint=did_you_mean(unknown, listed) or f"It has: {', '.join(listed)}.",
        )
    fetcher = Fetcher(
        type="feature_store",
        features=tuple(f"{name}:{each.name}" for name in names for each in listed[name].view.features),
    )
    return registry.resolve(fetcher, config.feature_store)


def _key_specs(features: FeatureSet) -> list[ColumnSpec]:
    kinds = {key.column: KINDS[key.value_type] for view in features.views for key in view.keys}
    return [ColumnSpec(*key) for key in kinds.items()]


def _read(features: FeatureSet, keys: Columns, config: Config, moment: datetime) -> Found:
    feast = repository.complete(config.feature_store).feast_config
    store = feast.online if feast is not None else None
    # of a request's budget as much as there are rows; nobody waits for this one
    timeout_s = max(_PATIENCE_S, config.serving.features_timeout_ms / 1000)
    with OnlineReader.open(features, store, timeout_s=timeout_s) as reader:
        cells = {name: column.to_list() for name, column in keys.items()}
        return read_now(reader, cells, now=moment.timestamp())


@dataclass(frozen=True)
class _Both:
    """What both stores said of the same rows."""

    features: FeatureSet
    keys: Columns
    offline: Joined
    online: Found

    def verdicts(self, tolerance: float) -> Iterator[Verdict]:
        specs = [ColumnSpec(each.name, each.kind) for each in self.features.features]
        columns = coerce(specs, self.offline.table)
        keys = {name: column.to_list() for name, column in self.keys.items()}
        for view in self.features.views:
            whose = [key.column for key in view.keys]
            there = list(enumerate(self._reasons(view)))
            for feature in view.features:
                then, now = columns[feature.name].to_list(), self.online.values[feature.name]
                found = [
                    Difference({name: keys[name][row] for name in whose}, then[row], now[row], *why)
                    for row, reason in there
                    if (why := _why(feature, reason, then[row], now[row], tolerance))
                ]
                found.sort(key=lambda each: -math.inf if each.distance is None else -each.distance)
                yield Verdict(view.name, feature.name, len(found), tuple(found[:_WORST]))

    def _reasons(self, view: View) -> Iterator[str]:
        """Yield for each row why one store alone has a view's entity; nothing where both have it, or none."""
        then, now = self.offline.found[view.name], self.online.found[view.name]
        for row, (is_then, is_now) in enumerate(zip(then.tolist(), now, strict=True)):
            is_stale = is_then and not is_now and self.online.event_times[view.name][row] is not None
            yield "" if is_then == is_now else "stale" if is_stale else "absent"

    def freshness(self, moment: float) -> Iterator[Freshness]:
        for view in self.features.views:
            holds, times = self.online.found[view.name], self.online.event_times[view.name]
            ages = [moment - at for at, is_now in zip(times, holds, strict=True) if is_now and at is not None]
            n_stale = sum(at is not None for at in times) - len(ages)
            n_offline = int(np.count_nonzero(self.offline.found[view.name]))
            yield Freshness(view.name, n_offline, len(ages), n_stale, max(ages, default=None), view.ttl_s)


def _why(
    feature: Feature, reason: str, then: Value, raw: object, tolerance: float
) -> tuple[str, float | None] | None:
    """Return why two values differ, and how far numbers are apart; None where they do not."""
    if reason:
        return reason, None
    try:
        now = read(ColumnSpec(feature.name, feature.kind), raw)
    except CellError:
        return "kind", None
    if then == now:
        return None
    if then is None or now is None:
        return "null", None
    if feature.kind not in ("integer", "float"):
        return "value", None
    distance = abs(float(then) - float(now))
    is_tolerated = distance <= tolerance * max(1.0, abs(float(then)), abs(float(now)))
    return None if tolerance and is_tolerated else ("value", distance)


def _predictions(logged: LoggedModel, both: _Both, tolerance: float) -> PredictionVerdict:
    """Predict the same requests with what either store said; what no store knows is drawn from the model."""
    features = (
        replace(both.features, on_missing="null") if both.features.on_missing == "error" else both.features
    )
    bundle = replace(logged.bundle, features=features)
    examples = golden.served(bundle)
    cells = {name: column.to_list() for name, column in both.keys.items()}
    requests = [
        examples[place % len(examples)] | {name: cells[name][place] for name in cells}
        for place in range(len(both.offline.table))
    ]
    now = joined_now(features, both.keys, both.online)
    outputs = [
        bundle.output(complete(bundle, requests, lambda _, joined=joined: joined))  # type: ignore[misc]
        for joined in (both.offline, now)
    ]
    apart = np.abs(outputs[0] - outputs[1]).reshape(len(requests), -1).max(axis=1, initial=0.0)
    return PredictionVerdict(
        logged.run.run_id,
        len(requests),
        int(np.count_nonzero(apart > tolerance)),
        float(apart.max(initial=0.0)),
    )
