"""Deadlines and bounds of a connection: one subclass of uvicorn's httptools protocol.

uvicorn waits for slow clients for ever and takes bodies of any size. Here a head, a body, an answer and an
idle connection have a time each, and heads and bodies a size, before the application sees anything of
them. One timer looks after all connections, so a request costs a few assignments.

A POST to a hot route that comes in one piece, and is the first on its connection to wait for an answer, goes
to the gate as an `Exchange`: a task, the messages of ASGI and two writes cost more than the prediction.
What comes in pieces, what comes behind it meanwhile, and everything else, goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mmp.serving.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mmp.serving.answers import Answer, Headers

_MOST_HEAD: Final = 32 * 1024
_SWEEP_S: Final = 0.25
_CLOSE: Final = (b"connection", b"close")
IDLE, HEAD, BODY, WORK = range(4)


@dataclass(frozen=True)
class Limits:
    """How long and how large.

    Parameters
    ----------
    body_bytes : int
        Of a body, whether its length is said or it comes in chunks.
    head_s, body_s, work_s, idle_s : float
        Seconds for the head, for the body after it, for the answer after that to be taken, and between
        requests.
    """

    body_bytes: int
    head_s: float = 10.0
    body_s: float = 30.0
    work_s: float = 60.0
    idle_s: float = 75.0


class Exchange:
    """A hot request, and what becomes of it; in the place of uvicorn's cycle, whose state it has.

    Parameters
    ----------
    connection : Connection
        Where it came from.
    path : str
        The hot route.
    headers : mapping of bytes to bytes
        Of the request, lower case.
    keep_alive : bool
        Whether the connection stays open behind the answer.
    """

    __slots__ = ("_connection", "body", "disconnected", "headers", "keep_alive", "path", "response_complete")

    message_event: ClassVar = asyncio.Event()  # which nobody waits for
    response_started: ClassVar = False

    def __init__(
        self, connection: Connection, path: str, headers: Mapping[bytes, bytes], *, keep_alive: bool
    ) -> None:
        self._connection, self.path, self.keep_alive = connection, path, keep_alive
        self.headers, self.body = headers, b""
        self.disconnected = self.response_complete = False

    @property
    def server(self) -> tuple[str, int | None]:
        """The address that it came to."""
        return self._connection.server or ("", None)

    def answer(self, answer: Answer, own: Headers) -> bool:
        """Write the answer with these headers beside its own; tell whether the client was still there."""
        self.response_complete = True
        if not self.disconnected:
            self._connection.write(answer, own, keep_alive=self.keep_alive)
        return not self.disconnected


class Connection(HttpToolsProtocol):
    """One client; `bound` makes the class that a server takes."""

    limits: Limits
    refused: Callable[[Refusal], Answer]
    take: Callable[[Exchange], None]
    hot: Mapping[bytes, str]

    exchange: Exchange | None = None  # the hot request that is being read

    phase = IDLE
    since: float | None = None  # when the sweep saw the phase first
    is_first = True
    head_bytes = 0
    body_bytes = 0
    is_over = False  # refused below the application; what still comes is not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take note of the time: a client that says nothing is closed too."""
        super().connection_made(transport)
        self._enter(IDLE)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and bound the head."""
        if self.is_over:
            return
        if self.phase == IDLE:
            self._enter(HEAD)
            self.head_bytes = 0
        self.head_bytes += len(data)
        super().data_received(data)
        if self.exchange is not None and not self.is_over:
            self._hand_over(self.exchange)
        if self.phase == HEAD and self.head_bytes > _MOST_HEAD:
            self.refuse(Refusal(431, "head_too_large", "The request's head is too large.", hint="Send less."))

    def on_headers_complete(self) -> None:
        """Refuse a body that says that it is too long, or start the application."""
        self._enter(BODY)
        self.body_bytes = 0
        headers = dict(self.headers)
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self.limits.body_bytes:
            self.refuse(self._too_large())
            return
        path = self.hot.get(self.url)
        if path is None or not self._is_next() or self.parser.get_method() != b"POST":
            super().on_headers_complete()
            return
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        self.exchange = Exchange(self, path, headers, keep_alive=keep_alive)
        self.cycle = self.exchange  # type: ignore[assignment]

    def _is_next(self) -> bool:
        """Tell whether nothing stands between a request and its answer."""
        cycle: Any = self.cycle  # None before the first request
        is_free = cycle is None or cycle.response_complete
        is_plain = not self.expect_100_continue and not self.parser.should_upgrade()
        return is_free and is_plain and not self.flow.write_paused

    def _hand_over(self, exchange: Exchange) -> None:
        """Let uvicorn go on with a request that came in pieces, so that its head is looked at now."""
        self.exchange = self.cycle = None  # type: ignore[assignment]  # as before the first request
        super().on_headers_complete()
        super().on_body(exchange.body)

    def on_body(self, body: bytes) -> None:
        """Count the body, chunks included."""
        if self.is_over:
            return
        self.body_bytes += len(body)
        if self.body_bytes > self.limits.body_bytes:
            self.refuse(self._too_large())
        elif self.exchange is not None:
            self.exchange.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Give the application its time."""
        if self.is_over:
            return
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self._enter(WORK)
            self.take(exchange)
            return
        complete = self.cycle.response_complete
        super().on_message_complete()
        self._enter(IDLE if complete else WORK)

    def on_response_complete(self) -> None:
        """Go on with the next request; what uvicorn does, but for the timer that it sets for each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.phase == WORK:  # else the body of this one is still coming
            self._enter(IDLE)
            self.is_first = False
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says nothing of use
        """Refuse what is not HTTP."""
        hint = "Check the client, and whether it speaks HTTPS to a port without it."
        self.refuse(Refusal(400, "http", "This is no HTTP request.", hint=hint))

    def refuse(self, refusal: Refusal) -> None:
        """Answer without the application, and close."""
        if self.is_over or self.transport.is_closing():
            return
        self.is_over = True
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:  # half an answer is out: nothing can be said any more
                self.transport.abort()
                return
        self.transport.write(_bytes(self.refused(refusal), (_CLOSE,)))
        self.transport.close()

    def write(self, answer: Answer, own: Headers, *, keep_alive: bool) -> None:
        """Answer the hot request, and go on with the next."""
        if not keep_alive and _CLOSE not in own:
            own = (*own, _CLOSE)
        self.transport.write(_bytes(answer, own))
        if _CLOSE in own:
            self.transport.close()
        self.on_response_complete()

    def sweep(self, now: float) -> None:
        """Close the connection if its time is over."""
        limits = self.limits
        self.since = since = now if self.since is None else self.since
        if self.phase == IDLE:
            patience = limits.head_s if self.is_first else limits.idle_s
            if now - since > patience:
                self.transport.close()
        elif self.phase == WORK:
            if now - since > limits.work_s:
                self.transport.abort()  # a client that does not take its answer
        elif now - since > (limits.head_s if self.phase == HEAD else limits.body_s):
            message = "The request took too long to arrive."
            self.refuse(Refusal(408, "too_slow", message, hint="Send it faster, or in smaller parts."))
            if now - since > 2 * limits.body_s:
                self.transport.abort()

    def _enter(self, phase: int) -> None:
        self.phase = phase
        self.since = None

    def _too_large(self) -> Refusal:
        bound = self.limits.body_bytes
        hint = "Send fewer rows at a time, or raise serving.max_body_bytes."
        return Refusal(413, "too_large", f"The body is larger than {bound:,} bytes.", hint=hint)


def _bytes(answer: Answer, own: Headers) -> bytes:
    head = b"".join([b"%b: %b\r\n" % header for header in (*answer.head, *own)])
    return b"%b%b\r\n%b" % (STATUS_LINE[answer.status], head, answer.body)


def bound(
    limits: Limits,
    refused: Callable[[Refusal], Answer],
    take: Callable[[Exchange], None],
    hot: Collection[str] = (),
) -> type[Connection]:
    """Return the protocol with these limits.

    Parameters
    ----------
    limits : Limits
        How long and how large.
    refused : callable
        Makes the answer of what is refused below the application, and takes note of it.
    take : callable
        Answers a hot request, which came whole.
    hot : collection of str
        Paths of which it is told.
    """
    own = {"limits": limits, "refused": staticmethod(refused), "take": staticmethod(take)}
    return type("Connection", (Connection,), {**own, "hot": {path.encode(): path for path in hot}})


def watch(loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    """Look after the connections of a server for as long as the loop runs."""
    now = time.monotonic()
    for connection in tuple(connections):
        connection.sweep(now)
    loop.call_later(_SWEEP_S, watch, loop, connections)
