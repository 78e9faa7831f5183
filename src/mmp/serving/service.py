"""A server's state: which model it has, and whether it can answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmp.serving.served import starting

if TYPE_CHECKING:
    from mmp.serving.served import Served

Status = Literal["starting", "ready", "degraded", "draining", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class State:
    """How the server is, and what is missing where it is not ready."""

    status: Status
    missing: tuple[str, ...] = ()


class Service:
    """What the routes look at: the model of the moment and the state; both are swapped whole."""

    def __init__(self) -> None:
        self._served: Served | None = None
        self._stores: tuple[str, ...] = ()
        self._end: Status | None = None

    @property
    def served(self) -> Served:
        """The model of the moment.

        Raises
        ------
        Refusal
            503 where there is none yet.
        """
        if self._served is None:
            raise starting()
        return self._served

    @property
    def state(self) -> State:
        """How it is now."""
        if self._end is not None:
            return State(self._end, (f"the server is {self._end}",))
        if self._served is None:
            return State("starting", ("the model is being loaded",))
        return State("degraded", self._stores) if self._stores else State("ready")

    def serve(self, served: Served) -> None:
        """Take another model from now on."""
        self._served = served

    def stores_missing(self, sentences: tuple[str, ...]) -> None:
        """Take note of the stores that do not answer."""
        self._stores = sentences

    def end(self, status: Literal["draining", "stopped", "failed"]) -> None:
        """Say that it ends."""
        self._end = status
