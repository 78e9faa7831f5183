"""PostgreSQL as a process: its folder, its roles and databases, and whether it lets us in."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from localdev import binaries, processes
from localdev.answer import Answer
from localdev.failure import Failure
from localdev.services import SERVICES, version_of
from localdev.settings import FOLDER, Home, discard, remember, remembered

if TYPE_CHECKING:
    from pwd import struct_passwd

SERVICE = SERVICES["postgresql"]
# SIGINT ends sessions and shuts down cleanly; SIGQUIT leaves the rest to the recovery of the next start.
STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
PATIENCE_S = 120
_ELSEWHERE = Path("/var/lib/mmp-local-dev")
_HBA = """\
# Written at every start. Passwords only, from this machine only; the superuser from nowhere.
host all postgres all reject
host all all 127.0.0.1/32 scram-sha-256
"""


def folder(home: Home) -> Path:
    """Return where the cluster is: in the home, or where the server of root's can read it."""
    if kept := remembered(home.folder).get("postgresql"):
        return Path(kept)
    place = home.data / "postgresql"
    if binaries.is_reachable(place, binaries.server_user()):
        return place
    return _ELSEWHERE / hashlib.sha256(str(home.folder).encode()).hexdigest()[:16] / "postgresql"


def start(home: Home) -> processes.Process:
    """Start the server, made and filled with roles and databases if it is new."""
    data, user = folder(home), binaries.server_user()
    programs = binaries.postgresql(_major(data))
    if _major(data) is None:
        _create(home, programs, user)
    _await_end_of_children(data)
    _drop_stale_lock(data)
    _own_files(data, user)
    _define(home, programs, user)
    host, port = home.address(SERVICE)
    settings = [line.format(bind=host, port=port) for line in SERVICE.arguments]
    settings += ["unix_socket_directories=", "log_min_error_statement=panic"]
    command = [str(programs / "postgres"), "-D", str(data)]
    command += [word for setting in settings for word in ("-c", setting)]
    return processes.start(home, SERVICE.name, command, user)


def _major(data: Path) -> int | None:
    version = data / "PG_VERSION"
    return int(version.read_text(encoding="ascii")) if version.exists() else None


def _create(home: Home, programs: Path, user: struct_passwd | None) -> None:
    """Make the cluster beside its place, so that one which was interrupted is never taken for whole."""
    data = folder(home)
    if data.exists():
        raise Failure(
            f"{data} is there, and is no database: it has no PG_VERSION", "Restore it, or run reset."
        )
    new = data.with_name("postgresql.new")
    processes.stop(processes.marked(home, SERVICE.name), STOP[1:])  # an initdb that lost its parent
    discard(new)
    if data.parent != home.data:
        data.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    new.mkdir(mode=0o700)
    if user is not None:
        os.chown(new, user.pw_uid, user.pw_gid)
    processes.run(
        [str(programs / "initdb"), "-D", str(new), "--username=postgres", "--auth=trust", "--encoding=UTF8",
         "--no-locale", "--data-checksums"],
        "initdb", env=processes.environment(home, SERVICE.name), user=user,
    )  # fmt: skip
    new.rename(data)
    remember(home, postgresql=str(data))


def _own_files(data: Path, user: struct_passwd | None) -> None:
    for name, text in (("pg_hba.conf", _HBA), ("pg_ident.conf", "")):
        path = data / name
        path.write_text(text, encoding="ascii")
        path.chmod(0o600)
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)


def _await_end_of_children(data: Path, patience_s: float = 20) -> None:
    """Wait for the children of a killed server: they end by themselves, and a new one needs them gone."""
    end = time.monotonic() + patience_s
    while (left := _working_in(data)) and not _is_running(data):
        if time.monotonic() > end:
            processes.stop(left, STOP[1:])
            return
        time.sleep(0.05)


def _working_in(data: Path) -> list[int]:
    return processes.working_in(data, "postgres")


def _is_running(data: Path) -> bool:
    pid = _locked_by(data)
    return pid is not None and pid in _working_in(data)


def _locked_by(data: Path) -> int | None:
    try:
        return abs(int((data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]))
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _drop_stale_lock(data: Path) -> None:
    """Remove the lock of a server that is gone; its number may be another process's since a reboot."""
    if _is_running(data):
        raise Failure(f"a PostgreSQL that this runner did not start works in {data}", "Stop it first.")
    (data / "postmaster.pid").unlink(missing_ok=True)


def strays(home: Home) -> list[int]:
    """Return the running server of our folder that no note knows of."""
    data = folder(home)
    pid = _locked_by(data)
    return [pid] if pid is not None and _is_running(data) else []


