"""Several models as one: each takes its own columns out of one matrix, and their outputs are blended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from mmp.modeling import engines
from mmp.modeling.blending import Blend
from mmp.modeling.engines.base import Model
from mmp.modeling.union import Taken

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from mmp.modeling.engines.base import Output


@dataclass(frozen=True, eq=False)
class Member:
    """One of the models.

    Parameters
    ----------
    model : Model
        Fitted on its own matrix.
    taken : Taken
        Where it finds that in the one that all share.
    """

    model: Model
    taken: Taken


@dataclass(frozen=True, eq=False)
class Ensemble(Model):
    """Members and how much each counts.

    Parameters
    ----------
    members : tuple of Member
        The models.
    blend : Blend
        Their weights, in the same order.
    """

    engine = "ensemble"
    members: tuple[Member, ...] = ()
    blend: Blend = field(default_factory=lambda: Blend(()))

    @property
    def parts(self) -> tuple[Model, ...]:
        """The members' models."""
        return tuple(member.model for member in self.members)

    def _made_of(self, parts: Sequence[Model]) -> Ensemble:
        pairs = zip(self.members, parts, strict=True)
        return replace(self, members=tuple(replace(member, model=model) for member, model in pairs))

    def one(self, values: npt.NDArray[Any]) -> Output:
        """Predict one row, each member in the way that is fast for one."""
        outputs = [member.model.one(member.taken.of(values)) for member in self.members]
        if self.blend.in_logs:
            blended: list[Output] = self.blend([np.array([output]) for output in outputs]).tolist()
            return blended[0]
        return self.blend.one(outputs)

    def _predict(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return self.blend([member.model.predict(member.taken.of(values)) for member in self.members])

    def contributions(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
        """Return the members' contributions as they are blended, where that is exact.

        So it is for a weighted sum of numbers whose members say what their scores are. A mean of
        probabilities is not the probability of a mean of log-odds.
        """
        if self.n_classes or not self._are_sums:
            return None
        total = np.zeros((len(values), 1, self.n_features + 1))
        total[:, 0, -1] = fsum(self.blend.intercepts)
        for weight, member in zip(self.blend.weights, self.members, strict=True):
            own = member.model.explained.contributions(member.taken.of(values))
            assert own is not None
            columns = range(self.n_features) if member.taken.columns is None else member.taken.columns
            for column, part in zip([*columns, self.n_features], own[:, 0].T, strict=True):
                total[:, 0, column] += weight * part
        return total

    @cached_property
    def _are_sums(self) -> bool:
        """Whether each member's contributions sum to what it predicts, by a row of zeros."""
        return all(_is_sum(member) for member in self.members)

    def _save(self, folder: Path) -> dict[str, Any]:
        return {
            "members": [
                engines.save(member.model, folder / str(number)) | _plain(member.taken)
                for number, member in enumerate(self.members)
            ],
            "weights": list(self.blend.weights),
            "intercepts": list(self.blend.intercepts),
            "in_logs": self.blend.in_logs,
        }


def of(
    members: Sequence[Member], blend: Blend, n_features: int, fitted: npt.NDArray[np.float64] | None = None
) -> Ensemble:
    """Make one model of fitted ones.

    Parameters
    ----------
    members : sequence of Member
        One or more, of one task.
    blend : Blend
        A weight for each.
    n_features : int
        Columns of the matrix that they share.
    fitted : ndarray, optional
        What they say together of the training rows, each as it saw them.
    """
    models = [member.model for member in members]
    history = {
        f"member_{number}_{name}": values
        for number, model in enumerate(models)
        for name, values in model.history.items()
    }
    n_threads = max(model.threads for model in models)
    return Ensemble(
        models[0].n_classes,
        n_features,
        n_threads,
        history=history,
        fitted=fitted,
        members=tuple(members),
        blend=blend,
    )


def load(
    folder: Path, meta: Mapping[str, Any], *, trust: Collection[str] = (), n_threads: int = 1
) -> Ensemble:
    """Read the members."""
    members = (
        Member(
            engines.load_saved(saved, folder / str(number), trust=trust, n_threads=n_threads),
            Taken(None if saved["columns"] is None else np.array(saved["columns"], np.int64), saved["dtype"]),
        )
        for number, saved in enumerate(meta["members"])
    )
    return Ensemble(
        meta["n_classes"],
        meta["n_features"],
        n_threads,
        members=tuple(members),
        blend=Blend(tuple(meta["weights"]), tuple(meta["intercepts"]), meta["in_logs"]),
    )


def errors() -> tuple[type[Exception], ...]:
    """Return nothing: what a library raises is its engine's to tell."""
    return ()


def _plain(taken: Taken) -> dict[str, Any]:
    return {"columns": None if taken.columns is None else taken.columns.tolist(), "dtype": taken.dtype}


def _is_sum(member: Member) -> bool:
    model = member.model.explained
    row = np.zeros((1, model.n_features), member.taken.dtype)
    parts = model.contributions(row)
    return parts is not None and bool(np.allclose(parts.sum(axis=2)[0], model.predict(row), rtol=1e-4))
