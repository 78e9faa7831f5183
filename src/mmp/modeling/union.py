"""Several fitted pipelines as one, whose matrix has the features of all of them.

Ops that do the same to the same variables are shared, and so are the features that they end in: what two
members of an ensemble both fill in and scale is filled in and scaled once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.modeling.pipeline import FittedPipeline, Matrix
from mmp.modeling.program import saturate
from mmp.modeling.state import to_json
from mmp.modeling.training import free_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from mmp.modeling.ops import Op
    from mmp.modeling.program import Dtype


@dataclass(frozen=True, eq=False)
class Taken:
    """What a member takes out of a matrix that it shares.

    Parameters
    ----------
    columns : ndarray of int64 or None
        Positions of its features, in its own order; None where it takes the matrix as it is.
    dtype : {"float32", "float64"}
        Of its own matrix.
    """

    columns: npt.NDArray[np.int64] | None
    dtype: Dtype

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the member's own matrix, equal to the bit to what its own pipeline makes of the rows."""
        own = values if self.columns is None else values.take(self.columns, axis=1)
        if own.dtype == self.dtype:
            return own
        with np.errstate(over="ignore"):
            own = own.astype(self.dtype)
        saturate(own)
        return own


@dataclass(frozen=True, eq=False)
class Union:
    """Pipelines made one.

    Parameters
    ----------
    pipeline : FittedPipeline
        Its features are those of all of them, float64 unless all of them are float32.
    taken : tuple of Taken
        Where each of them finds its own.
    """

    pipeline: FittedPipeline
    taken: tuple[Taken, ...]

    def joined(self, matrices: Sequence[Matrix]) -> Matrix:
        """Return one matrix of the members' own of the same rows, in the widest type that a feature has.

        Training rows come this way: of them a step may know something else than its ops say, and what is
        out of fold is so in each member by itself.
        """
        n_features = len(self.pipeline.features)
        values = np.empty((len(matrices[0].values), n_features), self.pipeline.dtype)
        members = zip(matrices, self.taken, strict=True)
        for matrix, taken in sorted(members, key=lambda member: member[1].dtype):  # the wider ones last
            values[:, slice(None) if taken.columns is None else taken.columns] = matrix.values
        findings = tuple(dict.fromkeys(found for matrix in matrices for found in matrix.findings))
        pipeline = self.pipeline
        return Matrix(values, pipeline.names, pipeline.categorical, matrices[0].rows, findings)


def unite(pipelines: Sequence[FittedPipeline]) -> Union:
    """Make one pipeline of several that were fitted on columns of one table.

    Parameters
    ----------
    pipelines : sequence of FittedPipeline
        One or more.
    """
    inputs = {spec.name: spec for pipeline in pipelines for spec in pipeline.inputs}
    keys = {spec.name: spec for pipeline in pipelines for spec in pipeline.keys}
    program = _Program({*inputs, *keys})
    places: dict[tuple[str, int | None], int] = {}
    names: list[str] = []
    columns: list[list[int]] = []
    for pipeline in pipelines:
        variables = program.add(pipeline)
        columns.append([])
        for position, (name, variable) in enumerate(pipeline.features):
            feature = variables[variable], pipeline.categorical.get(position)
            if feature not in places:
                places[feature] = len(places)
                names.append(free_name(name, names))
            columns[-1].append(places[feature])
    dtype: Dtype = "float32" if all(one.dtype == "float32" for one in pipelines) else "float64"
    united = FittedPipeline(
        tuple(inputs.values()),
        tuple(program.ops),
        tuple(zip(names, (variable for variable, _ in places), strict=True)),
        {place: levels for (_, levels), place in places.items() if levels is not None},
        dtype,
        tuple(keys.values()),
    )
    everything = list(range(len(names)))
    return Union(
        united,
        tuple(
            Taken(None if own == everything else np.array(own, np.int64), pipeline.dtype)
            for own, pipeline in zip(columns, pipelines, strict=True)
        ),
    )


class _Program:
    """Ops of several programs as one in which each variable is still set once."""

    def __init__(self, inputs: Collection[str]) -> None:
        self.ops: list[Op] = []
        self._inputs = inputs
        self._taken = set(inputs)
        self._known: dict[str, Op] = {}

    def add(self, pipeline: FittedPipeline) -> Mapping[str, str]:
        """Add what is new in a pipeline; return what its variables are called from now on."""
        called = {name: name for name in self._inputs}
        for op in pipeline.ops:
            digest = _digest(op, called)
            if digest not in self._known:
                targets = {}
                for name in op.targets:
                    targets[name] = free_name(name, self._taken)
                    self._taken.add(targets[name])
                self._known[digest] = op.renamed(called, targets)
                self.ops.append(self._known[digest])
            called.update(zip(op.targets, self._known[digest].targets, strict=True))
        return called


def _digest(op: Op, called: Mapping[str, str]) -> str:
    """Return what is equal for ops that make the same of the same."""
    plain, arrays = op.renamed(called, {name: str(place) for place, name in enumerate(op.targets)}).to_state()
    digest = hashlib.sha256(to_json(plain))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
