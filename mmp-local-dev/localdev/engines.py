"""What the services run in: Docker, where an engine answers, or ordinary processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from localdev import settings
from localdev.failure import Failure
from localdev.program import command
from localdev.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localdev.settings import Home

_ANSWER_S = 2.0
_STATES = {"healthy": "running", "exited": "stopped", "created": "stopped"}
FOLDER = Path(__file__).resolve().parents[1]
# the image is pulled and built once, by the first start
_START_S = 1_800


@dataclass(frozen=True)
class State:
    """A service as it is now."""

    name: str
    state: str
    note: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether it answers."""
        return self.state in {"running", "external"}


class Engine(Protocol):
    """What starts and stops the services of a home."""

    name: str
    about: str

    def up(self, home: Home, *, install: bool) -> None:
        """Start what does not run and wait until all is healthy."""

    def down(self, folder: Path) -> None:
        """Stop everything of a home; the data stay."""

    def states(self, home: Home) -> list[State]:
        """Return how each service is."""

    def logs(self, home: Home, service: str | None, *, follow: bool) -> int:
        """Print what services wrote; return an exit code."""

    def reset(self, home: Home) -> None:
        """Stop everything and remove the data."""


class Native:
    """Ordinary processes: native.py in this interpreter."""

    name = "native"
    about = "ordinary processes of this machine"

    def up(self, home: Home, *, install: bool) -> None:
        """Start what does not run and wait until all is healthy."""
        self._run("up", "--home", str(home.folder), *(["--install"] if install else []))

    def down(self, folder: Path) -> None:
        """Stop everything of a home; the data stay."""
        self._run("down", "--home", str(folder))

    def states(self, home: Home) -> list[State]:
        """Return how each service is."""
        words = [*self._command, "status", "--json", "--home", str(home.folder)]
        told = subprocess.run(words, capture_output=True, text=True, check=False, env=clean(home))
        try:
            services = json.loads(told.stdout)["services"]
        except (json.JSONDecodeError, KeyError):
            raise Failure(f"the state of the services is not known: {_last(told.stderr)}") from None
        return [State(one["name"], one["state"], one.get("note") or "") for one in services]

    def logs(self, home: Home, service: str | None, *, follow: bool) -> int:
        """Print what services wrote; return an exit code."""
        which = [service] if service else []
        flags = ["--follow"] if follow else []
        words = [*self._command, "logs", *which, *flags, "--home", str(home.folder)]
        return subprocess.run(words, check=False, env=clean(home)).returncode

    def reset(self, home: Home) -> None:
        """Stop everything and remove the data."""
        self._run("reset", "--yes", "--home", str(home.folder))

    @property
    def _command(self) -> list[str]:
        return [sys.executable, str(FOLDER / "native.py")]

    def _run(self, verb: str, *words: str) -> None:
        # what it says is for the user; stdout is for the one answer that a command may give
        done = subprocess.run([*self._command, verb, *words], check=False, stdout=sys.stderr)
        if done.returncode:
            raise SystemExit(done.returncode)  # it has said why


