"""How whoever reads a message can call us."""

from __future__ import annotations

import os
from pathlib import Path

BOOTSTRAP = Path(__file__).resolve().parents[1] / "bootstrap.py"


def command(words: str) -> str:
    """Return a call of bootstrap.py that works where the reader is."""
    return f"python3 {min(str(BOOTSTRAP), os.path.relpath(BOOTSTRAP), key=len)} {words}"
