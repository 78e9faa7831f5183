"""A project with the dev config, which takes its servers from the shell or from `.env.dev`."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(folder, monkeypatch):
    """Make it in a folder, without the values of this shell; return the folder."""
    for name in ("MMP_LOCAL_DEV", "POSTGRES_PASSWORD", "POSTGRES_READER_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (folder / "configs").mkdir()
    shutil.copy(ROOT / "configs/dev.yaml", folder / "configs")
    return folder
