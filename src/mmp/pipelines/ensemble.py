"""Several models as one, as a part of a run: what each says out of fold, what it counts, the last fit."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.catalog.tasks import TASKS
from mmp.errors import Finding
from mmp.evaluation.evaluate import evaluate
from mmp.modeling.answer import answer
from mmp.modeling.blending import blend
from mmp.modeling.engines import ensemble
from mmp.modeling.fit import Fitted, weights_by_class
from mmp.modeling.union import unite
from mmp.pipelines.check import model_row
from mmp.pipelines.decide import thresholds
from mmp.pipelines.fitting import Ready, fit
from mmp.pipelines.folds import CV, judge
from mmp.pipelines.out_of_fold import WATCHED, Folds, Said, out_of_fold, until
from mmp.pipelines.prepare import Prepared, divide, prepare
from mmp.pipelines.tune import tune
from mmp.settings.members import member_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.modeling.blending import Blend
    from mmp.modeling.target import Target
    from mmp.modeling.union import Union
    from mmp.pipelines.prepare import Parts
    from mmp.pipelines.record import Findings
    from mmp.pipelines.rows import Rows
    from mmp.pipelines.steps import Steps
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

    Output = npt.NDArray[np.float64]
    Scores = Mapping[str, float]

OUT_OF_FOLD = "out_of_fold"
"""What metrics of rows that no member was fitted on begin with."""

FILE = "ensemble/members.json"
"""Where the run keeps what each member brings."""

_MARGIN, _PATIENCE = 1.3, 4.0  # times what a fit took on a fold: to be begun, and before it is ended


def join(
    active: ActiveRun,
    rows: Rows,
    parts: Parts,
    divisions: Sequence[Parts],
    recipe: Recipe,
    steps: Steps,
    findings: Findings,
) -> Ready:
    """Find out how much each member of an ensemble counts, and make ready to fit them on all training rows.

    Parameters
    ----------
    active : ActiveRun
        Where scores go.
    rows : Rows
        All rows, the table among them.
    parts : mapping of str to ndarray of int64
        Positions by part.
    divisions : sequence of mapping of str to ndarray
        The folds of cross-validation; without any, the training rows are divided for this alone.
    recipe : Recipe
        Its ``model.ensemble``.
    steps : Steps
        Are told about each step.
    findings : Findings
        Takes what is worth telling.

    Raises
    ------
    MmpError
        As of each member's fit.
    """
    members = _tuned(active, rows, parts, divisions, recipe, steps, findings)
    with steps("members") as note:
        made = divisions or divide(rows, parts["train"], recipe, every_class=False)
        folds = Folds(rows, made, parts.get(WATCHED))
        said = [
            out_of_fold(folds, member, partial(_tell, steps, name))
            for name, member in zip(names_of(members), members, strict=True)
        ]
        joined = Joined.of(recipe, said, folds)
        note(joined.in_words())
    return finish(active, joined, parts, steps, findings, is_judged=bool(divisions))


def finish(
    active: ActiveRun,
    joined: Joined,
    parts: Parts,
    steps: Steps,
    findings: Findings,
    *,
    is_judged: bool,
    ends_at: float = inf,
) -> Ready:
    """Score what members say together of rows that they do not know, and make ready for the last fit.

    Parameters
    ----------
    active, parts, steps, findings
        As of `join`.
    joined : Joined
        The members and their weights.
    is_judged : bool
        Whether their folds are those of cross-validation, which a run has metrics of.
    ends_at : float
        When boosters end as they are, by `time.perf_counter`.
    """
    metrics: dict[str, Scores] = {OUT_OF_FOLD: joined.scores()}
    unseen = None
    if is_judged:
        with steps("folds") as note:
            folds = joined.folds
            judged = judge(active, folds.rows, folds.divisions, joined.outputs(), joined.recipe)
            findings.add(judged.findings)
            note(judged.summary)
            metrics[CV], unseen = judged.metrics, judged.unseen
    return replace(joined.ready(active, parts, metrics, ends_at), unseen=unseen)


def united(members: Sequence[Prepared]) -> tuple[Prepared, Union]:
    """Return the rows as members take them together, and where each finds its own."""
    union, first = unite([member.pipeline for member in members]), members[0]
    matrices = {name: union.joined([each.matrices[name] for each in members]) for name in first.matrices}
    return replace(first, pipeline=union.pipeline, matrices=matrices), union


def names_of(members: Sequence[Recipe]) -> list[str]:
    """Return what members are called to people: by their classes, with a number where there are several."""
    names = [model_row(member).name for member in members]
    return [
        f"{name} {names[: place + 1].count(name)}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _tell(steps: Steps, name: str, detail: str) -> None:
    steps.progress(f"{name}, {detail}")


def _tuned(
    active: ActiveRun,
    rows: Rows,
    parts: Parts,
    divisions: Sequence[Parts],
    recipe: Recipe,
    steps: Steps,
    findings: Findings,
) -> list[Recipe]:
    """Return the members' recipes, with the best values of those that search for them."""
    members = list(member_recipes(recipe))
    for number, (name, member) in enumerate(zip(names_of(members), members, strict=True)):
        if member.model.hyperparameters.tuning_enabled:
            with steps(f"tune {name}") as note:
                tuned = tune(
                    active, rows, divisions or [parts], None, member, model_row(member), steps.progress,
                    name=f"member_{number}",
                )  # fmt: skip
                members[number] = tuned.recipe
                findings.add(tuned.findings)
                note(tuned.summary)
    return members


