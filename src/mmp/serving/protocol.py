"""Deadlines and bounds of a connection: one subclass of uvicorn's httptools protocol.

uvicorn waits for slow clients for ever and takes bodies of any size. Here a head, a body, an answer and an
idle connection have a time each, and heads and bodies a size, before the application sees anything of
them. One timer looks after all connections, so a request costs a few assignments.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mmp.serving.answers import Refusal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mmp.serving.answers import Answer

_MOST_HEAD: Final = 32 * 1024
_SWEEP_S: Final = 0.25
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


class Connection(HttpToolsProtocol):
    """One client; `bound` makes the class that a server takes."""

    limits: Limits
    refused: Callable[[Refusal], Answer]

    phase = IDLE
    since = 0.0
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
        if self.phase == HEAD and self.head_bytes > _MOST_HEAD:
            self.refuse(Refusal(431, "head_too_large", "The request's head is too large.", hint="Send less."))

    def on_headers_complete(self) -> None:
        """Refuse a body that says that it is too long, or start the application."""
        self._enter(BODY)
        self.body_bytes = 0
        declared = dict(self.headers).get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self.limits.body_bytes:
            self.refuse(self._too_large())
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the body, chunks included."""
        if self.is_over:
            return
        self.body_bytes += len(body)
        if self.body_bytes > self.limits.body_bytes:
            self.refuse(self._too_large())
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Give the application its time."""
        if self.is_over:
            return
        complete = self.cycle.response_complete
        super().on_message_complete()
        self._enter(IDLE if complete else WORK)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless this one's body is still coming."""
        super().on_response_complete()
        if self.phase == WORK:
            self._enter(IDLE)
            self.is_first = False

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
        answer = self.refused(refusal)
        headers = (
            (b"content-type", answer.media),
            (b"content-length", str(len(answer.body)).encode()),
            (b"connection", b"close"),
            *answer.headers,
        )
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"".join((STATUS_LINE[answer.status], head, b"\r\n", answer.body)))
        self.transport.close()

    def sweep(self, now: float) -> None:
        """Close the connection if its time is over."""
        limits = self.limits
        if self.phase == IDLE:
            patience = limits.head_s if self.is_first else limits.idle_s
            if now - self.since > patience:
                self.transport.close()
        elif self.phase == WORK:
            if now - self.since > limits.work_s:
                self.transport.abort()  # a client that does not take its answer
        elif now - self.since > (limits.head_s if self.phase == HEAD else limits.body_s):
            message = "The request took too long to arrive."
            self.refuse(Refusal(408, "too_slow", message, hint="Send it faster, or in smaller parts."))
            if now - self.since > 2 * limits.body_s:
                self.transport.abort()

    def _enter(self, phase: int) -> None:
        self.phase = phase
        self.since = time.monotonic()

    def _too_large(self) -> Refusal:
        bound = self.limits.body_bytes
        hint = "Send fewer rows at a time, or raise serving.max_body_bytes."
        return Refusal(413, "too_large", f"The body is larger than {bound:,} bytes.", hint=hint)


def bound(limits: Limits, refused: Callable[[Refusal], Answer]) -> type[Connection]:
    """Return the protocol with these limits.

    Parameters
    ----------
    limits : Limits
        How long and how large.
    refused : callable
        Makes the answer of what is refused below the application, and takes note of it.
    """
    return type("Connection", (Connection,), {"limits": limits, "refused": staticmethod(refused)})


def watch(loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    """Look after the connections of a server for as long as the loop runs."""
    now = time.monotonic()
    for connection in tuple(connections):
        connection.sweep(now)
    loop.call_later(_SWEEP_S, watch, loop, connections)
