"""A Python for MLflow and Feast: the active one where it has their pinned versions, else one in .venv."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from localdev.failure import Failure
from localdev.python import interpreter

FOLDER = Path(__file__).resolve().parents[1]
REQUIREMENTS = FOLDER / "requirements.txt"
ENVIRONMENT = FOLDER / ".venv"
NAMES = ("mlflow", "feast", "psycopg", "redis", "pyyaml")


def prepare(home: Path) -> Path:
    """Return an interpreter that has what the infrastructure needs; make .venv where none has.

    Raises
    ------
    Failure
        When .venv cannot be made.
    """
    stamp = ENVIRONMENT / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    is_whole = not ENVIRONMENT.exists() or (stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted)
    try:
        found = interpreter(home, NAMES)
    except Failure:
        found = None
    if found and (is_whole or not found.is_relative_to(ENVIRONMENT)):
        return found
    print(
        f"installing MLflow and Feast into {ENVIRONMENT} (a minute or two, once)", file=sys.stderr, flush=True
    )
    _install()
    stamp.write_text(wanted, encoding="utf-8")
    return interpreter(home, NAMES)


def _install() -> None:
    python = ENVIRONMENT / "bin" / "python"
    try:
        venv.create(ENVIRONMENT, with_pip=True, clear=not python.exists())
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(
            f"{ENVIRONMENT} cannot be made: {error} (on Debian: apt-get install python3-venv)"
        ) from error
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--requirement",
    ]
    if subprocess.run([str(python), *words, str(REQUIREMENTS)], check=False, stdout=sys.stderr).returncode:
        raise Failure(f"pip could not install {REQUIREMENTS.name} into {ENVIRONMENT}; what it said is above")