@dataclass(frozen=True)
class Joined:
    """Members, and how much each counts.

    Parameters
    ----------
    recipe : Recipe
        Of the whole.
    said : tuple of Said
        The members.
    folds : Folds
        The rows that their outputs are of.
    blend : Blend
        Their weights.
    """

    recipe: Recipe
    said: tuple[Said, ...]
    folds: Folds
    blend: Blend

    @classmethod
    def of(cls, recipe: Recipe, said: Sequence[Said], folds: Folds) -> Joined:
        """Find the weights by what members say out of fold."""
        found = _blend(recipe, [one.output for one in said], folds.target)
        return cls(recipe, tuple(said), folds, found)

    @property
    def names(self) -> list[str]:
        """What the members are called to people."""
        return names_of([one.recipe for one in self.said])

    def outputs(self) -> list[Output]:
        """Return what they say together of each fold, by weights that are found on the other folds."""
        if len(self.folds) == 1:
            return [self.blend([one.outputs[0] for one in self.said])]
        return [self._of_fold(number) for number in range(len(self.folds))]

    def _of_fold(self, number: int) -> Output:
        others = [place for place in range(len(self.folds)) if place != number]
        truth = np.concatenate([self.folds.divisions[place]["validation"] for place in others])
        outputs = [np.concatenate([one.outputs[place] for place in others]) for one in self.said]
        found = _blend(self.recipe, outputs, self.folds.rows.target.take(truth))
        return found([one.outputs[number] for one in self.said])

    def scores(self) -> dict[str, float]:
        """Return the metrics of what they say together of rows that neither they nor their weights know."""
        return self._scores(np.concatenate(self.outputs()))

    def _scores(self, output: Output) -> dict[str, float]:
        return _scores(self.folds.target, output, self.recipe, OUT_OF_FOLD)

    def in_words(self) -> str:
        """Return how much each member counts, and its primary metric out of fold."""
        primary = TASKS[self.recipe.task_choice].primary_metric
        scores = [self._scores(one.output).get(primary, np.nan) for one in self.said]
        members = zip(self.blend.weights, self.names, scores, strict=True)
        return ", ".join(f"{weight:.2f} {name} ({primary} {score:.4f})" for weight, name, score in members)

    def ready(
        self, active: ActiveRun, parts: Parts, metrics: Mapping[str, Scores], ends_at: float = inf
    ) -> Ready:
        """Prepare all training rows as the members that count take them.

        Parameters
        ----------
        active : ActiveRun
            Where the members' scores go.
        parts : mapping of str to ndarray of int64
            Positions by part.
        metrics : mapping
            Of the folds.
        ends_at : float
            When boosters end as they are, by `time.perf_counter`.
        """
        counting = [self.said[place] for place in self.blend.counting]
        made = [prepare(self.folds.rows, parts, one.recipe, one.row) for one in counting]
        whole, union = united(made)
        final = _Final(
            active, self.recipe, self.blend, self.shown(), counting, made, union, self.folds.target, ends_at
        )
        strongest = self.said[int(np.argmax(self.blend.weights))]
        return Ready(self.recipe, strongest.row, whole, metrics, final.fit)

    def shown(self) -> list[dict[str, Any]]:
        """Return what there is to know of each member, as plain values."""
        return [
            {
                "name": name,
                "class_path": one.row.class_path,
                "hyperparameters": dict(one.recipe.model.hyperparameters.values),
                "weight": weight,
                "seconds": round(one.seconds, 3),
                OUT_OF_FOLD: self._scores(one.output),
            }
            for name, weight, one in zip(self.names, self.blend.weights, self.said, strict=True)
        ]


