"""What runs where, in less than a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localdev.program import command
from localdev.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        "passwords": f"in {home.folder / '.env'}, which only you can read",
        "artifacts": str(home.artifacts),
    }
    notes = [f"{state.name}: {state.note}" for state in states if state.note]
    about = [f"{name:<11}{fact}" for name, fact in facts.items()]
    return "\n".join([*_table(home, states), *notes, "", *about, "", "next", *_next(states)])


def _table(home: Home, states: Sequence[State]) -> list[str]:
    rows = [("service", "address", "state", "user")]
    rows += [(s.name, _address(home, s.name), s.state, _user(home, s.name) or "-") for s in states]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _next(states: Sequence[State]) -> list[str]:
    if not all(state.is_healthy for state in states):
        return [f"  {command('up')}"]
    return [
        "  mmp system-check -c configs/dev.yaml --actionable",
        "  mmp train -c configs/dev.yaml -r RECIPE",
        f"  {command('status | logs | check | down')}",
    ]


def _address(home: Home, name: str) -> str:
    service = SERVICES[name]
    if service.protocol == "http":
        return home.values[service.port_variable]
    host = service.port_variable.replace("PORT", "HOST")
    return f"{home.values[host]}:{home.values[service.port_variable]}"


def _user(home: Home, name: str) -> str:
    return home.values["POSTGRES_USER"] if name == "postgresql" else ""
