"""The folder beside an output in which it is made, part by part, by one process after the other.

=================  ===================================================================
``job.json``       what is made of what: the key
``parts.jsonl``    one line for each part that is done, in order, appended and synced
``parts/``         the parts, where the output is files
``rejected/``      the rows that were left out, by part
``rows.parquet``   the rows of a query, which would not come twice as they came
``run``            the run that works here, or worked until it was killed
=================  ===================================================================
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from mmp.data.batches import BEGINNING, Mark
from mmp.data.durable import failures, replacing, sync
from mmp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_JOB = "job.json"
_DONE = "parts.jsonl"


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is done.

    Parameters
    ----------
    rows, rejected : int
        How many rows it has, and how many were left out of it.
    sha256 : str
        Digest of its file; empty where it is in a database.
    mark : Mark
        Where to read on after it.
    """

    rows: int
    rejected: int = 0
    sha256: str = ""
    mark: Mark = BEGINNING

    @classmethod
    def from_json(cls, line: bytes) -> Part:
        """Read what `Work.record` wrote."""
        known = json.loads(line)
        return cls(**{**known, "mark": Mark(*known.get("mark", BEGINNING))})


class Work:
    """A folder that one process at a time works in.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    output : str
        What is made, for messages.

    Raises
    ------
    DataError
        Another process works in it, or it cannot be made.

    Attributes
    ----------
    done : list of Part
        The parts that are done: all rows up to some row.
    """

    def __init__(self, folder: Path, output: str) -> None:
        self.folder = folder
        self.done: list[Part] = []
        with failures(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
        if self._lock is None:
            raise DataError(
                f"Another process is writing {output}.", hint="Wait for it, or name another output by -o."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def job(self) -> dict[str, Any]:
        """The key of what was begun here, empty where nothing was."""
        try:
            job = json.loads(self.read(_JOB))
        except ValueError:
            return {}
        return job if isinstance(job, dict) else {}

    def begin(self, job: Mapping[str, Any]) -> None:
        """Begin anew; what was done is forgotten, but not what was read from a database."""
        for name in (_JOB, _DONE):  # the key goes first: without it nothing counts
            (self.folder / name).unlink(missing_ok=True)
        for name in ("parts", "rejected"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        with failures(self.folder):
            (self.folder / "parts").mkdir()
            (self.folder / "rejected").mkdir()
        self.write(_JOB, json.dumps(job, indent=1, ensure_ascii=False) + "\n")
        self.done = []

    def resume(self, has: Callable[[int, Part], bool]) -> None:
        """Go on with what was begun: count the parts that are done.

        Parameters
        ----------
        has : callable
            Tells of a part's number, and what was written down of it, whether the output has it so.
        """
        path = self.folder / _DONE
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # the last may be torn
        for number, line in enumerate(lines):
            part = Part.from_json(line)
            if not has(number, part) or (part.rejected and not self.rejected(number).exists()):
                break
            self.done.append(part)
        with failures(path), path.open("ab") as file:
            file.truncate(sum(len(line) + 1 for line in lines[: len(self.done)]))

    def record(self, part: Part) -> None:
        """Count the next part as done; it is, when this returns."""
        path = self.folder / _DONE
        is_new = not self.done
        with failures(path), path.open("ab") as file:
            file.write(json.dumps(asdict(part)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(self.folder)
        self.done.append(part)

    @property
    def parts(self) -> Path:
        """The folder of the parts, where they are files."""
        return self.folder / "parts"

    def rejected(self, number: int) -> Path:
        """Return where the rows go that are left out of a part."""
        return self.folder / "rejected" / f"part-{number:05d}.jsonl"

    def gather_rejected(self) -> Path:
        """Put the rows that were left out of all parts into one file, and return it."""
        gathered = self.folder / "rejected.jsonl"
        with replacing(gathered) as beside, beside.open("wb") as file:
            for number, part in enumerate(self.done):
                if part.rejected:
                    file.write(self.rejected(number).read_bytes())
        return gathered

    def read(self, name: str) -> str:
        """Return the text of a file of the folder, nothing where there is none."""
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        with replacing(self.folder / name) as beside:
            beside.write_text(text, encoding="utf-8")

    def remove(self) -> None:
        """Remove the folder: what was made here is in its place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let others work here; of what was refused before it began, no folder stays."""
        if self._lock is not None:
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.remove()
            os.close(self._lock)
            self._lock = None


def _locked(folder: Path) -> int | None:
    """Return a descriptor that holds the lock of a folder, None where another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
        return descriptor
    # whoever had it before has finished and removed it
    os.close(descriptor)
    folder.mkdir(parents=True, exist_ok=True)
    return _locked(folder)
