"""Tuning as a part of a run: what a trial fits and how it is judged, and what the run keeps of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmp.catalog import quantiles
from mmp.catalog.metrics import parse
from mmp.catalog.tasks import TASKS
from mmp.data.fingerprint import fingerprint
from mmp.errors import DataError, Finding
from mmp.evaluation.evaluate import evaluate, requests
from mmp.lookup import is_installed
from mmp.modeling import threads, tuning
from mmp.modeling.answer import answer
from mmp.modeling.hyperparameters import complete
from mmp.modeling.tuning import Search
from mmp.pipelines.decide import thresholds
from mmp.pipelines.fitting import fit, uncertainty
from mmp.pipelines.prepare import prepare
from mmp.settings.search import space, with_values
from mmp.tracking.run import ERROR, KIND, TRIAL
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmp.catalog.models import ModelRow
    from mmp.catalog.row import Space
    from mmp.modeling.target import Target
    from mmp.modeling.tuning import Report, Study, Trial
    from mmp.pipelines.prepare import Parts, Prepared
    from mmp.pipelines.rows import Rows
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun
    from mmp.tracking.stores.base import Status

FOLDER = "tuning"
"""Where the run keeps its study."""

_STEPS = "preprocessor."
_REPORTS = (25, 50, 75)  # percent of the rounds after which a trial may be pruned
_METRICS = {"eval_metric", "metric", "custom_metric"}
_LOSSES = {"objective", "loss_function", "loss", "scale_pos_weight", *_METRICS}
_FLAT = str.maketrans("[", ".", "]")
_STATUS: Mapping[str, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Tuned:
    """What tuning came to.

    Parameters
    ----------
    recipe : Recipe
        With the best values written into it, and tuning off.
    study : Study
        All trials.
    findings : tuple of Finding
        What is worth telling.
    judges : str
        The rows that the scores are of, in words.
    """

    recipe: Recipe
    study: Study
    findings: tuple[Finding, ...]
    judges: str

    @property
    def changes_steps(self) -> bool:
        """Whether the best values are steps' too, which then are to be fitted anew."""
        return any(name.startswith(_STEPS) for name in self.study.best.params)

    @property
    def summary(self) -> str:
        """The study in a few words."""
        wanted, best = self.study.search, self.study.best
        ended = Counter(trial.state for trial in self.study.trials)
        others = "".join(f", {ended[state]} {state}" for state in ("pruned", "failed") if ended[state])
        return (
            f"{len(self.study.trials)} trials{others}; best {wanted.metric} {best.score:.4f} {self.judges}, "
            f"trial {best.number}"
        )


def tune(
    active: ActiveRun,
    rows: Rows,
    divisions: Sequence[Parts],
    shared: Prepared | None,
    recipe: Recipe,
    row: ModelRow,
    tell: Callable[[str], None],
    *,
    name: str = "",
) -> Tuned:
    """Search for the values with which a recipe does best on the rows that judge, and log every trial.

    Parameters
    ----------
    active : ActiveRun
        The run; trials are runs below it.
    rows : Rows
        All rows, the table among them.
    divisions : sequence of mapping of str to ndarray
        Positions to fit on (``train``) and to judge by (``validation``); of several the mean counts.
    shared : Prepared or None
        The rows of the only division as the estimator takes them, where that is done already.
    recipe : Recipe
        What to tune.
    row : ModelRow
        The estimator.
    tell : callable
        Is told in words about each trial as it ends.
    name : str
        What the run calls the study by, where it has several.

    Raises
    ------
    MmpError
        As of `mmp.modeling.tuning.tune`; where the metric has no value on the rows that judge.
    """
    wanted = search(rows, divisions[0]["train"], recipe, row)
    if wanted.study and name:
        wanted = replace(wanted, study=f"{wanted.study}-{name}")
    judged, findings = _judging(rows, divisions, recipe, wanted)
    ready = None
    if not any(name.startswith(_STEPS) for name in wanted.space):
        ready = [shared] if shared else [prepare(rows, parts, recipe, row) for parts in judged]
    best: Trial | None = None

    def on_trial(trial: Trial) -> None:
        nonlocal best
        best = tuning.better(wanted, best, trial)
        tell(_in_words(trial, best, wanted))
        _log_trial(active, trial, wanted, name)

    study = tuning.tune(_Objective(rows, judged, ready, recipe, row, wanted), wanted, on_trial)
    _log_study(active, study, name, with_plots=recipe.evaluation.plots and is_installed("matplotlib"))
    judges = "on validation" if len(judged) == 1 else f"over {len(judged)} folds"
    return Tuned(with_values(recipe, study.best.params, row), study, findings, judges)


