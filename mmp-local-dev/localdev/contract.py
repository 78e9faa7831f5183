"""The contract as data: what a dev-contract.yml says, and whether what is provided covers it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from localdev.database import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROVIDED = FOLDER / "dev-contract.yml"
Clauses: TypeAlias = "Mapping[str, Any]"

_BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)")
_HOLDS = {
    ">=": lambda order: order >= 0,
    "<=": lambda order: order <= 0,
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    ">": lambda order: order > 0,
    "<": lambda order: order < 0,
}


def read(path: Path = PROVIDED) -> dict[str, Any]:
    """Read a contract.

    Raises
    ------
    ValueError
        When it is not one.
    """
    import yaml

    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(said, dict) or not {"contract", "version"} <= said.keys():
        raise ValueError(f"{path}: a contract has at least `contract` and `version`")
    return said


def version(text: object) -> tuple[int, ...]:
    """Read a version, so that 1.10 is greater than 1.9 and 15 is 15.0.

    Raises
    ------
    ValueError
        When it does not begin with a number, or is one already: YAML reads 1.10 as 1.1.

    Examples
    --------
    >>> version("1.10") > version("1.9"), version("15") == version("15.0"), version("17.2 (Debian)")
    (True, True, (17, 2))
    """
    if isinstance(text, float):
        raise ValueError(f"{text} is a number: put versions in quotes, for 1.10 is not 1.1")  # noqa: TRY004
    found = re.match(r"\s*v?(\d+(?:\.\d+)*)", str(text))
    if not found:
        raise ValueError(f"{text!r} is not a version")
    parts = [int(part) for part in found[1].split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def is_within(text: object, bounds: str) -> bool:
    """Tell whether a version is inside a range such as `>=1.1,<2`.

    Raises
    ------
    ValueError
        When the range cannot be read.

    Examples
    --------
    >>> is_within("1.10", ">=1.9,<2"), is_within("2.0", ">=1.1,<2")
    (True, False)
    """
    here = version(text)
    for bound in bounds.split(","):
        found = _BOUND.fullmatch(bound.strip())
        if not found:
            raise ValueError(f"{bound!r} is not a bound: write >=1.1,<2")
        there = version(found[2])
        if not _HOLDS[found[1]]((here > there) - (here < there)):
            return False
    return True


def gaps(required: Clauses, provided: Clauses) -> list[tuple[str, str]]:
    """Return the clauses of what is required that what is provided does not cover, with what is wrong.

    Parameters
    ----------
    required : mapping
        A contract whose `version` is a range.
    provided : mapping
        A contract whose `version` is one version.
    """
    found = list(_gaps(required, provided, ""))
    if found and not is_within(provided["version"], required["version"]):
        return [gap for gap in found if gap[0] == "version"]  # another contract: the rest would only confuse
    return found


def _gaps(required: Clauses, provided: Clauses, within: str) -> Iterator[tuple[str, str]]:
    for name, wanted in required.items():
        clause = f"{within}.{name}" if within else name
        if name not in provided:
            yield clause, "is required and not provided"
        elif isinstance(wanted, dict):
            given = provided[name]
            yield from _gaps(wanted, given if isinstance(given, dict) else {}, clause)
        elif not _covers(clause, wanted, provided[name]):
            yield clause, f"{wanted} is required, {provided[name]} is provided"


def _covers(clause: str, wanted: Any, given: Any) -> bool:
    leaf = clause.rpartition(".")[2]
    if clause == "version":
        return is_within(given, str(wanted))
    if leaf == "minimum_version":
        return version(given) >= version(wanted)
    if leaf == "minimum_rows":
        return bool(given >= wanted)
    if isinstance(wanted, list):
        return isinstance(given, list) and set(wanted) <= set(given)
    return bool(given == wanted)
