"""What the servers wrote."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from localdev import processes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localdev.services import Service
    from localdev.settings import Home

_LINES = 200


def logs(home: Home, services: Sequence[Service], *, follow: bool) -> None:
    """Print the end of logs, and what is added until Ctrl-C."""
    paths = {service.name: home.log(service.name) for service in services}
    ends = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    for name, path in paths.items():
        for line in processes.tail(path, _LINES):
            print(f"{name:<11} {line}")
    while follow:
        time.sleep(0.3)
        for name, path in paths.items():
            ends[name] = _print_from(name, path, ends[name])


def _print_from(name: str, path: Path, start: int) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(start if start <= path.stat().st_size else 0)
        for line in file:
            print(f"{name:<11} {line.decode('utf-8', 'replace').rstrip()}", flush=True)
        return file.tell()
