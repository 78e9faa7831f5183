"""The log file of a command: set up once, here."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.errors import SettingsError

if TYPE_CHECKING:
    from mmp.settings.config import Logging


def log_to(settings: Logging, name: str) -> Path:
    """Send the log of this process to a file of its own and return its path.

    Files of ours that are older than `settings.retention_days` are removed.

    Parameters
    ----------
    settings : Logging
        The config's section.
    name : str
        What the file is named after.

    Raises
    ------
    SettingsError
        The folder cannot be written.
    """
    folder = Path(settings.base_path)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:80]
    path = folder / f"mmp-{plain}-{stamp}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"The log folder {folder} cannot be written: {error.strerror}.",
            hint="Set logging.base_path in the config.",
        ) from error
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("mmp")
    logger.addHandler(handler)
    logger.setLevel(settings.level)
    logger.propagate = False
    _forget_old(folder, settings.retention_days)
    return path


def _forget_old(folder: Path, days: int) -> None:
    oldest = time.time() - days * 86_400
    for path in folder.glob("mmp-*.log"):
        # another command may have removed it in the meantime
        if path.is_file() and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
