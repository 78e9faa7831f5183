"""What the test rows say of a model: how sure its metrics are, and whether it is better than others."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmp.errors import Finding
from mmp.evaluation.comparison import compare, main_metrics, trivial
from mmp.evaluation.confidence import Resampled, by_name, intervals
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.evaluation.comparison import Comparison
    from mmp.evaluation.confidence import Interval
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.target import Target
    from mmp.pipelines.champion import Champion
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

PART = "test"
"""The part of the split that judges."""

FOLDER = "evaluation"
"""Where the run keeps what was found."""

_TRIVIAL = {
    "classification": "the baseline (the shares of the classes)",
    "regression": "the baseline (the mean)",
}


@dataclass(frozen=True)
class Judgement:
    """What the test rows say; nothing where there are none.

    Parameters
    ----------
    intervals : mapping of str to Interval
        95 % intervals of the test metrics.
    comparisons : tuple of Comparison
        With a model that has learned nothing, and with those in use.
    findings : tuple of Finding
        What is worth telling.
    """

    intervals: Mapping[str, Interval] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()


def judge(
    active: ActiveRun,
    bundle: Bundle,
    targets: Mapping[str, Target],
    outputs: Mapping[str, npt.NDArray[np.float64]],
    champions: Mapping[str, Champion],
    recipe: Recipe,
) -> Judgement:
    """Judge a model by the test rows, and log what they say.

    Parameters
    ----------
    active : ActiveRun
        Where metrics go, and files into `FOLDER`.
    bundle : Bundle
        The model, with its metrics by split.
    targets, outputs : mapping of str to Target, ndarray
        Truth and output by part.
    champions : mapping of str to Champion
        What the models in use say of the test rows, by alias.
    recipe : Recipe
        Names the seed.
    """
    if PART not in outputs:
        return Judgement()
    findings: list[Finding] = []
    ours = Resampled.of(
        targets[PART],
        outputs[PART],
        seed=recipe.evaluation.random_state,
        threshold=bundle.threshold,
        uncertainty=bundle.uncertainty,
    )
    found = intervals(ours, bundle.metrics[PART], findings=findings)
    comparisons = _compare(ours, targets["train"], bundle, champions)
    judgement = Judgement(found, comparisons, (*findings, *_findings(comparisons)))
    active.log_metrics(by_name(found))
    _log(active, judgement, bundle)
    return judgement


def _compare(
    ours: Resampled, training: Target, bundle: Bundle, champions: Mapping[str, Champion]
) -> tuple[Comparison, ...]:
    names, n_rows = main_metrics(bundle.metrics[PART]), len(ours.target)
    nothing_learned = ours.of_another(trivial(training, n_rows), threshold=bundle.threshold)
    with_champions = (
        compare(
            ours,
            ours.of_another(champion.output, threshold=champion.threshold),
            names,
            other=champion.name,
            remark=champion.remark,
        )
        for champion in champions.values()
    )
    return (compare(ours, nothing_learned, names, other=_TRIVIAL[bundle.task]), *with_champions)


def _findings(comparisons: Sequence[Comparison]) -> list[Finding]:
    with_nothing, *with_champions = comparisons
    told = [] if with_nothing.verdict == "better" else [with_nothing]
    told += [comparison for comparison in with_champions if comparison.verdict == "worse"]
    return [Finding("comparison", "warn", f"The model is {comparison.sentence}.") for comparison in told]


def _log(active: ActiveRun, judgement: Judgement, bundle: Bundle) -> None:
    with scratch(FOLDER) as folder:
        comparisons = [comparison.as_dict() for comparison in judgement.comparisons]
        files: dict[str, Any] = {
            "comparison.json": comparisons,
            "summary.json": _summary(judgement, bundle, comparisons),
        }
        for name, content in files.items():
            text = json.dumps(content, indent=1, ensure_ascii=False)
            (folder / name).write_text(f"{text}\n", encoding="utf-8")
        active.add_folder(folder, FOLDER)


def _summary(
    judgement: Judgement, bundle: Bundle, comparisons: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return one page of what is known."""
    none = (None, None)
    return {
        "recipe": bundle.recipe_name,
        "task": bundle.task,
        "model": bundle.class_path,
        "target": bundle.target.name,
        "metrics": {
            name: dict(
                zip(("value", "low", "high"), (value, *judgement.intervals.get(name, none)), strict=True)
            )
            for name, value in bundle.metrics[PART].items()
        },
        "comparisons": [comparison["sentence"] for comparison in comparisons],
        "other_metrics": {split: dict(values) for split, values in bundle.metrics.items() if split != PART},
        "findings": [finding.message for finding in judgement.findings],
    }
