from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a server said when it was asked whether it meets the contract: its version, or what is wrong."""

    version: str | None
    problem: str | None = None
