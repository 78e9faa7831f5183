from __future__ import annotations
from pathlib import Path
def prune(folder: Path, age: str) -> str:
    raise NotImplementedError
