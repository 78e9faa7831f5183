"""Several models as one, as a part of a run: what each says out of fold, what it counts, the last fit."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.catalog.tasks import TASKS
from mmp.evaluation.evaluate import evaluate
from mmp.modeling.answer import answer
from mmp.modeling.blending import blend
from mmp.modeling.engines import ensemble
from mmp.modeling.fit import Fitted, weights_by_class
from mmp.modeling.union import unite
from mmp.pipelines.check import model_row
from mmp.pipelines.decide import thresholds
from mmp.pipelines.fitting import Ready, fit
from mmp.pipelines.folds import CV, for_good, judge
from mmp.pipelines.prepare import Prepared, divide, prepare
from mmp.pipelines.tune import tune
from mmp.settings.members import member_recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
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

_JUDGED, _WATCHED = "judged", "validation"
_MOST_CELLS = 20_000_000  # of prepared folds that are kept for the members to come


@dataclass(frozen=True)
class Said:
    """A member, and what it says of rows that it was not fitted on.

    Parameters
    ----------
    recipe : Recipe
        Of this member alone, for the fit on all training rows.
    outputs : tuple of ndarray
        Of the ``validation`` rows of each fold.
    seconds : float
        Wall seconds that its fits took.
    """

    recipe: Recipe
    outputs: tuple[Output, ...]
    seconds: float

    @property
    def row(self) -> ModelRow:
        """The estimator."""
        return model_row(self.recipe)

    @property
    def output(self) -> Output:
        """All outputs in the order of the folds."""
        return np.concatenate(self.outputs)


class Folds:
    """The rows of each fold as members take them, prepared once for those that take them alike.

    Parameters
    ----------
    rows : Rows
        All rows, the table among them.
    divisions : sequence of mapping of str to ndarray
        Positions of ``train`` and ``validation`` of each fold.
    watched : ndarray of int64 or None
        Positions of the rows that early stopping looks at, those of the fold that judge where None.
    """

    def __init__(self, rows: Rows, divisions: Sequence[Parts], watched: npt.NDArray[np.int64] | None) -> None:
        self.rows = rows
        self.divisions = divisions
        self._watched = watched
        self._kept: dict[tuple[object, ...], Prepared] = {}
        self._cells = 0

    def __len__(self) -> int:
        return len(self.divisions)

    @property
    def has_watched(self) -> bool:
        """Whether there are rows for early stopping that the last fit can look at, too."""
        return self._watched is not None

    @property
    def target(self) -> Target:
        """The truth of the rows that judge, in the order of the folds."""
        return self.rows.target.take(np.concatenate([parts["validation"] for parts in self.divisions]))

    def prepared(self, number: int, recipe: Recipe) -> Prepared:
        """Return the rows of one fold as the model of a recipe takes them."""
        row = model_row(recipe)
        # what `modeling.build` and `prepare` look at
        traits = (row.engine, row.matrix_dtype, row.native_categories, row.handles_nulls, row.scale)
        key = (number, *traits, id(recipe.preprocessor))
        if key not in self._kept:
            made = self._prepare(number, recipe, row)
            self._cells += sum(matrix.values.size for matrix in made.matrices.values())
            if self._cells > _MOST_CELLS:
                return _watching(made, recipe)
            self._kept[key] = made
        return _watching(self._kept[key], recipe)

    def _prepare(self, number: int, recipe: Recipe, row: ModelRow) -> Prepared:
        fold = self.divisions[number]
        parts = {"train": fold["train"], _JUDGED: fold["validation"]}
        if self._watched is not None:
            parts[_WATCHED] = self._watched
        return prepare(self.rows, parts, recipe, row)


def _watching(prepared: Prepared, recipe: Recipe) -> Prepared:
    """Return the rows with those that early stopping is to look at, and without them where there is none."""
    matrices = dict(prepared.matrices)
    targets = {**prepared.targets, _WATCHED: prepared.targets.get(_WATCHED, prepared.targets[_JUDGED])}
    watched = matrices.pop(_WATCHED, matrices[_JUDGED])
    if recipe.model.early_stopping is not None:
        matrices[_WATCHED] = watched
    return replace(prepared, matrices=matrices, targets=targets)


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
        folds = Folds(rows, made, parts.get(_WATCHED))
        said = [
            out_of_fold(folds, member, partial(_tell, steps, name))
            for name, member in zip(names_of(members), members, strict=True)
        ]
        joined = Joined.of(recipe, said, folds)
        note(joined.in_words())
    metrics: dict[str, Scores] = {OUT_OF_FOLD: joined.scores()}
    unseen = None
    if divisions:
        with steps("folds") as note:
            judged = judge(active, rows, divisions, joined.outputs(), recipe)
            findings.add(judged.findings)
            note(judged.summary)
            metrics[CV], unseen = judged.metrics, judged.unseen
    return replace(joined.ready(active, parts, metrics), unseen=unseen)


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


def out_of_fold(folds: Folds, member: Recipe, tell: Callable[[str], None]) -> Said:
    """Fit a member on the rows of each fold, and keep what it says of those that it was not fitted on.

    Parameters
    ----------
    folds : Folds
        The rows.
    member : Recipe
        Of this member alone.
    tell : callable
        Is told in words how far it is.

    Raises
    ------
    MmpError
        As of one fit.
    """
    outputs: list[Output] = []
    stopped: list[int] = []
    row, begun = model_row(member), time.perf_counter()
    for number in range(len(folds)):
        tell(f"fold {number + 1} of {len(folds)}")
        prepared = folds.prepared(number, member)
        model = fit(prepared, member, row).model
        outputs.append(answer(model, prepared.matrices[_JUDGED], where=f"fold {number + 1}"))
        if model.best_iteration is not None:
            stopped.append(model.best_iteration + 1)
    if not folds.has_watched:
        member = for_good(member, row, stopped)
    return Said(member, tuple(outputs), time.perf_counter() - begun)


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

    def ready(self, active: ActiveRun, parts: Parts, metrics: Mapping[str, Scores]) -> Ready:
        """Prepare all training rows as the members that count take them.

        Parameters
        ----------
        active : ActiveRun
            Where the members' scores go.
        parts : mapping of str to ndarray of int64
            Positions by part.
        metrics : mapping
            Of the folds.
        """
        counting = [self.said[place] for place in self.blend.counting]
        made = [prepare(self.folds.rows, parts, one.recipe, one.row) for one in counting]
        whole, union = united(made)
        final = _Final(active, self.recipe, self.blend, self.shown(), counting, made, union)
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

    def fit(self) -> Fitted:
        """Fit them, and log what each brings."""
        fitted = [
            fit(prepared, member.recipe, member.row)
            for prepared, member in zip(self.prepared, self.members, strict=True)
        ]
        blended = self.blend.of_counting()
        model = ensemble.of(
            [ensemble.Member(one.model, taken) for one, taken in zip(fitted, self.union.taken, strict=True)],
            blended,
            len(self.union.pipeline.features),
            blended(list(self._outputs(fitted, "train"))),
        )
        self._log(fitted)
        params = {
            f"member_{place}.{name}": value
            for place, one in zip(self.blend.counting, fitted, strict=True)
            for name, value in one.params.items()
        }
        findings = tuple(dict.fromkeys(found for one in fitted for found in one.findings))
        return Fitted(model, params, findings)

    def _outputs(self, fitted: Sequence[Fitted], part: str) -> Iterator[Output]:
        for one, prepared in zip(fitted, self.prepared, strict=True):
            known = one.model.fitted if part == "train" else None
            yield answer(one.model, prepared.matrices[part], where=f"{part} split", known=known)

    def _log(self, fitted: Sequence[Fitted]) -> None:
        """Log each member's scores on rows that it was not fitted on, those of the test part among them."""
        if "test" in self.prepared[0].targets:
            target = self.prepared[0].targets["test"]
            for place, output in zip(self.blend.counting, self._outputs(fitted, "test"), strict=True):
                self.shown[place]["test"] = _scores(target, output, self.recipe, "test")
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


def _blend(recipe: Recipe, outputs: Sequence[Output], target: Target) -> Blend:
    ensemble_, weight = recipe.model.ensemble, recipe.model.class_weight
    by_class = None if weight is None else weights_by_class(weight, target)
    return blend(
        ensemble_.method if ensemble_ else "greedy",
        outputs,
        target,
        row_weights=None if by_class is None else by_class[target.values],
        seed=recipe.evaluation.random_state,
    )
