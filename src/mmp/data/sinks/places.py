"""Where output files go when they are whole, and what is there already."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmp.data.buckets import Bucket
from mmp.data.durable import failures, replacing, sync

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "manifest.json"
_REJECTED = ".rejected.jsonl"
_ELSEWHERE = Path(".mmp/batch")


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
            return _object(self._manifest.read_bytes())
        except OSError:
            return {}

    def put(self, made: Path, manifest: dict[str, Any]) -> None:
        """Put what was made in place: a rename, and the file beside or in it that tells of it."""
        text = _text(manifest)
        with failures(self.path):
            if self.is_directory:
                (made / f"_{MANIFEST}").write_bytes(text)
                sync(made / f"_{MANIFEST}")
                sync(made)
                self._make_room()
            made.rename(self.path)
            sync(self.path.parent)
            if not self.is_directory:
                with replacing(self._manifest) as beside:
                    beside.write_bytes(text)

    def put_rejected(self, made: Path) -> str:
        """Put the rows that were left out beside it."""
        path = self.path.with_name(self.path.name + _REJECTED)
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


class BucketPlace:
    """A key of a bucket, and the keys that begin with it.

    Parameters
    ----------
    uri : str
        ``s3://`` or ``gs://``.
    is_directory : bool
        Whether files go below it.
    options : Mapping
        Credentials and the like.
    """

    def __init__(self, uri: str, *, is_directory: bool, options: Mapping[str, Any]) -> None:
        self.is_directory = is_directory
        self._uri = uri.rstrip("/")
        self._bucket = Bucket(uri, options)

    def __str__(self) -> str:
        return self._uri

    @property
    def work(self) -> Path:
        """A folder of the working directory."""
        return elsewhere(self._uri.rpartition("/")[2], self._uri)

    def exists(self) -> bool:
        """Tell whether something is there."""
        return self._bucket.exists()

    def manifest(self) -> dict[str, Any]:
        """Return what is known of what is there."""
        return _object(self._bucket.read(self._manifest))

    def put(self, made: Path, manifest: dict[str, Any]) -> None:
        """Copy what was made, and then, since it does not appear at once, what tells that it is complete."""
        if self.is_directory:
            self._bucket.clear()
            for file in sorted(made.iterdir()):
                self._bucket.put(file, f"/{file.name}")
        else:
            self._bucket.put(made)
        text = made.parent / MANIFEST
        text.write_bytes(_text(manifest))
        self._bucket.put(text, self._manifest)

    def put_rejected(self, made: Path) -> str:
        """Copy the rows that were left out beside it."""
        self._bucket.put(made, _REJECTED)
        return f"{self._uri}{_REJECTED}"

    @property
    def _manifest(self) -> str:
        return f"/_{MANIFEST}" if self.is_directory else f".{MANIFEST}"


def elsewhere(name: str, identity: str) -> Path:
    """Return the folder to make an output in that is not on this machine."""
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:80]
    return _ELSEWHERE / f"{plain}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _text(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
