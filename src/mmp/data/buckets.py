"""Objects of buckets, ``s3://`` and ``gs://``, through Arrow's file systems."""

from __future__ import annotations

import glob
from contextlib import contextmanager
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mmp.data.stored import LISTED, StoredFile, readable
from mmp.errors import SettingsError, SourceError
from mmp.lookup import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pyarrow.fs import FileInfo, FileSystem

TIMEOUT_S = 10
_ATTEMPTS = 2
_COPIED_BYTES = 8 << 20
_HINT = (
    "Check the bucket and its region, the network, and the credentials: those of "
    "data_source.config.storage_options, else of the environment."
)
# what fsspec, pandas and the SDKs call it, and what Arrow does
_S3 = {
    "access_key": "access_key", "key": "access_key", "aws_access_key_id": "access_key",
    "secret_key": "secret_key", "secret": "secret_key", "aws_secret_access_key": "secret_key",
    "session_token": "session_token", "token": "session_token", "aws_session_token": "session_token",
    "region": "region", "region_name": "region", "aws_region": "region", "aws_default_region": "region",
    "endpoint_override": "endpoint_override", "endpoint_url": "endpoint_override",
    "aws_endpoint_url": "endpoint_override", "scheme": "scheme",
    "anonymous": "anonymous", "anon": "anonymous",
    "role_arn": "role_arn", "session_name": "session_name", "external_id": "external_id",
    "force_virtual_addressing": "force_virtual_addressing", "tls_ca_file_path": "tls_ca_file_path",
}  # fmt: skip
_GS = {
    "anonymous": "anonymous", "anon": "anonymous", "project_id": "project_id", "project": "project_id",
    "endpoint_override": "endpoint_override", "endpoint_url": "endpoint_override", "scheme": "scheme",
    "target_service_account": "target_service_account",
}  # fmt: skip
_SECRET = ("access_key", "secret_key", "session_token", "external_id")


def find(uri: str, options: Mapping[str, Any]) -> list[StoredFile]:
    """Find the tables that a URI names: an object, all objects right below a prefix, or a glob.

    Parameters
    ----------
    uri : str
        ``s3://bucket/key`` or ``gs://bucket/key``.
    options : Mapping
        Credentials, region, endpoint, by Arrow's names or by those of fsspec and the SDKs; what they
        leave out is the environment's.

    Raises
    ------
    SettingsError
        An option has no meaning here.
    SourceError
        There is no such object, or the bucket does not answer or refuses.
    """
    scheme, _, path = uri.partition("://")
    connect, names = _FILESYSTEMS[scheme]
    arguments = _arguments(options, names, scheme)
    with _failures(uri, arguments):
        filesystem = connect(arguments)
        found = _found(filesystem, path.rstrip("/"))
    if not found and _is_bucket_missing(filesystem, path):
        raise SourceError(f"There is no bucket {scheme}://{PurePosixPath(path).parts[0]}.", hint=_HINT)
    if found is None:
        raise SourceError(f"There is no {uri}.", hint=_HINT)
    files = readable(StoredFile(info.path, filesystem, scheme) for info in found if info.is_file)
    if not files:
        raise SourceError(f"{uri} has no file that ends in {LISTED}.")
    return files


class Bucket:
    """A place in a bucket that is written.

    Parameters
    ----------
    uri : str
        ``s3://bucket/key`` or ``gs://bucket/key``.
    options : Mapping
        As `find` takes them.

    Raises
    ------
    SettingsError
        An option has no meaning here.
    """

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        scheme, _, path = uri.partition("://")
        connect, names = _FILESYSTEMS[scheme]
        self._uri, self._path = uri, path.rstrip("/")
        self._arguments = _arguments(options, names, scheme)
        with self._failures():
            self._filesystem = connect(self._arguments)

    def exists(self) -> bool:
        """Tell whether there is an object, or one below it."""
        from pyarrow.fs import FileType

        with self._failures():
            return bool(self._filesystem.get_file_info(self._path).type != FileType.NotFound)

    def read(self, suffix: str) -> bytes:
        """Return a small object whose key goes on after this one, nothing where there is none."""
        with self._failures():
            try:
                with self._filesystem.open_input_stream(self._path + suffix) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return b""

    def put(self, file: Path, suffix: str = "") -> None:
        """Copy a file there; the object appears when it is whole."""
        with (
            self._failures(),
            file.open("rb") as content,
            self._filesystem.open_output_stream(self._path + suffix) as stream,
        ):
            while block := content.read(_COPIED_BYTES):
                stream.write(block)

    def clear(self) -> None:
        """Remove what is below it."""
        with self._failures():
            self._filesystem.delete_dir_contents(self._path, missing_dir_ok=True)

    def _failures(self) -> AbstractContextManager[None]:
        return _failures(self._uri, self._arguments, "read or written")


def _found(filesystem: FileSystem, path: str) -> list[FileInfo] | None:
    from pyarrow.fs import FileSelector, FileType

    info = filesystem.get_file_info(path)
    if info.type == FileType.File:
        return [info]
    if info.type == FileType.Directory:
        return list(filesystem.get_file_info(FileSelector(path)))
    if not glob.has_magic(path):
        return None
    parts = PurePosixPath(path).parts
    first = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    below = FileSelector("/".join(parts[:first]), allow_not_found=True, recursive=first < len(parts) - 1)
    return [info for info in filesystem.get_file_info(below) if _matches(PurePosixPath(info.path), parts)]


def _is_bucket_missing(filesystem: FileSystem, path: str) -> bool:
    from pyarrow.fs import FileType

    try:
        return bool(filesystem.get_file_info(PurePosixPath(path).parts[0]).type == FileType.NotFound)
    except OSError:  # who may read objects need not be allowed to look at their bucket
        return False


def _matches(path: PurePosixPath, parts: tuple[str, ...]) -> bool:
    return len(path.parts) == len(parts) and path.match("/".join(parts))


def _s3(arguments: dict[str, Any]) -> FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    return S3FileSystem(
        connect_timeout=TIMEOUT_S,
        request_timeout=TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        **arguments,
    )


def _gs(arguments: dict[str, Any]) -> FileSystem:
    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem(retry_time_limit=timedelta(seconds=TIMEOUT_S), **arguments)


_FILESYSTEMS: dict[str, tuple[Callable[[dict[str, Any]], FileSystem], dict[str, str]]] = {
    "s3": (_s3, _S3),
    "gs": (_gs, _GS),
}


def _arguments(options: Mapping[str, Any], names: Mapping[str, str], scheme: str) -> dict[str, Any]:
    flat = {**options, **(options.get("client_kwargs") or {})}
    flat.pop("client_kwargs", None)
    arguments = {}
    for option, value in flat.items():
        if option.lower() not in names:
            question = did_you_mean(option, names)
            raise SettingsError(
                f"data_source.config.storage_options has {option!r}, which {scheme}:// does not know.",
                hint=question or f"It knows {', '.join(sorted(set(names.values())))}.",
            )
        arguments[names[option.lower()]] = value
    endpoint = arguments.get("endpoint_override", "")
    if "://" in endpoint:
        arguments["scheme"], _, arguments["endpoint_override"] = endpoint.rstrip("/").partition("://")
    return arguments


@contextmanager
def _failures(uri: str, arguments: Mapping[str, Any], done: str = "read") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).rstrip(".")
        for secret in filter(None, map(arguments.get, _SECRET)):
            reason = reason.replace(str(secret), "***")
        raise SourceError(f"{uri} cannot be {done}: {reason}.", hint=_HINT) from None