@dataclass(frozen=True)
class _Final:
    """The members that count, with all training rows as they take them."""

    active: ActiveRun
    recipe: Recipe
    blend: Blend
    shown: list[dict[str, Any]]
    members: Sequence[Said]
    prepared: Sequence[Prepared]
    union: Union
    target: Target
    ends_at: float

    def fit(self) -> Fitted:
        """Fit them, those that count most first, as far as there is time, and log what each brings."""
        weights = self.blend.of_counting().weights
        fitted: dict[int, Fitted] = {}
        for number in sorted(range(len(weights)), key=lambda number: -weights[number]):
            if not fitted or time.perf_counter() + _MARGIN * self.members[number].once_s < self.ends_at:
                fitted[number] = self._fit(number)
        fitted = dict(sorted(fitted.items()))
        blended = self._blend_of(list(fitted))
        model = ensemble.of(
            [ensemble.Member(one.model, self.union.taken[number]) for number, one in fitted.items()],
            blended,
            len(self.union.pipeline.features),
            blended(list(self._outputs(fitted, "train"))),
        )
        self._log(fitted, blended)
        params = {
            f"member_{self.blend.counting[number]}.{name}": value
            for number, one in fitted.items()
            for name, value in one.params.items()
        }
        findings = dict.fromkeys(found for one in fitted.values() for found in one.findings)
        return Fitted(model, params, (*findings, *self._left_out(fitted)))

    def _fit(self, number: int) -> Fitted:
        """Fit one of them; it is ended where it takes much longer than it is known to, and time is up."""
        member = self.members[number]
        end = max(self.ends_at, time.perf_counter() + _PATIENCE * member.once_s)
        watch = until(end, time.perf_counter)
        return fit(self.prepared[number], member.recipe, member.row, on_iteration=watch)

    def _blend_of(self, numbers: Sequence[int]) -> Blend:
        """Return the weights of those that were fitted, found anew where that is not all."""
        if len(numbers) == len(self.members):
            return self.blend.of_counting()
        return _blend(self.recipe, [self.members[number].output for number in numbers], self.target)

    def _left_out(self, fitted: Mapping[int, Fitted]) -> Iterator[Finding]:
        for number, member in enumerate(self.members):
            if number not in fitted:
                message = f"There was no time left to fit {member.row.name} on all rows: it is left out."
                yield Finding("ensemble", "warn", message)

    def _outputs(self, fitted: Mapping[int, Fitted], part: str) -> Iterator[Output]:
        for number, one in fitted.items():
            known = one.model.fitted if part == "train" else None
            matrix = self.prepared[number].matrices[part]
            yield answer(one.model, matrix, where=f"{part} split", known=known)

    def _log(self, fitted: Mapping[int, Fitted], blended: Blend) -> None:
        """Log each member's scores on rows that it was not fitted on, those of the test part among them."""
        weights = dict(zip(fitted, blended.weights, strict=True))
        for number, place in enumerate(self.blend.counting):
            self.shown[place]["weight"] = weights.get(number, 0.0)
        if "test" in self.prepared[0].targets:
            target = self.prepared[0].targets["test"]
            for number, output in zip(fitted, self._outputs(fitted, "test"), strict=True):
                self.shown[self.blend.counting[number]]["test"] = _scores(target, output, self.recipe, "test")
        metrics = {
            f"member_{number}_{part}_{name}": member[part][name]
            for number, member in enumerate(self.shown)
            for part in (OUT_OF_FOLD, "test")
            for name in _shown_of(self.recipe)
            if name in member.get(part, ())
        }
        self.active.log_metrics(metrics)
        content = json.dumps(self.shown, indent=1, ensure_ascii=False, default=str)
        self.active.log_text(content + "\n", FILE)


def _scores(target: Target, output: Output, recipe: Recipe, split: str) -> dict[str, float]:
    """Return the default metrics, but for those without a value on these rows."""
    decided_at = thresholds(recipe, target, output)
    task = recipe.task_choice
    return evaluate(target, output, task=task, threshold=decided_at, split=split, findings=[])


def _shown_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the metrics of each member that are worth a number in the run's list."""
    primary = TASKS[recipe.task_choice].primary_metric
    return (primary, "log_loss") if recipe.task_choice == "classification" else (primary,)


def row_weights(recipe: Recipe, target: Target) -> npt.NDArray[np.float64] | None:
    """Return how much each row counts by the recipe's class weights, None where all count alike."""
    weight = recipe.model.class_weight
    return None if weight is None else weights_by_class(weight, target)[target.values]


def _blend(recipe: Recipe, outputs: Sequence[Output], target: Target) -> Blend:
    method = recipe.model.ensemble.method if recipe.model.ensemble else "voting"
    weights, seed = row_weights(recipe, target), recipe.evaluation.random_state
    return blend(method, outputs, target, row_weights=weights, seed=seed)
