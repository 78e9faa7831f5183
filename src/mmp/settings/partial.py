"""What can still be said of a settings file that does not hold together."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from mmp.settings.base import Section
from mmp.settings.problems import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmp.settings.document import Path_

S = TypeVar("S", bound=Section)

_ROUNDS = 8


def largest_part(model: type[S], data: Any, broken: Sequence[Path_]) -> tuple[S | None, list[Path_]]:
    """Take keys out of the data until the rest is valid.

    Parameters
    ----------
    model : type of Section
        What it should be.
    data : Any
        The values.
    broken : sequence of tuple
        Keys known to be wrong.

    Returns
    -------
    model or None
        The rest; None where nothing whole is left.
    list of tuple
        The keys that were taken out.
    """
    rest = copy.deepcopy(data)
    removed: list[Path_] = []
    for _ in range(_ROUNDS):
        for key in broken:
            gone = _remove(rest, key)
            if not gone:
                return None, removed
            removed.append(gone)
        try:
            return model.model_validate(rest), removed
        except ValidationError as error:
            broken = [problem.key for problem in translate(error, model, rest, lambda _: True)]
    return None, removed


def _remove(data: Any, key: Path_) -> Path_:
    """Remove a key, or the nearest block around it that can be removed; return what went."""
    while key:
        above = data
        for part in key[:-1]:
            if not _holds(above, part):
                break
            above = above[part]
        else:
            if isinstance(above, dict) and key[-1] in above:
                del above[key[-1]]
                return key
        key = key[:-1]
    return ()


def _holds(data: Any, part: Any) -> bool:
    return part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))


def is_affected(data: Any, key: Path_, removed: Path_) -> bool:
    """Tell whether a finding about a key may come from a removal rather than from the file."""
    if removed[: len(key)] == key or key[: len(removed)] == removed:
        return True
    for part in key[:-1]:
        if not _holds(data, part):
            return True
        data = data[part]
    return removed[:-1] == key[:-1] and not _holds(data, key[-1])
