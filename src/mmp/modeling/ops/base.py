"""What every op is."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    import numpy.typing as npt

    from mmp.modeling.columns import Column

    Vector = npt.NDArray[Any]

Row = dict[str, Any]
RowFunction = Callable[[Row], None]
State = tuple[dict[str, Any], dict[str, "Vector"]]


class Op(ABC):
    """A fitted operation: a frozen dataclass of variables, numbers and text.

    Attributes
    ----------
    name : str
        In the state.
    by_text : bool
        Whether it may be computed once for each distinct text, and for a missing one, where it
        depends on one text column alone.
    targets : tuple of str
        The variables it makes.
    """

    name: ClassVar[str]
    by_text: ClassVar[bool] = True
    targets: tuple[str, ...]

    @property
    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Every variable it reads."""

    @abstractmethod
    def renamed(self, sources: Mapping[str, str], targets: Mapping[str, str]) -> Op:
        """Return the op on other variables."""

    @abstractmethod
    def apply(self, columns: dict[str, Column]) -> None:
        """Add the targets to the columns."""

    @abstractmethod
    def row_function(self) -> RowFunction:
        """Return a function that adds the targets to one row of cells."""

    def to_state(self) -> State:
        """Return what JSON holds and what npz holds."""
        plain: dict[str, Any] = {"op": self.name}
        arrays = {}
        for part in dataclasses.fields(self):  # type: ignore[arg-type]  # every op is a dataclass
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray):
                arrays[part.name] = value
            else:
                plain[part.name] = list(value) if isinstance(value, tuple) else value
        return plain, arrays

    @classmethod
    def from_state(
        cls, plain: Mapping[str, Any], arrays: Mapping[str, Vector], _trust: Collection[str]
    ) -> Self:
        """Rebuild an op from `to_state`; `trust` is for ops that hold foreign objects."""
        state = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
        del state["op"]
        return cls(**state, **arrays)


@dataclass(frozen=True, eq=False)
class Unary(Op):
    """An op that reads one variable.

    Parameters
    ----------
    source : str
        The variable it reads.
    targets : tuple of str
        The variables it makes.
    """

    source: str
    targets: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every variable it reads."""
        return (self.source,)

    def renamed(self, sources: Mapping[str, str], targets: Mapping[str, str]) -> Op:
        """Return the op on other variables."""
        made = tuple(targets[name] for name in self.targets)
        return dataclasses.replace(self, source=sources[self.source], targets=made)


@dataclass(frozen=True, eq=False)
class Nary(Op):
    """An op that reads any number of variables.

    Parameters
    ----------
    reads : tuple of str
        The variables it reads.
    targets : tuple of str
        The variables it makes.
    """

    reads: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every variable it reads."""
        return self.reads

    def renamed(self, sources: Mapping[str, str], targets: Mapping[str, str]) -> Op:
        """Return the op on other variables."""
        read = tuple(sources[name] for name in self.reads)
        return dataclasses.replace(self, reads=read, targets=tuple(targets[name] for name in self.targets))
