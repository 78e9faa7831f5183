"""What runs where, in less than a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    rows = [("service", "address", "state", "user")]
    rows += [(s.name, _address(home, s.name), s.state, _user(home, s.name) or "-") for s in states]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    table += [f"{state.name}: {state.note}" for state in states if state.note]
    values = home.values
    facts = [
        ("runs as", engine.about),
        (
            "databases",
            f"{values['POSTGRES_DB']} (read with {values['POSTGRES_READER_USER']}), {values['MLFLOW_DB']}",
        ),
        ("passwords", f"in {home.folder / '.env'}, which only you can read"),
        ("artifacts", f"{home.artifacts}"),
    ]
    steps = (
        [
            "mmp system-check -c configs/dev.yaml --actionable",
            "mmp train -c configs/dev.yaml -r RECIPE",
            "python bootstrap.py status | logs | check | down",
        ]
        if all(state.is_healthy for state in states)
        else ["python bootstrap.py up"]
    )
    lines = [
        *table,
        "",
        *(f"{name:<11}{fact}" for name, fact in facts),
        "",
        "next",
        *(f"  {step}" for step in steps),
    ]
    return "\n".join(lines)


def _address(home: Home, name: str) -> str:
    service = SERVICES[name]
    if service.protocol == "http":
        return home.values[service.port_variable]
    return (
        f"{home.values[service.port_variable.replace('PORT', 'HOST')]}:{home.values[service.port_variable]}"
    )


def _user(home: Home, name: str) -> str:
    return home.values["POSTGRES_USER"] if name == "postgresql" else ""
