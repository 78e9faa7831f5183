"""The target: labels as codes with their names kept as the user wrote them, or plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmp.errors import DataError, Finding, SettingsError, UnknownNameError
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.columns import Column

Label = int | float | bool | str

MOST_CLASSES = 1000
_FEW_CLASSES = 20  # a table of a handful of rows may have as many classes as it likes
_YAML_WORDS = {True: {"true", "yes", "on"}, False: {"false", "no", "off"}}


@dataclass(frozen=True)
class Target:
    """What is to be predicted, row by row.

    Parameters
    ----------
    kind : {"classification", "regression"}
        The task.
    values : ndarray of shape (n_rows,)
        int32 positions in `classes`, or float64 numbers.
    classes : tuple of int, float, bool or str
        Sorted labels, as the user wrote them; empty for regression.
    positive : int or None
        Position of the positive class, where there are two.
    costs : tuple of float
        What a row costs that is wrongly given each class; empty where that is the same for all.
    """

    kind: Literal["classification", "regression"]
    values: npt.NDArray[Any]
    classes: tuple[Label, ...] = ()
    positive: int | None = None
    costs: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 for regression."""
        return len(self.classes)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that it is judged by beside its task's."""
        return ("cost",) if self.costs else ()

    def take(self, positions: npt.NDArray[np.int64]) -> Target:
        """Return the target of some rows; the classes stay."""
        return replace(self, values=self.values[positions])


def encode(
    column: Column, *, name: str, task: str, positive_class: Label | None = None
) -> tuple[Target, tuple[Finding, ...]]:
    """Read a column as the target.

    Parameters
    ----------
    column : Column
        The target column, without missing values.
    name : str
        Its name, for messages.
    task : {"classification", "regression"}
        What is to be predicted.
    positive_class : label, optional
        The class that probabilities, precision and recall are about, for two classes. Default: 1 or
        true where labels are 0 and 1 or booleans, else the rarer, with a finding that says so.

    Returns
    -------
    Target
        Codes and classes, or numbers.
    tuple of Finding
        What had to be assumed.

    Raises
    ------
    DataError
        Where values are missing or not finite, there is one class only, or so many that the column
        is no set of classes; where a number to predict is not a number.
    UnknownNameError
        Where `positive_class` is none of the classes.

    Examples
    --------
    >>> from mmp.modeling.columns import Column
    >>> answers = Column("text", np.array([1, 0, 1], np.int32), vocabulary=("yes", "no"))
    >>> target, _ = encode(answers, name="churn", task="classification", positive_class="yes")
    >>> target.classes, target.values.tolist(), target.positive
    (('no', 'yes'), [0, 1, 0], 1)
    """
    _check_present(column, name)
    if task == "regression":
        return Target("regression", _numbers(column, name, positive_class)), ()
    labels, codes = _labels(column, name)
    _check_classes(labels, len(codes), name)
    target = Target("classification", codes.astype(np.int32), labels)
    positive, findings = _positive(target, name, positive_class)
    return replace(target, positive=positive), findings


def encode_known(column: Column, *, name: str, like: Target) -> Target:
    """Read the target column of another table as a trained model knows it.

    Raises
    ------
    DataError
        Where a label is none of the classes that the model was trained on.
    """
    _check_present(column, name)
    if like.kind == "regression":
        return replace(like, values=_numbers(column, name, None))
    labels, codes = _labels(column, name)
    known = {_key(label): position for position, label in enumerate(like.classes)}
    unknown = [label for label in labels if _key(label) not in known]
    if unknown:
        raise DataError(
            f"The target column '{name}' holds {_listed(unknown)}, which the model was not trained on.",
            hint=f"Its classes are {_listed(like.classes)}.",
        )
    positions = np.array([known[_key(label)] for label in labels], np.int32)
    return replace(like, values=positions[codes])


def find_label(classes: Sequence[Label], wanted: object) -> int | None:
    """Return the position of a label that a settings file names, or None.

    The label itself comes first. Else text stands for what it spells (``"1"`` for 1), and the
    booleans that YAML makes of ``yes`` and ``no`` stand for those words.

    Examples
    --------
    >>> find_label(("No", "Yes"), True), find_label((10, 20), "20"), find_label((0, 1), 2)
    (1, 1, None)
    """
    same = [position for position, label in enumerate(classes) if _key(label) == _key(wanted)]
    spelled = [position for position, label in enumerate(classes) if _spells(wanted, label)]
    words = _YAML_WORDS[wanted] if isinstance(wanted, bool) else set()
    meant = [
        position
        for position, label in enumerate(classes)
        if isinstance(label, str) and label.casefold() in words
    ]
    return next((found[0] for found in (same, spelled, meant) if len(found) == 1), None)


def _spells(wanted: object, label: Label) -> bool:
    if isinstance(label, bool):
        return str(wanted).lower() == str(label).lower()
    return str(wanted) == str(label)


