"""From typed columns to the matrix that an estimator takes: fitted once, the same for many rows and for one.

A fitted pipeline is a list of ops (`mmp.modeling.ops`) over the input columns and the list of the
variables that become features.

Policy, the same for every library:

- The matrix is float32 or float64 as the model's row of the catalog says. Every cell is a float64
  first; what is beyond the range of float32 becomes its largest finite number. Missing is NaN.
- Integers and booleans become floats. Text that no step encoded becomes a category code where the
  model has native categories, with codes in sorted order of the training rows' texts; missing and
  unseen texts are NaN. Elsewhere it is an error, as are timestamps.
- Unseen categories: all zeros from ``one_hot_encoder``, -1 from ``ordinal_encoder``, the overall mean
  from ``target_encoder``. Missing values are a category of their own for the encoders where the
  training rows had any (NaN from ``ordinal_encoder``), else they are unseen.
- A column without a single value in the training rows is left out of the inputs, and so is one that
  no feature is made of any more.
- Names of features: the column's name where it stays one column; ``column=category`` and ``column is
  missing`` for 0/1 columns, ``column.part`` for parts of a timestamp, ``column:class`` for a target
  mean of several classes. A name that is taken gets the first free number: ``column=category (2)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.data.table import ColumnSpec
from mmp.errors import DataError
from mmp.modeling import ops as operations
from mmp.modeling.program import Program, assemble, ops_for, saturate
from mmp.modeling.steps import fit_function, select
from mmp.modeling.steps.encode import category_codes
from mmp.modeling.training import Training
from mmp.modeling.width import check_width

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from mmp.errors import Finding
    from mmp.modeling.columns import Column, Columns
    from mmp.modeling.ops import Op, RowFunction
    from mmp.modeling.program import Dtype
    from mmp.modeling.steps.base import StepSettings
    from mmp.modeling.target import Target
    from mmp.modeling.training import Series
    from mmp.modeling.values import Value


@dataclass(frozen=True, eq=False)
class Matrix:
    """What an estimator takes.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features)
        In C order; NaN where missing.
    names : tuple of str
        The features' names, as the user knows the columns.
    categorical : mapping of int to int
        Position of each categorical feature and its number of levels; its values are codes from 0.
    rows : ndarray of int64 or None
        Positions of the rows that are left, where a step leaves out training rows.
    findings : tuple of Finding
        What the steps had to say of the training rows.
    """

    values: npt.NDArray[Any]
    names: tuple[str, ...]
    categorical: Mapping[int, int] = field(default_factory=dict)
    rows: npt.NDArray[np.int64] | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class FittedPipeline:
    """Ops and the features they end in.

    Parameters
    ----------
    inputs : tuple of ColumnSpec
        The columns it reads.
    ops : tuple of Op
        In order; each variable is set once.
    features : tuple of (str, str)
        Name and variable of each feature.
    categorical : mapping of int to int
        Position of each categorical feature and its number of levels.
    dtype : {"float32", "float64"}
        Of the matrix.
    keys : tuple of ColumnSpec
        The keys of a row by which it recalls earlier values; they are no features.
    """

    inputs: tuple[ColumnSpec, ...]
    ops: tuple[Op, ...]
    features: tuple[tuple[str, str], ...]
    categorical: Mapping[int, int]
    dtype: Dtype
    keys: tuple[ColumnSpec, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(name for name, _ in self.features)

    @property
    def has_guests(self) -> bool:
        """Whether a scikit-learn transformer is part of it."""
        return any(isinstance(op, operations.Guest) for op in self.ops)

    @cached_property
    def origins(self) -> tuple[tuple[str, ...], ...]:
        """Names of the inputs that each feature is made of, directly or through other variables."""
        made: dict[str, tuple[str, ...]] = {spec.name: (spec.name,) for spec in self.inputs}
        made |= {spec.name: () for spec in self.keys}
        for op in self.ops:
            of = tuple(dict.fromkeys(name for source in op.sources for name in made[source]))
            made.update(dict.fromkeys(op.targets, of))
        return tuple(made[variable] for _, variable in self.features)

    def matrix(self, columns: Columns) -> Matrix:
        """Compute the features of any number of rows.

        Parameters
        ----------
        columns : mapping of str to Column
            At least the inputs and the keys, as `mmp.modeling.columns.coerce` gives them.
        """
        inputs = {spec.name: columns[spec.name] for spec in (*self.inputs, *self.keys)}
        return Matrix(self._program.run(inputs, self.dtype), self.names, self.categorical)

    @cached_property
    def _program(self) -> Program:
        kinds = {spec.name: spec.kind for spec in (*self.inputs, *self.keys)}
        return Program.of(self.ops, [variable for _, variable in self.features], kinds)

    def row(self, values: Mapping[str, Value]) -> npt.NDArray[Any]:
        """Compute the features of one row of coerced cells, as an array of shape (1, n_features)."""
        return self.stacked([self.computed(values)])

    def computed(self, values: Mapping[str, Value]) -> tuple[Any, ...]:
        """Compute the features of one row of coerced cells, of which `stacked` makes a matrix."""
        cells = dict(values)
        for function in self._row_functions:
            function(cells)
        picked: tuple[Any, ...] = self._pick(cells)
        return picked

    def stacked(self, rows: Sequence[tuple[Any, ...]]) -> npt.NDArray[Any]:
        """Make a matrix of rows of features."""
        matrix = np.array(rows, np.float64)
        if self.dtype == "float32":
            with np.errstate(over="ignore"):
                matrix = matrix.astype(np.float32)
        saturate(matrix)
        return matrix

    @cached_property
    def _row_functions(self) -> tuple[RowFunction, ...]:
        functions: list[RowFunction] = []
        for kind, alike in groupby(self.ops, type):
            if kind is operations.Fill:  # there may be many, and one call is cheaper than as many
                functions.append(operations.fill_row(list(alike)))  # type: ignore[arg-type]  # of fills
            else:
                functions += [op.row_function() for op in alike]
        return tuple(functions)

    @cached_property
    def _pick(self) -> Any:
        variables = [variable for _, variable in self.features]
        return (
            itemgetter(*variables)
            if len(variables) > 1
            else lambda cells: tuple(cells[name] for name in variables)
        )

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what JSON holds and what npz holds."""
        plain, arrays = [], {}
        for position, op in enumerate(self.ops):
            op_plain, op_arrays = op.to_state()
            plain.append(op_plain)
            arrays.update({f"{position}.{name}": array for name, array in op_arrays.items()})
        state = {
            "inputs": _plain(self.inputs),
            "keys": _plain(self.keys),
            "ops": plain,
            "features": [list(feature) for feature in self.features],
            "categorical": [list(item) for item in self.categorical.items()],
            "dtype": self.dtype,
        }
        return state, arrays

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        trust: Collection[str] = (),
    ) -> FittedPipeline:
        """Rebuild a pipeline from `to_state`; guests may hold scikit-learn's types and those of `trust`."""
        ops = []
        for position, plain in enumerate(state["ops"]):
            own = f"{position}."
            ops.append(
                operations.from_state(
                    plain,
                    {key.removeprefix(own): array for key, array in arrays.items() if key.startswith(own)},
                    trust,
                )
            )
        return cls(
            inputs=tuple(ColumnSpec(**spec) for spec in state["inputs"]),
            ops=tuple(ops),
            features=tuple((name, variable) for name, variable in state["features"]),
            categorical=dict(state["categorical"]),
            dtype=state["dtype"],
            keys=tuple(ColumnSpec(**spec) for spec in state.get("keys", ())),
        )


