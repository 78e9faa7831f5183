"""Temporary directories, where a full or a closed one is a sentence."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.errors import TrackingError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """Give a directory of our own that is gone afterwards.

    Parameters
    ----------
    purpose : str
        What it is for: part of its name.

    Yields
    ------
    Path
        The directory, empty.

    Raises
    ------
    TrackingError
        Where it cannot be made, or what is written to it has no room.

    Examples
    --------
    >>> with scratch("model") as folder:
    ...     folder.is_dir(), folder.name.startswith("mmp-model-")
    (True, True)
    >>> folder.exists()
    False
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"mmp-{purpose}-") as directory:
            yield Path(directory)
    except OSError as error:
        raise TrackingError(
            f"The temporary directory cannot be used for the {purpose}: {error.strerror or error}.",
            hint="Make room there, or name another directory in the environment variable TMPDIR.",
        ) from error
