"""What a model says of rows, or one sentence on why it has no answer for some.

Libraries differ in what they make of a missing value that they cannot take: an error of their own, a
probability that is NaN, or an answer all the same. Here it is one error that names the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.errors import DataError
from mmp.modeling import engines

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmp.modeling.engines.base import Model
    from mmp.modeling.pipeline import Matrix


def answer(
    model: Model, matrix: Matrix, *, where: str = "", known: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Return the model's output for every row.

    Parameters
    ----------
    model : Model
        Fitted.
    matrix : Matrix
        Any rows.
    where : str
        What the rows are, for messages.
    known : ndarray, optional
        What `model.predict` gives for these rows, where somebody has it already.

    Returns
    -------
    ndarray of shape (n_rows, n_classes), (n_rows,) or (n_rows, 1 + len(model.columns))
        Probabilities of the classes, or values; finite.

    Raises
    ------
    DataError
        Where a row has missing values that the model cannot take, or no finite answer.
    """
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # looked at below
            output = model.predict(matrix.values) if known is None else known
    except engines.errors(model) as error:
        if np.isnan(matrix.values).any():
            raise missing_values(matrix, where=where) from error
        raise
    finite = np.isfinite(output)
    if not finite.all():
        raise _unanswered(matrix, np.unique(np.nonzero(~finite)[0]), where)
    return output


def missing_values(matrix: Matrix, *, name: str = "The model", where: str = "") -> DataError:
    """Return the error that names the features with missing values, and the rows.

    Parameters
    ----------
    matrix : Matrix
        Some of its values are missing.
    name : str
        What takes none.
    where : str
        What the rows are.
    """
    has_missing = np.flatnonzero(np.isnan(matrix.values).any(axis=0))
    listed = ", ".join(_rows_of(matrix, position) for position in has_missing.tolist())
    return DataError(
        f"{name} takes no missing values, and there are some in {listed}.",
        hint="Fill them in, or train with a simple_imputer step.",
        where=where,
    )


def _rows_of(matrix: Matrix, position: int) -> str:
    rows = np.flatnonzero(np.isnan(matrix.values[:, position]))
    more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    return f"{matrix.names[position]!r} (row {rows[0]}{more})"


def _unanswered(matrix: Matrix, rows: npt.NDArray[Any], where: str) -> DataError:
    if np.isnan(matrix.values[rows]).any():
        return missing_values(matrix, where=where)
    return DataError(
        f"The model has no finite answer for row {rows[0]}"
        + (f" and {len(rows) - 1:,} more." if len(rows) > 1 else "."),
        hint="Look for extreme values there, and in the target that it was trained on.",
        where=where,
    )
