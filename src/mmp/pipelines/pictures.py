"""What a training run shows of its model: pictures, and which columns the predictions come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from mmp.catalog.tasks import TASKS
from mmp.errors import Finding, SettingsError
from mmp.lookup import install_line, is_installed
from mmp.modeling.columns import from_table, take
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from mmp.evaluation.explain import Explanation
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.columns import Columns
    from mmp.modeling.target import Target
    from mmp.pipelines.prepare import Prepared
    from mmp.pipelines.rows import Rows
    from mmp.pipelines.steps import Note
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

    Named = Iterator[tuple[str, Figure]]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows that the model was not fitted on, to explain it with.

    Parameters
    ----------
    part : str
        The part of the split that they are from.
    rows : ndarray of int64
        Their positions among the rows that have a target.
    columns : mapping of str to Column
        Their features before the steps, and the keys that these read.
    target : Target
        Their target.
    whole : Target
        The target of the whole part.
    """

    part: str
    rows: npt.NDArray[np.int64]
    columns: Columns
    target: Target
    whole: Target

    @classmethod
    def of(
        cls,
        rows: Rows,
        parts: Mapping[str, npt.NDArray[np.int64]],
        prepared: Prepared,
        recipe: Recipe,
    ) -> Sample:
        """Draw at most ``evaluation.explain.max_rows`` rows of the test part, or what stands in for it."""
        part = next(name for name in ("test", "validation", "train") if name in parts)
        positions, most = parts[part], recipe.evaluation.explain.max_rows
        if len(positions) > most:
            rng = np.random.default_rng(recipe.evaluation.random_state)
            positions = np.sort(rng.choice(positions, most, replace=False))
        columns = take(from_table(rows.table, (*rows.features, *prepared.pipeline.keys)), positions)
        return cls(part, positions, columns, rows.target.take(positions), prepared.targets[part])


def show(
    active: ActiveRun,
    bundle: Bundle,
    sample: Sample,
    output: npt.NDArray[np.float64],
    recipe: Recipe,
    note: Note,
    *,
    before: npt.NDArray[np.float64] | None = None,
    seconds: float = inf,
) -> list[Finding]:
    """Explain the model and draw it, as the recipe says, into the run's ``explain`` and ``plots``.

    Parameters
    ----------
    active : ActiveRun
        Where the files go.
    bundle : Bundle
        The model.
    sample : Sample
        The rows to explain.
    output : ndarray
        What the model says of the whole part that the sample is from.
    recipe : Recipe
        Says what is wanted.
    note : callable
        Is told what was made.
    before : ndarray or None
        What it said of the same rows before its calibration.
    seconds : float
        Wall seconds that there are: a half of them for explanations, a quarter for the importance of columns.

    Returns
    -------
    list of Finding
        What could not be made.
    """
    wanted, findings, explanation = recipe.evaluation, list[Finding](), None
    with scratch("pictures") as folder:
        if wanted.explain.enabled:
            explanation = _explain(bundle, sample, folder, findings, seconds / 2)
        if explanation is not None:
            note(f"SHAP values of {len(explanation.rows):,} {sample.part} rows")
        if wanted.plots and _can_draw(findings):
            pictures = _pictures(bundle, sample, output, before, explanation, seconds / 4)
            note(f"{_draw(pictures, folder)} plots")
        if not (wanted.explain.enabled or wanted.plots):
            note("left out")
        for made in sorted(folder.iterdir()):
            active.add_folder(made, made.name)
    return findings


def _explain(
    bundle: Bundle, sample: Sample, folder: Path, findings: list[Finding], seconds: float
) -> Explanation | None:
    from mmp.evaluation import explain

    budget_s = min(explain.BUDGET_S, seconds)
    try:
        explanation, found = explain.explain(bundle, sample.columns, sample.rows, budget_s=budget_s)
    except SettingsError as error:
        findings.append(Finding("explain", "warn", f"{error.message} {error.hint}"))
        return None
    findings += found
    (folder / "explain").mkdir()
    explain.write(explanation, folder / "explain")
    return explanation


def _can_draw(findings: list[Finding]) -> bool:
    if is_installed("matplotlib"):
        return True
    message = "No plots were drawn: the package 'matplotlib' is not installed."
    findings.append(Finding("plots", "warn", f"{message} {install_line('matplotlib')}"))
    return False


def _draw(pictures: Named, folder: Path) -> int:
    from mmp.evaluation.plots import canvas

    plots = folder / "plots"
    plots.mkdir()
    for name, figure in pictures:
        canvas.save(figure, plots / f"{name}.png")
    return len(list(plots.iterdir()))


def _pictures(
    bundle: Bundle,
    sample: Sample,
    output: npt.NDArray[np.float64],
    before: npt.NDArray[np.float64] | None,
    explanation: Explanation | None,
    seconds: float,
) -> Named:
    from mmp.evaluation.importance import BUDGET_S, importance
    from mmp.evaluation.plots import features

    yield from _judged(bundle, sample, output, before)
    losses = importance(bundle, sample.columns, sample.target, seed=0, budget_s=min(BUDGET_S, seconds))
    if losses:
        metric = TASKS[bundle.task].primary_metric
        yield "importance", features.importance(losses, metric=metric, split=sample.part)
    if explanation is not None:
        first = slice(0, len(explanation.rows))
        yield from features.pictures(explanation, take(sample.columns, first), target=bundle.target.name)


def _judged(
    bundle: Bundle,
    sample: Sample,
    output: npt.NDArray[np.float64],
    before: npt.NDArray[np.float64] | None,
) -> Named:
    from mmp.evaluation.evaluate import rows_of
    from mmp.evaluation.metrics import Decisions
    from mmp.evaluation.plots import classes, numbers, promises
    from mmp.evaluation.plots.reliability import reliability

    says = bundle.uncertainty
    rows = rows_of(sample.whole, output, threshold=bundle.threshold, uncertainty=says)
    yield from promises.pictures(
        promises.Promised(rows, says, bundle.coverage, bundle.target.name, bundle.classes, sample.part)
    )
    if not isinstance(rows, Decisions):
        yield from numbers.pictures(numbers.Measured(rows, bundle.target.name, sample.part))
        return
    judged = classes.Judged(rows, bundle.classes, bundle.positive, sample.part, bundle.threshold)
    yield from classes.pictures(judged)
    yield "reliability", reliability(judged, None if before is None else replace(rows, probabilities=before))
