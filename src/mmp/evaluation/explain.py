"""Which columns a prediction comes from: SHAP values in the columns that the user knows.

A score (the log-odds of the positive class, the value of a regression) is the base value, what the
model says of a row of which nothing is known, plus a part of each column. Where the parts come from:

==================================== ==========================================================
model                                parts
==================================== ==========================================================
XGBoost, LightGBM, CatBoost          the booster's own, exact
linear models                        exact, against the mean training row
trees and forests of scikit-learn    exact, by `shap.TreeExplainer`, where they split no categories
everything else                      sampled, see `mmp.evaluation.sampling`; they add up exactly
==================================== ==========================================================

What the steps made of a column is summed back into it. A feature of several columns counts in equal
parts for each of them.
"""

from __future__ import annotations

import json
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmp.data import buffers
from mmp.errors import Finding, MissingExtraError, SettingsError
from mmp.evaluation.sampling import background, sampled
from mmp.lookup import install_line
from mmp.modeling import engines
from mmp.modeling.engines.base import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from mmp.modeling.bundle import Bundle, Label
    from mmp.modeling.columns import Columns
    from mmp.modeling.pipeline import FittedPipeline

    Floats = npt.NDArray[np.float64]
    Explain = Callable[[Floats], Floats]

BUDGET_S: Final = 20.0
"""Wall seconds after which no further rows are explained."""

_FIRST, _FIRST_SAMPLED = 256, 32  # how long these rows take says how many fit into the time
_TOLERANCE = 1e-4  # of the largest score: what is left of float32 after hundreds of trees
_TREES = ("sklearn.tree.", "sklearn.ensemble.")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Rows and the parts that their columns have in what the model says of them.

    Parameters
    ----------
    columns : tuple of str
        The model's inputs but for keys, which are no features.
    classes : tuple of labels
        What the scores are of: the positive class, each of several classes, nothing for regression.
    unit : str
        What the scores count: ``log-odds``, ``probability``, ``value`` or, before another link
        function, ``score``; and that it is before calibration, where there is one.
    rows : ndarray of int64, shape (n_rows,)
        Positions in the table.
    values : ndarray of shape (n_rows, n_scores, n_columns)
        The parts.
    base : ndarray of shape (n_scores,)
        The score of a row of which nothing is known.
    """

    columns: tuple[str, ...]
    classes: tuple[Label, ...]
    unit: str
    rows: npt.NDArray[np.int64]
    values: Floats
    base: Floats

    @property
    def scores(self) -> Floats:
        """The base and the parts summed, of shape (n_rows, n_scores)."""
        return np.asarray(self.base + self.values.sum(axis=2))

    @property
    def strength(self) -> Floats:
        """Mean absolute part of each column in each score, of shape (n_scores, n_columns)."""
        return np.asarray(np.abs(self.values).mean(axis=0))

    def ranking(self) -> list[dict[str, Any]]:
        """Return the columns, the strongest first, with their mean absolute parts."""
        total = self.strength.mean(axis=0)
        order = np.argsort(-total, kind="stable").tolist()
        return [
            {"column": self.columns[place], "mean_abs_shap": float(total[place])}
            | ({"classes": self._by_class(place)} if len(self.classes) > 1 else {})
            for place in order
        ]

    def _by_class(self, place: int) -> dict[str, float]:
        return {str(c): float(self.strength[k, place]) for k, c in enumerate(self.classes)}


def explain(
    bundle: Bundle, columns: Columns, rows: npt.NDArray[np.int64], *, budget_s: float = BUDGET_S
) -> tuple[Explanation, list[Finding]]:
    """Explain what a model says of some rows.

    Parameters
    ----------
    bundle : Bundle
        The model.
    columns : mapping of str to Column
        Its inputs, of these rows only.
    rows : ndarray of int64, shape (n_rows,)
        Where the rows are in their table.
    budget_s : float
        Wall seconds after which no further rows are explained; some of them are in any case.

    Returns
    -------
    Explanation
        Of the rows in their order, as many as there was time for.
    list of Finding
        A warning where that is not all.

    Raises
    ------
    MissingExtraError
        ``shap`` is needed for the model and not installed.
    SettingsError
        The library has no contributions for a model of these parameters.
    """
    explainer = Explainer.of(bundle)
    matrix = explainer.bundle.pipeline.matrix(columns).values
    with _refusals(explainer.bundle):
        parts = _within(budget_s, explainer.parts, explainer.n_first, matrix)
        unit = explainer.counted(matrix[: len(parts)], parts)
    classes, picked = _picked(bundle, parts)
    explanation = Explanation(
        columns=explainer.columns,
        classes=classes,
        unit=unit,
        rows=rows[: len(parts)],
        values=picked[:, :, :-1] @ explainer.credits,
        base=picked[0, :, -1],
    )
    findings = []
    if len(parts) < len(matrix):
        message = f"Only {len(parts):,} of {len(matrix):,} rows were explained within {budget_s:.2g} seconds."
        findings.append(Finding("explain", "warn", message))
    return explanation, findings


@dataclass(frozen=True, eq=False)
class Explainer:
    """What explains the rows of a model, made ready once for any number of them.

    Parameters
    ----------
    bundle : Bundle
        The model, its estimator the one that is explained.
    parts : callable
        From the matrix of rows to parts of shape (n_rows, n_scores, n_features + 1), the base last. A row
        has the same ones whatever stands beside it.
    n_first : int
        How many rows to begin with, where time is limited.
    credits : ndarray of shape (n_features, n_columns)
        How much of each feature counts for each column.
    is_calibrated : bool
        Whether what the estimator says is calibrated afterwards.
    """

    bundle: Bundle
    parts: Explain
    n_first: int
    credits: Floats
    is_calibrated: bool = False

    @classmethod
    def of(cls, bundle: Bundle) -> Explainer:
        """Make ready what explains a model; raises what `explain` does."""
        is_calibrated = bundle.calibration is not None
        bundle = replace(bundle, model=bundle.model.explained)
        with _refusals(bundle):
            return cls(bundle, *_method(bundle), credits_of(bundle.pipeline), is_calibrated)

    @property
    def columns(self) -> tuple[str, ...]:
        """What is explained by: the model's inputs but for keys, which are no features."""
        return tuple(spec.name for spec in self.bundle.pipeline.inputs)

    def unit(self) -> str:
        """Return what scores count, by rows like those of the training; raises what `explain` does."""
        matrix = background(self.bundle)
        with _refusals(self.bundle):
            return self.counted(matrix, self.parts(matrix))

    def counted(self, matrix: Floats, parts: Floats) -> str:
        """Return what scores count, by the parts of some rows."""
        unit = _unit(self.bundle, matrix, parts.sum(axis=2))
        return f"{unit} before calibration" if self.is_calibrated else unit

    def values(self, columns: Columns) -> Floats:
        """Return `Explanation.values` of rows, however long it takes."""
        matrix = self.bundle.pipeline.matrix(columns).values
        with _refusals(self.bundle):
            _, picked = _picked(self.bundle, self.parts(matrix))
        return np.asarray(picked[:, :, :-1] @ self.credits)