def search(rows: Rows, training: npt.NDArray[np.int64], recipe: Recipe, row: ModelRow) -> Search:
    """Return the search that a recipe asks for.

    Parameters
    ----------
    rows : Rows
        All rows.
    training : ndarray of int64
        Positions of those that are fitted on.
    recipe : Recipe
        What to tune.
    row : ModelRow
        The estimator.
    """
    settings, target = recipe.model.hyperparameters, rows.target.take(training)
    usual = quantiles.LOSS if uncertainty(recipe).columns else TASKS[recipe.task_choice].primary_metric
    name = settings.optimization_metric or usual
    (metric,) = requests([name], task=recipe.task_choice, classes=rows.target.classes)
    look = space(settings, row)
    if not settings.tunable:
        look = {
            name: _in_unit(one, row, target) if name in row.of_target else one for name, one in look.items()
        }
    wanted = Search(
        space=look,
        metric=metric.name,
        greater_is_better=metric.greater_is_better,
        start=_start(look, recipe, row, target),
        seed=recipe.evaluation.random_state,
        n_trials=settings.n_trials,
        timeout_s=settings.timeout,
        n_jobs=settings.n_jobs,
        pruning=settings.pruning,
    )
    if settings.storage is None:
        return wanted
    return replace(
        wanted, storage=settings.storage.get_secret_value(), study=_study_name(rows, recipe, wanted)
    )


def _in_unit(one: Space, row: ModelRow, target: Target) -> Space:
    """Return a range of the catalog's, which counts standard deviations of the target, in its unit."""
    spread = float(target.values.std())
    return replace(one, range=tuple(end * spread for end in one.range))


def _start(look: Mapping[str, Space], recipe: Recipe, row: ModelRow, target: Target) -> dict[str, Any]:
    """Return what is known of the recipe's own values, where they lie in the space."""
    settings = with_values(recipe, {}, row).model.hyperparameters
    values, _ = complete(row, settings.values, target=target, library_defaults=settings.defaults == "library")
    return {
        name: values[name] for name, one in look.items() if name in values and _lies_in(values[name], one)
    }


def _lies_in(value: Any, one: Space) -> bool:
    if one.type == "categorical":
        return value in one.range
    kinds = (int,) if one.type == "int" else (int, float)
    return type(value) in kinds and one.range[0] <= value <= one.range[1]


def _study_name(rows: Rows, recipe: Recipe, wanted: Search) -> str:
    """Return a name that changes with all that a score depends on: other scores do not compare."""
    budget = {"n_trials", "timeout", "n_jobs", "pruning", "storage", "tunable", "tuning_enabled"}
    means = {
        "data": fingerprint(rows.table).digest,
        "columns": [spec.name for spec in rows.features],
        "metric": wanted.metric,
        "space": {name: [one.type, list(one.range), one.log] for name, one in wanted.space.items()},
        "recipe": recipe.model_dump(
            mode="json",
            include={"task_choice", "model", "preprocessor", "data", "evaluation"},
            exclude={
                "model": {"hyperparameters": budget},
                "data": {"loader"},
                "evaluation": {"metrics", "explain", "plots", "slices", "gates"},
            },
        ),
    }
    digest = hashlib.sha256(json.dumps(means, sort_keys=True, default=str).encode()).hexdigest()
    return f"{recipe.name}-{digest[:12]}"


