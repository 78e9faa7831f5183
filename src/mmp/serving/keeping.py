"""What happens beside requests: the stores are asked whether they answer, and the alias where it points."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mmp.errors import MmpError, TrackingError
from mmp.serving.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmp.serving.log import Log
    from mmp.serving.served import Served
    from mmp.serving.service import Service
    from mmp.serving.telemetry import Telemetry

    Newer = Callable[[Served, Telemetry], Served | None]

_STORES_S: Final = 1.0
_ALIAS_S: Final = 3.0
_GRACE_S: Final = 60.0


async def keep(service: Service, telemetry: Telemetry, log: Log, newer: Newer | None) -> None:
    """Look after a server until it is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_watch_stores(service))
        if newer is not None:
            tasks.create_task(_follow(service, telemetry, log, newer))


async def _watch_stores(service: Service) -> None:
    while True:
        await asyncio.sleep(_STORES_S)
        lookup = service.served.lookup
        if lookup is not None:
            service.stores_missing(await asyncio.to_thread(lookup.missing))


async def _follow(service: Service, telemetry: Telemetry, log: Log, newer: Newer) -> None:
    """Take the alias's model when it moves; what cannot be taken is told once, and the old one stays."""
    told = ""
    while True:
        await asyncio.sleep(_ALIAS_S)
        served = service.served
        try:
            successor = await asyncio.to_thread(_prepared, served, telemetry, newer)
        except MmpError as error:
            if error.message != told:
                kept = "the old model stays" if not isinstance(error, TrackingError) else "it is asked again"
                log.write(level="warning", model=served.run_id, message=f"{error.message} ({kept})")
            told = error.message
            continue
        told = ""
        if successor is not None:
            service.serve(successor)
            log.write(level="info", message="another model is served", model=successor.run_id)
            if served.lookup is not None:  # requests that began with the old one may still read
                asyncio.get_running_loop().call_later(_GRACE_S, served.lookup.close)


def _prepared(served: Served, telemetry: Telemetry, newer: Newer) -> Served | None:
    """Load, warm and compare a successor, off the event loop."""
    successor = newer(served, telemetry)
    if successor is None:
        return None
    served.refuse_successor(successor)
    with suppress(Refusal):  # an example of entity keys that no store knows
        successor.form.cells(successor.example)
    successor.warm()
    return successor