@contextmanager
def _refusals(bundle: Bundle) -> Iterator[None]:
    """Say in a sentence that a library does not explain its model."""
    try:
        yield
    except engines.errors(bundle.model) as error:
        reason = str(error).strip().partition("\n")[0]
        raise _unexplained(bundle, f"{bundle.model.engine} says: {reason}") from error


def credits_of(pipeline: FittedPipeline) -> Floats:
    """Return how much of each feature counts for each input, of shape (n_features, n_inputs)."""
    places = {spec.name: place for place, spec in enumerate(pipeline.inputs)}
    shares = np.zeros((len(pipeline.origins), len(places)))
    for position, names in enumerate(pipeline.origins):
        for name in names:
            shares[position, places[name]] = 1 / len(names)
    return shares


def write(explanation: Explanation, folder: Path) -> None:
    """Write the parts of every row as Parquet, and the ranking of the columns as JSON.

    ``shap_values.parquet`` has a line for each row and class: ``row``, ``class`` (where there are
    classes), a column for each input, and ``base``. Where an input has one of these names, ours gets
    an underscore.
    """
    n_scores = len(explanation.base)
    own = {name: _free(name, explanation.columns) for name in ("row", "class", "base")}
    table = {own["row"]: buffers.wrap(np.repeat(explanation.rows, n_scores), pa.int64())}
    if explanation.classes:
        labels = [str(label) for label in explanation.classes] * len(explanation.rows)
        table[own["class"]] = buffers.strings(labels)
    flat = explanation.values.reshape(-1, len(explanation.columns))
    table |= {name: _floats(flat[:, place]) for place, name in enumerate(explanation.columns)}
    table[own["base"]] = _floats(np.tile(explanation.base, len(explanation.rows)))
    arrow = pa.Table.from_arrays(list(table.values()), names=list(table))
    pq.write_table(arrow, folder / "shap_values.parquet")
    summary = {
        "unit": explanation.unit,
        "classes": [str(label) for label in explanation.classes],
        "base": [float(value) if np.isfinite(value) else None for value in explanation.base],
        "n_rows": len(explanation.rows),
        "columns": explanation.ranking(),
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "importance.json").write_text(text + "\n", encoding="utf-8")


def _floats(numbers: Floats) -> pa.Array:
    return buffers.wrap(np.ascontiguousarray(numbers), pa.float64())


def _free(name: str, taken: tuple[str, ...]) -> str:
    while name in taken:
        name += "_"
    return name