# -- one trial -----------------------------------------------------------------------------------------


def _judging(
    rows: Rows, divisions: Sequence[Parts], recipe: Recipe, wanted: Search
) -> tuple[tuple[Parts, ...], tuple[Finding, ...]]:
    """Return the divisions on whose rows the metric has a value, which the truth alone decides."""
    judged: list[Parts] = []
    findings: list[Finding] = []
    for number, parts in enumerate(divisions, start=1):
        target = rows.target.take(parts["validation"])
        n_columns = target.n_classes or 1 + len(uncertainty(recipe).columns)
        output = np.full((len(target), n_columns), 1 / (target.n_classes or 1))
        if not target.n_classes:
            output[:] = target.values.mean()
        try:
            split = f"fold {number} validation" if len(divisions) > 1 else "validation"
            _score(target, output, recipe, wanted, split=split)
        except DataError as error:
            if number == len(divisions) and not judged:
                raise
            message = f"{error.message} The trials are judged without it."
            findings.append(Finding("tuning", "warn", message))
        else:
            judged.append(parts)
    return tuple(judged), tuple(findings)


def _score(
    target: Target,
    output: npt.NDArray[np.float64],
    recipe: Recipe,
    wanted: Search,
    *,
    split: str = "validation",
    n_judged: int | None = None,
) -> float:
    values = evaluate(
        target,
        output,
        task=recipe.task_choice,
        metrics=[wanted.metric],
        threshold=thresholds(recipe, target, output, n_judged=n_judged),
        split=split,
        uncertainty=uncertainty(recipe),
    )
    return values[wanted.metric]


