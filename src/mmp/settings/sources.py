"""Where the rows of a recipe are read from."""

from __future__ import annotations

import glob
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mmp.errors import SettingsError
from mmp.lookup import is_dotted

PYTHON = "python:"
"""What a source begins with that is a function of the user's own."""

BUCKETS = ("s3://", "gs://")
"""What a source begins with that is in a bucket."""

QUERIES = (".sql", ".sql.j2")
"""What a source ends in that is a query, for the database of `data_source`."""


def is_query(uri: str) -> bool:
    """Tell whether a source is a query: a file of SQL, whatever words stand in its name."""
    return "://" not in uri and uri.lower().endswith(QUERIES)


def source_path(uri: str, base_path: str = ".") -> str:
    """Return what to read for a source, or refuse it.

    A relative source starts from `base_path`, or, as in modern-ml-pipeline 1.x, from the working
    directory where it is not there. It may not lead out of where it starts by ``..`` or a symlink;
    an absolute path and a URI may lead anywhere. A query starts from the working directory.

    Parameters
    ----------
    uri : str
        File, directory or glob, here or in a bucket; a file of SQL; or ``python:`` and the dotted path
        of a function.
    base_path : str
        `data_source.config.base_path` of the config.

    Returns
    -------
    str
        A source for `data.sources.read`.

    Raises
    ------
    SettingsError
        It leads outside, carries a password, or is of a kind that cannot be read yet.

    Examples
    --------
    >>> source_path("2026/*.parquet", "s3://shop/orders/")
    's3://shop/orders/2026/*.parquet'
    """
    if uri.startswith(PYTHON):
        return _function(uri)
    if uri.startswith(BUCKETS):
        return _object(uri)
    if "://" in uri:
        raise SettingsError(
            f"A {urlsplit(uri).scheme} source cannot be read in this version yet.",
            hint="Name a .csv, .csv.gz, .parquet, .jsonl or .sql file, a directory or a glob of files.",
        )
    if is_query(uri):
        base_path = "."
    if base_path.startswith(BUCKETS) and not Path(uri).is_absolute():
        return _below(base_path, uri)
    if Path(uri).is_absolute():
        return uri
    below = Path(base_path, uri)
    path = below if _is_there(below) or not _is_there(Path(uri)) else Path(uri)
    root = Path(base_path) if path is below and Path(base_path).is_absolute() else Path()
    start = _fixed_part(path)
    if not start.resolve().is_relative_to(root.resolve()):
        raise SettingsError(
            f"The source {uri} leads out of {root.resolve()}.",
            hint=f"If that is meant, write the absolute path: {path.resolve()}",
        )
    return str(path)


def _function(uri: str) -> str:
    if not is_dotted(uri.removeprefix(PYTHON)):
        raise SettingsError(
            f"{uri} does not name a function.", hint=f"Write its dotted path: {PYTHON}package.module.function"
        )
    return uri


def _object(uri: str) -> str:
    bucket = urlsplit(uri).netloc
    if not bucket or "@" in bucket or "?" in uri:
        raise SettingsError(
            f"A {urlsplit(uri).scheme} source is a bucket and a key, without credentials or options.",
            hint="Those stand under data_source.config.storage_options of the config.",
        )
    return uri


def _below(base: str, uri: str) -> str:
    if ".." in PurePosixPath(uri).parts:
        raise SettingsError(
            f"The source {uri} leads out of {base}.", hint="If that is meant, write the whole URI."
        )
    return _object(f"{base.rstrip('/')}/{PurePosixPath(uri)}")


def _is_there(path: Path) -> bool:
    return path.exists() or (
        glob.has_magic(str(path)) and _fixed_part(path).is_dir() and _fixed_part(path) != Path()
    )


def _fixed_part(path: Path) -> Path:
    """Return the part of a glob before its first wildcard."""
    parts = []
    for part in path.parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)
