"""One row by itself: from the cells of a request to its answer, without columns.

`Bundle.predict` makes columns of rows and a matrix of columns, which is right for many. A single row goes
through the other executor of each op, on plain Python values, for a thirtieth of the time. Both are equal to
the bit (`tests/modeling/test_single.py`).
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from mmp.modeling.answer import answer
from mmp.modeling.decision import ARGMAX_THRESHOLD
from mmp.modeling.pipeline import Matrix
from mmp.modeling.values import coerce_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from mmp.modeling.bundle import Bundle, Label
    from mmp.modeling.columns import Columns
    from mmp.modeling.engines.base import Output
    from mmp.modeling.values import Value

    Features = tuple[Any, ...]


class Single:
    """Predicts rows one by one, or a few of them stacked.

    Parameters
    ----------
    bundle : Bundle
        The model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._specs = {spec.name: spec for spec in bundle.inputs}
        self._model, self._pipeline = bundle.model, bundle.pipeline
        chosen = bundle.positive is not None and bundle.threshold != ARGMAX_THRESHOLD
        self._positive = bundle.positive if chosen else None

    def features(self, cells: Mapping[str, Value]) -> Features:
        """Compute the features of one row of coerced cells.

        Raises
        ------
        DataError
            Where an encoder refuses a category that it has not seen.
        """
        return self._pipeline.computed(cells)

    def outputs(self, features: Sequence[Features]) -> list[Output]:
        """Return what the model says of some rows.

        Returns
        -------
        list
            For each row the probabilities of the classes, or a number.

        Raises
        ------
        DataError
            Where a row has missing values that the model cannot take, or no finite answer.
        """
        values = self._pipeline.stacked(features)
        if len(features) == 1:
            output = self._model.one(values)
            if isfinite(sum(output) if isinstance(output, list) else output):
                return [output]
        names, categorical = self._pipeline.names, self._pipeline.categorical
        outputs: list[Output] = answer(self._model, Matrix(values, names, categorical)).tolist()
        return outputs

    def table(self, columns: Columns) -> npt.NDArray[np.float64]:
        """Return what the model says of the rows of coerced columns; raises what `outputs` does."""
        return answer(self._model, self._pipeline.matrix(columns))

    def prediction(self, output: Output) -> Label:
        """Return the class that an output speaks for, as the user wrote it, or the number."""
        if not isinstance(output, list):
            return output
        if not self.bundle.classes:
            return output[0]
        if self._positive is None:
            return self.bundle.classes[output.index(max(output))]
        decided = output[self._positive] >= self.bundle.threshold
        return self.bundle.classes[self._positive if decided else 1 - self._positive]

    def predict(self, row: Mapping[str, object]) -> dict[str, Any]:
        """Predict one complete row; the same object as ``Bundle.predict([row]).records()[0]``, keys apart.

        Raises
        ------
        DataError
            Where a value is not what the training column had; what `features` and `outputs` raise.
        """
        cells = {name: coerce_value(spec, row[name]) for name, spec in self._specs.items()}
        (output,) = self.outputs([self.features(cells)])
        values = [self.prediction(output), *self._beside(output)]
        return dict(zip(self.bundle.output_names, values, strict=True))

    def prediction_set(self, output: list[float]) -> list[Label]:
        """Return the classes that a row may be of, as the user wrote them, where the model has such sets."""
        assert self.bundle.sets is not None
        return self.bundle.sets.one(output, self.prediction(output), self.bundle.classes)

    def _beside(self, output: Output) -> list[Any]:
        """Return what stands beside the prediction: probabilities, or the further columns of a number."""
        if not isinstance(output, list):
            return []
        if not self.bundle.classes:
            return output[1:]
        binary = [] if self.bundle.positive is None else [output[self.bundle.positive]]
        sets = [self.prediction_set(output)] if self.bundle.sets else []
        return [*binary, *output, *sets]