def position_of(classes: Sequence[Label], wanted: object, *, key: str, name: str = "") -> int:
    """Return the position of a label, as `find_label`, where it must be one of the classes.

    Raises
    ------
    UnknownNameError
        Where it is not.
    """
    position = find_label(classes, wanted)
    if position is None:
        suggestion = did_you_mean(str(wanted), [str(label) for label in classes])
        target = f"'{name}'" if name else "the target"
        raise UnknownNameError(
            f"{key} {wanted!r} is not a class of {target}.",
            hint=": ".join(filter(None, (f"Its classes are {_listed(classes)}", suggestion))),
        )
    return position


def _check_present(column: Column, name: str) -> None:
    missing = 0 if column.valid is None else int(len(column) - np.count_nonzero(column.valid))
    if missing:
        raise DataError(
            f"The target column '{name}' has {missing} missing values.", hint="Leave these rows out."
        )
    if not len(column):
        raise DataError(f"The target column '{name}' has no rows.", hint="Look at the source.")


def _numbers(column: Column, name: str, positive_class: Label | None) -> npt.NDArray[np.float64]:
    if column.kind not in {"integer", "float"}:
        raise DataError(
            f"The target column '{name}' is {column.kind}; regression predicts numbers.",
            hint="Set 'task_choice: classification', or name another target_column.",
        )
    if positive_class is not None:
        raise SettingsError(
            "positive_class is about classes, and regression predicts numbers.",
            hint="Leave positive_class out, or set 'task_choice: classification'.",
        )
    values = column.values.astype(np.float64)
    _check_finite(values, name)
    return values


def _check_finite(values: npt.NDArray[np.float64], name: str) -> None:
    endless = int(np.count_nonzero(~np.isfinite(values)))
    if endless:
        raise DataError(
            f"The target column '{name}' has {endless} values that are not finite.",
            hint="Correct or leave out these rows.",
        )


def _labels(column: Column, name: str) -> tuple[tuple[Label, ...], npt.NDArray[np.int64]]:
    """Return the sorted labels and each row's position among them."""
    if column.kind == "timestamp":
        raise DataError(
            f"The target column '{name}' holds timestamps, which are no classes.",
            hint="Name another target_column.",
        )
    if column.kind == "float":
        _check_finite(column.values, name)
    if column.kind != "text":
        labels, codes = np.unique(column.values, return_inverse=True)
        return tuple(labels.tolist()), codes
    seen = np.flatnonzero(np.bincount(column.values, minlength=len(column.vocabulary)))
    order = sorted(seen.tolist(), key=column.vocabulary.__getitem__)
    positions = np.zeros(len(column.vocabulary), np.int64)
    positions[order] = np.arange(len(order))
    return tuple(column.vocabulary[code] for code in order), positions[column.values]


def _check_classes(labels: Sequence[Label], n_rows: int, name: str) -> None:
    n_classes = len(labels)
    if n_classes == 1:
        raise DataError(
            f"The target column '{name}' is {labels[0]!r} in every row: there is nothing to learn.",
            hint="Name another target_column, or look at how the table was selected.",
        )
    if n_classes > MOST_CLASSES or n_classes > max(n_rows / 2, _FEW_CLASSES):
        raise DataError(
            f"The target column '{name}' has {n_classes} distinct values in {n_rows} rows,"
            " too many to be classes.",
            hint="Name another target_column."
            if isinstance(labels[0], str)
            else "Set 'task_choice: regression' to predict the number.",
        )


def _positive(
    target: Target, name: str, positive_class: Label | None
) -> tuple[int | None, tuple[Finding, ...]]:
    classes = target.classes
    if positive_class is not None:
        position = position_of(classes, positive_class, key="positive_class", name=name)
        if len(classes) > 2:
            raise SettingsError(
                f"positive_class is for two classes, and '{name}' has {len(classes)}.",
                hint="Leave it out; metrics of one class are called f1_<class> and the like.",
            )
        return position, ()
    if len(classes) > 2:
        return None, ()
    if classes == (0, 1):  # equal to (False, True) and (0.0, 1.0), too
        return 1, ()
    counts = np.bincount(target.values, minlength=2)
    position = int(counts[1] <= counts[0])
    return position, (
        Finding(
            "positive_class",
            "warn",
            f"The positive class of '{name}' is taken to be {classes[position]!r}, the rarer"
            f" ({counts[position]} of {len(target)} rows); set data_interface.positive_class to say which.",
            column=name,
        ),
    )


def _key(label: object) -> tuple[type, object]:
    """Tell True from 1 and "1" from 1, but not 1.0 from 1."""
    if isinstance(label, (bool, np.bool_)):
        return bool, bool(label)
    return (float, label) if isinstance(label, (int, float)) else (type(label), label)


def _listed(labels: Sequence[Label], most: int = 10) -> str:
    shown = ", ".join(repr(label) for label in labels[:most])
    return shown if len(labels) <= most else f"{shown} and {len(labels) - most} more"
