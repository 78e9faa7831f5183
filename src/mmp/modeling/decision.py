"""From probabilities to a class, and the names that classes go by."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

ARGMAX_THRESHOLD = 0.5
_LONGEST_NAME = 100
_RESERVED = {"macro", "weighted"}  # `f1_macro` is an average, whatever the classes are called


def decide(
    probabilities: npt.NDArray[np.float64],
    *,
    threshold: float | npt.NDArray[np.float64] = ARGMAX_THRESHOLD,
    positive: int | None = None,
) -> npt.NDArray[np.intp]:
    """Give each row the class that its probabilities speak for.

    That is the most probable class, the first of equals. With two classes and a threshold other
    than 0.5 it is the positive class where its probability reaches the threshold.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
        One column a class.
    threshold : float or ndarray of shape (n_rows,)
        Lowest probability of the positive class that decides for it; one for all, or a row's own.
    positive : int or None
        Position of the positive class, for two classes.

    Returns
    -------
    ndarray of shape (n_rows,)
        Positions of classes.

    Examples
    --------
    >>> probabilities = np.array([[0.7, 0.3], [0.4, 0.6]])
    >>> decide(probabilities).tolist()
    [0, 1]
    >>> decide(probabilities, threshold=0.3, positive=1).tolist()
    [1, 1]
    """
    is_half = np.equal(threshold, ARGMAX_THRESHOLD)
    if positive is None or is_half.all():
        most_probable: npt.NDArray[np.intp] = np.argmax(probabilities, axis=1)
        return most_probable
    reached = np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)
    return np.where(is_half, np.argmax(probabilities, axis=1), reached) if is_half.any() else reached


def numbers(output: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the predicted numbers of a regression's output, which may have more columns than that.

    Examples
    --------
    >>> numbers(np.array([[2.0, 1.0, 3.0]])).tolist(), numbers(np.array([2.0])).tolist()
    ([2.0], [2.0])
    """
    return output if output.ndim == 1 else output[:, 0]


def class_names(classes: Sequence[object]) -> tuple[str, ...]:
    """Name each class so that a metric and a column can be called after it.

    A name is the label with every run of other characters than letters, digits, ``_``, ``.``
    and ``-`` made one ``_``. A class whose name would be empty, a word with a meaning of its own
    or another's (in other capitals too) gets its position added, so no two names are the same.

    Examples
    --------
    >>> class_names(["no", "yes"]), class_names([0, 1, 2])
    (('no', 'yes'), ('0', '1', '2'))
    >>> class_names(["<=50K", ">50K"])
    ('50K_0', '50K_1')
    >>> class_names(["Fair", "Very Good", "🙂"])
    ('Fair', 'Very_Good', 'class_2')
    """
    names = [_sanitised(str(label)) or f"class_{position}" for position, label in enumerate(classes)]
    while taken := _taken(names):
        names = [
            f"{name}_{position}" if name.casefold() in taken else name for position, name in enumerate(names)
        ]
    return tuple(names)


def _sanitised(label: str) -> str:
    # Composed first: a decomposed accent is no letter of its own.
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", label))[:_LONGEST_NAME].strip("_")


def _taken(names: Sequence[str]) -> set[str]:
    counts = Counter(name.casefold() for name in names)
    return {name for name, count in counts.items() if count > 1 or name in _RESERVED}
