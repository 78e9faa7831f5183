"""What runs, as data. The native runner starts it, and docker-compose.yml is held equal to it by tests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localdev.failure import Failure


@dataclass(frozen=True)
class Service:
    """A server.

    Attributes
    ----------
    name
        As in docker-compose.yml.
    port_variable
        The variable of `.env` that holds the port, or the address with the port.
    port
        Where it listens if nothing else is said.
    min_version
        The oldest server that meets the contract.
    health
        What has to answer.
    arguments
        What both runners give to the server; `{name}` stands for what differs between them.
    needs
        Services that have to answer before.
    """

    name: str
    port_variable: str
    port: int
    min_version: tuple[int, ...]
    health: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    protocol: str = "tcp"


SERVICES: dict[str, Service] = {
    one.name: one
    for one in (
        Service(
            name="postgresql",
            port_variable="POSTGRES_PORT",
            port=5432,
            min_version=(15,),
            health="the owner and the reader log in to their databases",
            arguments=(
                "listen_addresses={bind}",
                "port={port}",
                "password_encryption=scram-sha-256",
                "max_connections=100",
            ),
            protocol="postgresql",
        ),
        Service(
            name="redis",
            port_variable="REDIS_PORT",
            port=6379,
            min_version=(7,),
            health="PING",
            # `always`: what was acknowledged is on the disk. `everysec` could lose the last second.
            arguments=("appendonly yes", "appendfsync always", "bind {bind}", "port {port}"),
            protocol="redis",
        ),
        Service(
            name="mlflow",
            port_variable="MLFLOW_TRACKING_URI",
            port=5002,
            min_version=(3, 10),
            health="/health",
            arguments=(
                "--host={bind}",
                "--port={port}",
                "--workers=1",
                "--serve-artifacts",
                "--allowed-hosts={hosts}",
            ),
            needs=("postgresql",),
            protocol="http",
        ),
    )
}
ALLOWED_HOSTS = "localhost,localhost:*,127.0.0.1,127.0.0.1:*"
_ALSO = {"postgres": "postgresql"}


def chosen(names: str | None) -> list[Service]:
    """Return the services that a comma-separated list names, in the order in which they start."""
    if names is None:
        return list(SERVICES.values())
    asked = {_ALSO.get(name.strip(), name.strip()) for name in names.split(",")}
    if unknown := asked - set(SERVICES):
        raise Failure(f"there is no service {min(unknown)!r}, but {', '.join(SERVICES)}", code=2)
    return [one for one in SERVICES.values() if one.name in asked]


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (15, 9) of `15.9 (Debian)`."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
