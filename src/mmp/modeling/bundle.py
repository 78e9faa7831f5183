"""A trained model as one value: everything a prediction needs, and the one way to make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from mmp.data.table import ColumnSpec
from mmp.errors import ArtifactError, DataError
from mmp.features.references import KINDS, FeatureSet
from mmp.modeling import columns, conformal, engines
from mmp.modeling.answer import answer
from mmp.modeling.conformal import PredictionSets
from mmp.modeling.decision import ARGMAX_THRESHOLD, class_names, decide
from mmp.modeling.engines.calibrated import CalibratedModel
from mmp.modeling.engines.interval import IntervalModel
from mmp.modeling.ops import SKOPS
from mmp.modeling.pipeline import FittedPipeline
from mmp.modeling.predictions import Predictions
from mmp.modeling.state import from_json, read_arrays, to_json, write_arrays
from mmp.modeling.uncertainty import Uncertainty
from mmp.modeling.values import EXACT_INTEGERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    import numpy.typing as npt

    from mmp.modeling.columns import Column
    from mmp.modeling.engines.base import Model
    from mmp.modeling.predictions import Values

    Label = int | float | bool | str
    Source: TypeAlias = pa.Table | Sequence[Mapping[str, object]]

FORMAT: Final = 1
_GUESTS: Final = "transformers"


@dataclass(frozen=True)
class Bundle:
    """A trained model.

    Parameters
    ----------
    task : str
        ``classification`` or ``regression``.
    recipe_name : str
        Name of the recipe that it was trained from.
    class_path : str
        Dotted path of the estimator.
    target : ColumnSpec
        The column that it predicts.
    entities : tuple of ColumnSpec
        Keys that a request may have, and must where the pipeline reads them; they go to the output as
        they came.
    pipeline : FittedPipeline
        From columns to the matrix.
    model : Model
        From the matrix to probabilities or values.
    classes : tuple of labels
        As the user wrote them, in the order of the probabilities; empty for regression.
    positive : int or None
        Position of the positive class, for two classes.
    threshold : float
        Probability of the positive class that decides for it.
    decision : mapping
        How that was chosen, plain JSON; empty where the recipe wrote it.
    sets : PredictionSets or None
        Which classes a row may be of, for a classification that was asked how sure it is.
    baseline : mapping
        Distribution of the training columns, plain JSON.
    features : FeatureSet or None
        What the feature store adds to a request, see `mmp.modeling.complete`.
    examples : tuple of mapping
        Synthetic rows in served form, features of the store among them, see `mmp.modeling.golden`.
    parameters, metrics : mapping
        What the estimator was given, and how it did; for display.

    Raises
    ------
    DataError
        Where an entity column has the name of an output column.
    """

    task: str
    recipe_name: str
    class_path: str
    target: ColumnSpec
    entities: tuple[ColumnSpec, ...]
    pipeline: FittedPipeline
    model: Model
    classes: tuple[Label, ...] = ()
    positive: int | None = None
    threshold: float = ARGMAX_THRESHOLD
    decision: Mapping[str, Any] = field(default_factory=dict)
    sets: PredictionSets | None = None
    baseline: Mapping[str, Any] = field(default_factory=dict)
    features: FeatureSet | None = None
    examples: tuple[Mapping[str, Any], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if taken := {spec.name for spec in self.entities} & set(self.output_names):
            raise DataError(
                f"The entity column '{min(taken)}' has the name of a column of the predictions.",
                hint=f"Rename it in the source; predictions have {', '.join(self.output_names)}.",
            )

    @property
    def inputs(self) -> tuple[ColumnSpec, ...]:
        """Columns that a complete row must have."""
        return (*self.pipeline.keys, *self.pipeline.inputs)

    @property
    def stored(self) -> tuple[ColumnSpec, ...]:
        """Those of `inputs` that come from the feature store."""
        names = self.features.names if self.features is not None else ()
        return tuple(spec for spec in self.pipeline.inputs if spec.name in names)

    @property
    def feature_keys(self) -> tuple[ColumnSpec, ...]:
        """Columns by which the feature store finds a row, of the kinds that the store has them in."""
        if self.features is None:
            return ()
        kinds = {key.column: KINDS[key.value_type] for view in self.features.views for key in view.keys}
        known = {(spec.name, spec.kind): spec for spec in (*self.entities, *self.inputs)}
        return tuple(known.get(key, ColumnSpec(*key)) for key in kinds.items())

    @property
    def request(self) -> tuple[ColumnSpec, ...]:
        """Columns that a request must have: what finds its features, and what no store knows."""
        stored, keys = self.stored, self.feature_keys
        found = {spec.name for spec in (*stored, *keys)}
        return (*keys, *(spec for spec in self.inputs if spec.name not in found))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the columns of a prediction, entity keys apart."""
        if not self.classes:
            return ("prediction", *self.model.columns)
        binary = () if self.positive is None else ("probability",)
        classes = (f"probability_{name}" for name in class_names(self.classes))
        sets = (conformal.COLUMN,) if self.sets else ()
        return ("prediction", *binary, *classes, *sets)

    @property
    def calibration(self) -> str | None:
        """How the probabilities are calibrated; None where they are as the estimator gives them."""
        return self.model.calibration.method if isinstance(self.model, CalibratedModel) else None

    @property
    def has_bounds(self) -> bool:
        """Whether a number comes with the bounds that it is promised to lie between."""
        return not self.classes and set(conformal.BOUNDS) <= set(self.model.columns)

    @property
    def coverage(self) -> float | None:
        """The share of rows whose truth is between the bounds or in the set, as promised; None without."""
        if self.sets:
            return self.sets.coverage
        return self.model.coverage if isinstance(self.model, IntervalModel) else None

    @property
    def uncertainty(self) -> Uncertainty:
        """What the model says beyond an answer."""
        return Uncertainty(self.model.columns, self.sets, self.calibration is not None)

    def predict(self, source: Source, *, where: str = "") -> Predictions:
        """Predict: every surface does it through here.

        Parameters
        ----------
        source : pyarrow.Table or sequence of mapping
            Complete rows, with the columns of `inputs`, in any order; other columns are ignored. What
            the feature store adds, `mmp.modeling.complete` adds before.
        where : str
            What the rows are, for messages.

        Raises
        ------
        MissingColumnsError
            Where an input is not there.
        DataError
            Where a value is not what the training column had, all of them at once; where the model
            takes no missing values and there are some.
        """
        output = self.output(source, where=where)
        return Predictions(_keys(self.entities, source), self.values(output))

    def output(self, source: Source, *, where: str = "") -> npt.NDArray[np.float64]:
        """Return what the model says, undecided.

        Returns
        -------
        ndarray of shape (n_rows, n_classes), (n_rows,) or (n_rows, 1 + len(model.columns))
            Probabilities of the classes, or values.
        """
        typed = self.read(source, where=where)
        return answer(self.model, self.pipeline.matrix(typed), where=where)

    def read(self, source: Source, *, where: str = "") -> dict[str, Column]:
        """Read rows as the columns of `inputs`; raises what `predict` does."""
        typed = columns.coerce(self.inputs, source, where=where)
        _keys(self.pipeline.keys, source)  # refuses a key of which digits were lost on the way
        return typed

    def values(self, output: npt.NDArray[np.float64]) -> dict[str, Values]:
        """Return what `output` gave for some rows as the columns of `output_names`."""
        if not self.classes:
            return dict(zip(self.output_names, np.atleast_2d(output.T), strict=True))
        decided = decide(output, threshold=self.threshold, positive=self.positive)
        probabilities = list(output.T)
        if self.positive is not None:
            probabilities.insert(0, output[:, self.positive])
        values: list[Values] = [_labels(self.classes, decided), *probabilities]
        if self.sets:
            values.append(self.sets.labels(self.sets.contained(output, decided), self.classes))
        return dict(zip(self.output_names, values, strict=True))

    def save(self, folder: Path) -> None:
        """Write what `load` reads into an existing folder; equal bundles give equal bytes."""
        estimator = folder / "estimator"
        estimator.mkdir()
        meta = self.model.save(estimator)
        pipeline, arrays = self.pipeline.to_state()
        content = {
            "format": FORMAT,
            "task": self.task,
            "recipe_name": self.recipe_name,
            "class_path": self.class_path,
            "target": asdict(self.target),
            "entities": [asdict(spec) for spec in self.entities],
            "pipeline": pipeline,
            "engine": self.model.engine,
            "model": meta,
            "classes": list(self.classes),
            "positive": self.positive,
            "threshold": self.threshold,
            "decision": _displayed(self.decision),
            "sets": asdict(self.sets) if self.sets else None,
            "features": None if self.features is None else self.features.to_json(),
            "parameters": _displayed(self.parameters),
            "metrics": _displayed(self.metrics),
        }
        (folder / "bundle.json").write_bytes(to_json(content))
        (folder / "baseline.json").write_bytes(to_json(dict(self.baseline)))
        guests = {name: arrays.pop(name) for name in list(arrays) if name.endswith(SKOPS)}
        write_arrays(folder / "state.npz", arrays)
        if guests:
            (folder / _GUESTS).mkdir()
        for name, content_of_guest in guests.items():
            (folder / _GUESTS / name).write_bytes(content_of_guest.tobytes())

    @classmethod
    def load(cls, folder: Path, *, trust: Collection[str] = ()) -> Bundle:
        """Read what `save` wrote.

        The files are taken as they are: `mmp.tracking.artifacts` verifies them first, and says in a
        sentence what a content of another shape makes of this.

        Parameters
        ----------
        folder : Path
            A verified model folder.
        trust : collection of str
            Dotted types, beyond those in code, that the estimator and transformers may hold; ``pickle``
            where the estimator may be one.

        Raises
        ------
        ArtifactError
            Where a file cannot be read, or holds what is not trusted.
        """
        content = from_json((folder / "bundle.json").read_bytes(), "bundle.json")
        baseline = from_json((folder / "baseline.json").read_bytes(), "baseline.json")
        arrays = read_arrays(folder / "state.npz")
        for guest in sorted((folder / _GUESTS).glob(f"*{SKOPS}")):
            arrays[guest.name] = np.frombuffer(guest.read_bytes(), np.uint8)
        return cls._restored(content, baseline, arrays, folder / "estimator", trust)

    @classmethod
    def _restored(
        cls,
        content: Mapping[str, Any],
        baseline: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        estimator: Path,
        trust: Collection[str],
    ) -> Bundle:
        if content["format"] != FORMAT:
            raise ArtifactError(
                f"The model has format {content['format']!r}; this version of mmp reads {FORMAT}.",
                hint="Load it with the version of mmp that wrote it, or train again.",
            )
        return cls(
            task=content["task"],
            recipe_name=content["recipe_name"],
            class_path=content["class_path"],
            target=ColumnSpec(**content["target"]),
            entities=tuple(ColumnSpec(**spec) for spec in content["entities"]),
            pipeline=FittedPipeline.from_state(content["pipeline"], arrays, trust),
            model=engines.load(content["engine"], estimator, content["model"], trust=trust),
            classes=tuple(content["classes"]),
            positive=content["positive"],
            threshold=content["threshold"],
            decision=content.get("decision", {}),
            sets=PredictionSets(**content["sets"]) if content.get("sets") else None,
            baseline=baseline,
            features=_features(content.get("features")),
            parameters=content["parameters"],
            metrics=content["metrics"],
        )


