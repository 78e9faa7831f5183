"""Filling missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling.ops import Fill, Indicator
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds
from mmp.modeling.values import coerce_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from mmp.data.table import Kind
    from mmp.modeling.columns import Column
    from mmp.modeling.ops import Op
    from mmp.modeling.training import Training
    from mmp.modeling.values import Value

    Scalar = float | int | bool | str


class _ConstantFill(StepSettings, Protocol):
    @property
    def fill_value(self) -> Value: ...


class _SimpleImputer(_ConstantFill, Protocol):
    @property
    def strategy(self) -> str: ...

    @property
    def create_missing_indicators(self) -> bool: ...


def simple_imputer(step: _SimpleImputer, names: Sequence[str], training: Training) -> Fitted:
    """Fill with a statistic of the training rows, as scikit-learn's `SimpleImputer` does.

    Every column it is given is filled, whether training had missing values there or not. Ties of
    most_frequent go to the smallest value.
    """
    if step.strategy == "constant":
        return _filled(step, names, training, indicators=step.create_missing_indicators)
    if step.strategy in {"mean", "median"}:
        if step.columns is None:
            names = [name for name in names if training.kind(name) in NUMBERS]
        require_kinds(step, names, training, (*NUMBERS, "timestamp"))
    ops: list[Op] = []
    for name in names:
        column = training[name]
        if step.create_missing_indicators:
            ops += _indicator(name, training)
        ops.append(Fill(name, (name,), _statistic(step.strategy, name, column)))
    return Fitted(tuple(ops))


def constant_fill(step: _ConstantFill, names: Sequence[str], training: Training) -> Fitted:
    """Fill with one value, read as a value of each column."""
    return _filled(step, names, training, indicators=False)


def _filled(step: _ConstantFill, names: Sequence[str], training: Training, *, indicators: bool) -> Fitted:
    value = step.fill_value
    ops: list[Op] = []
    for name in names:
        kind = training.kind(name)
        if step.columns is None and isinstance(value, str) != (kind == "text") and value is not None:
            continue  # without columns a text is for text columns, a number for numbers
        if indicators:
            ops += _indicator(name, training)
        ops.append(Fill(name, (name,), _constant(name, kind, value)))
    return Fitted(tuple(ops))


def _constant(name: str, kind: Kind, value: Value) -> Scalar:
    if value is None:
        value = "missing" if kind == "text" else 0
    if kind == "text":
        return str(value)
    if kind in NUMBERS:
        return _number(name, value)
    read = coerce_value(ColumnSpec(name, kind), value)
    assert read is not None
    return read


def _number(name: str, value: Scalar) -> Scalar:
    if isinstance(value, bool):
        return value
    number = coerce_value(ColumnSpec(name, "float"), value)
    if number is None:
        raise DataError(
            f"fill_value is blank, and the column '{name}' holds numbers.", hint="Write a number."
        )
    return int(number) if float(number).is_integer() else number


def _indicator(name: str, training: Training) -> list[Op]:
    if not training[name].has_missing():
        return []
    return [Indicator(name, (training.new_name(f"{name} is missing"),))]


def _statistic(strategy: str, name: str, column: Column) -> Scalar:
    present = column.values if column.valid is None else column.values[column.valid]
    if not len(present):
        raise DataError(
            f"The column '{name}' has no value in the training rows to fill with.",
            hint="Leave it out, or fill it with constant_fill.",
        )
    if column.kind == "text":
        return _most_frequent_text(present, column.vocabulary)
    value = _STATISTICS[strategy](present)
    if column.kind == "timestamp":
        return round(value)
    return int(value) if column.kind == "integer" and value == int(value) else value


def _most_frequent_text(codes: npt.NDArray[np.int32], vocabulary: Sequence[str]) -> str:
    counts = np.bincount(codes)
    return min(vocabulary[code] for code in np.flatnonzero(counts == counts.max()).tolist())


def _most_frequent(values: npt.NDArray[Any]) -> float:
    distinct, counts = np.unique(values, return_counts=True)
    found: float = distinct[np.argmax(counts)].item()
    return found


_STATISTICS: dict[str, Callable[[npt.NDArray[Any]], float]] = {
    "mean": lambda values: float(np.mean(values)),
    "median": lambda values: float(np.median(values)),
    "most_frequent": _most_frequent,
}
