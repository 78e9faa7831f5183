"""mmp's own MLflow flavor: what ``mlflow.pyfunc.load_model`` calls.

MLflow reads ``MLmodel`` to find this module, and trusts the store for that. From here on nothing
in ``MLmodel`` counts: the folder is verified against its manifest and rebuilt from plain data.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa

from mmp.errors import DataError, SettingsError
from mmp.modeling.complete import complete, is_complete, now
from mmp.modeling.predictions import Predictions
from mmp.settings.load import load_config
from mmp.tracking import artifacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from mmp.modeling.bundle import Bundle, Source

    Input: TypeAlias = (
        pd.DataFrame | pa.Table | Mapping[str, Any] | Sequence[Mapping[str, Any]] | npt.NDArray[np.void]
    )

TRUST_VARIABLE: Final = "MMP_TRUST"
CONFIG_VARIABLE: Final = "MMP_CONFIG"


class PyfuncWrapper:
    """A verified model in MLflow's clothes: it holds a bundle, and nothing else.

    Where the model takes features from the feature store and rows come without, they are read from the
    online store of the config that ``MMP_CONFIG`` names, which is opened for each call: credentials are
    nowhere but in its environment.

    Parameters
    ----------
    bundle : Bundle
        What predicts.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(
        self,
        model_input: Input,
        params: Mapping[str, Any] | None = None,  # noqa: ARG002 - MLflow's interface
    ) -> pd.DataFrame:
        """Predict rows of whatever form MLflow or a user passes on.

        Parameters
        ----------
        model_input : DataFrame, pyarrow.Table, mapping, sequence of mappings or structured ndarray
            Columns go by name, in any order. A mapping is one row, or columns of equal length.
        params : mapping, optional
            There are none; MLflow passes them.

        Returns
        -------
        DataFrame
            The one table of predictions, on the index of a DataFrame that came in.

        Raises
        ------
        DataError
            Where it is none of these, or values do not fit.
        SettingsError, FeatureStoreError
            Where features are to be read, and ``MMP_CONFIG`` names no config, or the store is away.
        """
        # Who passes a data frame has imported pandas.
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(model_input, pandas.DataFrame):
            return _predict_frame(self.bundle, model_input)
        return self.bundle.predict(_complete(self.bundle, _source(model_input))).to_pandas()

    def __reduce__(self) -> Any:
        raise TypeError("A PyfuncWrapper is loaded from its model folder, never pickled.")


def _load_pyfunc(path: str) -> PyfuncWrapper:
    """Load a model folder for MLflow; the words that a config's ``trust`` says are in ``MMP_TRUST`` here."""
    words = os.environ.get(TRUST_VARIABLE, "")
    return PyfuncWrapper(
        artifacts.load(path, trust=[word.strip() for word in words.split(",") if word.strip()])
    )


def _predict_frame(bundle: Bundle, frame: pd.DataFrame) -> pd.DataFrame:
    wanted = dict.fromkeys(spec.name for spec in (*bundle.entities, *bundle.request, *bundle.inputs))
    for name in wanted:
        if list(frame.columns).count(name) > 1:
            raise DataError(
                f"The column '{name}' is in the data frame more than once.", hint="Keep one of them."
            )
    there = frame[[name for name in wanted if name in frame.columns]]
    source = _frame_source(there)
    if not set(there.columns).issuperset(spec.name for spec in bundle.stored):
        source = _complete(bundle, source)
    predictions = bundle.predict(source)
    keys = {name: there[name].array for name in predictions.keys}
    return Predictions(keys, predictions.values).to_pandas(frame.index)


def _complete(bundle: Bundle, source: Source) -> Source:
    """Add what the online store has, where the model takes features and rows come without."""
    if bundle.features is None or is_complete(bundle, source):
        return source
    if CONFIG_VARIABLE not in os.environ:
        raise SettingsError(
            f"The model takes features from the feature store, and {CONFIG_VARIABLE} names no config.",
            hint=f"Set {CONFIG_VARIABLE} to the config whose online store has them, or pass a table that has "
            f"all of them.",
        )
    with now(bundle.features, load_config().value) as lookup:
        return complete(bundle, source, lookup)


def _frame_source(frame: pd.DataFrame) -> pa.Table | list[dict[str, Any]]:
    """Hand a data frame over by columns, or by cells where Arrow finds no one type for a column."""
    try:
        arrays = [pa.array(_in_utc(column), from_pandas=True) for _, column in frame.items()]
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        names = list(frame.columns)
        columns = [frame[name].tolist() for name in names]
        return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(frame.columns))


def _in_utc(column: pd.Series) -> pd.Series:
    """Say a moment with a zone in UTC without one, which coercion reads alike and Arrow without a warning."""
    zoned = getattr(column.dtype, "tz", None) is not None
    return column.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else column


def _source(value: Any) -> pa.Table | Sequence[Mapping[str, Any]]:
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, dict):
        return _rows(value)
    names = getattr(getattr(value, "dtype", None), "names", None)
    if names:
        return _rows({name: value[name].reshape(-1) for name in names})
    if isinstance(value, list | tuple) and all(isinstance(row, dict) for row in value):
        return list(value)
    raise DataError(
        f"The model cannot predict from a {type(value).__name__} without column names.",
        hint="Pass a DataFrame, a dict, or a list of dicts.",
    )


def _rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Read a mapping as one row of scalars, or as columns."""
    cells = {name: list(column) for name, column in columns.items() if _is_column(column)}
    if not cells:
        return [columns]
    if len(cells) < len(columns) or len(set(map(len, cells.values()))) > 1:
        raise DataError(
            "The columns passed to the model differ in length.", hint="Pass as many cells in each."
        )
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
