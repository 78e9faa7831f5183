"""Files that are there whole or not at all, whatever dies while they are written."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mmp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARTIAL = ".partial"
_HASHED_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write a file to, and put the file in the place of `path` once it is safe on disk.

    Parameters
    ----------
    path : Path
        Where the file goes; what is there before stays until then.

    Yields
    ------
    Path
        Beside it, in the same directory.

    Raises
    ------
    DataError
        It cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(pathlib.Path(folder, "a.txt")) as beside:
    ...         _ = beside.write_text("whole")
    ...     [file.name for file in pathlib.Path(folder).iterdir()]
    ['a.txt']
    """
    partial = path.with_name(path.name + _PARTIAL)
    with failures(path):
        try:
            yield partial
            sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)  # what is not whole only takes room
        sync(path.parent)


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Say in a sentence that something cannot be written.

    Raises
    ------
    DataError
        The directory is full, read-only, not there.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).rstrip(".")
        raise DataError(
            f"{path} cannot be written: {reason}.",
            hint="Mend that, and run the same command again: it goes on with what is done.",
        ) from error


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are safe on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        hasher = hashlib.sha256()
        while block := file.read(_HASHED_BYTES):
            hasher.update(block)
        return hasher.hexdigest()
