"""What bootstrap.py does, verb by verb."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from localdev import binaries, dotenv, engines, environment, page, settings
from localdev.failure import Failure
from localdev.program import command
from localdev.python import interpreter

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from localdev.settings import Home

_ALLOWED = "MMP_LOCAL_DEV_INSTALL"
_FALSE = {"0", "false", "no"}
_TRUE = {"1", "true", "yes"}
_LEAST_BYTES = 1_000_000


def run(folder: Path, given: Namespace) -> int:
    """Do what a verb says; return the exit code."""
    return {"up": up, "down": down, "status": status, "logs": logs, "reset": reset, "check": check}[
        given.verb
    ](folder, given)


def up(folder: Path, given: Namespace) -> int:
    """Start, fill, check, and say what runs where."""
    began = time.monotonic()
    if dotenv.make(folder / ".env", given.port_offset):
        _say(f"wrote {folder / '.env'}")
    home = settings.prepare(folder)
    engine = engines.choose(folder, given.engine)
    if given.reset:
        engine.reset(home)
        home = settings.prepare(folder)
    settings.remember(home, engine=engine.name)
    python = environment.prepare(home.folder)
    engine.up(home, install=given.install or _may_install(home, engine))
    _step(home, python, "-m", "localdev.seed", "--home", str(home.folder))
    _step(home, python, "-m", "localdev.features", "--home", str(home.folder))
    _step(home, python, "test-integration.py", "--quick", "--home", str(home.folder))
    _tell(home, engine, as_json=given.json)
    _say(f"ready in {time.monotonic() - began:.0f} s")
    return 0


def down(folder: Path, given: Namespace) -> int:
    """Stop everything; the data stay."""
    engines.choose(folder, given.engine).down(folder)
    _say(f"the data stay; to start again: {command('up')}")
    return 0


def status(folder: Path, given: Namespace) -> int:
    """Say what runs where; return 0 if all is healthy."""
    home = settings.open_home(folder)
    states = _tell(home, engines.choose(folder, given.engine), as_json=given.json)
    return 0 if all(state.is_healthy for state in states) else 1


def logs(folder: Path, given: Namespace) -> int:
    """Print what the services wrote."""
    home = settings.open_home(folder)
    return engines.choose(folder, given.engine).logs(home, given.service, follow=given.follow)


def reset(folder: Path, given: Namespace) -> int:
    """Remove all data; .env stays, since its passwords are the user's."""
    home = settings.open_home(folder)
    engine = engines.choose(folder, given.engine)
    if not given.yes and not _agreed(f"Remove all data and artifacts of {home.folder}?"):
        raise Failure("nothing was removed; reset --yes does not ask", code=2)
    engine.reset(home)
    _say(f"removed the data of {home.folder}; .env stays")
    return 0


def check(folder: Path, given: Namespace) -> int:
    """Check the contract against what runs."""
    dotenv.read(folder / ".env")  # where there is none, there is nothing to check
    home = settings.open_home(folder)
    words = [
        str(interpreter(home.folder, environment.NAMES)),
        "test-integration.py",
        "--home",
        str(home.folder),
    ]
    return subprocess.run(words, cwd=engines.FOLDER, env=engines.clean(home), check=False).returncode


def _step(home: Home, python: Path, *words: str) -> None:
    """Run one of our own programs and pass its last line on; all that it said where it failed."""
    done = subprocess.run(
        [str(python), *words], cwd=engines.FOLDER, env=engines.clean(home), check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        _say("\n".join(line for line in lines if not line.startswith("ok ")))
        if shutil.disk_usage(home.artifacts).free < _LEAST_BYTES:
            raise Failure(f"the disk of {home.artifacts} is full", "Free some, and try again.")
        what = words[1] if words[0] == "-m" else words[0]
        raise Failure(f"{what} failed; what it said is above", "The same command goes on from here.")
    _say(lines[-1] if lines else "")


def _may_install(home: Home, engine: engines.Engine) -> bool:
    """Return whether to install what is missing: as the environment says, else as whoever is there says.

    Where nobody can be asked, root may: that is a fresh machine, and the one command has to do.
    """
    said = os.environ.get(_ALLOWED, "").lower()
    if said in _FALSE:
        return False
    if {said, os.environ.get("CI", "").lower()} & _TRUE:
        return True
    found = binaries.manager() if engine.name == "native" else None
    missing = binaries.missing() if found else []
    if missing and os.geteuid() == 0 and not sys.stdin.isatty():
        return True
    return bool(missing) and _agreed(f"Not installed: {', '.join(missing)}. Install with {found}?")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _tell(home: Home, engine: engines.Engine, *, as_json: bool) -> list[engines.State]:
    states = engine.states(home)
    print(
        json.dumps(page.data(home, engine, states), indent=1) if as_json else page.text(home, engine, states)
    )
    return states


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
