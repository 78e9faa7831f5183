"""A home: the folder with `.env`, `data/` and `mlflow-artifacts/`."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localdev import dotenv
from localdev.failure import Failure
from localdev.services import SERVICES, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).resolve().parents[1]
SECRET = (*dotenv.GENERATED, "REDIS_PASSWORD")
DEFAULTS = {
    "POSTGRES_HOST": "localhost",
    "POSTGRES_PORT": "5432",
    "POSTGRES_USER": "mlpipeline_user",
    "POSTGRES_PASSWORD": "",
    "POSTGRES_DB": "mlpipeline_db",
    "POSTGRES_READER_USER": "mlpipeline_reader",
    "POSTGRES_READER_PASSWORD": "",
    "MLFLOW_DB": "mlflow_db",
    "REDIS_HOST": "localhost",
    "REDIS_PORT": "6379",
    "REDIS_PASSWORD": "",
    "MLFLOW_TRACKING_URI": "http://localhost:5002",
}
LOOPBACK = "127.0.0.1"
_NAMES = ("POSTGRES_USER", "POSTGRES_READER_USER", "POSTGRES_DB", "MLFLOW_DB")
_HIGHEST = 65_535
_LEAST_BYTES = 200_000_000


@dataclass(frozen=True)
class Home:
    """Where the servers of one `.env` live, and what that file says."""

    folder: Path
    values: Mapping[str, str] = field(repr=False)

    @property
    def data(self) -> Path:
        """Databases, logs and what is remembered."""
        return self.folder / "data"

    @property
    def run(self) -> Path:
        """Which processes are ours."""
        return self.data / "run"

    @property
    def artifacts(self) -> Path:
        """What MLflow keeps for its runs."""
        return self.folder / "mlflow-artifacts"

    def log(self, service: str) -> Path:
        """Return the log of a service."""
        return self.data / "logs" / f"{service}.log"

    def address(self, service: Service) -> tuple[str, int]:
        """Return host and port; this machine comes as an address, so that no name has to be looked up."""
        host, port = _address(self.values, service)
        return (LOOPBACK if host == "localhost" else host), port

    def is_local(self, service: Service) -> bool:
        """Return whether the service is to run on this machine."""
        return self.address(service)[0] == LOOPBACK


def _address(values: Mapping[str, str], service: Service) -> tuple[str, int]:
    if service.protocol == "http":
        parts = urlsplit(values[service.port_variable])
        return parts.hostname or "", parts.port or 80
    return values[service.port_variable.replace("PORT", "HOST")], int(values[service.port_variable])


def open_home(folder: Path) -> Home:
    """Read a home; a folder without `.env` has the ports and names of a new one, and no passwords."""
    folder = folder.resolve()
    path = folder / ".env"
    given = dotenv.read(path) if path.exists() else {}
    values = DEFAULTS | given
    if given:
        _check_passwords(values, path)
    _check(values, path)
    return Home(folder, values)


def unread_home(folder: Path) -> Home:
    """Return a home of which nobody has read `.env`: enough to stop what runs there."""
    return Home(folder.resolve(), DEFAULTS)


def _check_passwords(values: Mapping[str, str], path: Path) -> None:
    for name in dotenv.GENERATED:
        if not values[name]:
            raise Failure(f"{path} has no {name}", "Write one; letters and digits will do.")
    for name in SECRET:
        if not values[name].isprintable() or not values[name].isascii():
            raise Failure(f"{name} in {path} has a character that is not printable ASCII", "Choose another.")


def _check(values: Mapping[str, str], path: Path) -> None:
    for name in _NAMES:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", values[name]):
            raise Failure(f"{name} in {path} may have small letters, digits and underscores only")
    for service in SERVICES.values():
        name = service.port_variable
        try:
            host, port = _address(values, service)
        except ValueError:
            raise Failure(f"{name} in {path} has no port in it: {values[name]!r}") from None
        if not host or not 0 < port <= _HIGHEST:
            raise Failure(f"{name} in {path} is no address of a server: {values[name]!r}")


def remembered(folder: Path) -> dict[str, str]:
    """Return what the last `up` noted; nothing where the folder was copied from elsewhere."""
    path = folder / "data" / "run" / "state.json"
    try:
        state: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return state if state.get("home") == str(folder) else {}


def remember(home: Home, **facts: str) -> None:
    """Note something for later commands."""
    write_private(
        home.run / "state.json", json.dumps({"home": str(home.folder), **remembered(home.folder), **facts})
    )


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def discard(place: Path) -> None:
    """Delete a folder; where that is cut off, nothing is left that looks whole."""
    gone = place.with_name(f"{place.name}.gone")
    if gone.exists():
        shutil.rmtree(gone)
    if place.exists():
        place.rename(gone)
        shutil.rmtree(gone)


def prepare(folder: Path, offset: int | None = None) -> Home:
    """Make what is missing of a home, move its ports where that is asked for, and open it."""
    folder.mkdir(parents=True, exist_ok=True)
    dotenv.make(folder / ".env", offset)
    home = open_home(folder)
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < _LEAST_BYTES:
        raise Failure(
            f"less than {_LEAST_BYTES // 1_000_000} MB are free on the disk of {folder}",
            "Free some, and try again.",
        )
    for place in (home.data, home.run, home.data / "logs", home.artifacts):
        place.mkdir(exist_ok=True)
    home.data.chmod(0o711)
    home.run.chmod(0o700)
    return home


@contextmanager
def locked(folder: Path, patience_s: float = 180) -> Iterator[None]:
    """Have a home to oneself: commands that change it wait for each other."""
    handle = os.open(folder, os.O_RDONLY)
    end = time.monotonic() + patience_s
    try:
        while not _lock(handle):
            if time.monotonic() > end:
                raise Failure(f"another command has been at work in {folder} for {patience_s:.0f} s")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
