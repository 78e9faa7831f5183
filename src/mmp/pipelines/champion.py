"""The model that is in use, on the test rows of a new one: what that has to be better than."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmp.errors import DataError, MmpError
from mmp.evaluation.evaluate import rows_of
from mmp.modeling.decision import numbers
from mmp.pipelines.model import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.evaluation.confidence import Resampled
    from mmp.modeling.bundle import Bundle
    from mmp.modeling.target import Label
    from mmp.pipelines.rows import Rows
    from mmp.settings.config import Config
    from mmp.settings.recipe import Recipe
    from mmp.tracking.run import ActiveRun

    Floats = npt.NDArray[np.float64]

ALIAS = "champion"
_WHICH_ROWS = ("data.split.", "dataset.digest", "evaluation.random_state")


@dataclass(frozen=True, eq=False)
class Champion:
    """What a registered model says of the test rows.

    Parameters
    ----------
    alias, run_id : str
        Which model it is.
    output : ndarray
        Its output, the columns in the order of the new model's classes.
    threshold : float
        Probability that decides for the positive class.
    remark : str
        What makes the comparison doubtful, nothing where nothing does.
    """

    alias: str
    run_id: str
    output: Floats
    threshold: float
    remark: str

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"{self.alias} ({self.run_id[:8]})"

    def on(self, ours: Resampled) -> Resampled:
        """Return what it says of the test rows, and of the resamples that the new model is judged by."""
        return ours.of_another(rows_of(ours.target, self.output, threshold=self.threshold))


def champions(
    active: ActiveRun, config: Config, rows: Rows, test: npt.NDArray[np.int64] | None, recipe: Recipe
) -> tuple[dict[str, Champion], dict[str, str]]:
    """Ask the models behind the aliases that a recipe compares with, ``champion`` always.

    Parameters
    ----------
    active : ActiveRun
        The run of the new model.
    config : Config
        Where models are registered, and under which name.
    rows : Rows
        All rows, the table among them.
    test : ndarray of int64 or None
        Positions of the test rows, where there are any.
    recipe : Recipe
        Its gates may name further aliases.

    Returns
    -------
    dict of str to Champion
        By alias; an alias that no version has is left out.
    dict of str to str
        Why a model that is there could not be asked, by alias.
    """
    found: dict[str, Champion] = {}
    unanswered: dict[str, str] = {}
    if config.mlflow.registered_model_name is None or test is None:
        return found, unanswered
    aliases = (ALIAS, *(gate.vs for gate in recipe.evaluation.gates.values() if gate.vs is not None))
    for alias in dict.fromkeys(aliases):
        run_id = active.store.resolve_alias(config.mlflow.registered_model_name, alias)
        if run_id is None:
            continue
        try:
            found[alias] = _ask(alias, run_id, active, config, rows, test)
        except MmpError as error:
            unanswered[alias] = error.message
    return found, unanswered


def _ask(
    alias: str, run_id: str, active: ActiveRun, config: Config, rows: Rows, test: npt.NDArray[np.int64]
) -> Champion:
    logged = load_model(run_id, config)
    bundle = logged.bundle
    if bundle.target.name != rows.target_spec.name or bool(bundle.classes) != bool(rows.target.classes):
        raise DataError(f"it predicts {bundle.target.name!r}, as {bundle.task}.")
    needed = {spec.name for spec in (*bundle.inputs, *bundle.entities)}
    there = [name for name in rows.table.arrow.column_names if name in needed]
    output = bundle.output(rows.table.arrow.select(there).take(test), where=rows.table.source)
    active.flush()
    return Champion(
        alias,
        run_id,
        numbers(output) if not bundle.classes else output[:, _places(bundle, rows.target.classes)],
        bundle.threshold,
        _remark(logged.run.params, active.store.get_run(active.run_id).params),
    )


def _places(bundle: Bundle, classes: Sequence[Label]) -> list[int]:
    if set(bundle.classes) != set(classes):
        raise DataError(f"it knows other classes: {', '.join(map(str, bundle.classes))}.")
    return [bundle.classes.index(label) for label in classes]


def _remark(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Say whether the other may have learned from these rows; runs of one table divide it alike."""
    which = {name for name in (*theirs, *ours) if name.startswith(_WHICH_ROWS)}
    if all(theirs.get(name) == ours.get(name) for name in which):
        return ""
    return "it may have learned from some of these rows, having been trained on another table or split"
