"""Column names: each once, none empty, the same in every file of a source, and there when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmp.errors import MissingColumnsError, SourceError
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


def refuse_bad_names(names: Sequence[str], source: object) -> None:
    """Raise `SourceError` where a name is empty or stands twice, with all of their positions."""
    empty = [position for position, name in enumerate(names, 1) if not name.strip()]
    if empty:
        raise SourceError(
            f"{source} has a column without a name at position {_listed(empty)}.",
            hint="Give it a name in the header; a pandas index is left out by to_csv(index=False).",
        )
    twice = sorted({name for name in names if names.count(name) > 1}, key=names.index)
    if twice:
        spots = "; ".join(
            f"{name!r} at positions {_listed([p for p, other in enumerate(names, 1) if other == name])}"
            for name in twice
        )
        raise SourceError(
            f"{source} has more than one column of the same name: {spots}.", hint="Rename all but one."
        )


def same_columns(names_by_file: Sequence[tuple[object, Sequence[str]]]) -> tuple[str, ...]:
    """Return the columns of the first file, which every other file must have in any order.

    Raises
    ------
    SourceError
        Naming both files and the columns that only one of them has.
    """
    first, expected = names_by_file[0]
    for other, names in names_by_file[1:]:
        for has, lacks, only in (
            (first, other, [name for name in expected if name not in set(names)]),
            (other, first, [name for name in names if name not in set(expected)]),
        ):
            if only:
                raise SourceError(
                    f"{has} has column {_quoted(only)}, which {lacks} does not have.",
                    hint="All files of a source need the same columns.",
                )
    return tuple(expected)


def require(wanted: Iterable[str], names: Collection[str], source: object) -> None:
    """Raise `MissingColumnsError` where a column that is wanted is not there, naming all of them."""
    missing = [name for name in wanted if name not in names]
    if not missing:
        return
    described = ", ".join(f"{name!r}{_guess(name, names)}" for name in missing)
    have = ", ".join(sorted(names)[:30]) + (", …" if len(names) > 30 else "")
    plural = "Columns" if len(missing) > 1 else "Column"
    verb = "are" if len(missing) > 1 else "is"
    raise MissingColumnsError(
        f"{plural} {described} {verb} not in {source or 'the table'}.",
        hint=f"It has: {have}.",
        columns=tuple(missing),
    )


def _guess(name: str, names: Collection[str]) -> str:
    guess = did_you_mean(name, names)
    return f" ({guess})" if guess else ""


def _listed(positions: Sequence[int]) -> str:
    return ", ".join(map(str, positions))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
