"""Files as outputs: parts written beside, and put in place when all of them are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from mmp.data.durable import replacing, sha256
from mmp.data.sinks.work import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from mmp.data.sinks.formats import Format
    from mmp.data.sinks.places import Place
    from mmp.data.sinks.work import Work


class FilesWriter:
    """Files while they are written: one, or a directory of parts.

    Parameters
    ----------
    work : Work
        Where the parts are made.
    place : Place
        Where they go.
    format_ : Format
        What they are.
    schema : pyarrow.Schema
        What is written.
    """

    def __init__(self, work: Work, place: Place, format_: Format, schema: pa.Schema) -> None:
        self._work, self._place, self._format, self._schema = work, place, format_, schema

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave all as it is; whoever comes next goes on with it."""

    @property
    def known(self) -> Mapping[str, Any]:
        """What was written down about what is in place."""
        return self._place.manifest() if self._place.exists() else {}

    @property
    def is_occupied(self) -> bool:
        """Whether something is in place."""
        return self._place.exists()

    @property
    def is_foreign(self) -> bool:
        """Whether a directory is in place that nobody wrote as an output."""
        return self._place.is_directory and self.is_occupied and not self.known

    def has(self, number: int, part: Part) -> bool:
        """Tell whether a part is there as it was written."""
        path = self._path(number)
        return path.exists() and sha256(path) == part.sha256

    def write(self, number: int, tables: Sequence[pa.Table]) -> Part:
        """Write one part; it is safe on disk when this returns."""
        write = self._format.write if self._place.is_directory else self._format.write_part
        with replacing(self._path(number)) as beside:
            write(beside, tables, self._schema)
            digest = sha256(beside)
        return Part(sum(table.num_rows for table in tables), sha256=digest)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Put the parts in place, all at once, with what is known of them."""
        if self._place.is_directory:
            parts = [{"rows": part.rows, "sha256": part.sha256} for part in self._work.done]
            self._place.put(self._work.parts, manifest | {"parts": parts})
            return
        made = self._work.folder / f"whole{self._format.suffix}"
        with replacing(made) as beside:
            self._format.join(beside, [self._path(n) for n, _ in enumerate(self._work.done)], self._schema)
        self._place.put(made, manifest | {"sha256": sha256(made), "bytes": made.stat().st_size})

    def discard(self) -> None:
        """Do nothing: the parts went with the work that was begun before."""

    def _path(self, number: int) -> Path:
        return self._work.parts / f"part-{number:05d}{self._format.suffix}"