@dataclass(frozen=True)
class _Objective:
    """What a trial does: a fresh pipeline and a fresh estimator for each division of the rows."""

    rows: Rows
    divisions: Sequence[Parts]
    prepared: Sequence[Prepared] | None
    recipe: Recipe
    row: ModelRow
    search: Search

    def __call__(self, drawn: Mapping[str, Any], report: Report) -> float:
        recipe = with_values(self.recipe, drawn, self.row)
        scores: list[float] = []
        for number, parts in enumerate(self.divisions):
            prepared = self.prepared[number] if self.prepared else prepare(self.rows, parts, recipe, self.row)
            scores.append(self._fit(prepared, recipe, report))
            if 1 < len(self.divisions) != number + 1:
                report(number, fmean(scores))
        return fmean(scores)

    def _fit(self, prepared: Prepared, recipe: Recipe, report: Report) -> float:
        watch = None
        if self.search.pruning and len(self.divisions) == 1 and _loss_compares(recipe, self.search):
            watch = self._watch(prepared, recipe, report)
        fitted = fit(prepared, recipe, self.row, threads=self._threads(prepared), on_iteration=watch)
        output = answer(fitted.model, prepared.matrices["validation"], where="validation split")
        n_judged = sum(len(parts["validation"]) for parts in self.divisions)
        return _score(prepared.targets["validation"], output, recipe, self.search, n_judged=n_judged)

    def _watch(
        self, prepared: Prepared, recipe: Recipe, report: Report
    ) -> Callable[[int, Mapping[str, float]], None] | None:
        """Return what reports the loss after shares of the rounds, however many a trial has."""
        settings = recipe.model.hyperparameters
        values, _ = complete(
            self.row,
            settings.values,
            target=prepared.targets["train"],
            library_defaults=settings.defaults == "library",
        )
        rounds = values.get(self.row.rounds_param or "")
        if type(rounds) is not int:
            return None
        marks = {rounds * percent // 100: percent for percent in _REPORTS}
        sign = -1 if self.search.greater_is_better else 1

        def watch(iteration: int, losses: Mapping[str, float]) -> None:
            if losses and iteration + 1 in marks:
                report(marks[iteration + 1], sign * next(iter(losses.values())))

        return watch

    def _threads(self, prepared: Prepared) -> int | None:
        """Return the threads of one of several trials at a time, None for as many as alone."""
        if self.search.n_jobs == 1 or self.recipe.model.threads != "auto":
            return None
        n_rows, n_features = prepared.matrices["train"].values.shape
        return min(threads.choose(n_rows, n_features), max(1, threads.cores() // self.search.n_jobs))


def _loss_compares(recipe: Recipe, wanted: Search) -> bool:
    """Tell whether what boosting reports is one loss for all trials, of which less is better."""
    stopping = recipe.model.early_stopping
    if stopping and stopping.metric and parse(stopping.metric, recipe.task_choice).greater_is_better:
        return False
    return not (_METRICS & recipe.model.hyperparameters.values.keys() or _LOSSES & wanted.space.keys())


# -- what the run keeps --------------------------------------------------------------------------------


def _log_trial(active: ActiveRun, trial: Trial, wanted: Search, name: str) -> None:
    """Log a trial as a run below its training, the objective under the metric's own name."""
    active.log_child(
        "_".join(filter(None, (active.name, name, f"trial_{trial.number:03}"))),
        _STATUS[trial.state],
        tags={KIND: TRIAL, "mmp.trial": str(trial.number), "mmp.trial.state": trial.state}
        | ({ERROR: trial.error} if trial.error else {}),
        # MLflow takes no brackets
        params={name.translate(_FLAT): value for name, value in trial.params.items()},
        metrics={} if trial.score is None else {wanted.metric: trial.score},
        span_ms=(trial.began_ms, trial.ended_ms),
    )


def _log_study(active: ActiveRun, study: Study, name: str, *, with_plots: bool) -> None:
    """Log what a study came to: its trials as a table, and its pictures."""
    wanted, prefix = study.search, f"tuning.{name}." if name else "tuning."
    facts = {
        "metric": wanted.metric,
        "trials": len(study.trials),
        "best_trial": study.best.number,
        **({"study": wanted.study} if wanted.storage else {}),
    }
    active.log_params({prefix + key: value for key, value in facts.items()})
    with scratch("tuning") as folder:
        pq.write_table(_table(study), folder / "trials.parquet")
        if with_plots:
            _draw(study, folder)
        active.add_folder(folder, f"{FOLDER}/{name}" if name else FOLDER)


def _draw(study: Study, folder: Path) -> None:
    from mmp.evaluation.plots import canvas, trials

    for name, figure in trials.pictures(study):
        canvas.save(figure, folder / f"{name}.png")


def _table(study: Study) -> pa.Table:
    """Return a row a trial; a parameter that is no number is text."""
    trials = study.trials
    columns = {
        "number": pa.array([trial.number for trial in trials], pa.int64()),
        "state": pa.array([trial.state for trial in trials], pa.string()),
        study.search.metric: pa.array([trial.score for trial in trials], pa.float64()),
        "seconds": pa.array([trial.seconds for trial in trials], pa.float64()),
        "error": pa.array([trial.error or None for trial in trials], pa.string()),
    }
    for name, one in study.search.space.items():
        values = [trial.params.get(name) for trial in trials]
        if one.type == "categorical":
            words = [None if value is None else _word(value) for value in values]
            columns[f"param.{name}"] = pa.array(words, pa.string())
        else:
            columns[f"param.{name}"] = pa.array(values, pa.int64() if one.type == "int" else pa.float64())
    return pa.table(columns)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _in_words(trial: Trial, best: Trial | None, wanted: Search) -> str:
    """Return how a trial went, and which is the best so far."""
    score = trial.state if trial.score is None else f"{wanted.metric} {trial.score:.4f}"
    so_far = f", best {best.score:.4f} of trial {best.number}" if best else ""
    return f"trial {trial.number} of {wanted.n_trials}: {score}{so_far}"
