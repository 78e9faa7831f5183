"""What runs where, in less than a page."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from localdev.program import command
from localdev.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localdev.engines import Engine, State
    from localdev.settings import Home


def data(home: Home, engine: Engine, states: Sequence[State]) -> dict[str, Any]:
    """Return it as data; no password is in it."""
    return {
        "engine": engine.name,
        "env": str(home.folder / ".env"),
        "services": [
            {
                "name": state.name,
                "address": _address(home, state.name),
                "state": state.state,
                "user": _user(home, state.name),
                "note": state.note,
            }
            for state in states
        ],
    }


def text(home: Home, engine: Engine, states: Sequence[State]) -> str:
    """Return it as lines."""
    values = home.values
    read = f"{values['POSTGRES_DB']} (read it as {values['POSTGRES_READER_USER']}), {values['MLFLOW_DB']}"
    facts = {
        "runs as": engine.about,
        "databases": read,
        "passwords": _passwords(home.folder / ".env"),
        "artifacts": str(home.artifacts),
    }
    notes = [f"{state.name}: {state.note}" for state in states if state.note]
    about = [f"{name:<11}{fact}" for name, fact in facts.items()]
    return "\n".join([*_table(home, states), *notes, "", *about, "", "next", *_next(states)])


def _passwords(file: Path) -> str:
    return f"in {file}, which only you can read" if file.exists() else f"none yet: `up` writes {file}"


def _table(home: Home, states: Sequence[State]) -> list[str]:
    rows = [("service", "address", "state", "user")]
    rows += [(s.name, _address(home, s.name), s.state, _user(home, s.name) or "-") for s in states]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _next(states: Sequence[State]) -> list[str]:
    if not all(state.is_healthy for state in states):
        return [f"  {command('up')}"]
    ours = [f"  {command('status | logs | check | down')}"]
    # a project's own environment need not be active
    mmp = "mmp" if shutil.which("mmp") else ".venv/bin/mmp"
    if not shutil.which(mmp):
        return ours
    return [
        f"  {mmp} system-check -c configs/dev.yaml --actionable",
        f"  {mmp} train -c configs/dev.yaml -r RECIPE",
        *ours,
    ]


def _address(home: Home, name: str) -> str:
    service = SERVICES[name]
    if service.protocol == "http":
        return home.values[service.port_variable]
    host = service.port_variable.replace("PORT", "HOST")
    return f"{home.values[host]}:{home.values[service.port_variable]}"


def _user(home: Home, name: str) -> str:
    return home.values["POSTGRES_USER"] if name == "postgresql" else ""
