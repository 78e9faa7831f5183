"""What a check of the system is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from mmp.errors import MmpError
    from mmp.settings.config import Config
    from mmp.settings.recipe import Recipe

TIME_LIMIT_S = 5.0
"""What a check may take before it is told as failed."""

FEAST_LIMIT_S = 60.0
"""What a check may take that imports Feast."""

Status: TypeAlias = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class System:
    """What is checked.

    Parameters
    ----------
    config : Config
        Where things are.
    recipe : Recipe or None
        What is to run; what the config names is checked where there is none.
    infra : Path or None
        The folder of the local infrastructure, where the config uses it.
    """

    config: Config
    recipe: Recipe | None = None
    infra: Path | None = None


@dataclass(frozen=True)
class Found:
    """What a check found.

    Parameters
    ----------
    found : str
        What is there, or what is wrong; without secrets.
    status : {"ok", "warn", "fail", "skipped"}
        What that means.
    action : str
        What to do about it.
    exit_code : int
        How a command ends that cannot go on; 0 unless the check failed.
    """

    found: str
    status: Status = "ok"
    action: str = ""
    exit_code: int = 0


def failed(error: MmpError) -> Found:
    """Return a failure from the error that a run would have met."""
    return Found(error.message, "fail", error.hint, error.exit_code)


def version(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, to compare it.

    Examples
    --------
    >>> version("1.10") > version("1.9"), version("15.18 (Debian 15.18-0+deb12u1)"), version("2.0rc1")
    (True, (15, 18), (2, 0))
    """
    numbers = []
    for part in text.strip().split("."):
        digits = len(part) - len(part.lstrip("0123456789"))
        if not digits:
            break
        numbers.append(int(part[:digits]))
        if digits < len(part):
            break
    return tuple(numbers)