class Docker:
    """Containers: docker-compose.yml, whose project has the name of the folder."""

    name = "docker"
    about = "containers of the Compose project mmp-local-dev"

    def up(self, home: Home, *, install: bool) -> None:
        """Start what does not run and wait until all is healthy."""
        home.artifacts.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(home.artifacts, *_user())
        words = ["up", "--detach", "--wait", "--wait-timeout", str(_START_S), *SERVICES]
        self._run(home, words, "start the containers")

    def down(self, folder: Path) -> None:
        """Stop everything of a home; the data stay."""
        self._run(settings.open_home(folder), ["--profile", "*", "down"], "stop the containers")

    def states(self, home: Home) -> list[State]:
        """Return how each service is."""
        told = self._output(home, ["ps", "--all", "--format", "json"])
        # one object a line, or one list: versions differ
        rows = json.loads(told) if told.startswith("[") else [json.loads(line) for line in told.splitlines()]
        found = {row["Service"]: row.get("Health") or row.get("State", "") for row in rows}
        return [
            State(name, _STATES.get(found.get(name, ""), "unhealthy" if name in found else "stopped"))
            for name in SERVICES
        ]

    def logs(self, home: Home, service: str | None, *, follow: bool) -> int:
        """Print what services wrote; return an exit code."""
        words = ["logs", *(["--follow"] if follow else ["--tail", "200"]), *([service] if service else [])]
        return subprocess.run(
            self._command(home, words), check=False, env=_compose_environment(home)
        ).returncode

    def reset(self, home: Home) -> None:
        """Stop everything and remove the data."""
        self._run(home, ["--profile", "*", "down", "--volumes", "--remove-orphans"], "remove the containers")
        if home.artifacts.exists():
            shutil.rmtree(home.artifacts)

    def _command(self, home: Home, words: Sequence[str]) -> list[str]:
        file = FOLDER / "docker-compose.yml"
        return ["docker", "compose", "--file", str(file), "--env-file", str(home.folder / ".env"), *words]

    def _run(self, home: Home, words: Sequence[str], what: str) -> None:
        done = subprocess.run(
            self._command(home, words), check=False, stdout=sys.stderr, env=_compose_environment(home)
        )
        if done.returncode:
            raise Failure(f"Docker could not {what}; what it said is above", f"The rest: {command('logs')}")

    def _output(self, home: Home, words: Sequence[str]) -> str:
        done = subprocess.run(
            self._command(home, words),
            capture_output=True,
            text=True,
            check=False,
            env=_compose_environment(home),
        )
        if done.returncode:
            raise Failure(f"Docker does not tell: {_last(done.stderr)}")
        return done.stdout.strip()


ENGINES: dict[str, Engine] = {"docker": Docker(), "native": Native()}


def choose(folder: Path, asked: str | None) -> Engine:
    """Return the engine that was asked for, or the one that a home's data are in, or one that answers.

    Raises
    ------
    Failure
        Docker was asked for and does not answer, or the services run in the other one.
    """
    known = settings.remembered(folder).get("engine")
    if asked == "docker" and (problem := silence()):
        raise Failure(f"{problem}: start it, or use --native")
    if asked and known and asked != known and _runs(ENGINES[known], folder):
        raise Failure(
            f"the services run in {known}, and each engine has data of its own: "
            f"stop them first, with {command(f'down --{known}')}"
        )
    return ENGINES[asked or known or ("native" if silence() else "docker")]


def silence() -> str:
    """Return why Docker cannot be used; nothing where it can."""
    if not shutil.which("docker"):
        return "Docker is not installed"
    for words, lacking in (
        (["version"], "no Docker engine answers"),
        (["compose", "version"], "Docker has no Compose"),
    ):
        try:
            done = subprocess.run(["docker", *words], capture_output=True, check=False, timeout=_ANSWER_S)
        except subprocess.TimeoutExpired:
            return f"{lacking} within {_ANSWER_S:.0f} s"
        if done.returncode:
            return lacking
    return ""


def clean(home: Home) -> dict[str, str]:
    """Return this process's environment with the home's values, whatever the shell has for them."""
    return os.environ | dict(home.values)


def _runs(engine: Engine, folder: Path) -> bool:
    states = engine.states(settings.open_home(folder))
    return any(state.state in {"running", "unhealthy"} for state in states)


def _compose_environment(home: Home) -> dict[str, str]:
    user, group = _user()
    port = str(home.address(SERVICES["mlflow"])[1])
    return clean(home) | {"MLFLOW_PORT": port, "LOCAL_DEV_UID": str(user), "LOCAL_DEV_GID": str(group)}


def _user() -> tuple[int, int]:
    """Return as whom the containers write artifacts: as us, but never as root."""
    return (os.geteuid(), os.getegid()) if os.geteuid() else (1000, 1000)


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
