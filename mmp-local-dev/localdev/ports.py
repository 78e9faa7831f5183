"""Who listens on a port."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"


@dataclass(frozen=True)
class Owner:
    """The process that holds a port; a process of somebody else may not be known."""

    pid: int | None
    name: str

    def __str__(self) -> str:
        """Return what to call it."""
        return self.name if self.pid is None else f"{self.name} (process {self.pid})"


def is_open(host: str, port: int) -> bool:
    """Return whether something accepts connections."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def owner(port: int) -> Owner | None:
    """Return who listens on a port of this machine; None if nobody does."""
    if Path("/proc/net/tcp").exists():
        return _owner_by_proc(port)
    return _owner_by_lsof(port) if shutil.which("lsof") else _unknown(port)


def _unknown(port: int) -> Owner | None:
    return Owner(None, "an unknown process") if is_open("127.0.0.1", port) else None


def _owner_by_proc(port: int) -> Owner | None:
    sockets = _listening(port)
    if not sockets:
        return None
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _holds(entry, sockets):
            return Owner(int(entry.name), (entry / "comm").read_text(encoding="utf-8").strip())
    return Owner(None, "a process of another user")


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        path = Path(table)
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _holds(entry: Path, sockets: set[str]) -> bool:
    try:
        return any(str(handle.readlink()) in sockets for handle in (entry / "fd").iterdir())
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False


def _owner_by_lsof(port: int) -> Owner | None:
    told = subprocess.run(
        ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"], capture_output=True, text=True, check=False
    ).stdout
    pid, name = re.search(r"^p(\d+)", told, re.MULTILINE), re.search(r"^c(.+)", told, re.MULTILINE)
    return Owner(int(pid[1]), name[1]) if pid and name else _unknown(port)
