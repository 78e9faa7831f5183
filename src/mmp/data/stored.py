"""A file as its readers see it: one of this machine, or an object in a bucket."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from pyarrow.fs import FileSystem

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".jsonl", ".jsonl.gz")
KINDS = {"csv": "CSV", "parquet": "Parquet", "jsonl": "JSON lines"}
LISTED = ", ".join(SUFFIXES)
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file that can be read from its beginning or from anywhere, as often as need be.

    Parameters
    ----------
    path : str
        The path; of an object, bucket and key.
    filesystem : pyarrow.fs.FileSystem or None
        Where an object is; None is this machine.
    scheme : str
        Of an object, for messages: ``s3`` or ``gs``.

    Examples
    --------
    >>> file = StoredFile("data/Orders.CSV.gz")
    >>> str(file), file.name, file.suffix
    ('data/Orders.CSV.gz', 'Orders.CSV.gz', '.csv.gz')
    """

    path: str
    filesystem: FileSystem | None = field(default=None, compare=False)  # it has no hash
    scheme: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" if self.scheme else self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name if self.scheme else Path(self.path).name

    @property
    def suffix(self) -> str | None:
        """The one of `SUFFIXES` that the name ends in, None where it ends in none."""
        return next((suffix for suffix in SUFFIXES if self.name.lower().endswith(suffix)), None)

    @property
    def kind(self) -> str:
        """The one of `KINDS` that it is by its suffix."""
        return (self.suffix or "").removesuffix(".gz").removeprefix(".")

    @property
    def is_plain(self) -> bool:
        """Whether a byte of it can be gone to: it is not compressed."""
        return not self.name.lower().endswith(".gz")

    def open(self) -> BinaryIO:
        """Open the file as it is, compressed or not."""
        if self.filesystem is None:
            return Path(self.path).open("rb")
        source = self.filesystem.open_input_file(self.path)
        return cast("BinaryIO", io.BufferedReader(source, _BUFFER_BYTES))

    def state(self) -> tuple[int, int]:
        """Return how many bytes it has, and when it was last changed, in nanoseconds."""
        if self.filesystem is None:
            found = Path(self.path).stat()
            return found.st_size, found.st_mtime_ns
        info = self.filesystem.get_file_info(self.path)
        return int(info.size), int(info.mtime_ns or 0)

    def stream(self) -> str | pa.NativeFile:
        """Return what Arrow reads a text from, uncompressed."""
        return self.path if self.filesystem is None else self.filesystem.open_input_stream(self.path)

    def parquet_options(self) -> dict[str, Any]:
        """Return how `pyarrow.parquet.ParquetFile` gets to the bytes: mapped here, in few requests there."""
        if self.filesystem is None:
            return {"memory_map": True}
        return {"filesystem": self.filesystem, "pre_buffer": True}


def readable(files: Iterable[StoredFile]) -> list[StoredFile]:
    """Return the files to read, by name; what starts with ``.`` or ``_`` marks and logs, and is none.

    The rows that a batch left out stand beside its output, and are none either.
    """
    found = (
        file
        for file in files
        if file.suffix and file.name[0] not in "._" and not file.name.endswith(".rejected.jsonl")
    )
    return sorted(found, key=lambda file: (file.name, file.path))
