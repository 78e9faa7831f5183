"""What a model folder holds, to the byte: written once, verified before any parser sees a file.

A manifest names every file with its size and SHA-256 and carries a checksum of its own content, so
that corruption is found in the folder alone. Its own SHA-256 is the model's identity: kept elsewhere
(the run's tag), it also finds a folder that was rewritten in a consistent way.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from mmp.errors import ArtifactError
from mmp.modeling.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME: Final = "mmp_manifest.json"
TAG: Final = "mmp.manifest_digest"
FORMAT: Final = 1

# MLflow leaves this beside the files it fetches from its registry. It is never copied nor read.
_FOREIGN: Final = frozenset({"registered_model_meta"})
_MAX_MANIFEST: Final = 1 << 20
_MAX_FILE: Final = 1 << 36
_MAX_FILES: Final = 1000
_MAX_DEPTH: Final = 4
_CHUNK: Final = 1 << 20
# A link is not followed, a pipe not waited for; Windows lacks the first two and needs the third.
_OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
_KEYS: Final = frozenset({"format", "files", "facts", "checksum"})
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a model folder.

    Parameters
    ----------
    size : int
        Bytes.
    sha256 : str
        Digest of its content, in hexadecimal.
    format : str
        What is in it: ``json``, ``npz``, ``ubj``, ``text``, ``yaml``, …
    """

    size: int
    sha256: str
    format: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model folder holds and where it came from.

    Parameters
    ----------
    files : mapping of str to Entry
        Path relative to the folder, with ``/``, to what is known of the file.
    facts : mapping
        What the writer wants known: versions, platform, run, recipe. Plain JSON.
    """

    files: Mapping[str, Entry]
    facts: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Return the file's content: canonical, so that equal manifests are equal bytes."""
        body: dict[str, Any] = {
            "format": FORMAT,
            "facts": dict(self.facts),
            "files": {
                path: {"size": entry.size, "sha256": entry.sha256, "format": entry.format}
                for path, entry in self.files.items()
            },
        }
        return to_json(body | {"checksum": _sha256(to_json(body))})

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest that `to_bytes` wrote, and nothing else.

        Raises
        ------
        ArtifactError
            Where one byte is other than `to_bytes` would write it, or a path leads out of the folder.
        """
        content = from_json(data, NAME)
        if not isinstance(content, dict) or content.keys() != _KEYS:
            raise _refusal("its manifest does not have the parts of a manifest")
        if content["format"] != FORMAT:
            raise ArtifactError(
                f"The model's manifest has format {content['format']!r}; this version of mmp reads {FORMAT}.",
                hint="Load it with the version of mmp that wrote it, or a newer one.",
            )
        manifest = cls(_entries(content["files"]), _facts(content["facts"]))
        if manifest.to_bytes() != data:
            raise _refusal("its manifest does not fit its own checksum")
        return manifest


def seal(folder: Path, facts: Mapping[str, Any], formats: Mapping[str, str]) -> str:
    """Write the manifest of all that is in a folder.

    Parameters
    ----------
    folder : Path
        The finished model folder.
    facts : mapping
        See `Manifest`.
    formats : mapping of str to str
        File suffix to the name of its format; ``""`` for files without one.

    Returns
    -------
    str
        SHA-256 of the manifest, in hexadecimal: the model's identity.
    """
    files = {}
    for path in sorted(_walk(folder)):
        content = folder / path
        files[path] = Entry(
            content.stat().st_size, _file_sha256(content), formats[PurePosixPath(path).suffix]
        )
    data = Manifest(files, facts).to_bytes()
    (folder / NAME).write_bytes(data)
    return _sha256(data)


def verified_copy(folder: Path, private: Path, *, expected_digest: str | None = None) -> Manifest:
    """Copy a model folder into a private one, file by file as its manifest lists them.

    What is in `private` afterwards is what the manifest says, whatever happens to `folder` later.

    Parameters
    ----------
    folder : Path
        A model folder from anywhere.
    private : Path
        An empty directory of the caller's own.
    expected_digest : str, optional
        SHA-256 that the manifest must have: the run's tag.

    Raises
    ------
    ArtifactError
        Where a file is missing, added, changed, too large, or no plain file.
    """
    data = _manifest_bytes(folder)
    if expected_digest is not None and _sha256(data) != expected_digest:
        raise _refusal(
            "its manifest is not the one that the run recorded",
            hint="The model was changed after the run, or belongs to another run. Do not use it.",
        )
    manifest = Manifest.from_bytes(data)
    _same_files(set(islice(_walk(folder), _MAX_FILES + 2)) - {NAME}, set(manifest.files))
    for path, entry in manifest.files.items():
        _copy(folder, path, private / path, entry)
    return manifest


def _manifest_bytes(folder: Path) -> bytes:
    if not folder.is_dir():
        raise ArtifactError(f"There is no model folder '{folder}'.", hint="Check the path or the run id.")
    with closing(_open(folder, NAME)) as source:
        data: bytes = source.read(_MAX_MANIFEST + 1)
    if len(data) > _MAX_MANIFEST:
        raise _refusal("its manifest is larger than a manifest can be")
    return data


def _entries(value: object) -> dict[str, Entry]:
    if not isinstance(value, dict) or not 0 < len(value) <= _MAX_FILES:
        raise _refusal("its manifest does not list files")
    entries = {}
    for path, fields in value.items():
        if not all(_PART.fullmatch(part) for part in path.split("/")):
            raise _refusal(f"its manifest names {path[:80]!r}, which is no path inside the folder")
        entries[path] = _entry(path, fields)
    return entries


def _entry(path: str, fields: object) -> Entry:
    if not isinstance(fields, dict) or fields.keys() != {"size", "sha256", "format"}:
        raise _refusal(f"its manifest says nothing usable about '{path}'")
    size, digest, form = fields["size"], fields["sha256"], fields["format"]
    if type(size) is not int or not 0 <= size <= _MAX_FILE:
        raise _refusal(f"its manifest gives '{path}' an impossible size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or not isinstance(form, str):
        raise _refusal(f"its manifest gives '{path}' an impossible digest")
    return Entry(size, digest, form)


def _facts(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refusal("its manifest does not say what wrote it")
    return value


def _walk(folder: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as found:
        for item in found:
            path = prefix + item.name
            if path in _FOREIGN:
                continue
            if item.is_dir(follow_symlinks=False) and path.count("/") < _MAX_DEPTH:
                yield from _walk(folder / item.name, path + "/")
            elif item.is_file(follow_symlinks=False):
                yield path
            else:
                raise _refusal(f"'{path[:80]}' is a link, a device or too deep, not a plain file")


def _same_files(there: set[str], listed: set[str]) -> None:
    if missing := listed - there:
        raise _refusal(f"the file '{min(missing)}' is missing")
    if added := there - listed:
        raise _refusal(f"the file '{min(added)}' is not one of its own")


def _copy(folder: Path, path: str, target: Path, entry: Entry) -> None:
    """Copy at most what the manifest says, and digest what was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry.size
    with closing(_open(folder, path)) as source, target.open("xb") as copy:
        if (size := os.fstat(source.fileno()).st_size) != entry.size:
            raise _refusal(f"the file '{path}' has {size} bytes instead of {entry.size}")
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            digest.update(chunk)
            copy.write(chunk)
    if left or digest.hexdigest() != entry.sha256:
        raise _refusal(f"the file '{path}' is not the one that was written")


def _open(folder: Path, path: str) -> Any:
    try:
        descriptor = os.open(folder / path, _OPEN_FLAGS)
    except OSError as error:
        raise _refusal(f"the file '{path}' cannot be opened ({error.strerror})") from error
    source = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        source.close()
        raise _refusal(f"'{path}' is no plain file")
    return source


def _file_sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refusal(
    what: str, *, hint: str = "Fetch it again from where it was logged, or train again."
) -> ArtifactError:
    return ArtifactError(f"The model is damaged: {what}.", hint=hint)
