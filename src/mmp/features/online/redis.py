"""The online store in Redis: one pipelined read, a deadline, and no patience.

A thread that reads has a connection of its own, out of those that are idle. An event loop has one for all of
its reads, which go down it one behind the other.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mmp.errors import FeatureStoreError, MissingExtraError, SettingsError
from mmp.features.online.breaker import Breaker
from mmp.features.online.wire import field_name, read_timestamp
from mmp.features.ping import address, refusal
from mmp.lookup import install_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmp.features.online import Cells, Group
    from mmp.features.online.connection import Connection
    from mmp.features.online.pipe import Pipe
    from mmp.features.references import FeatureSet
    from mmp.settings.stores import RedisStore

_IDLE_CONNECTIONS = 32


class RedisReader:
    """Reads hashes as Feast writes them: one for an entity, a field for each feature.

    A read that fails is not tried again, but for one sent down a connection that had been idle and
    turns out to be closed: a restart of Redis is not an error.

    Parameters
    ----------
    features : FeatureSet
        Its project is a part of every key.
    groups : sequence of Group
        The views by their keys.
    store : RedisStore
        Where it is.
    timeout_s : float
        Time budget of a read, connecting included.
    """

    def __init__(
        self, features: FeatureSet, groups: Sequence[Group], store: RedisStore, *, timeout_s: float
    ) -> None:
        try:
            import hiredis

            from mmp.features.online import connection, pipe
        except ImportError as error:
            raise MissingExtraError(
                "The online store is Redis, and hiredis is not installed.", hint=install_line("hiredis")
            ) from error
        if store.redis_type == "redis_cluster":
            raise SettingsError(
                "The online store is a Redis cluster, which this version of mmp cannot read.",
                hint="Use a single Redis, or Sentinel.",
            )
        self._connection_of, self._command = connection.Connection, connection.command
        self._pipe_of, self._opening = pipe.opened, asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # whose the pipe is
        self._pipe: Pipe | None = None
        self._failures = (OSError, hiredis.HiredisError)
        self._host, self._port, self._options = address(store)
        self._sentinel_master = store.sentinel_master or "mymaster"
        self._is_sentinel = store.redis_type == "redis_sentinel"
        self._timeout_s = timeout_s
        self._project = features.project.encode()
        self._commands = [_command(group) for group in groups]
        self._views = [[len(view.features) for view in group.views] for group in groups]
        self._breaker = Breaker()
        self._idle: deque[Connection] = deque(maxlen=_IDLE_CONNECTIONS)
        self._process = os.getpid()

    def read(self, entities: Sequence[Sequence[bytes]]) -> list[dict[bytes, list[Cells]]]:
        """Read the hashes of entities; see `mmp.features.online.Store`."""
        return self._cut(entities, self._ask(*self._written(entities)))

    async def read_soon(self, entities: Sequence[Sequence[bytes]]) -> list[dict[bytes, list[Cells]]]:
        """Read the hashes of entities, and let the event loop go on meanwhile."""
        if self._options.get("ssl"):  # the loop would have to shake hands itself
            return await asyncio.to_thread(self.read, entities)
        return self._cut(entities, await self._ask_soon(*self._written(entities)))

    def ping(self) -> None:
        """Ask whether the server answers."""
        self._ask(self._command([b"PING"]), 1)

    def close(self) -> None:
        """Close idle connections, and that of the event loop."""
        while self._idle:
            self._idle.pop().close()
        if self._pipe is not None:
            self._pipe.close()

    def _written(self, entities: Sequence[Sequence[bytes]]) -> tuple[bytes, int]:
        parts = []
        for keys, (head, tail) in zip(entities, self._commands, strict=True):
            for key in keys:
                name = key + self._project
                parts.append(b"%b$%d\r\n%b\r\n%b" % (head, len(name), name, tail))
        return b"".join(parts), len(parts)

    def _cut(
        self, entities: Sequence[Sequence[bytes]], replies: Sequence[list[bytes | None]]
    ) -> list[dict[bytes, list[Cells]]]:
        following = iter(replies)
        return [
            {key: _cells(next(following), sizes) for key in keys}
            for keys, sizes in zip(entities, self._views, strict=True)
        ]

    def _ask(self, written: bytes, n_replies: int) -> list[Any]:
        with self._watched():
            return self._exchanged(written, n_replies, time.monotonic() + self._timeout_s)

    async def _ask_soon(self, written: bytes, n_replies: int) -> list[Any]:
        with self._watched():
            deadline = time.monotonic() + self._timeout_s
            if self._loop is not asyncio.get_running_loop():
                self._loop, self._opening, self._pipe = asyncio.get_running_loop(), asyncio.Lock(), None
            if self._pipe is not None and self._pipe.is_open:
                with suppress(ConnectionError):  # it was closed while it was idle
                    return await self._pipe.ask(written, n_replies, self._timeout_s)
            async with asyncio.timeout(deadline - time.monotonic()):
                pipe = await self._piped(deadline)
                return await pipe.ask(written, n_replies, self._timeout_s)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Ask only while the server answers, and say what it is when it does not."""
        where, was_open = f"{self._host}:{self._port}", self._breaker.is_open
        if not self._breaker.allows():
            raise FeatureStoreError(
                f"Redis at {where} did not answer several times in a row.",
                hint="It is asked again in a moment; see that it runs: mmp system-check.",
            )
        try:
            yield
        except self._failures as error:
            if was_open or not self._breaker.is_open:  # else others that asked beside this one have opened it
                self._breaker.failed()
            raise refusal(error, where) from error
        self._breaker.succeeded()

    async def _piped(self, deadline: float) -> Pipe:
        """Return the event loop's connection; who comes first opens it."""
        async with self._opening:
            if self._pipe is None or not self._pipe.is_open:
                self._pipe = await self._pipe_of(await asyncio.to_thread(self._connected, deadline))
            return self._pipe

    def _exchanged(self, written: bytes, n_replies: int, deadline: float) -> list[Any]:
        if self._process != os.getpid():  # a fork may not talk down its parent's connections
            self._idle.clear()
            self._process = os.getpid()
        try:
            idle = self._idle.pop()
        except IndexError:
            return self._exchange(self._connected(deadline), written, n_replies, deadline)
        try:
            return self._exchange(idle, written, n_replies, deadline)
        except ConnectionError:
            self.close()
            return self._exchange(self._connected(deadline), written, n_replies, deadline)

    def _exchange(self, connection: Connection, written: bytes, n_replies: int, deadline: float) -> list[Any]:
        try:
            replies = connection.exchange(written, n_replies, deadline)
        except BaseException:  # an answer may be under way: nobody else may read it
            connection.close()
            raise
        self._idle.append(connection)
        return replies

    def _connected(self, deadline: float) -> Connection:
        host, port = self._master(deadline) if self._is_sentinel else (self._host, self._port)
        return self._connection_of(host, port, self._options, deadline)

    def _master(self, deadline: float) -> tuple[str, int]:
        """Ask a sentinel who the master is."""
        sentinel = self._connection_of(self._host, self._port, {}, deadline)
        try:
            words = [b"SENTINEL", b"get-master-addr-by-name", self._sentinel_master.encode()]
            (answer,) = sentinel.exchange(self._command(words), 1, deadline)
        finally:
            sentinel.close()
        if answer is None:
            raise FeatureStoreError(
                f"The sentinel at {self._host}:{self._port} knows no master '{self._sentinel_master}'.",
                hint="Mend feature_store.feast_config.online_store.sentinel_master.",
            )
        return answer[0].decode(), int(answer[1])


def _command(group: Group) -> tuple[bytes, bytes]:
    """Return what stands before and after the key in the command that reads an entity."""
    fields = []
    for view in group.views:
        fields += [field_name(view.name, feature.source_name) for feature in view.features]
        fields.append(f"_ts:{view.name}".encode())
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
    return head, b"".join(b"$%d\r\n%b\r\n" % (len(name), name) for name in fields)


def _cells(reply: list[bytes | None], sizes: Sequence[int]) -> list[Cells]:
    """Cut the reply of an entity into those of its views: the features, then the timestamp."""
    cells: list[Cells] = []
    at = 0
    for size in sizes:
        stamp = reply[at + size]
        cells.append((None if not stamp else read_timestamp(stamp), reply[at : at + size]))
        at += size + 1
    return cells
