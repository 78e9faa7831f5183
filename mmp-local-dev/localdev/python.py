"""The Python of MLflow and Feast: the active one where it has the pinned versions, else one in .venv."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from pathlib import Path

from localdev.failure import Failure
from localdev.program import command
from localdev.settings import FOLDER


def interpreter(home: Path, names: tuple[str, ...] = ("mlflow", "psycopg")) -> Path:
    """Return a Python that has the pinned versions of some packages.

    Parameters
    ----------
    home
        The folder with `.env`; `.venv` is looked for here and beside `requirements.txt`.
    names
        Packages of `requirements.txt`.

    Raises
    ------
    Failure
        No Python has them.
    """
    wanted = {name: version for name, version in pinned().items() if name in names}
    if all(_active_version(name) == version for name, version in wanted.items()):
        return Path(sys.executable)
    for folder in (home, FOLDER):
        if all(
            list((folder / ".venv").glob(f"lib/python*/site-packages/{name}-{version}.dist-info"))
            for name, version in wanted.items()
        ):
            return folder / ".venv" / "bin" / "python"
    asked = ", ".join(f"{name} {version}" for name, version in wanted.items())
    raise Failure(f"neither {sys.executable} nor {FOLDER / '.venv'} has {asked}", f"Run {command('up')}.")


def enter() -> None:
    """Go on in the Python that has what the infrastructure needs, if this one lacks it."""
    if importlib.util.find_spec("psycopg") is not None:
        return
    try:
        found = interpreter(FOLDER)
    except Failure as failure:
        sys.exit(str(failure))
    os.execv(found, [str(found), *sys.orig_argv[1:]])  # noqa: S606


def pinned() -> dict[str, str]:
    """Return the versions that `requirements.txt` pins."""
    text = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def _active_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
