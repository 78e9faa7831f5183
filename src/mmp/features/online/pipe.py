"""A connection to a Redis for an event loop, down which questions go one behind the other."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import hiredis

if TYPE_CHECKING:
    from mmp.features.online.connection import Connection


class _Question(NamedTuple):
    n_replies: int
    replies: list[Any]
    answered: asyncio.Future[list[Any]]
    timer: asyncio.TimerHandle


class Pipe(asyncio.Protocol):
    """What the event loop has of a connection; see `opened`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader()
        self._waiting: deque[_Question] = deque()
        self._transport: asyncio.WriteTransport | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, written: bytes, n_replies: int, timeout_s: float) -> asyncio.Future[list[Any]]:
        """Send commands; what comes of it is their replies.

        Parameters
        ----------
        written : bytes
            The commands, see `mmp.features.online.connection.command`.
        n_replies : int
            How many there are.
        timeout_s : float
            When it is too late for them; the connection is closed then, since who waits behind would wait
            as long.

        Raises
        ------
        ConnectionError
            From the future: the connection is closed, by either side.
        TimeoutError
            From the future: the time is over.
        hiredis.HiredisError
            From the future: the server refuses, or is no Redis.
        """
        answered: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():
            answered.set_exception(ConnectionResetError("the connection is closed"))
        else:
            timer = self._loop.call_later(timeout_s, self._fail, TimeoutError("the time is over"))
            self._waiting.append(_Question(n_replies, [], answered, timer))
            self._transport.write(written)
        return answered

    def close(self) -> None:
        """Close it: what is still under way is not answered."""
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who asked."""
        self._parser.feed(data)
        try:
            while self._waiting and (reply := self._parser.gets()) is not False:
                self._take(reply)
        except hiredis.HiredisError as error:  # nothing behind it can be read
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait."""
        self._transport = None
        self._fail(exc if isinstance(exc, ConnectionError) else ConnectionResetError("the server closed it"))

    def _take(self, reply: Any) -> None:
        question = self._waiting[0]
        question.replies.append(reply)
        if len(question.replies) < question.n_replies:
            return
        self._waiting.popleft()
        question.timer.cancel()
        if question.answered.done():  # nobody waits for it any more
            return
        refusal = next((each for each in question.replies if isinstance(each, hiredis.ReplyError)), None)
        if refusal is None:
            question.answered.set_result(question.replies)
        else:
            question.answered.set_exception(refusal)

    def _fail(self, error: Exception) -> None:
        """Close, and tell those who wait."""
        self.close()
        while self._waiting:
            question = self._waiting.popleft()
            question.timer.cancel()
            if not question.answered.done():
                question.answered.set_exception(error)


async def opened(connection: Connection) -> Pipe:
    """Take a connection that has introduced itself over to the running event loop."""
    _, pipe = await asyncio.get_running_loop().create_connection(Pipe, sock=connection.detach())
    return pipe
