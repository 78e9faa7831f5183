"""Everything of a home in one dated file, and back."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from localdev import binaries, postgresql, processes, redis, runner, settings
from localdev.failure import Failure
from localdev.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localdev.settings import Home

_LIST = "contents.json"
_KIND = "mmp-local-dev backup 1"


def backup(folder: Path, target: Path | None) -> Path:
    """Write databases, keys and artifacts into an archive, read it back, and return where it is.

    The databases are dumped before the artifacts are copied, so no dumped run lacks an artifact that it had.
    Roles and passwords are not in it.
    """
    with settings.locked(folder):
        home = settings.open_home(folder)
        target = (
            target or home.folder / "backups" / f"mmp-local-dev-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
        )
        if target.exists():
            raise Failure(f"{target} is there already", "Name another file with -o.")
        _need(home, "postgresql", "redis")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        try:
            with tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as work:
                _write(home, Path(work), partial)
            _verify(partial)
            partial.chmod(0o600)
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)
    return target


def _need(home: Home, *names: str) -> None:
    for name in names:
        state = runner.look(home, SERVICES[name]).state
        if state != "running":
            raise Failure(f"a backup needs {name} of this home, and it is {state}", "Run `up` first.")


def _write(home: Home, work: Path, partial: Path) -> None:
    programs = binaries.postgresql()
    for database in _databases(home):
        processes.run(
            [str(programs / "pg_dump"), "--format=custom", "--no-owner", f"--file={work / database}.dump"],
            f"pg_dump of {database}", env=postgresql.client_environment(home, database=database),
        )  # fmt: skip
    redis.save(home, work / "redis.rdb")
    files = {path.name: path for path in sorted(work.iterdir())} | dict(_artifacts(home))
    with tarfile.open(partial, "w:gz", compresslevel=3) as archive:
        digests = {}
        for name, path in files.items():
            archive.add(path, name, recursive=False)
            with path.open("rb") as file:
                digests[name] = _digest(file)
        contents = work / _LIST
        contents.write_text(json.dumps({"kind": _KIND, "files": digests}), encoding="utf-8")
        archive.add(contents, _LIST)


def _databases(home: Home) -> tuple[str, str]:
    return home.values["POSTGRES_DB"], home.values["MLFLOW_DB"]


def _artifacts(home: Home) -> Iterator[tuple[str, Path]]:
    for path in sorted(home.artifacts.rglob("*")):
        if path.is_file():
            yield f"mlflow-artifacts/{path.relative_to(home.artifacts)}", path


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _verify(path: Path) -> None:
    """Read an archive to its end and compare every file with the list in it."""
    found, contents = {}, {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is None:
                    raise Failure(f"{path} is not a backup of this runner: {member.name} is no file")
                if member.name == _LIST:
                    contents = json.load(file)
                else:
                    found[member.name] = _digest(file)
    except (tarfile.TarError, EOFError, json.JSONDecodeError) as error:
        raise Failure(f"{path} is not a whole archive: {error}") from None
    if contents.get("kind") != _KIND:
        raise Failure(f"{path} is not a backup of this runner")
    saved = contents["files"]
    differing = [name for name in {*found, *saved} if found.get(name) != saved.get(name)]
    if differing:
        raise Failure(f"{path} is damaged: {min(differing)} is not what was saved")


def restore(folder: Path, source: Path) -> list[runner.Status]:
    """Replace databases, keys and artifacts by those of an archive; what the archive lacks is gone.

    The archive is read to its end before anything is touched.
    """
    _verify(source)
    home = settings.prepare(folder)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=home.data) as work:
        _extract(source, Path(work))
        _replace(folder, home, Path(work))
    return runner.up(folder, list(SERVICES.values()))


def _extract(source: Path, target: Path) -> None:
    """Write the files of an archive into a folder, as files and nowhere else."""
    with tarfile.open(source) as archive:
        for member in archive:
            path, file = (target / member.name).resolve(), archive.extractfile(member)
            if file is None or not path.is_relative_to(target.resolve()):
                raise Failure(f"{source} is not a backup of this runner: {member.name} leads out of it")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                shutil.copyfileobj(file, out)


def _replace(folder: Path, home: Home, work: Path) -> None:
    for database in _databases(home):
        if not (work / f"{database}.dump").exists():
            raise Failure(f"the archive has no database {database}, which .env names")
    runner.down(folder)
    with settings.locked(folder):
        for name in ("postgresql", "redis"):
            if (note := runner.look(home, SERVICES[name])).state != "stopped" or note.note:
                raise Failure(f"{name} is not ours to restore: {note.note or note.state}")
        if postgresql.folder(home).exists():
            postgresql.drop_databases(home)
        redis.restore(home, work / "redis.rdb")
    runner.up(folder, [SERVICES["postgresql"]])
    programs = binaries.postgresql()
    for database in _databases(home):
        processes.run(
            [str(programs / "pg_restore"), "--no-owner", "--no-privileges", "--clean", "--if-exists",
             "--exit-on-error", f"--dbname={database}", f"{work / database}.dump"],
            f"pg_restore of {database}", env=postgresql.client_environment(home, database=database),
        )  # fmt: skip
    postgresql.grant(home)
    shutil.rmtree(home.artifacts)
    artifacts = work / "mlflow-artifacts"
    artifacts.mkdir(exist_ok=True)
    artifacts.rename(home.artifacts)
