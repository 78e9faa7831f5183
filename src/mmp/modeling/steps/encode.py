"""Numbers from categories, without looking at the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from mmp.modeling.ops import Expand, Lookup
from mmp.modeling.steps.base import NUMBERS, Fitted, StepSettings, require_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from mmp.modeling.columns import Column
    from mmp.modeling.ops import Op
    from mmp.modeling.training import Training


class _HandlesUnknown(StepSettings, Protocol):
    @property
    def handle_unknown(self) -> str: ...


class _OrdinalEncoder(_HandlesUnknown, Protocol):
    @property
    def unknown_value(self) -> float: ...


@dataclass(frozen=True)
class Categories:
    """The categories of the training rows, in ascending order.

    Parameters
    ----------
    texts : tuple of str
        Those of a text column.
    numbers : ndarray of int64 or float64
        Those of a number or boolean column; empty for text.
    codes : ndarray of int, shape (n_rows,)
        Position of each row's category; that after the last where it is missing.
    has_missing : bool
        Whether any row's is.
    """

    texts: tuple[str, ...]
    numbers: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    codes: npt.NDArray[np.integer]
    has_missing: bool

    @property
    def n_known(self) -> int:
        """Number of categories."""
        return len(self.texts) or len(self.numbers)

    @property
    def n_levels(self) -> int:
        """Number of categories, missing included where training saw it."""
        return self.n_known + self.has_missing

    @classmethod
    def of(cls, column: Column) -> Categories:
        """Find the categories of a column."""
        if column.kind != "text":
            return cls._of_numbers(column)
        counts = np.bincount(column.values + 1, minlength=len(column.vocabulary) + 1)
        seen = np.flatnonzero(counts[1:]).tolist()
        ordered = sorted(seen, key=column.vocabulary.__getitem__)
        position = np.empty(len(counts), np.int32)
        position[ordered] = np.arange(len(ordered))
        position[-1] = len(ordered)
        texts = tuple(column.vocabulary[code] for code in ordered)
        return cls(texts, np.empty(0), position[column.values], bool(counts[0]))

    @classmethod
    def _of_numbers(cls, column: Column) -> Categories:
        values = column.values.astype(np.int64) if column.kind == "boolean" else column.values
        present = values if column.valid is None else values[column.valid]
        numbers, inverse = np.unique(present, return_inverse=True)
        if column.valid is None:
            return cls((), numbers, inverse, has_missing=False)
        codes = np.full(len(column), len(numbers))
        codes[column.valid] = inverse
        return cls((), numbers, codes, column.has_missing())

    def names(self, column: Column) -> list[str]:
        """Return the categories as names show them."""
        if column.kind == "boolean":
            return [("false", "true")[number] for number in self.numbers.tolist()]
        return list(self.texts) or [str(number) for number in self.numbers.tolist()]

    def lookup(
        self,
        name: str,
        targets: tuple[str, ...],
        known: npt.NDArray[np.float64],
        unseen: npt.ArrayLike,
        missing: npt.ArrayLike,
        *,
        refuse_unseen: bool = False,
    ) -> Lookup:
        """Return the op that replaces each category by its row of `known`."""
        width = len(targets)
        table = np.vstack(
            [
                known.reshape(-1, width),
                np.broadcast_to(unseen, (1, width)),
                np.broadcast_to(missing, (1, width)),
            ]
        )
        return Lookup(name, targets, self.texts, self.numbers, refuse_unseen, table)


def ordinal_encoder(step: _OrdinalEncoder, names: Sequence[str], training: Training) -> Fitted:
    """Replace categories by their position in ascending order, as scikit-learn's `OrdinalEncoder` does.

    Missing stays missing where training had missing values; else it is unseen as any other category.
    """
    require_kinds(step, names, training, ("text", *NUMBERS))
    ops = []
    for name in names:
        categories = Categories.of(training[name])
        unseen = float(step.unknown_value)
        ops.append(
            categories.lookup(
                name,
                (name,),
                np.arange(categories.n_known, dtype=np.float64),
                unseen,
                np.nan if categories.has_missing else unseen,
                refuse_unseen=step.handle_unknown == "error",
            )
        )
    return Fitted(tuple(ops))


def one_hot_encoder(step: _HandlesUnknown, names: Sequence[str], training: Training) -> Fitted:
    """Replace a column by a 0/1 column for each category, as scikit-learn's `OneHotEncoder` does.

    Missing is a category of its own, the last, where training had missing values.
    """
    require_kinds(step, names, training, ("text", *NUMBERS))
    ops: list[Op] = []
    for name in names:
        column = training[name]
        categories = Categories.of(column)
        wanted = [f"{name}={category}" for category in categories.names(column)]
        if categories.has_missing:
            wanted.append(f"{name} is missing")
        targets = tuple(training.new_name(target) for target in wanted)
        refuse = step.handle_unknown == "error"
        ops.append(Expand(name, targets, categories.texts, categories.numbers, refuse))
    return Fitted(tuple(ops), dropped=tuple(names))


class CategoryCodes(NamedTuple):
    """A column as native category codes, and how many there are."""

    fitted: Fitted
    n_levels: int


def category_codes(name: str, column: Column) -> CategoryCodes:
    """Give a column the codes of its categories, for a model that takes them; unseen and missing are NaN."""
    categories = Categories.of(column)
    known = np.arange(categories.n_known, dtype=np.float64)
    op = categories.lookup(name, (name,), known, np.nan, np.nan)
    return CategoryCodes(Fitted((op,)), categories.n_known)