def _features(content: Mapping[str, Any] | None) -> FeatureSet | None:
    return None if content is None else FeatureSet.from_json(content)


def _displayed(value: Any) -> Any:
    """Return what JSON can hold, text for the rest: YAML has dates and NaN, and keys of any type."""
    if isinstance(value, Mapping):
        return {str(key): _displayed(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_displayed(child) for child in value]
    plain = value is None or isinstance(value, (bool, int, str))
    return value if plain or (isinstance(value, float) and np.isfinite(value)) else str(value)


def _keys(entities: Iterable[ColumnSpec], source: Source) -> dict[str, Any]:
    if isinstance(source, pa.Table):
        there = set(source.column_names)
        keys = {spec.name: source.column(spec.name) for spec in entities if spec.name in there}
    else:
        there = set().union(*source)
        keys = {spec.name: [row.get(spec.name) for row in source] for spec in entities if spec.name in there}
    for spec in entities:
        if spec.kind == "integer" and spec.name in keys:
            _check_exact(spec.name, keys[spec.name])
    return keys


def _check_exact(name: str, column: Any) -> None:
    """Refuse an integer key that came as a float too large to say which integer it was."""
    if isinstance(column, pa.ChunkedArray):
        column = column.to_pylist() if pa.types.is_floating(column.type) else []
    inexact = (value for value in column if isinstance(value, float) and abs(value) >= EXACT_INTEGERS)
    if (value := next(inexact, None)) is not None:
        raise DataError(
            f"The key column '{name}' holds {value!r}, a float that stands for several integers.",
            hint="Send it as an integer or as text.",
        )


def _labels(classes: Sequence[Label], decided: npt.NDArray[np.intp]) -> npt.NDArray[Any] | list[Any]:
    if isinstance(classes[0], str):
        return [classes[position] for position in decided.tolist()]
    return np.array(classes)[decided]
