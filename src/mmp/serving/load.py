"""Load on a server: requests at scheduled times, whatever the answers do, each timed from when it was due.

A client that waits for an answer before it asks again asks a slow server less, and never sees how slow it
is. Here a request that cannot be sent yet waits, and its waiting counts.
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SPIN_S: Final = 0.0015  # timers are exact to a millisecond; from here on the clock is watched
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_STATUS: Final = slice(9, 12)
_CLOSE: Final = b"connection: close"
_FINER: Final = 1.06  # rates nearer to each other are not told apart
_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, and where.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        Of HTTP without TLS.
    requests : sequence of bytes
        Whole requests, sent in turn.
    """

    host: str
    port: int
    requests: Sequence[bytes]

    @classmethod
    def of(
        cls, host: str, port: int, path: str, bodies: Sequence[bytes], headers: Mapping[str, str]
    ) -> Target:
        """Return the target of POSTs with bodies of JSON."""
        lines = {"host": f"{host}:{port}", "content-type": "application/json", **headers}
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return cls(
            host, port, [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        )


@dataclass(frozen=True, slots=True)
class Level:
    """What a server did at one rate.

    Parameters
    ----------
    rate : float
        Requests a second that were scheduled.
    answered_rate : float
        Requests a second that were answered well.
    scheduled : int
        How many there were.
    failed : mapping of str to int
        Those not answered well: by HTTP status, ``connection`` or ``unanswered``.
    p50_ms, p90_ms, p99_ms, max_ms : float
        From the scheduled time to the whole answer; infinite where that share failed.
    late_ms : float
        99th percentile of how late the client itself was; part of the above.
    """

    rate: float
    answered_rate: float
    scheduled: int
    failed: Mapping[str, int]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the sorted values does not exceed.

    Examples
    --------
    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    >>> percentile([1.0, math.inf], 0.99)
    inf
    """
    return values[max(0, math.ceil(share * len(values)) - 1)]


def measure(
    target: Target, rate: float, *, seconds: float, patience_s: float = 2.0, most_connections: int = 256
) -> Level:
    """Ask at a constant rate and return what came of it.

    Parameters
    ----------
    target : Target
        What to ask.
    rate : float
        Requests a second.
    seconds : float
        For how long.
    patience_s : float
        After which a request counts as unanswered; a server that is so far behind is asked no more.
    most_connections : int
        Connections at a time, each with one request in flight.

    Returns
    -------
    Level
        Of all requests, none left out.
    """
    asked = _Asked(target, rate, max(1, round(rate * seconds)), patience_s, most_connections)
    was_enabled = gc.isenabled()
    gc.disable()  # a pause of ours would count as the server's
    try:
        asyncio.run(asked.run())
    finally:
        if was_enabled:
            gc.enable()
    return asked.level()


def search(
    level_at: Callable[[float], Level], promise_ms: float, *, first: float, most: float
) -> list[Level]:
    """Raise the rate until the promise breaks, and narrow down where.

    Parameters
    ----------
    level_at : callable
        Measures one rate.
    promise_ms : float
        What the 99th percentile may be.
    first, most : float
        Rates to begin and to end with.

    Returns
    -------
    list of Level
        As measured. A rate that breaks the promise is tried again before it is believed.
    """
    levels: list[Level] = []

    def holds(rate: float) -> bool:
        for _ in range(_TRIES):
            levels.append(level_at(rate))
            if levels[-1].p99_ms <= promise_ms:
                return True
        return False

    good, bad = 0.0, first
    while bad <= most and holds(bad):
        good, bad = bad, min(2 * bad, most) if bad < most else math.inf
    while good and bad <= most and bad / good > _FINER:
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return levels


def highest(levels: Sequence[Level], promise_ms: float) -> float:
    """Return the highest rate that kept the promise, 0 where none did."""
    return max((level.rate for level in levels if level.p99_ms <= promise_ms), default=0.0)


class _Asked:
    """One rate, while it is measured."""

    def __init__(
        self, target: Target, rate: float, number: int, patience_s: float, most_connections: int
    ) -> None:
        self.target, self.rate, self.number = target, rate, number
        self.patience_s, self.most_connections = patience_s, most_connections
        self.seconds: list[float] = []
        self.late: list[float] = []
        self.failed: Counter[str] = Counter()
        self.start = self.end = 0.0
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()
        self._is_over = False
        self._turn = 0

    async def run(self) -> None:
        """Send everything at its time, and wait for the answers."""
        self.loop = asyncio.get_running_loop()
        try:
            await self._connect()
            self.start = self.loop.time() + 2 * _SPIN_S
            await self._send_all()
            left = self.start + self.number / self.rate + self.patience_s - self.loop.time()
            async with asyncio.timeout(max(0.0, left)):
                await self._done.wait()
        except TimeoutError:
            pass  # what is open then is unanswered
        finally:
            self.end = self.loop.time()
            for task in self._opening:
                task.cancel()
            self._is_over = True
            for connection in self._open:
                connection.transport.abort()

    async def _send_all(self) -> None:
        most_waiting = self.rate * self.patience_s
        for number in range(self.number):
            due = self.start + number / self.rate
            while (left := due - self.loop.time()) > 0:  # noqa: ASYNC110 - the clock is what is waited for
                await asyncio.sleep(left - _SPIN_S if left > 2 * _SPIN_S else 0)
            self.late.append(self.loop.time() - due)
            self._waiting.append(due)
            self._serve()
            if len(self._waiting) > most_waiting:
                return
            if not number % 16:
                await asyncio.sleep(0)  # answers are read even where the client is behind

    def _serve(self) -> None:
        while self._waiting and self._idle:
            self._turn += 1
            content = self.target.requests[self._turn % len(self.target.requests)]
            self._idle.pop().send(self._waiting.popleft(), content)
        if self._waiting and len(self._open) + len(self._opening) < self.most_connections:
            task = self.loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            await self.loop.create_connection(lambda: _Connection(self), self.target.host, self.target.port)
        except OSError:
            if self._waiting:
                self._waiting.popleft()
                self._ended("connection")
                self.loop.call_soon(self._serve)

    def opened(self, connection: _Connection) -> None:
        """Take a connection that has just been made."""
        self._open.add(connection)
        self._idle.append(connection)
        self._serve()

    def answered(self, connection: _Connection, due: float, status: bytes, *, stays: bool) -> None:
        """Note an answer, and use its connection again."""
        if status == b"200":
            self.seconds.append(self.loop.time() - due)
            self._ended(None)
        else:
            self._ended(status.decode("ascii", "replace"))
        if stays:
            self._idle.append(connection)
            self._serve()
        else:
            connection.transport.close()

    def lost(self, connection: _Connection, *, was_waiting: bool) -> None:
        """Note the end of a connection."""
        if self._is_over:
            return
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if was_waiting:
            self._ended("connection")
        self._serve()

    def _ended(self, failure: str | None) -> None:
        if failure is not None:
            self.failed[failure] += 1
        if len(self.seconds) + self.failed.total() == self.number:
            self._done.set()

    def level(self) -> Level:
        """Sum it up."""
        failed = dict(self.failed)
        if unanswered := self.number - len(self.seconds) - self.failed.total():
            failed["unanswered"] = unanswered
        took = [second * 1000 for second in sorted(self.seconds)] + [math.inf] * sum(failed.values())
        p50, p90, p99 = (percentile(took, share) for share in (0.5, 0.9, 0.99))
        return Level(
            rate=self.rate,
            answered_rate=len(self.seconds) / max(self.end - self.start, 1e-9),
            scheduled=self.number,
            failed=failed,
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            max_ms=took[-1],
            late_ms=percentile(sorted(self.late), 0.99) * 1000 if self.late else 0.0,
        )


class _Connection(asyncio.Protocol):
    """A connection with at most one request in flight."""

    transport: asyncio.Transport

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._due: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._asked.opened(self)

    def send(self, due: float, content: bytes) -> None:
        """Send a request that was due then."""
        self._due = due
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0 or self._due is None:
            return
        head = self._buffer[:head_end].lower()
        _, _, rest = head.partition(_LENGTH)
        length = rest.partition(b"\r\n")[0].strip()
        if not length.isdigit():  # not of our server
            self.transport.abort()
            return
        if len(self._buffer) < head_end + len(_HEAD_END) + int(length):
            return
        due, self._due = self._due, None
        self._buffer = b""
        self._asked.answered(self, due, head[_STATUS], stays=_CLOSE not in head)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        self._asked.lost(self, was_waiting=self._due is not None)
