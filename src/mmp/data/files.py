"""Tables from files of CSV, Parquet or JSON lines: one, a directory or a glob; here or in a bucket."""

from __future__ import annotations

import glob
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mmp.data import buckets, delimited, json_lines, parquet
from mmp.data.stored import KINDS, LISTED, StoredFile, readable
from mmp.data.table import Table, select, take
from mmp.errors import SourceError
from mmp.lookup import capitalized, did_you_mean
from mmp.settings.sources import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

__all__ = ["find", "read", "select", "take", "would_read"]


def read(
    source: str,
    *,
    base_path: str = ".",
    columns: Sequence[str] | None = None,
    texts: Collection[str] = (),
    storage_options: Mapping[str, Any] | None = None,
) -> Table:
    r"""Read a table from files.

    Parameters
    ----------
    source : str
        A ``.csv``, ``.csv.gz``, ``.parquet``, ``.jsonl`` or ``.jsonl.gz`` file, a directory of such files,
        or a glob. Files of one source are read in the order of their names and have the same columns, but
        for lines of JSON, where what is not there is missing. A relative
        source must not leave `base_path` through ``..`` or a symlink. ``s3://…`` and ``gs://…`` are
        the same in a bucket.
    base_path : str
        Where a relative source starts.
    columns : sequence of str, optional
        The columns to read, in this order; all where it is left out.
    texts : collection of str
        Columns of a CSV file that are text whatever their words look like; they need not be there.
    storage_options : Mapping, optional
        Credentials and the like for a bucket.

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
    found = find(source, base_path=base_path, storage_options=storage_options)
    if found[0].kind == "parquet":
        return parquet.read(found, columns, source)
    if found[0].kind == "jsonl":
        return json_lines.read(found, columns, source, texts)
    return delimited.read(found, columns, source, texts)


def find(
    source: str, *, base_path: str = ".", storage_options: Mapping[str, Any] | None = None
) -> list[StoredFile]:
    """Return the files of a source in order, at least one; parameters are those of `read`.

    Raises
    ------
    SourceError
        Where there is no such file, or there are files of several kinds.
    """
    is_stored = source.startswith(BUCKETS)
    found = buckets.find(source, storage_options or {}) if is_stored else _found(source, Path(base_path))
    kinds = {file.kind for file in found}
    if len(kinds) > 1:
        listed = " and ".join(name for kind, name in KINDS.items() if kind in kinds)
        raise SourceError(f"{source} holds {listed} files.", hint=f"Name one kind by a glob: {source}/*.csv")
    return found


def would_read(source: str, path: str) -> bool:
    """Tell whether a source has a file of this path, or would if it were there, or lies in that directory.

    Parameters
    ----------
    source : str
        What `read` takes; relative to the working directory.
    path : str
        A file or a directory, here or in a bucket.

    Examples
    --------
    >>> [would_read("orders", path) for path in ("orders/scores.csv", "orders/scores/a.csv", "scores.csv")]
    [True, False, False]
    >>> would_read("orders/2024-*.csv", "orders/2024-scores.csv"), would_read("orders/*.csv", "orders")
    (True, True)
    """
    rows, file = (
        PurePosixPath(name) if name.startswith(BUCKETS) else Path(name).resolve() for name in (source, path)
    )
    if file in {rows, rows.parent}:
        return True
    return bool(readable([StoredFile(str(file))])) and (file.parent == rows or file.match(str(rows)))


def _found(source: str, base: Path) -> list[StoredFile]:
    path = base / source
    if path.is_dir():
        found = _readable(path.iterdir())
        where = f"Directory {source}"
    elif glob.has_magic(source) and not path.exists():
        found = _readable(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        where = f"Glob {source}"
    else:
        found = [_file(path, source)]
        where = source
    if not found:
        raise SourceError(f"{where} has no file that ends in {LISTED}.")
    if not Path(source).is_absolute():
        _refuse_outside(found, base)
    return found


def _file(path: Path, source: str) -> StoredFile:
    if "://" in source:
        raise SourceError(
            f"{source} is neither a file of this machine nor in a bucket, and only such can be read.",
            hint=f"A source ends in {LISTED}, or is a directory or a glob of such files.",
        )
    if not path.exists():
        folder = path.parent
        near = did_you_mean(path.name, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else ""
        missing = path if folder.is_dir() else folder
        kind = "file" if folder.is_dir() else "directory"
        looked = "Check the path." if path.is_absolute() else f"It was looked for from {Path.cwd()}."
        raise SourceError(f"There is no {kind} {missing}.", hint=capitalized(near) or looked)
    file = StoredFile(str(path))
    if file.suffix is None:
        raise SourceError(f"{path} cannot be read: its name ends in none of {LISTED}.")
    return file


def _readable(paths: Iterable[Path]) -> list[StoredFile]:
    return readable(StoredFile(str(path)) for path in paths if path.is_file())


def _refuse_outside(files: Iterable[StoredFile], base: Path) -> None:
    for file in files:
        path = Path(file.path)
        if not path.resolve().is_relative_to(base.resolve()):
            raise SourceError(
                f"{path} leads out of {base.resolve()}.", hint=f"Write the absolute path: {path.resolve()}"
            )
