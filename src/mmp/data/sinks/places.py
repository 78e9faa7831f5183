"""Where output files go when they are whole, and what is there already."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mmp.data.durable import failures, replacing, sync

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.json"


class Place(Protocol):
    """Where an output goes: a file, or a directory of files."""

    @property
    def is_directory(self) -> bool:
        """Which of the two."""

    @property
    def work(self) -> Path:
        """The folder to make it in."""

    def exists(self) -> bool:
        """Tell whether something is there."""

    def manifest(self) -> dict[str, Any]:
        """Return what is known of what is there, empty where nothing is."""

    def put(self, made: Path, manifest: dict[str, Any]) -> None:
        """Put what was made in place, and what is known of it."""

    def put_rejected(self, made: Path) -> str:
        """Put the rows that were left out in place; return where."""


@dataclass(frozen=True)
class LocalPlace:
    """A path of this machine.

    Parameters
    ----------
    path : Path
        Of the file or the directory.
    is_directory : bool
        Which of the two.
    """

    path: Path
    is_directory: bool

    def __str__(self) -> str:
        return str(self.path)

    @property
    def work(self) -> Path:
        """A folder beside, so that a rename puts things in place."""
        return self.path.with_name(f"{self.path.name}.mmp-parts")

    def exists(self) -> bool:
        """Tell whether something is there; an empty directory is nothing."""
        return any(self.path.iterdir()) if self.path.is_dir() else self.path.exists()

    def manifest(self) -> dict[str, Any]:
        """Return what is known of what is there."""
        try:
            found = json.loads(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def put(self, made: Path, manifest: dict[str, Any]) -> None:
        """Put what was made in place: a rename, and the file beside or in it that tells of it."""
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        with failures(self.path):
            if self.is_directory:
                (made / f"_{MANIFEST}").write_text(text, encoding="utf-8")
                sync(made / f"_{MANIFEST}")
                sync(made)
                self._make_room()
            made.rename(self.path)
            sync(self.path.parent)
            if not self.is_directory:
                with replacing(self._manifest) as beside:
                    beside.write_text(text, encoding="utf-8")

    def put_rejected(self, made: Path) -> str:
        """Put the rows that were left out beside it."""
        path = self.path.with_name(f"{self.path.name}.rejected.jsonl")
        with failures(path):
            made.replace(path)
            sync(path.parent)
        return str(path)

    @property
    def _manifest(self) -> Path:
        if self.is_directory:
            return self.path / f"_{MANIFEST}"
        return self.path.with_name(f"{self.path.name}.{MANIFEST}")

    def _make_room(self) -> None:
        """Move away the directory that is there, which a rename does not replace."""
        if self.path.is_dir():
            old = self.path.with_name(f"{self.path.name}.mmp-old")
            shutil.rmtree(old, ignore_errors=True)
            self.path.rename(old)
            shutil.rmtree(old, ignore_errors=True)
