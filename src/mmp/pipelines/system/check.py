"""Every check of the system, side by side, each within its time."""

from __future__ import annotations

import time
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

from mmp.errors import FeatureStoreError, GateError, MmpError, SettingsError, SourceError, TrackingError
from mmp.pipelines import infra
from mmp.pipelines.system import machine, stores
from mmp.pipelines.system.base import FEAST_LIMIT_S, TIME_LIMIT_S, Found, System, failed
from mmp.pipelines.system.contract import contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mmp.pipelines.system.base import Status
    from mmp.settings.config import Config
    from mmp.settings.load import Loaded
    from mmp.settings.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """One check.

    Parameters
    ----------
    name : str
        What is checked.
    find : callable
        Looks, and tells what it found or raises what a run would raise.
    error : type of MmpError
        What a run ends with that this check would have stopped.
    service : str
        The local infrastructure's name of what is checked.
    time_limit_s : float
        What it may take.
    """

    name: str
    find: Callable[[System], Found]
    error: type[MmpError]
    service: str = ""
    time_limit_s: float = TIME_LIMIT_S


CHECKS = (
    Row("python", machine.python, SettingsError),
    Row("packages", machine.packages, SettingsError),
    Row("tracking", stores.tracking, TrackingError, "mlflow"),
    Row("database", stores.database, SourceError, "postgresql"),
    Row("redis", stores.redis, FeatureStoreError, "redis"),
    Row("feast", stores.feast, FeatureStoreError, "postgresql", FEAST_LIMIT_S),
    Row("disk", machine.disk, SettingsError),
    Row("output", machine.output, SettingsError),
    Row("serving", machine.serving, SettingsError),
    Row("contract", contract, GateError),
)


@dataclass(frozen=True)
class Check:
    """What one check found, by its name.

    Parameters
    ----------
    name : str
        What was checked.
    status : {"ok", "warn", "fail", "skipped"}
        How it ended.
    found : str
        What is there, or what is wrong.
    action : str
        What to do about it.
    """

    name: str
    status: Status
    found: str
    action: str


@dataclass(frozen=True)
class Report:
    """All checks.

    Parameters
    ----------
    checks : tuple of Check
        In the order of the table.
    exit_code : int
        0, or that of the first check that failed.
    """

    checks: tuple[Check, ...]
    exit_code: int

    def as_dict(self) -> dict[str, Any]:
        """Return the report as ``--json`` prints it."""
        return {"ok": self.exit_code == 0, "checks": [asdict(check) for check in self.checks]}


def check_system(config: Loaded[Config], recipe: Loaded[Recipe] | None = None) -> Report:
    """Run every check.

    Parameters
    ----------
    config : Loaded of Config
        Where things are.
    recipe : Loaded of Recipe, optional
        What is to run.

    Returns
    -------
    Report
        One entry for each row of `CHECKS`, whatever the others found.
    """
    system = System(config.value, recipe.value if recipe else None, _infra(config.value))
    running = [(row, _started(row, system)) for row in CHECKS]
    begun = time.monotonic()
    found = [(row, _ended(row, future, begun, system)) for row, future in running]
    codes = (one.exit_code for _, one in found if one.exit_code)
    return Report(
        tuple(Check(row.name, one.status, one.found, one.action) for row, one in found), next(codes, 0)
    )


def _infra(config: Config) -> Path | None:
    """Return the folder of the local infrastructure where the config is for it."""
    if config.environment.name != "dev":
        return None
    try:
        return infra.find()
    except SettingsError:
        return None


def _started(row: Row, system: System) -> Future[Found]:
    future: Future[Found] = Future()

    def look() -> None:
        try:
            future.set_result(row.find(system))
        except MmpError as error:
            future.set_result(failed(error))
        except BaseException as error:  # noqa: BLE001 - raised again where the future is read
            future.set_exception(error)

    # a daemon: a call into a library that hangs must not keep the command from ending
    Thread(target=look, name=f"check-{row.name}", daemon=True).start()
    return future


def _ended(row: Row, future: Future[Found], begun: float, system: System) -> Found:
    wait([future], max(0.0, begun + row.time_limit_s - time.monotonic()))
    found = future.result() if future.done() else _late(row)
    if found.status == "fail" and row.service and system.infra is not None:
        return Found(found.found, "fail", _locally(row, found, system.infra), found.exit_code)
    return found


def _locally(row: Row, found: Found, infra: Path) -> str:
    """Return what to do where the local infrastructure is in use: start it, or look at what it was given."""
    if "answer" in found.found:
        start = f"On this machine `mmp dev up` starts it, `mmp dev logs {row.service}` shows what it says."
        return f"{start} Else: {found.action}"
    return f"{found.action} On this machine the values come from {infra / '.env'}."


def _late(row: Row) -> Found:
    return Found(
        f"no answer within {row.time_limit_s:g} s",
        "fail",
        "See whether it is overloaded, or stopped without being closed.",
        row.error.exit_code,
    )
