"""Where the files of a run lie: a local directory, or whatever else MLflow has a repository for."""

from __future__ import annotations

import errno
import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote, unquote, urlsplit

from mmp.errors import ArtifactError, MissingExtraError, TrackingError
from mmp.lookup import install_line
from mmp.tracking.stores.base import public_uri

if TYPE_CHECKING:
    from collections.abc import Iterator


_FULL = {errno.ENOSPC, errno.EDQUOT}


class Place(Protocol):
    """The artifacts of one run; paths are relative, with ``/``."""

    def put(self, source: Path, path: str) -> None:
        """Copy a local file to a path."""
        ...

    def paths(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files below a folder."""
        ...

    def get(self, path: str, target: Path) -> None:
        """Copy a file to a local path."""
        ...


class RunFiles(ABC):
    """The part of a store that is about files; what differs is the place."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    @abstractmethod
    def place(self, run_id: str) -> Place:
        """Return where the files of a run lie."""

    def upload(self, run_id: str, local_path: Path, folder: str = "") -> None:
        """Copy a file, or what a directory holds, into a folder of the run's artifacts."""
        place = self.place(run_id)
        if local_path.is_file():
            place.put(local_path, inside(str(PurePosixPath(folder, local_path.name))))
            return
        for file in sorted(path for path in local_path.rglob("*") if path.is_file()):
            place.put(file, inside(str(PurePosixPath(folder, file.relative_to(local_path).as_posix()))))

    def artifacts(self, run_id: str, folder: str = "") -> list[str]:
        """Return the paths of all files below a folder of the run's artifacts, sorted."""
        return sorted(inside(path) for path in self.place(run_id).paths(inside(folder) if folder else ""))

    def download(self, run_id: str, folder: str, local_dir: Path) -> list[Path]:
        """Copy the files below a folder of the run's artifacts into a local directory."""
        place = self.place(run_id)
        written = []
        for path in self.artifacts(run_id, folder):
            target = local_dir / PurePosixPath(path).relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            place.get(path, target)
            written.append(target)
        if not written:
            raise ArtifactError(f"The run {run_id} has no files in {folder or 'its artifacts'}.")
        return written


def inside(path: str) -> str:
    """Return a relative path as it is, or raise `ArtifactError` where it leads out of its folder.

    Examples
    --------
    >>> inside("model/bundle.json")
    'model/bundle.json'
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise ArtifactError(f"The artifact path {path!r} leads out of the run's own files.")
    return path


class LocalPlace:
    """A directory of this machine.

    Parameters
    ----------
    root : Path
        The run's artifact directory; it is made when the first file comes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, source: Path, path: str) -> None:
        """Copy a local file; it appears whole or not at all."""
        target = self.root / path
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial)
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise TrackingError(
                f"The artifact {path} cannot be written to {self.root}: {error.strerror or error}.",
                hint="Make room there, or name another place in mlflow.artifact_root."
                if error.errno in _FULL
                else "Make it writable for you, or let a server keep artifacts itself (--serve-artifacts).",
            ) from error

    def paths(self, folder: str) -> Iterator[str]:
        """Yield the files below a folder."""
        for file in (self.root / folder).rglob("*"):
            if file.is_file():
                yield file.relative_to(self.root).as_posix()

    def get(self, path: str, target: Path) -> None:
        """Copy a file; a symbolic link that leads out of the run is refused."""
        source = (self.root / path).resolve()
        if not source.is_relative_to(self.root.resolve()):
            raise ArtifactError(f"The artifact {path} is a link that leads out of the run's own files.")
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise ArtifactError(f"The artifact {path} cannot be read: {error.strerror or error}.") from error


class ForeignPlace:
    """A bucket or another place that MLflow's own repositories reach; imports mlflow.

    Parameters
    ----------
    uri : str
        The run's artifact URI (``s3://…``, ``gs://…``, ``dbfs:/…``).
    tracking_uri : str
        The store that the run is in.
    s3_endpoint_url : str or None
        Endpoint of an S3-compatible store.
    """

    def __init__(self, uri: str, *, tracking_uri: str, s3_endpoint_url: str | None = None) -> None:
        self.uri = uri
        if s3_endpoint_url:
            os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", s3_endpoint_url)
        self._repository = _repository(uri, tracking_uri)

    def put(self, source: Path, path: str) -> None:
        """Upload a file."""
        with _CloudErrors(self.uri):
            self._repository.log_artifact(str(source), str(PurePosixPath(path).parent).removeprefix("."))

    def paths(self, folder: str) -> Iterator[str]:
        """Yield the files below a folder."""
        with _CloudErrors(self.uri):
            entries = self._repository.list_artifacts(folder or None)
        for entry in entries:
            if entry.is_dir:
                yield from self.paths(entry.path)
            else:
                yield entry.path

    def get(self, path: str, target: Path) -> None:
        """Download a file."""
        with _CloudErrors(self.uri):
            shutil.copyfile(self._repository.download_artifacts(path), target)


def _repository(uri: str, tracking_uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    except ImportError as error:
        raise MissingExtraError(
            f"The artifacts at {public_uri(uri)} are reached through mlflow, which is not installed.",
            hint=install_line("mlflow"),
        ) from error
    try:
        return get_artifact_repository(uri, tracking_uri=tracking_uri)
    except MlflowException as error:
        raise TrackingError(
            f"MLflow cannot reach artifacts at {public_uri(uri)}: {error.message}."
        ) from error
    except ImportError as error:
        raise MissingExtraError(
            f"MLflow needs a library for artifacts at {public_uri(uri)}: {error}.",
            hint="pip install 'mlflow[extras]'",
        ) from error


class _CloudErrors:
    """Turn what a cloud's library raises while it moves a file into our error, naming the place."""

    libraries = frozenset(
        {"azure", "boto3", "botocore", "google", "mlflow", "paramiko", "requests", "urllib3"}
    )

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        foreign = kind is not None and kind.__module__.partition(".")[0] in self.libraries
        if foreign or isinstance(error, OSError):
            raise TrackingError(f"Artifacts at {public_uri(self.uri)} do not answer: {error}.") from error


def local_path(uri: str) -> Path | None:
    """Return the directory that an artifact URI names; None where it is no local one.

    Examples
    --------
    >>> local_path("file:///data/my%20runs").as_posix()
    '/data/my runs'
    >>> local_path("s3://bucket/runs") is None
    True
    """
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        return None
    return Path(unquote(parts.path if parts.scheme else uri))


def path_uri(path: Path) -> str:
    """Return the artifact URI of a directory: the plain path where every reader takes it as it is."""
    plain = path.as_posix()
    return plain if quote(plain) == plain else path.as_uri()
