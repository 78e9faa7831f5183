"""Start, stop and look at the services of a home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localdev import binaries, mlflow, ports, postgresql, processes, redis, settings
from localdev.failure import Failure
from localdev.program import command
from localdev.services import SERVICES, Service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from localdev.answer import Answer
    from localdev.settings import Home

# Each module has SERVICE, STOP, PATIENCE_S, start(home), ask(home), strays(home) and remove(home).
# Strays are ours although no note knows of them: children of a killed parent, or what a killed `up` started.
SERVERS: dict[str, ModuleType] = {"postgresql": postgresql, "redis": redis, "mlflow": mlflow}


@dataclass(frozen=True)
class Status:
    """A service as it is now.

    Attributes
    ----------
    state
        `running`: ours, and it answers. `unhealthy`: ours, and it does not. `external`: not ours, and it
        meets the contract. `stopped`: all else; `note` names who has the port.
    since
        When ours was started, in UTC.
    """

    name: str
    state: str
    host: str
    port: int
    pid: int | None = None
    version: str | None = None
    since: str | None = None
    note: str | None = None


def look(home: Home, service: Service) -> Status:
    """Return how a service is."""
    host, port = home.address(service)
    process = processes.record_of(home, service.name)
    pids = [process.pid] if process else SERVERS[service.name].strays(home)
    if pids:
        answer = ask(home, service)
        state = "unhealthy" if answer.problem else "running"
        since = process.since if process else None
        return Status(service.name, state, host, port, pids[0], answer.version, since, answer.problem)
    if not ports.is_open(host, port):
        return Status(service.name, "stopped", host, port)
    answer = ask(home, service)
    owner = ports.owner(port) if home.is_local(service) else None
    if answer.problem is None:
        return Status(service.name, "external", host, port, owner.pid if owner else None, answer.version)
    who = f"{owner} has port {port}" if owner else f"something answers at {host}:{port}"
    return Status(service.name, "stopped", host, port, note=f"{who}: {answer.problem}")


def ask(home: Home, service: Service) -> Answer:
    """Ask a server whether it meets the contract."""
    answer: Answer = SERVERS[service.name].ask(home)
    return answer


def up(
    folder: Path, services: Sequence[Service], *, offset: int | None = None, install: bool = False,
    new_passwords: bool = False,
) -> list[Status]:  # fmt: skip
    """Start what does not run, wait until it answers, and return how all is; what runs is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with settings.locked(folder):
        home = _prepared(folder, offset)
        if new_passwords:
            _stop(home, SERVICES["mlflow"])
            _stop(home, SERVICES["postgresql"])
            postgresql.change_passwords(home)
        return [_up(home, service, install=install) for service in services]


def _prepared(folder: Path, offset: int | None) -> Home:
    home = settings.prepare(folder, offset)
    addresses = " ".join(home.values[service.port_variable] for service in SERVICES.values())
    if settings.remembered(home.folder).get("addresses", addresses) != addresses:
        for service in reversed(SERVICES.values()):
            _stop(home, service)
    settings.remember(home, addresses=addresses)
    return home


def _up(home: Home, service: Service, *, install: bool) -> Status:
    if service is postgresql.SERVICE:
        binaries.provide_client(may_install=install)
    status = look(home, service)
    if status.state in {"running", "external"}:
        return status
    if status.state == "unhealthy":
        _problem(home, service)
        _stop(home, service)
    if status.note and status.state == "stopped":
        raise Failure(
            status.note, f"Stop it, or move our ports: add --port-offset {_free_offset()} to the command."
        )
    if not home.is_local(service):
        raise Failure(f"{service.name} is to be at {status.host}:{status.port}, and nothing answers there")
    binaries.provide(service.name, may_install=install)
    for name in service.needs:
        if (needed := look(home, SERVICES[name])).state not in {"running", "external"}:
            raise Failure(
                f"{service.name} needs {name}, which is {needed.state}",
                f"Run `up --only {name},{service.name}`.",
            )
    return _start(home, service)


def _start(home: Home, service: Service) -> Status:
    server = SERVERS[service.name]
    process = server.start(home)
    processes.await_answer(home, service.name, process, lambda: _problem(home, service), server.PATIENCE_S)
    if service is postgresql.SERVICE:
        postgresql.grant(home)
    return look(home, service)


def _problem(home: Home, service: Service) -> str | None:
    """Return what is wrong with a server of ours; fail where neither waiting nor a restart would help."""
    problem = ask(home, service).problem
    if problem and "refuses POSTGRES" in problem:
        raise Failure(
            f"PostgreSQL runs, but {problem}, which was changed since the database was made",
            f"Put the old one back, or give the database the new one: {_renewal(home)}",
        )
    return problem


def _renewal(home: Home) -> str:
    place = "" if home.folder == settings.FOLDER else f" --home {home.folder}"
    return command(f"up --set-passwords{place}", "native.py")


def _free_offset() -> int:
    offsets = range(100, 20_000, 100)
    return next(
        (step for step in offsets if not any(ports.owner(one.port + step) for one in SERVICES.values())), 1000
    )


def down(folder: Path) -> list[str]:
    """Stop what is ours and return the names of what was stopped, whatever is in `.env`."""
    if not folder.exists():
        return []
    with settings.locked(folder):
        home = settings.unread_home(folder)
        return [service.name for service in reversed(SERVICES.values()) if _stop(home, service)]


def _stop(home: Home, service: Service) -> bool:
    process = processes.record_of(home, service.name)
    steps = SERVERS[service.name].STOP
    found = process is not None
    if process:
        # PostgreSQL tells its children itself
        processes.stop([process.pid], steps, group=service is not postgresql.SERVICE)
    if strays := SERVERS[service.name].strays(home):
        processes.stop(strays, steps)
        found = True
    if left := SERVERS[service.name].strays(home):
        raise Failure(f"{service.name} does not stop (process {left[0]})")
    if home.run.exists():
        (home.run / f"{service.name}.json").unlink(missing_ok=True)
    return found


def reset(folder: Path) -> None:
    """Stop everything and delete data and artifacts; `.env` and backups stay."""
    down(folder)
    with settings.locked(folder):
        home = settings.unread_home(folder)
        for server in SERVERS.values():
            server.remove(home)
        for service in SERVICES:
            home.log(service).unlink(missing_ok=True)


def statuses(folder: Path) -> list[Status]:
    """Return how all services are; nothing is changed."""
    home = settings.open_home(folder)
    return [look(home, service) for service in SERVICES.values()]
