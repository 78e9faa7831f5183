"""Where the predictions of a batch go, from the config or from ``-o``, and how they get there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol, Self

from mmp.data.files import would_read
from mmp.data.sinks.files import FilesWriter
from mmp.data.sinks.formats import FORMATS, SUFFIXES
from mmp.data.sinks.places import BucketPlace, LocalPlace, elsewhere
from mmp.data.sinks.work import Part
from mmp.errors import SettingsError
from mmp.settings.adapters import FilesTarget
from mmp.settings.sources import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from mmp.data.sinks import TableWriter
    from mmp.data.sinks.places import Place
    from mmp.data.sinks.work import Work
    from mmp.data.template import Query
    from mmp.settings.adapters import TableOutput
    from mmp.settings.config import Config

_NAME = "predictions_{run_id}"


class Sink(Protocol):
    """An output while it is written, part by part."""

    @property
    def known(self) -> Mapping[str, Any]:
        """What was written down about what is there and complete, empty where nothing is."""

    @property
    def is_occupied(self) -> bool:
        """Whether something is there that a first write must not replace."""

    @property
    def is_foreign(self) -> bool:
        """Whether things are there that are no output, and must not be replaced at all."""

    def has(self, number: int, part: Part) -> bool:
        """Tell whether a part is there as it was written."""

    def write(self, number: int, tables: Sequence[pa.Table]) -> Part:
        """Write one part; it stays, when this returns."""

    def finish(self, manifest: dict[str, Any]) -> None:
        """Put all parts in place, at once."""

    def discard(self) -> None:
        """Forget what was written of this."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Output(Protocol):
    """Where predictions go."""

    @property
    def work(self) -> Path:
        """The folder of `mmp.data.sinks.work` for it."""

    @property
    def identity(self) -> dict[str, Any]:
        """What makes other bytes of the same predictions, as JSON has it."""

    def open(self, work: Work, schema: pa.Schema, key: Mapping[str, Any], entities: Sequence[str]) -> Sink:
        """Begin to write, or to go on."""

    def put_rejected(self, made: Path) -> str:
        """Put a file of rejected rows in place; return where that is."""


@dataclass(frozen=True)
class FilesOutput:
    """One file, or a directory of parts.

    Parameters
    ----------
    place : Place
        Where.
    format : str
        A key of `FORMATS`.
    """

    place: Place
    format: str

    def __str__(self) -> str:
        return str(self.place)

    @property
    def work(self) -> Path:
        """A folder beside it."""
        return self.place.work

    @property
    def identity(self) -> dict[str, Any]:
        """Its format, and whether it is one file."""
        return {"format": self.format, "directory": self.place.is_directory}

    def open(self, work: Work, schema: pa.Schema, key: Mapping[str, Any], entities: Sequence[str]) -> Sink:  # noqa: ARG002 - for tables
        """Begin to write, or to go on."""
        return FilesWriter(work, self.place, FORMATS[self.format], schema)

    def put_rejected(self, made: Path) -> str:
        """Put a file of rejected rows beside it."""
        return self.place.put_rejected(made)


