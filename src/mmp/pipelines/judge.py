"""What the test rows say of a model: how sure its metrics are, and whether it is better than others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmp.errors import Finding
from mmp.evaluation.comparison import compare, main_metrics, trivial
from mmp.evaluation.confidence import Resampled, by_name, intervals
from mmp.evaluation.evaluate import rows_of
from mmp.pipelines.champion import champions
from mmp.pipelines.gates import Gated, examine
from mmp.pipelines.slices import BySlice, Cuts, with_ends, write_json
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from mmp.evaluation.comparison import Comparison
    from mmp.evaluation.confidence import Interval
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.target import Target
    from mmp.pipelines.champion import Champion
    from mmp.pipelines.prepare import Parts
    from mmp.pipelines.rows import Rows
    from mmp.settings.config import Config
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
    gates : tuple of Gated
        The limits of the recipe, and whether they are kept.
    findings : tuple of Finding
        What is worth telling.
    """

    intervals: Mapping[str, Interval] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    gates: tuple[Gated, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Questions:
    """What the test rows are asked beside the metrics, taken from the table while it is there.

    Parameters
    ----------
    champions : mapping of str to Champion
        What the models in use say of the rows, by alias.
    cuts : Cuts
        The rows divided by columns.
    unanswered : mapping of str to str
        Why a model in use could not be asked, by alias.
    """

    champions: Mapping[str, Champion]
    cuts: Cuts
    unanswered: Mapping[str, str]

    @classmethod
    def of(cls, active: ActiveRun, config: Config, rows: Rows, parts: Parts, recipe: Recipe) -> Questions:
        """Take them; parameters as of `mmp.pipelines.champion.champions`, and positions by part."""
        test = parts.get(PART)
        found, unanswered = champions(active, config, rows, test, recipe)
        return cls(found, Cuts.of(rows, test, recipe), unanswered)

    @property
    def findings(self) -> list[Finding]:
        """What could not be asked."""
        return [
            Finding("champion", "warn", f"The model is not compared with {alias}: {reason}")
            for alias, reason in self.unanswered.items()
        ]


def judge(
    active: ActiveRun,
    bundle: Bundle,
    targets: Mapping[str, Target],
    outputs: Mapping[str, npt.NDArray[np.float64]],
    questions: Questions,
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
    questions : Questions
        What there is beside the metrics.
    recipe : Recipe
        Names the seed, and says whether to draw.
    """
    if PART not in outputs:
        unheld = (
            Gated(name, holds=False, sentence=f"{name} has no value: there are no test rows")
            for name in recipe.evaluation.gates
        )
        return Judgement(gates=tuple(unheld))
    findings = questions.findings
    target, output = targets[PART], outputs[PART]
    rows = rows_of(target, output, threshold=bundle.threshold, uncertainty=bundle.uncertainty)
    ours = Resampled.of(target, rows, seed=recipe.evaluation.random_state, groups=questions.cuts.groups)
    found = intervals(ours, bundle.metrics[PART], findings=findings)
    names = main_metrics(bundle.metrics[PART], bundle.task)
    nothing_learned = rows_of(target, trivial(targets["train"], len(target)), threshold=bundle.threshold)
    others = {alias: champion.on(ours) for alias, champion in questions.champions.items()}
    comparisons = (
        compare(ours, ours.of_another(nothing_learned), names, other=_TRIVIAL[bundle.task]),
        *(
            compare(ours, others[alias], names, other=champion.name, remark=champion.remark)
            for alias, champion in questions.champions.items()
        ),
    )
    slices = BySlice.of(questions.cuts, ours, names)
    gates = examine(recipe.evaluation.gates, ours, others, questions.unanswered)
    findings += [*_findings(comparisons), *slices.findings]
    if gates and all(gate.holds for gate in gates):
        sentences = "; ".join(gate.sentence for gate in gates)
        findings.append(Finding("gates", "info", f"All gates hold: {sentences}."))
    judgement = Judgement(found, comparisons, gates, tuple(findings))
    active.log_metrics(by_name(found))
    with scratch(FOLDER) as folder:
        _write(judgement, slices, bundle, folder)
        slices.write(folder, with_plots=recipe.evaluation.plots)
        active.add_folder(folder, FOLDER)
    return judgement


def _findings(comparisons: Sequence[Comparison]) -> list[Finding]:
    with_nothing, *with_champions = comparisons
    told = [] if with_nothing.verdict == "better" else [with_nothing]
    told += [comparison for comparison in with_champions if comparison.verdict == "worse"]
    return [Finding("comparison", "warn", f"The model is {comparison.sentence}.") for comparison in told]


def _write(judgement: Judgement, slices: BySlice, bundle: Bundle, folder: Path) -> None:
    comparisons = [comparison.as_dict() for comparison in judgement.comparisons]
    write_json(folder / "comparison.json", comparisons)
    write_json(folder / "summary.json", _summary(judgement, slices, bundle))


def _summary(judgement: Judgement, slices: BySlice, bundle: Bundle) -> dict[str, Any]:
    """Return one page of what is known."""
    return {
        "recipe": bundle.recipe_name,
        "task": bundle.task,
        "model": bundle.class_path,
        "target": bundle.target.name,
        "rows": slices.found.n_rows,
        "metrics": with_ends(bundle.metrics[PART], judgement.intervals),
        "comparisons": [comparison.sentence for comparison in judgement.comparisons],
        "gates": [gate.as_dict() for gate in judgement.gates],
        "worst_slices": slices.as_dict()["worst"],
        "other_metrics": {split: dict(values) for split, values in bundle.metrics.items() if split != PART},
        "findings": [finding.message for finding in judgement.findings],
    }