def _within(budget_s: float, explain_rows: Explain, n_rows: int, matrix: Floats) -> Floats:
    """Explain as many rows as there is time for, some first to see how long they take."""
    done: list[Floats] = []
    started, position = time.monotonic(), 0
    while position < len(matrix):
        done.append(explain_rows(matrix[position : position + n_rows]))
        position += len(done[-1])
        spent = time.monotonic() - started
        if spent >= budget_s:
            break
        n_rows = max(1, int(position * (budget_s - spent) / max(spent, 1e-6)))
    return np.concatenate(done)


def _method(bundle: Bundle) -> tuple[Explain, int]:
    """Return what explains rows of a model, and how many to begin with."""
    model = bundle.model
    if model.contributions(np.zeros((1, model.n_features))) is not None:
        return _own(model), _FIRST
    estimator = getattr(model, "estimator", None)
    # shap takes the splits of categories for splits of their codes
    has_categories = getattr(estimator, "is_categorical_", None) is not None
    if type(estimator).__module__.startswith(_TREES) and not has_categories:
        explain_rows = _with_shap(estimator, model.n_classes)
        if explain_rows is not None:
            return explain_rows, _FIRST
    return sampled(model, background(bundle), bundle.pipeline.origins), _FIRST_SAMPLED


def _own(model: Model) -> Explain:
    def explain_rows(values: Floats) -> Floats:
        parts = model.contributions(values)
        assert parts is not None
        return parts

    return explain_rows


def _with_shap(estimator: Any, n_classes: int) -> Explain | None:
    """Return the exact parts of scikit-learn's trees, None for the few that shap does not know."""
    try:
        # shap makes colour maps on import in a way that Matplotlib is about to give up
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            from shap import TreeExplainer
            from shap.utils import _exceptions as known
    except ModuleNotFoundError as error:
        what = f"Explaining {type(estimator).__name__} needs the package '{error.name}'"
        raise MissingExtraError(f"{what}, which is not installed.", hint=install_line("shap")) from error
    try:
        explainer = TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    except (known.InvalidModelError, NotImplementedError):
        return None

    def explain_rows(values: Floats) -> Floats:
        parts = np.asarray(explainer.shap_values(values, check_additivity=False), np.float64)
        parts = parts[:, None, :] if parts.ndim == 2 else parts.transpose(0, 2, 1)
        base = np.broadcast_to(np.reshape(explainer.expected_value, (1, -1, 1)), (*parts.shape[:2], 1))
        return _widened(np.concatenate((parts, base), axis=2), estimator, n_classes)

    return explain_rows


def _widened(parts: Floats, estimator: Any, n_classes: int) -> Floats:
    """Give classes without training rows parts of nothing."""
    present = getattr(estimator, "classes_", ())
    if parts.shape[1] == 1 or len(present) == n_classes:
        return parts
    wide = np.zeros((len(parts), n_classes, parts.shape[2]))
    wide[:, present] = parts
    return wide


def _unit(bundle: Bundle, matrix: Floats, scores: Floats) -> str:
    """Tell what scores count by what makes the predictions of them, and so that the parts add up."""
    predicted = bundle.model.predict(matrix).reshape(len(matrix), -1)
    for unit, link in _LINKS[bool(bundle.classes)]:
        if _close(link(scores), predicted):
            return unit
    if type(bundle.model).scores is not Model.scores and _close(scores, bundle.model.scores(matrix)):
        return "score"
    raise _unexplained(bundle, "its contributions do not add up to what it says")


def _same(scores: Floats) -> Floats:
    return scores


def _both(scores: Floats) -> Floats:
    positive = np.exp(-np.logaddexp(0, -scores[:, :1]))
    return np.concatenate((1 - positive, positive), axis=1)


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


_LINKS: dict[bool, tuple[tuple[str, Explain], ...]] = {
    True: (("probability", _same), ("log-odds", _both), ("score", _softmax)),
    False: (("value", _same),),
}


def _close(ours: Floats, theirs: Floats) -> bool:
    if ours.shape != theirs.shape:
        return False
    size = float(np.abs(theirs).max(where=np.isfinite(theirs), initial=0))
    return bool(np.allclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE * size))


def _picked(bundle: Bundle, parts: Floats) -> tuple[tuple[Label, ...], Floats]:
    """Return the classes to tell of and their parts: of two classes, the positive one."""
    if len(bundle.classes) != 2:
        return bundle.classes, parts
    positive = 1 if bundle.positive is None else bundle.positive
    if parts.shape[1] == 1:
        return (bundle.classes[positive],), parts if positive == 1 else -parts
    return (bundle.classes[positive],), parts[:, [positive]]


def _unexplained(bundle: Bundle, reason: str) -> SettingsError:
    name = bundle.class_path.rpartition(".")[2]
    return SettingsError(
        f"This {name} cannot be explained: {reason.rstrip('.')}.",
        hint="Other hyperparameters may help; 'evaluation: {explain: {enabled: false}}' leaves it out.",
    )