@dataclass(frozen=True)
class DatabaseOutput:
    """A table of a database.

    Parameters
    ----------
    table : TableOutput
        Which, and how rows are added.
    application : str
        What the database calls us.
    """

    table: TableOutput
    application: str

    def __str__(self) -> str:
        return f"table {self.table.table}"

    @property
    def work(self) -> Path:
        """A folder of the working directory."""
        return elsewhere(
            self.table.table, f"{self.table.connection_uri.get_secret_value()} {self.table.table}"
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Table and mode."""
        return {"table": self.table.table, "mode": self.table.mode}

    def open(self, work: Work, schema: pa.Schema, key: Mapping[str, Any], entities: Sequence[str]) -> Sink:  # noqa: ARG002 - for files
        """Begin to write, or to go on."""
        from mmp.data.sinks import TableWriter

        text = json.dumps(key, sort_keys=True)
        keys = [name for name in entities if name in schema.names]
        writer = TableWriter(self.table, schema, key=text, keys=keys, application=self.application)
        return _Table(writer, key)

    def put_rejected(self, made: Path) -> str:
        """Put a file of rejected rows beside its work folder."""
        return LocalPlace(self.work, is_directory=False).put_rejected(made)


class _Table:
    """A `TableWriter` as a `Sink`."""

    is_foreign = False

    def __init__(self, writer: TableWriter, key: Mapping[str, Any]) -> None:
        self._writer, self._key = writer, key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is SettingsError and not self._writer.parts:  # refused before the first row
            self._writer.withdraw()
        self._writer.close()

    @property
    def is_occupied(self) -> bool:
        """Whether a table would be replaced that is no output; of others the mode says what happens."""
        return self._writer.replaces_other_things

    @property
    def known(self) -> Mapping[str, Any]:
        if not self._writer.is_finished:
            return {}
        return {"key": self._key, "rows": self._writer.n_rows}

    def has(self, number: int, part: Part) -> bool:
        return self._writer.parts.get(str(number)) == part.rows

    def write(self, number: int, tables: Sequence[pa.Table]) -> Part:
        batches = (batch for table in tables for batch in table.to_batches())
        return Part(self._writer.write(str(number), batches))

    def finish(self, manifest: dict[str, Any]) -> None:  # noqa: ARG002 - the database has its own
        self._writer.finish()

    def discard(self) -> None:
        self._writer.discard()


def find_output(config: Config, asked: str | None, run_id: str) -> FilesOutput | DatabaseOutput:
    """Return where predictions go.

    Parameters
    ----------
    config : Config
        Its ``output.inference``.
    asked : str or None
        A path instead: one file where it has a suffix, else a directory of parts.
    run_id : str
        What ``{run_id}`` stands for.

    Raises
    ------
    SettingsError
        There is no output, or its name says no format.
    """
    target = config.output.inference
    options = target.config.storage_options if isinstance(target, FilesTarget) else {}
    options = options or config.files.storage_options
    if asked is not None:
        usual = target.config.file_format if isinstance(target, FilesTarget) else "parquet"
        return _path(asked.replace("{run_id}", run_id), usual, options)
    if not target.enabled:
        raise SettingsError(
            "The config says output.inference.enabled: false.", hint="Name an output by -o, or enable it."
        )
    if not isinstance(target, FilesTarget):
        return DatabaseOutput(target.config, f"mmp batch {run_id[:8]}")
    name = (target.config.file_name or _NAME).replace("{run_id}", run_id)
    suffix = FORMATS[target.config.file_format].suffix
    path = f"{target.config.base_path.rstrip('/')}/{name}{suffix}"
    return _path(path, target.config.file_format, options)


def refuse_own_rows(output: FilesOutput | DatabaseOutput, source: str | Query) -> None:
    """Refuse files that would replace rows that are scored, or be read as such the next time.

    Raises
    ------
    SettingsError
        The output is the source, a file among its files, or their directory.
    """
    if isinstance(output, FilesOutput) and isinstance(source, str) and would_read(source, str(output)):
        raise SettingsError(
            f"The predictions would go to {output}, among the rows that are scored: {source}.",
            hint="Name another output by -o.",
        )


def _path(path: str, usual: str, options: Mapping[str, Any]) -> FilesOutput:
    if not PurePath(path).name.strip("."):
        raise SettingsError(
            f"{path!r} is no name of an output.",
            hint=f"Name a file ({', '.join(SUFFIXES)}), or a directory of its own for parts.",
        )
    suffix = Path(path).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise SettingsError(
            f"Predictions cannot be written to {path}: its name ends in none of {', '.join(SUFFIXES)}.",
            hint="Choose one of them, or a name without suffix for a directory of parts.",
        )
    place: Place
    if path.startswith(BUCKETS):
        place = BucketPlace(path, is_directory=not suffix, options=options)
    else:
        _refuse_other_kind(Path(path), is_directory=not suffix)
        place = LocalPlace(Path(path), is_directory=not suffix)
    return FilesOutput(place, SUFFIXES.get(suffix, usual))


def _refuse_other_kind(path: Path, *, is_directory: bool) -> None:
    if is_directory and path.is_file():
        raise SettingsError(
            f"{path} is a file; a name without suffix is that of a directory of parts.",
            hint=f"Name another output, or one file: {path}.parquet",
        )
    if not is_directory and path.is_dir():
        raise SettingsError(
            f"{path} is a directory, and its name that of one file.",
            hint=f"Name a file in it: {path / 'scores'}{path.suffix}",
        )
