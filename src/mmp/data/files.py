"""Tables from files: one CSV or Parquet file, a directory of them, or a glob."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.data import delimited, parquet
from mmp.data.table import Table, select, take
from mmp.errors import SourceError
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["read", "select", "take"]

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_LISTED = ", ".join(_SUFFIXES)


def read(
    source: str,
    *,
    base_path: str = ".",
    columns: Sequence[str] | None = None,
    texts: Collection[str] = (),
) -> Table:
    r"""Read a table from files.

    Parameters
    ----------
    source : str
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file, a directory of such files, or a glob. Files of
        one source are read in the order of their names and have the same columns. A relative
        source must not leave `base_path` through ``..`` or a symlink.
    base_path : str
        Where a relative source starts.
    columns : sequence of str, optional
        The columns to read, in this order; all where it is left out.
    texts : collection of str
        Columns of a CSV file that are text whatever their words look like; they need not be there.

    Returns
    -------
    Table
        Types are what the data says; what reading brought to light is in its findings.

    Raises
    ------
    SourceError
        Where there is no such file, or it cannot be read.
    MissingColumnsError
        Where `columns` names some that are not there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "t.csv").write_text("zip,n\n00123,1\n10115,NA\n")
    ...     table = read("t.csv", base_path=folder)
    >>> [(spec.name, spec.kind) for spec in table.specs]
    [('zip', 'text'), ('n', 'integer')]
    """
    paths = _paths(source, Path(base_path))
    suffixes = {".parquet" if _suffix(path) == ".parquet" else ".csv" for path in paths}
    if len(suffixes) > 1:
        raise SourceError(
            f"{source} holds CSV and Parquet files.", hint=f"Name one kind by a glob: {source}/*.csv"
        )
    if suffixes == {".parquet"}:
        return parquet.read(paths, columns, source)
    return delimited.read(paths, columns, source, texts)


def _paths(source: str, base: Path) -> list[Path]:
    path = base / source
    if path.is_dir():
        paths = _readable(path.iterdir())
        where = f"Directory {source}"
    elif glob.has_magic(source) and not path.exists():
        paths = _readable(Path(found) for found in glob.glob(str(path)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        where = f"Glob {source}"
    else:
        paths = [_file(path, source)]
        where = source
    if not paths:
        raise SourceError(f"{where} has no file that ends in {_LISTED}.")
    if not Path(source).is_absolute():
        _refuse_outside(paths, base)
    return paths


def _file(path: Path, source: str) -> Path:
    if "://" in source:
        raise SourceError(
            f"{source} is not a file of this machine, and only such can be read.",
            hint=f"Copy it here; a source ends in {_LISTED}, or is a directory or a glob of such files.",
        )
    if not path.exists():
        folder = path.parent
        near = did_you_mean(path.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else ""
        missing = path if folder.is_dir() else folder
        kind = "file" if folder.is_dir() else "directory"
        raise SourceError(
            f"There is no {kind} {missing}.", hint=near[:1].upper() + near[1:] or "Check the path."
        )
    if _suffix(path) is None:
        raise SourceError(f"{path} cannot be read: its name ends in none of {_LISTED}.")
    return path


def _readable(paths: Iterable[Path]) -> list[Path]:
    """Return the files to read, by name; what starts with ``.`` or ``_`` marks and logs, and is none."""
    found = (path for path in paths if path.is_file() and path.name[0] not in "._")
    return sorted((path for path in found if _suffix(path)), key=lambda path: path.name)


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), None)


def _refuse_outside(paths: Iterable[Path], base: Path) -> None:
    for path in paths:
        if not path.resolve().is_relative_to(base.resolve()):
            raise SourceError(
                f"{path} leads out of {base.resolve()}.", hint=f"Write the absolute path: {path.resolve()}"
            )
