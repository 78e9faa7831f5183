"""The columns that speak loudest for each prediction, as columns beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mmp.data.buffers import strings, wrap
from mmp.evaluation.explain import Explainer

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.modeling.bundle import Bundle
    from mmp.modeling.predictions import Predictions

_TYPES = (("feature", pa.string()), ("value", pa.float64()))


class Strongest:
    """What names the strongest columns of rows, the same as `mmp.evaluation.explain` to the bit.

    The parts are those in the score of the positive class, of the class that was decided for where there
    are more than two, and in the value of a regression.

    Parameters
    ----------
    bundle : Bundle
        The model.
    k : int
        How many columns a row gets; null where the model has fewer.

    Raises
    ------
    MissingExtraError, SettingsError
        As of `mmp.evaluation.explain.explain`.

    Attributes
    ----------
    fields : tuple of pyarrow.Field
        What `beside` adds: ``shap_1_feature``, ``shap_1_value``, the strongest first.
    unit : str
        What the values are parts of: ``log-odds``, ``probability``, ``value`` or ``score``.
    """

    def __init__(self, bundle: Bundle, k: int) -> None:
        self._explainer = Explainer.of(bundle)
        self._k = k
        self.unit = self._explainer.unit()
        self.fields = tuple(
            pa.field(f"shap_{place}_{name}", type_) for place in range(1, k + 1) for name, type_ in _TYPES
        )

    @property
    def n_cells(self) -> int:
        """Numbers that a row takes on the way."""
        bundle = self._explainer.bundle
        return (len(bundle.pipeline.names) + 1) * max(1, len(bundle.classes))

    def of(self, rows: pa.Table, predictions: Predictions) -> list[pa.Array]:
        """Return the columns of `fields` for rows and what was predicted of them.

        Parameters
        ----------
        rows : pyarrow.Table
            Complete rows, as `Bundle.predict` takes them.
        predictions : Predictions
            What it made of them.
        """
        parts = self._decided(rows, predictions)
        order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, : self._k]
        names = strings(self._explainer.columns)
        arrays: list[pa.Array] = []
        for places in order.T:
            codes = wrap(np.ascontiguousarray(places), pa.int64())
            arrays.append(pa.DictionaryArray.from_arrays(codes, names).cast(pa.string()))
            arrays.append(wrap(parts[np.arange(len(parts)), places], pa.float64()))
        return arrays + [pa.nulls(len(parts), each.type) for each in self.fields[len(arrays) :]]

    def _decided(self, rows: pa.Table, predictions: Predictions) -> npt.NDArray[np.float64]:
        """Return the parts of shape (n_rows, n_columns) in the score that decided."""
        explainer = self._explainer
        parts = explainer.values(explainer.bundle.read(rows))
        if parts.shape[1] == 1:
            return parts[:, 0]
        places = {label: place for place, label in enumerate(explainer.bundle.classes)}
        decided = predictions.values["prediction"]
        labels = decided if isinstance(decided, list) else decided.tolist()
        return parts[np.arange(len(parts)), [places[label] for label in labels]]
