"""Limits that a model's test metrics must keep: fixed ones, and those that a registered model has set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mmp.errors import GateError, TrainingError
from mmp.evaluation.evaluate import requests
from mmp.evaluation.metrics import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mmp.catalog.metrics import Metric
    from mmp.evaluation.confidence import Resampled
    from mmp.settings.evaluation import Gate


@dataclass(frozen=True, slots=True)
class Gated:
    """One limit, and whether it was kept.

    Parameters
    ----------
    metric : str
        The metric.
    holds : bool
        Whether it was.
    sentence : str
        Both in words.
    """

    metric: str
    holds: bool
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def examine(
    gates: Mapping[str, Gate],
    ours: Resampled,
    others: Mapping[str, Resampled],
    unanswered: Mapping[str, str],
) -> tuple[Gated, ...]:
    """Hold a model to limits.

    Parameters
    ----------
    gates : mapping of str to Gate
        By metric.
    ours : Resampled
        The model on the test rows.
    others : mapping of str to Resampled
        The registered models on the same rows, by alias.
    unanswered : mapping of str to str
        Why a registered model could not be asked, by alias. An alias in neither has no model yet, and sets
        no limit.
    """
    target = ours.target
    found: list[Gated] = []
    for name, gate in gates.items():
        (metric,) = requests([name], task=target.kind, classes=target.classes)
        value = _value(ours, metric)
        if isinstance(value, str):
            found.append(Gated(name, holds=False, sentence=f"{name} has no value: {value}"))
            continue
        found += _fixed(name, gate, value)
        if gate.vs is not None:
            found.append(_relative(metric, gate, value, others.get(gate.vs), unanswered.get(gate.vs)))
    return tuple(found)


def require(gated: Sequence[Gated], run_id: str) -> None:
    """Do nothing where all limits are kept.

    Raises
    ------
    GateError
        One is not; it names all that are not.
    """
    broken = [one.sentence for one in gated if not one.holds]
    if broken:
        number = "A gate does" if len(broken) == 1 else f"{len(broken)} gates do"
        raise GateError(
            f"{number} not hold: {'; '.join(broken)}.",
            hint=f"The run {run_id[:8]} keeps the model and its metrics, and is not registered.",
        )


def _fixed(name: str, gate: Gate, value: float) -> Iterator[Gated]:
    for limit, is_kept, word in (
        (gate.min, gate.min is None or value >= gate.min, "at least"),
        (gate.max, gate.max is None or value <= gate.max, "at most"),
    ):
        if limit is not None:
            verb = "is" if is_kept else "is not"
            yield Gated(name, is_kept, f"{name} {value:.6g} {verb} {word} {limit:g}")


def _relative(metric: Metric, gate: Gate, value: float, other: Resampled | None, reason: str | None) -> Gated:
    if other is None:
        why = f"could not be asked: {reason.removesuffix('.')}" if reason else "is no model yet"
        return Gated(metric.name, reason is None, f"{metric.name} {value:.6g}, and {gate.vs} {why}")
    theirs = _value(other, metric)
    if isinstance(theirs, str):
        sentence = f"{metric.name} {value:.6g}, and that of {gate.vs} has no value: {theirs}"
        return Gated(metric.name, holds=False, sentence=sentence)
    worse_by = theirs - value if metric.greater_is_better else value - theirs
    is_kept = worse_by <= gate.tolerance
    allowed = f" by more than {gate.tolerance:g}" if gate.tolerance else ""
    verb = "is not" if is_kept else "is"
    sentence = f"{metric.name} {value:.6g} {verb} worse than {theirs:.6g} of {gate.vs}{allowed}"
    return Gated(metric.name, is_kept, sentence)


def _value(of: Resampled, metric: Metric) -> float | str:
    """Return a value, or why there is none."""
    try:
        return of.value(metric)
    except (UndefinedMetricError, TrainingError) as error:
        return str(error).removesuffix(".")
