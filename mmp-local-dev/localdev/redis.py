"""Redis as a process: its settings, and the few words of its protocol that a health check needs."""

from __future__ import annotations

import shutil
import signal
import socket
from typing import TYPE_CHECKING, Self

from localdev import binaries, processes
from localdev.answer import Answer
from localdev.failure import Failure
from localdev.services import SERVICES, version_of
from localdev.settings import Home, discard, write_private

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = SERVICES["redis"]
STOP = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))
PATIENCE_S = 60


def folder(home: Home) -> Path:
    """Return where the data are."""
    return home.data / "redis"


def start(home: Home) -> processes.Process:
    """Start it. The password goes in by a file, never by a command line."""
    program = binaries.redis()
    data = folder(home)
    data.mkdir(exist_ok=True, mode=0o700)
    host, port = home.address(SERVICE)
    lines = [line.format(bind=host, port=port) for line in SERVICE.arguments]
    lines += [f"dir {quoted(str(data))}", "daemonize no", 'unixsocket ""', "tcp-backlog 128"]
    if password := home.values["REDIS_PASSWORD"]:
        lines.append(f"requirepass {quoted(password)}")
    conf = home.run / "redis.conf"
    write_private(conf, "\n".join([*lines, ""]))
    return processes.start(home, SERVICE.name, [program, str(conf)])


def quoted(value: str) -> str:
    """Return a value as redis.conf takes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def ask(home: Home) -> Answer:
    """Log in, PING, and read the version."""
    password = home.values["REDIS_PASSWORD"]
    try:
        with Conversation(home) as server:
            if password and (told := server.say("AUTH", password)) != "OK":
                return Answer(None, _refused(told))
            if (told := server.say("PING")) != "PONG":
                return Answer(None, _refused(told))
            about = server.say("INFO", "server")
    except (OSError, ValueError) as error:
        return Answer(None, f"it does not speak Redis' protocol ({error})")
    version = next((line[14:] for line in about.splitlines() if line.startswith("redis_version:")), "")
    if not version or version_of(version) < SERVICE.min_version:
        return Answer(None, f"it is Redis {version or 'of an unknown version'}, and 7 is needed")
    return Answer(version)


def _refused(told: str) -> str:
    if told.startswith(("-WRONGPASS", "-NOAUTH", "-ERR AUTH")):
        return "it refuses REDIS_PASSWORD of .env"
    return f"it answers {told[:80]!r}"


class Conversation:
    """A connection that sends words and reads one answer."""

    def __init__(self, home: Home, patience_s: float = 3) -> None:
        self.socket = socket.create_connection(home.address(SERVICE), timeout=patience_s)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def say(self, *words: str) -> str:
        """Send a command and return the answer; an error begins with a dash."""
        encoded = [word.encode() for word in words]
        self.socket.sendall(
            b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        )
        head = self.file.readline(65536).decode("utf-8", "replace").rstrip("\r\n")
        if head[:1] in {"+", ":"}:
            return head[1:]
        if head[:1] == "-":
            return head
        if head[:1] != "$":
            raise ValueError(f"it says {head[:40]!r}" if head else "it says nothing")
        return self.file.read(int(head[1:]) + 2)[:-2].decode("utf-8", "replace")


def strays(home: Home) -> list[int]:
    """Return a server of our folder that no note knows of; Redis writes its title over its environment."""
    return processes.working_in(folder(home), "redis-server", "valkey-server")


def save(home: Home, target: Path) -> None:
    """Write all keys, as of now, into a file."""
    with Conversation(home, patience_s=300) as server:
        if home.values["REDIS_PASSWORD"]:
            server.say("AUTH", home.values["REDIS_PASSWORD"])
        if (told := server.say("SAVE")) != "OK":
            raise Failure(f"Redis could not save its data: {told.lstrip('-')}")
    shutil.copyfile(folder(home) / "dump.rdb", target)


def restore(home: Home, source: Path) -> None:
    """Put a saved file where the stopped server looks for its log: as the log's base."""
    remove(home)
    log = folder(home) / "appendonlydir"
    log.mkdir(parents=True, mode=0o700)
    shutil.copyfile(source, log / "appendonly.aof.1.base.rdb")
    (log / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\n", encoding="utf-8"
    )


def remove(home: Home) -> None:
    """Delete all data."""
    discard(folder(home))
