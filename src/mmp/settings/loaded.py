"""A settings file that holds together, and where each of its keys stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from mmp.settings.base import Section
from mmp.settings.document import Branch, Document, dotted
from mmp.settings.environment import Surroundings, surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmp.errors import Finding
    from mmp.settings.document import Path_

S = TypeVar("S", bound=Section)

NO_DOCUMENT = Document("the embedded defaults", "", Branch({}, is_sequence=False, line=1, size=0))


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A settings file that holds together.

    Parameters
    ----------
    value : Recipe or Config
        The settings.
    path : str
        The file, as in messages.
    text : str
        Its text as it may be stored: references unresolved, literal secrets masked.
    overrides : tuple of str
        The ``--set`` that were applied, secrets masked.
    findings : tuple of Finding
        What is worth telling: overrides, values from `.env` files, defaults.
    surroundings : Surroundings
        Environment values, those of `.env` files included.
    """

    value: S
    path: str
    text: str = field(repr=False)
    overrides: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    surroundings: Surroundings = field(default_factory=surroundings, repr=False)
    document: Document = field(default=NO_DOCUMENT, repr=False)
    overridden: frozenset[Path_] = field(default=frozenset(), repr=False)

    def place(self, key: Path_) -> str:
        """Return ``file:line: key``, as messages begin."""
        return place_of(self.document, key, self.overridden)


def place_of(document: Document, key: Path_, overridden: Iterable[Path_] = ()) -> str:
    """Return ``file:line: key`` of a key, or say that it was set on the command line."""
    if any(key[: len(changed)] == changed for changed in overridden):
        return f"--set: {dotted(key)}"
    line = f":{document.line(key)}" if document.text else ""
    return f"{document.path}{line}: {dotted(key)}"
