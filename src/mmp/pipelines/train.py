"""A training run, top to bottom: from a recipe and a table to a tracked, reloadable, verified model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mmp.data.buffers import release
from mmp.evaluation.evaluate import by_split, evaluate
from mmp.modeling import golden
from mmp.modeling.baseline import baseline
from mmp.modeling.bundle import Bundle
from mmp.pipelines import calibrate, record
from mmp.pipelines.adjust import adjust
from mmp.pipelines.check import model_row, refuse_metrics, refuse_settings
from mmp.pipelines.enrich import Enriched, enrich, feature_set, with_defaults
from mmp.pipelines.fitting import Ready, fit, predict
from mmp.pipelines.gates import require
from mmp.pipelines.judge import Questions, judge
from mmp.pipelines.model import MODEL_FOLDER
from mmp.pipelines.pictures import Sample, show
from mmp.pipelines.prepare import fold_rows, in_words, prepare, split_rows
from mmp.pipelines.rows import labelled_rows, read_table
from mmp.pipelines.source import find_source
from mmp.pipelines.steps import Steps
from mmp.tracking import artifacts, manifest
from mmp.tracking.run import run
from mmp.tracking.scratch import scratch
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from mmp.data.template import Query
    from mmp.errors import Finding
    from mmp.evaluation.confidence import Interval
    from mmp.features.references import FeatureSet
    from mmp.modeling.fit import Fitted
    from mmp.pipelines.adjust import Adjusted
    from mmp.pipelines.decide import Unseen
    from mmp.pipelines.gates import Gated
    from mmp.pipelines.prepare import Parts, Prepared
    from mmp.pipelines.rows import Rows
    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

    Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class TrainResult:
    """What a training run gave.

    Parameters
    ----------
    run_id, experiment, model_uri : str
        Where it is; `model_uri` is what ``mlflow.pyfunc.load_model`` takes.
    task, source : str
        What was learned, from which table.
    metrics : mapping of str to mapping of str to float
        By split and name.
    intervals : mapping of str to Interval
        95 % intervals of the test metrics.
    comparisons : tuple of mapping
        How much better or worse it is than others.
    artifacts : tuple of str
        The run's files.
    timings_s : mapping of str to float
        Wall seconds by step.
    warnings : tuple of Finding
        What was worth telling.
    example : mapping
        A request that the model answers.
    """

    run_id: str
    experiment: str
    model_uri: str
    task: str
    source: str
    metrics: Metrics
    intervals: Mapping[str, Interval]
    comparisons: tuple[Mapping[str, Any], ...]
    artifacts: tuple[str, ...]
    timings_s: Mapping[str, float]
    warnings: tuple[Finding, ...]
    example: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return asdict(self)


def train(
    recipe: Loaded[Recipe],
    config: Loaded[Config],
    *,
    data: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    tell: Callable[[Iterable[Finding]], None] | None = None,
    open_log: Callable[[], Path] | None = None,
) -> TrainResult:
    """Train, evaluate, package and log one model.

    Parameters
    ----------
    recipe, config : Loaded
        What to do, and where.
    data : str, optional
        The table, instead of the recipe's ``data.loader.source_uri``.
    parameters : Mapping, optional
        Values for the variables of a query.
    watcher : Watcher, optional
        Is told about the steps as they happen.
    tell : callable, optional
        Is given findings as they are made.
    open_log : callable, optional
        Opens the process's log, to be kept with the run; called once the settings are accepted.

    Returns
    -------
    TrainResult
        Metrics, and where the model is.

    Raises
    ------
    MmpError
        What the user can mend; a run that has begun then has the status FAILED and says why.
    """
    what, where = recipe.value, config.value
    steps, findings = Steps(watcher), record.Findings(tell)
    findings.add(refuse_settings(recipe, config))
    asked = find_source(what, where, data, parameters)
    log_file = open_log() if open_log else None

    with (
        connect(where.mlflow) as store,
        run(store, *record.names(what, where), record.tags(recipe), secrets=record.secrets(where)) as active,
    ):
        active.log_params(record.parameters(what))
        active.flush()

        enriched = _read(recipe, config, asked, active, steps)
        source, features = enriched.table.source, enriched.features
        findings.add(enriched.findings)
        with steps("check") as note:
            rows = labelled_rows(enriched.table, what, features)
            findings.add(rows.findings)
            refuse_metrics(what, rows.target.classes)
            note(f"{len(rows.features)} features, target {rows.describe_target()}")
        with steps("split") as note:
            parts = split_rows(rows, what)
            rows, features = with_defaults(rows, enriched, parts["train"])
            record.log_features(active, features)
            divisions = fold_rows(rows, parts, what)
            note(in_words(parts, divisions))
        ready = _ready(active, rows, parts, divisions, what, steps, findings)
        what, prepared = ready.recipe, ready.prepared
        sample = Sample.of(rows, parts, prepared, what)
        questions = Questions.of(active, where, rows, parts, what)
        # the fit needs the memory more than anybody the table
        del enriched
        rows = rows.without_table()
        release()
        fitted = _fit(active, ready, steps, findings)
        adjusted = adjust(active, fitted, ready, steps, findings)
        with steps("evaluate") as note:
            outputs = predict(adjusted.fitted.model, prepared.matrices)
            bundle = _bundle(rows, prepared, adjusted, outputs[sample.part], features, what)
            before = calibrate.before(bundle.model, prepared, sample.part, what)
            metrics = {
                **_evaluate(bundle, prepared, outputs, what, findings),
                **before.metrics,
                **ready.metrics,
            }
            active.log_metrics(by_split(metrics))
            note(record.score_in_words(what.task_choice, metrics))
            bundle = replace(bundle, metrics=metrics)
            judgement = judge(active, bundle, prepared.targets, outputs, questions, what)
            findings.add(judgement.findings)
        with steps("explain") as note:
            seen, told, seconds = outputs[sample.part], before.output, ready.seconds
            findings.add(
                [
                    *show(active, bundle, sample, seen, what, note, before=told, seconds=seconds),
                    *ready.late(),
                ]
            )
        with steps("package") as note:
            note(_package(bundle, active, recipe_digest=record.digest(recipe)))
        with steps("log") as note:
            note(_finish(active, where, log_file, judgement.gates))
        files = tuple(store.artifacts(active.run_id))

    return TrainResult(
        run_id=active.run_id,
        experiment=active.experiment,
        model_uri=f"runs:/{active.run_id}/{MODEL_FOLDER}",
        task=what.task_choice,
        source=source,
        metrics=metrics,
        intervals=judgement.intervals,
        comparisons=tuple(comparison.as_dict() for comparison in judgement.comparisons),
        artifacts=files,
        timings_s=steps.timings_s,
        warnings=findings.all,
        example=golden.served(bundle)[0],
    )


def _read(
    recipe: Loaded[Recipe],
    config: Loaded[Config],
    asked: str | Query,
    active: ActiveRun,
    steps: Steps,
) -> Enriched:
    """Read the rows, note what went in, and add what the feature store knows of them."""
    what, where, application = recipe.value, config.value, f"mmp train {active.run_id[:8]}"
    with steps("read") as note:
        features = feature_set(what, where)
        table = read_table(what, where, asked, features, application=application)
        record.log_inputs(active, recipe, config, table, asked)
        note(f"{table.n_rows:,} rows, {len(table.specs)} columns from {table.source}")
    if features is None:
        return Enriched(table)
    with steps("features") as note:
        enriched = enrich(table, features, what, where, application=application)
        note(record.features_in_words(features))
    return enriched


def _ready(
    active: ActiveRun,
    rows: Rows,
    parts: Parts,
    divisions: Sequence[Parts],
    recipe: Recipe,
    steps: Steps,
    findings: record.Findings,
) -> Ready:
    """Prepare the rows, tune and cross-validate, as far as the recipe asks for it."""
    if recipe.model.class_path is None:
        from mmp.pipelines import ensemble, preset

        join = preset.choose if recipe.model.preset else ensemble.join
        return join(active, rows, parts, divisions, recipe, steps, findings)
    row = model_row(recipe)
    with steps("prepare") as note:
        prepared = prepare(rows, parts, recipe, row)
        findings.add(prepared.matrices["train"].findings)
        active.log_params(record.chosen_steps(recipe, prepared.steps))
        note(record.prepared_in_words(prepared.steps, prepared.pipeline.names))
    metrics: Metrics = {}
    unseen: Unseen | None = None
    if divisions or recipe.model.hyperparameters.tuning_enabled:
        refined = _refine(active, rows, parts, divisions, prepared, recipe, steps, findings)
        recipe, prepared, metrics, unseen = refined
    return Ready(recipe, row, prepared, metrics, partial(fit, prepared, recipe, row), unseen)


def _refine(
    active: ActiveRun,
    rows: Rows,
    parts: Parts,
    divisions: Sequence[Parts],
    prepared: Prepared,
    recipe: Recipe,
    steps: Steps,
    findings: record.Findings,
) -> tuple[Recipe, Prepared, Metrics, Unseen | None]:
    """Tune and cross-validate, as far as the recipe asks for it.

    Returns
    -------
    Recipe
        With the best values of its search.
    Prepared
        The rows as that takes them.
    mapping
        Metrics of the folds, as of a part of the split.
    Unseen or None
        What the rows of the folds were told.
    """
    from mmp.pipelines.folds import CV, cross_validate
    from mmp.pipelines.tune import tune

    row, untuned = model_row(recipe), recipe
    if recipe.model.hyperparameters.tuning_enabled:
        with steps("tune") as note:
            shared = None if divisions else prepared
            tuned = tune(active, rows, divisions or [parts], shared, recipe, row, steps.progress)
            recipe = tuned.recipe
            findings.add(tuned.findings)
            note(tuned.summary)
            if tuned.changes_steps:
                prepared = prepare(rows, parts, recipe, row)
    if not divisions:
        return recipe, prepared, {}, None
    with steps("folds") as note:
        folded = cross_validate(active, rows, divisions, recipe, row, steps.progress)
        findings.add(folded.findings)
        note(folded.summary)
    metrics: Metrics = {CV: folded.metrics}
    if untuned.model.hyperparameters.tuning_enabled and untuned.data.split.inner_folds is not None:
        metrics = {**metrics, **_nested(active, rows, divisions, untuned, steps, findings)}
    return folded.recipe, prepared, metrics, folded.unseen


def _nested(
    active: ActiveRun,
    rows: Rows,
    divisions: Sequence[Parts],
    recipe: Recipe,
    steps: Steps,
    findings: record.Findings,
) -> Metrics:
    """Judge tuning and fitting together, by rows that neither has seen."""
    from mmp.pipelines.nested import NESTED, cross_validate

    with steps("nested") as note:
        nested = cross_validate(active, rows, divisions, recipe, model_row(recipe), steps.progress)
        findings.add(nested.findings)
        note(nested.summary)
    return {NESTED: nested.metrics}


def _fit(active: ActiveRun, ready: Ready, steps: Steps, findings: record.Findings) -> Fitted:
    with steps("fit") as note:
        fitted = ready.fit()
        findings.add(fitted.findings)
        active.log_params(fitted.params)
        active.log_history(fitted.model.history)
        note(record.model_in_words(ready.recipe, fitted))
    return fitted


def _evaluate(
    bundle: Bundle,
    prepared: Prepared,
    outputs: Mapping[str, npt.NDArray[np.float64]],
    recipe: Recipe,
    findings: record.Findings,
) -> dict[str, Mapping[str, float]]:
    """Return the metrics of each part; default ones that could not be computed are findings.

    Training rows are judged as the estimator saw them: where a step learned from the target, with
    its out-of-fold values.
    """
    undefined: list[Finding] = []
    asked = recipe.evaluation.metrics
    beside = (*bundle.uncertainty.metrics, *prepared.targets["train"].metrics)
    metrics: dict[str, Mapping[str, float]] = {
        name: evaluate(
            prepared.targets[name],
            output,
            task=recipe.task_choice,
            metrics=asked and (*asked, *beside),
            threshold=bundle.threshold,
            split=name,
            findings=undefined,
            uncertainty=bundle.uncertainty,
        )
        for name, output in outputs.items()
        if name != "calibration"
    }
    findings.add(undefined)
    return metrics


def _bundle(
    rows: Rows,
    prepared: Prepared,
    adjusted: Adjusted,
    unseen: npt.NDArray[np.float64],
    features: FeatureSet | None,
    recipe: Recipe,
) -> Bundle:
    """Put together everything that a prediction needs."""
    bundle = Bundle(
        task=recipe.task_choice,
        recipe_name=recipe.name,
        class_path=recipe.model.named,
        target=rows.target_spec,
        entities=rows.entities,
        pipeline=prepared.pipeline,
        model=adjusted.fitted.model,
        classes=rows.target.classes,
        positive=rows.target.positive,
        threshold=adjusted.decision.threshold,
        decision=adjusted.decision.facts,
        sets=adjusted.sets,
        baseline=baseline(
            prepared.training,
            prepared.pipeline.inputs,
            prepared.targets["train"],
            unseen,
            threshold=adjusted.decision.threshold,
        ),
        features=features,
        parameters=adjusted.fitted.params,
    )
    return golden.with_examples(bundle, prepared.training, seed=recipe.evaluation.random_state)


def _package(bundle: Bundle, active: ActiveRun, *, recipe_digest: str) -> str:
    """Write the model's files into the run, and say how much that is."""
    with scratch("model") as folder:
        model = folder / MODEL_FOLDER
        digest = artifacts.write(bundle, model, run_id=active.run_id, recipe_digest=recipe_digest)
        active.set_tags({manifest.TAG: digest})
        active.add_folder(model, MODEL_FOLDER)
        return record.size_in_words(model)


def _finish(active: ActiveRun, config: Config, log_file: Path | None, gates: Sequence[Gated]) -> str:
    """Keep the log, add the model to the registry where it may go there, and say where the run is."""
    if log_file and config.logging.upload_to_mlflow:
        active.log_file(log_file, "logs")
    require(gates, active.run_id)
    where, name = f"experiment {active.experiment}", config.mlflow.registered_model_name
    if name is None:
        return where
    active.flush()
    return f"{where}, version {active.store.register(name, active.run_id)} of {name}"
