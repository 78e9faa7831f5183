"""Processes that outlive the command which started them, and how they are known again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from localdev.failure import Failure
from localdev.settings import Home, write_private

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from pwd import struct_passwd

MARK = "MMP_LOCAL_DEV"
_PROC = Path("/proc/self/stat")
_LOG_BYTES = 20_000_000


@dataclass(frozen=True)
class Process:
    """A process of ours. `identity` tells it from a later one that got the same number."""

    pid: int
    identity: str
    mark: str
    since: str

    @property
    def is_alive(self) -> bool:
        """Whether it is still that process, and not a zombie."""
        return identity(self.pid) == self.identity


def identity(pid: int) -> str | None:
    """Return what no other process has: the moment of its start; None if it does not run."""
    if not _PROC.exists():
        found = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        state, _, started = found.partition(" ")
        return started.strip() or None if not state.startswith("Z") else None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"


def mark(home: Home, service: str) -> str:
    """Return what the environment of our processes carries."""
    return f"{service}@{home.folder}"


def environment(home: Home, service: str, **more: str) -> dict[str, str]:
    """Return the environment of a server: ours without what would change it, with the mark."""
    dropped = ("MLFLOW_", "PG", "POSTGRES_", "REDIS_", "PYTHON", "LC_", "_MLFLOW")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "LC_ALL": "C.UTF-8", MARK: mark(home, service), **more}


def is_marked(pid: int, home: Home, service: str) -> bool:
    """Return whether a process is one of ours by its environment, whatever became of its parent."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return False
    return f"{MARK}={mark(home, service)}".encode() in words


def marked(home: Home, service: str) -> list[int]:
    """Return the processes of a service that live, children of a killed parent included."""
    if not _PROC.exists():
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if is_marked(pid, home, service) and identity(pid)]


def working_in(folder: Path, *programs: str) -> list[int]:
    """Return the processes of some programs whose working directory is a folder."""
    found = []
    proc = Path("/proc")
    for entry in proc.iterdir() if _PROC.exists() else ():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append((int(entry.name), (entry / "comm").read_text(encoding="utf-8").strip()))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return [pid for pid, program in found if program in programs and identity(pid)]


def record_of(home: Home, service: str) -> Process | None:
    """Return the process that was noted for a service, if it lives and was noted here."""
    try:
        process = Process(**json.loads((home.run / f"{service}.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, PermissionError, json.JSONDecodeError, TypeError):
        return None
    return process if process.mark == mark(home, service) and process.is_alive else None


def start(
    home: Home, service: str, command: Sequence[str], user: struct_passwd | None = None, **more: str
) -> Process:
    """Start a server in a session of its own and note it; its output goes to its log."""
    log = home.log(service)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            cwd="/",
            env=environment(home, service, **more),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(user),
        )
    process = Process(
        child.pid,
        identity(child.pid) or "",
        mark(home, service),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_private(home.run / f"{service}.json", json.dumps(asdict(process)))
    return process


class _As(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def as_user(user: struct_passwd | None) -> _As:
    """Return what `subprocess` needs to run as somebody else."""
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def await_answer(
    home: Home, service: str, process: Process, ask: Callable[[], str | None], patience_s: float
) -> None:
    """Wait until `ask` finds nothing wrong; fail with the log's last words when the process ends before."""
    end = time.monotonic() + patience_s
    while problem := ask():
        _reap(process.pid)
        if not process.is_alive:
            raise _told(home, service, "ended as it started")
        if time.monotonic() > end:
            raise _told(home, service, f"did not answer within {patience_s:.0f} s: {problem}")
        time.sleep(0.05)


def _told(home: Home, service: str, what: str) -> Failure:
    lines = tail(home.log(service), 40)
    if any("No space left on device" in line for line in lines):
        return Failure(
            f"{service} found no space left on the disk of {home.folder}", "Free some, and run `up` again."
        )
    words = next(
        (line for line in reversed(lines) if "FATAL" in line or "rror" in line), (lines or ["nothing"])[-1]
    )
    return Failure(f"{service} {what}; its log says: {words.strip()}", f"The log is {home.log(service)}.")


def tail(path: Path, number: int) -> list[str]:
    """Return the last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200 * number - 4096))
            return file.read().decode("utf-8", "replace").splitlines()[-number:]
    except FileNotFoundError:
        return []


def stop(pids: Sequence[int], steps: Sequence[tuple[signal.Signals, float]], *, group: bool = False) -> None:
    """End processes: each signal gets its seconds before the next."""
    alive = {pid: known for pid in pids if (known := identity(pid))}
    for step, patience_s in steps:
        for pid in alive:
            _signal(pid, step, group=group)
        end = time.monotonic() + patience_s
        while alive and time.monotonic() < end:
            time.sleep(0.02)
            for pid in alive:
                _reap(pid)
            alive = {pid: known for pid, known in alive.items() if identity(pid) == known}
        if not alive:
            return


def _signal(pid: int, step: signal.Signals, *, group: bool) -> None:
    try:
        if group and os.getpgid(pid) == pid:
            os.killpg(pid, step)
        else:
            os.kill(pid, step)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    """Take note of a child's end; the children of other commands have another parent by now."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def run(
    command: Sequence[str],
    what: str,
    *,
    env: Mapping[str, str],
    user: struct_passwd | None = None,
    text: str | None = None,
    patience_s: float = 600,
) -> str:
    """Run a command to its end and return what it printed; fail with its last words."""
    try:
        done = subprocess.run(
            command, cwd="/", env=dict(env), input=text, capture_output=True, text=True, check=False,
            timeout=patience_s, **as_user(user),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failure(f"{what} took longer than {patience_s:.0f} s") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        words = next(
            (line for line in lines if "rror" in line or "FATAL" in line), (lines or ["it said nothing"])[-1]
        )
        raise Failure(f"{what} failed: {words}")
    return done.stdout