def _define(home: Home, programs: Path, user: struct_passwd | None) -> None:
    """Create missing roles and databases, in single-user mode: there is no door for a superuser."""
    values = home.values
    roles = (
        (values["POSTGRES_USER"], values["POSTGRES_PASSWORD"]),
        (values["POSTGRES_READER_USER"], values["POSTGRES_READER_PASSWORD"]),
    )
    told = _single(home, programs, user, ["SELECT rolname FROM pg_roles", "SELECT datname FROM pg_database"])
    statements = [
        f"CREATE ROLE {role} LOGIN PASSWORD {literal(password)}"
        for role, password in roles
        if f'"{role}"' not in told
    ]
    for database in (values["POSTGRES_DB"], values["MLFLOW_DB"]):
        if f'"{database}"' not in told:
            statements += [
                f"CREATE DATABASE {database} OWNER {roles[0][0]} TEMPLATE template0",
                f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            ]
    if statements:
        statements.append(f"GRANT CONNECT ON DATABASE {values['POSTGRES_DB']} TO {roles[1][0]}")
        _single(home, programs, user, statements)


def _single(home: Home, programs: Path, user: struct_passwd | None, statements: list[str]) -> str:
    command = [str(programs / "postgres"), "--single", "-D", str(folder(home))]
    for setting in ("exit_on_error=on", "log_min_error_statement=panic", "password_encryption=scram-sha-256"):
        command += ["-c", setting]
    return processes.run(
        [*command, "postgres"], "preparing PostgreSQL",
        env=processes.environment(home, "single"), user=user, text="\n".join([*statements, ""]),
    )  # fmt: skip


def literal(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def change_passwords(home: Home) -> None:
    """Give the roles the passwords of `.env`; the server is stopped."""
    data, user = folder(home), binaries.server_user()
    _await_end_of_children(data)
    _drop_stale_lock(data)
    values = home.values
    _single(home, binaries.postgresql(_major(data)), user, [
        f"ALTER ROLE {values[f'{role}_USER']} PASSWORD {literal(values[f'{role}_PASSWORD'])}"
        for role in ("POSTGRES", "POSTGRES_READER")
    ])  # fmt: skip


def drop_databases(home: Home) -> None:
    """Remove both databases of the stopped server; its next start makes them anew."""
    names = (home.values["POSTGRES_DB"], home.values["MLFLOW_DB"])
    programs = binaries.postgresql(_major(folder(home)))
    _single(home, programs, binaries.server_user(), [f"DROP DATABASE IF EXISTS {name}" for name in names])


def ask(home: Home) -> Answer:
    """Log in as owner and as reader, and read the version."""
    try:
        version = query(home, "SHOW server_version").strip()
        query(home, "SELECT 1", reader=True)
        query(home, "SELECT 1", database=home.values["MLFLOW_DB"])
    except Failure as failure:
        return Answer(None, _reason(str(failure)))
    if version_of(version) < SERVICE.min_version:
        return Answer(None, f"it is PostgreSQL {version}, and 15 is needed")
    return Answer(version)


def _reason(said: str) -> str:
    for role in ("reader", "user"):
        if "password authentication failed" in said and f"_{role}" in said:
            name = "POSTGRES_READER_PASSWORD" if role == "reader" else "POSTGRES_PASSWORD"
            return f"it refuses {name} of .env"
    if "password authentication failed" in said:
        return "it refuses a password of .env"
    return f"it does not let us in ({said.rpartition('failed: ')[2]})"


def query(home: Home, sql: str, *, reader: bool = False, database: str | None = None) -> str:
    """Run SQL with psql; the password is in psql's environment only."""
    programs = binaries.clients()
    command = [
        str(programs / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
    ]
    env = client_environment(home, reader=reader, database=database)
    return processes.run([*command, "--file=-"], "psql", env=env, text=sql, patience_s=60)


def client_environment(home: Home, *, reader: bool = False, database: str | None = None) -> dict[str, str]:
    """Return what PostgreSQL's own clients read."""
    role = "POSTGRES_READER" if reader else "POSTGRES"
    host, port = home.address(SERVICE)
    return processes.environment(
        home, "client", PGHOST=host, PGPORT=str(port), PGUSER=home.values[f"{role}_USER"],
        PGPASSWORD=home.values[f"{role}_PASSWORD"], PGDATABASE=database or home.values["POSTGRES_DB"],
        PGCONNECT_TIMEOUT="5", PGOPTIONS=f"-c localdev.reader={home.values['POSTGRES_READER_USER']}",
    )  # fmt: skip


def grant(home: Home) -> None:
    """Make the schemas, and let the reader read them."""
    for name in ("20-schemas.sql", "40-grants.sql"):
        query(
            home, "SET client_min_messages = warning;\n" + (FOLDER / "sql" / name).read_text(encoding="utf-8")
        )


def remove(home: Home) -> None:
    """Delete the cluster."""
    data = folder(home)
    for place in (data, data.with_name("postgresql.new")):
        discard(place)
    if data.parent.parent == _ELSEWHERE and data.parent.exists():
        data.parent.rmdir()
