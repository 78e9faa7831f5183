"""A training run, top to bottom: from a recipe and a table to a tracked, reloadable, verified model."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.catalog.models import row_for
from mmp.data.split import split
from mmp.errors import Finding
from mmp.evaluation.evaluate import by_split, evaluate, requests
from mmp.modeling import golden, pipeline
from mmp.modeling.baseline import baseline
from mmp.modeling.build import default_steps
from mmp.modeling.bundle import Bundle
from mmp.modeling.columns import from_table, take
from mmp.modeling.fit import EarlyStopping, FitOptions, fit_model
from mmp.pipelines import record
from mmp.pipelines.check import refuse_settings
from mmp.pipelines.rows import labelled_rows, read_table
from mmp.pipelines.steps import Steps
from mmp.tracking import artifacts, manifest
from mmp.tracking.run import run
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mmp.pipelines.steps import Watcher
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe

MODEL_FOLDER = "model"


@dataclass(frozen=True)
class TrainResult:
    """What a training run gave.

    Parameters
    ----------
    run_id, experiment, model_uri : str
        Where it is; `model_uri` is what ``mlflow.pyfunc.load_model`` takes.
    metrics : mapping of str to mapping of str to float
        By split and name.
    artifacts : tuple of str
        The run's files.
    timings_s : mapping of str to float
        Wall seconds by step.
    warnings : tuple of Finding
        What was worth telling.
    example : str
        A request that the model answers, as JSON.
    """

    run_id: str
    experiment: str
    model_uri: str
    metrics: Mapping[str, Mapping[str, float]]
    artifacts: tuple[str, ...]
    timings_s: Mapping[str, float]
    warnings: tuple[Finding, ...]
    example: str

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {**asdict(self), "warnings": [asdict(finding) for finding in self.warnings]}


def train(
    recipe: Loaded[Recipe],
    config: Loaded[Config],
    *,
    data: str | None = None,
    watcher: Watcher | None = None,
    tell: Callable[[Iterable[Finding]], None] | None = None,
    log_file: Path | None = None,
) -> TrainResult:
    """Train, evaluate, package and log one model.

    Parameters
    ----------
    recipe, config : Loaded
        What to do, and where.
    data : str, optional
        The table, instead of the recipe's ``data.loader.source_uri``.
    watcher : Watcher, optional
        Is told about the steps as they happen.
    tell : callable, optional
        Is given findings as they are made.
    log_file : Path, optional
        The process's log, to be kept with the run.

    Returns
    -------
    TrainResult
        Metrics, and where the model is.

    Raises
    ------
    MmpError
        What the user can mend; the run then has the status FAILED and says why.
    """
    what, where = recipe.value, config.value
    findings = record.Findings(tell)
    steps = Steps(watcher)
    findings.add(refuse_settings(what, where))
    task, seed, row = (
        what.task_choice,
        what.evaluation.random_state,
        row_for(what.model.class_path, what.task_choice),
    )

    with run(connect(where.mlflow), *record.names(what, where), record.tags(recipe)) as active:
        active.log_params(record.parameters(what))
        active.flush()

        with steps("read") as note:
            table = read_table(what, where, data)
            note(f"{table.n_rows:,} rows × {len(table.specs)} columns from {table.source}")

        with steps("check") as note:
            rows = labelled_rows(table, what)
            findings.add(rows.findings)
            requests(what.evaluation.metrics or (), task=task, classes=rows.target.classes)
            note(f"{len(rows.features)} features, target {rows.describe_target()}")

        with steps("split") as note:
            splits = split(rows.table, what.data.split, task=task, target=rows.target_spec.name, seed=seed)
            parts = {name: part for name, part in vars(splits).items() if len(part)}
            note(", ".join(f"{name} {len(part):,}" for name, part in parts.items()))

        with steps("prepare") as note:
            columns = from_table(rows.table, rows.features)
            training = take(columns, splits.train)
            chosen = what.preprocessor.steps if what.preprocessor else None
            if chosen is None:
                chosen = default_steps(rows.features, training, model=row)
            fitted, matrix = pipeline.fit(
                chosen,
                training,
                rows.features,
                rows.target.take(splits.train),
                seed=seed,
                dtype=row.matrix_dtype,
                native_categories=row.native_categories,
            )
            matrices = {"train": matrix} | {
                name: fitted.matrix(take(columns, part)) for name, part in parts.items() if name != "train"
            }
            targets = {name: rows.target.take(part) for name, part in parts.items()}
            if matrix.rows is not None:
                targets["train"] = targets["train"].take(matrix.rows)
            note(f"{record.steps_in_words(chosen)}; {len(matrix.names)} features for the model")

        with steps("fit") as note:
            validation = (matrices["validation"], targets["validation"]) if "validation" in parts else None
            estimator = fit_model(
                row,
                what.model.hyperparameters.values,
                matrix,
                targets["train"],
                validation=validation,
                options=_options(what, seed),
            )
            findings.add(estimator.findings)
            active.log_params(estimator.params)
            active.log_history(estimator.model.history)
            note(record.model_in_words(row, estimator))

        with steps("evaluate") as note:
            threshold = float(what.evaluation.threshold)  # type: ignore[arg-type]  # settings.checks lets numbers pass
            outputs = {name: estimator.model.predict(matrices[name].values) for name in parts}
            undefined: list[Finding] = []
            metrics = {
                name: evaluate(
                    targets[name],
                    outputs[name],
                    task=task,
                    metrics=what.evaluation.metrics or (),
                    threshold=threshold,
                    split=name,
                    findings=None if what.evaluation.metrics else undefined,
                )
                for name in parts
                if name != "calibration"
            }
            findings.add(undefined)
            active.log_metrics(by_split(metrics))
            note(record.score_in_words(task, metrics))

        with steps("package") as note, tempfile.TemporaryDirectory(prefix="mmp-model-") as folder:
            unseen = next(name for name in ("test", "validation", "train") if name in parts)
            bundle = golden.with_examples(
                Bundle(
                    task=task,
                    recipe_name=what.name,
                    class_path=row.class_path,
                    target=rows.target_spec,
                    inputs=fitted.inputs,
                    entities=rows.entities,
                    pipeline=fitted,
                    model=estimator.model,
                    classes=rows.target.classes,
                    positive=rows.target.positive,
                    threshold=threshold,
                    baseline=baseline(
                        training,
                        fitted.inputs,
                        rows.target.take(splits.train),
                        outputs[unseen],
                        threshold=threshold,
                    ),
                    parameters=estimator.params,
                    metrics=metrics,
                ),
                training,
                seed=seed,
            )
            model = Path(folder, MODEL_FOLDER)
            digest = artifacts.write(bundle, model, run_id=active.run_id, recipe_digest=record.digest(recipe))
            active.set_tags({manifest.TAG: digest})
            active.add_folder(model, MODEL_FOLDER)
            note(record.size_in_words(model))

        with steps("log") as note:
            record.log_inputs(active, recipe, config, table)
            if where.mlflow.registered_model_name:
                active.flush()
                version = active.store.register(where.mlflow.registered_model_name, active.run_id)
                note(f"version {version} of {where.mlflow.registered_model_name}")
            if log_file and where.logging.upload_to_mlflow:
                active.log_file(log_file, "logs")
            note(f"experiment {active.experiment}")

    files = tuple(active.store.artifacts(active.run_id))
    active.store.close()
    return TrainResult(
        run_id=active.run_id,
        experiment=active.experiment,
        model_uri=f"runs:/{active.run_id}/{MODEL_FOLDER}",
        metrics=metrics,
        artifacts=files,
        timings_s=steps.timings_s,
        warnings=findings.all,
        example=json.dumps(bundle.examples[0], ensure_ascii=False),
    )


def _options(recipe: Recipe, seed: int) -> FitOptions:
    model, stopping = recipe.model, recipe.model.early_stopping
    return FitOptions(
        seed=seed,
        threads=model.threads,
        library_defaults=model.hyperparameters.defaults == "library",
        class_weight=model.class_weight,
        early_stopping=EarlyStopping(stopping.rounds, stopping.metric) if stopping else None,
        trust=recipe.package.trust,
        allow_pickle=recipe.package.allow_pickle,
    )