def _plain(specs: Sequence[ColumnSpec]) -> list[dict[str, Any]]:
    return [{name: getattr(spec, name) for name in ColumnSpec.__slots__} for spec in specs]


def fit(  # noqa: PLR0913 - what there is to know of the rows, and of the model
    steps: Sequence[StepSettings],
    columns: Columns,
    specs: Sequence[ColumnSpec],
    target: Target,
    *,
    seed: int,
    dtype: Dtype,
    native_categories: bool,
    trust: Collection[str] = (),
    series: Series | None = None,
) -> tuple[FittedPipeline, Matrix]:
    """Fit steps on training rows.

    Parameters
    ----------
    steps : sequence of step settings
        In the order of the recipe.
    columns : mapping of str to Column
        The training rows' columns, those of `series` among them.
    specs : sequence of ColumnSpec
        The features among them.
    target : Target
        Of the same rows.
    seed : int
        Drives every random choice.
    dtype : {"float32", "float64"}
        Of the matrix.
    native_categories : bool
        Whether the model takes category codes.
    trust : collection of str
        ``package.trust``: dotted types, beyond scikit-learn's, that a transformer may hold.
    series : Series, optional
        How the rows are ordered, for the steps that look at neighbours.

    Returns
    -------
    FittedPipeline
        For every other row.
    Matrix
        The training rows' features; what steps learned from the target is out of fold here.

    Raises
    ------
    DataError
        Where a step names a column that is not there or that does not suit it, and where text or a
        timestamp is left that the model cannot take; where the matrix would not fit into memory.
    """
    inputs = tuple(spec for spec in specs if _has_values(columns[spec.name]))
    if not inputs:
        raise DataError(
            "No feature has a value in the training rows.", hint="Look at the source and at feature_columns."
        )
    training = Training(
        _named(columns, inputs),
        target,
        seed,
        trust=trust,
        series=series,
        beside=_named(columns, series.specs if series else ()),
    )
    for step in steps:
        training.add(fit_function(step)(step, select(step, training), training))
    categorical = _encode_the_rest(training, native=native_categories)
    variables = [training.variables[name] for name in training]
    if not variables:
        raise DataError("The steps leave no feature.", hint="Look at drop_missing and what it is given.")
    ops = tuple(ops_for(training.ops, variables))
    read = {source for op in ops for source in op.sources}.union(variables)
    fitted = FittedPipeline(
        tuple(spec for spec in inputs if spec.name in read),
        ops,
        tuple(zip(training, variables, strict=True)),
        categorical,
        dtype,
        tuple(spec for spec in (series.keys if series else ()) if spec.name in read),
    )
    findings = (*training.findings, *check_width(fitted.origins, len(training.target), dtype))
    values = assemble(training.own_ops, variables, training.leaves, dtype)
    return fitted, Matrix(values, fitted.names, categorical, training.rows, findings)


def _named(columns: Columns, specs: Sequence[ColumnSpec]) -> dict[str, Column]:
    return {spec.name: columns[spec.name] for spec in specs}


def _has_values(column: Column) -> bool:
    return column.valid is None or bool(column.valid.any())


def _encode_the_rest(training: Training, *, native: bool) -> dict[int, int]:
    """Give text that is left its codes, and return the categorical features' positions and levels."""
    categorical = {}
    for position, name in enumerate(list(training)):
        kind = training.kind(name)
        if kind == "timestamp":
            raise DataError(
                f"The column '{name}' holds timestamps, which a model cannot take as they are.",
                hint="Add the step datetime_features, or leave the column out of feature_columns.",
            )
        if kind == "text" and not native:
            raise DataError(
                f"The column '{name}' holds text, which this model cannot take as it is.",
                hint="Add one of the steps one_hot_encoder, ordinal_encoder and target_encoder for it.",
            )
        if kind == "text":
            codes = category_codes(name, training[name])
            training.add(codes.fitted)
            categorical[position] = codes.n_levels
    return categorical
