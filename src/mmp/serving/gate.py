"""What stands around every request: its id, its credentials, the bounds, the clock, the counters, the log."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import secrets
import sys
import threading
import time
from functools import lru_cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mmp.errors import MmpError
from mmp.serving import answers
from mmp.serving.answers import JSON, Answer, Refusal, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from mmp.serving.auth import Authoriser
    from mmp.serving.telemetry import Telemetry

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Hot = Callable[[bytes, str], Awaitable[Answer]]

OPEN: Final = frozenset({"/health", "/ready", "/v2/health/live", "/v2/health/ready"})
"""Routes that need no credentials and are never shed: those that say how the server is."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9/._~-]")
_LONGEST_PATH: Final = 200
_SAFE_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_NUMBERS: Final = itertools.count(secrets.randbits(24))
_MOST_BLOCKS: Final = 256
_LAST_WORDS_S: Final = 1.0
_FLUSH_S: Final = 0.05


class _Request(NamedTuple):
    """A request that was answered, as the log takes note of it."""

    at: float
    request_id: str
    method: str
    path: str
    status: int
    seconds: float


class Log:
    """What happened, written a few at a time: a line of JSON for each request and each event.

    A thread writes, since a full pipe or a slow disk would stop the event loop; what it cannot keep up with
    is lost, and told.

    Parameters
    ----------
    plain : frozenset of str
        Paths that are written as they are; of others only safe characters.
    descriptor : int
        Where to.
    """

    def __init__(self, plain: frozenset[str], descriptor: int = 2) -> None:
        self._plain, self._descriptor = plain, descriptor
        self._requests: list[_Request] = []
        self._is_due = False
        self._blocks: SimpleQueue[bytes | None] = SimpleQueue()
        self._lost = 0
        self._writer = threading.Thread(target=self._write_blocks, name="log", daemon=True)

    def write(self, **fields: object) -> None:
        """Write a line now, from any thread."""
        self._put([encode({"time": _stamp(time.time()), **fields})])

    def request(self, *fields: Any) -> None:
        """Take note of a request: the fields of `_Request` but for the time."""
        self._requests.append(_Request(time.time(), *fields))
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write the requests so far."""
        requests, self._requests, self._is_due = self._requests, [], False
        lines = []
        for at, request_id, method, path, status, seconds in requests:
            shown = path if path in self._plain else _UNSAFE.sub("?", path[:_LONGEST_PATH])
            lines.append(
                f'{{"time":"{_stamp(at)}","request_id":"{request_id}","method":"{method}","path":"{shown}",'
                f'"status":{status},"ms":{seconds * 1000:.3f}}}'.encode()
            )
        self._put(lines)

    def _put(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if self._blocks.qsize() >= _MOST_BLOCKS:
            self._lost += len(lines)
            return
        if self._lost:
            lines.append(encode({"time": _stamp(time.time()), "level": "warning", "lost_lines": self._lost}))
            self._lost = 0
        self._blocks.put(b"\n".join((*lines, b"")))

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def close(self) -> None:
        """Write what is there, if somebody takes it in time."""
        self.flush()
        self._blocks.put(None)
        if self._writer.is_alive():
            self._writer.join(_LAST_WORDS_S)

    def _write_blocks(self) -> None:
        while (block := self._blocks.get()) is not None:
            try:
                while block:
                    block = block[os.write(self._descriptor, block) :]
            except OSError:
                continue  # nobody reads the log any more, and requests go on


@lru_cache(4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _stamp(at: float) -> str:
    second = int(at)
    return f"{_second(second)}.{int((at - second) * 1000):03d}Z"


class Gate:
    """The ASGI application that uvicorn runs.

    Parameters
    ----------
    app : ASGI application
        Answers all routes but the hot ones.
    hot : mapping of str to callable
        Path to what answers a POST there, from body and request id.
    routes : frozenset of str
        Every path that the counters tell apart.
    authorise : Authoriser
        Looks at every request but those to `OPEN`.
    telemetry : Telemetry
        Counts.
    max_inflight : int
        Requests at a time.
    budget_s : float
        Seconds that a request may take.
    admin_port : int, optional
        The only port that answers `admin` paths, and nothing else but them.
    admin : frozenset of str
        Paths for operators.
    public : frozenset of str
        Paths that need no credentials.
    """

    def __init__(  # noqa: PLR0913 - what there is around a request
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        hot: Mapping[str, Hot],
        *,
        authorise: Authoriser,
        telemetry: Telemetry,
        max_inflight: int,
        budget_s: float,
        max_body_bytes: int,
        admin_port: int | None = None,
        admin: frozenset[str] = frozenset(),
        public: frozenset[str] = frozenset(),
    ) -> None:
        self._app, self._hot = app, hot
        self._authorise, self._telemetry = authorise, telemetry
        self._max_inflight, self._budget_s, self._max_body = max_inflight, budget_s, max_body_bytes
        self._admin_port, self._admin, self._public = admin_port, admin, public
        self.log = Log(frozenset(hot) | OPEN)
        self.inflight = 0
        self.is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        self.inflight += 1
        self._telemetry.inflight(self.inflight)
        status = 499  # the client went away before it was answered
        try:
            try:
                self._admit(scope, headers)
                hot = self._hot.get(scope["path"])
                if hot is None:
                    status = await self._pass_on(scope, receive, send, request_id)
                    return
                answer = await self._answer_hot(hot, scope["method"], headers, receive, request_id)
            except Refusal as refusal:
                answer = refusal.answer(request_id)
            except MmpError as error:
                answer = Refusal.of(error).answer(request_id)
            except TimeoutError:
                answer = self._too_late().answer(request_id)
            if answer is not None:
                await self._send(answer, request_id, send)
                status = answer.status
        except Exception as error:  # noqa: BLE001 - a bug of ours: it is told to the log, and not to the client
            status = 500
            self.failed(request_id, error)
            await self._send(_bug().answer(request_id), request_id, send)
        finally:
            self.inflight -= 1
            self._note(scope["method"], scope["path"], status, time.perf_counter() - started, request_id)

    def refused(self, refusal: Refusal) -> Answer:
        """Answer and count what a connection refuses before it comes here."""
        request_id = _new_id()
        self._note("", "", refusal.status, 0.0, request_id)
        answer = refusal.answer(request_id)
        return answer._replace(headers=(*answer.headers, (b"x-request-id", request_id.encode())))

    def failed(self, request_id: str, error: BaseException) -> None:
        """Write a bug into the log, with its place and without what the request said."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        self.log.write(level="error", request_id=request_id, bug=type(error).__name__, place=place)

    def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        path = scope["path"]
        if path in OPEN:
            return
        if self._admin_port is not None and (scope["server"][1] == self._admin_port) != (path in self._admin):
            raise answers.not_found(path)
        if self.inflight > self._max_inflight:
            raise Refusal.busy(f"{self._max_inflight} requests are in hand already.")
        if path not in self._public:
            self._authorise(headers)

    async def _answer_hot(
        self, hot: Hot, method: str, headers: Mapping[bytes, bytes], receive: Receive, request_id: str
    ) -> Answer | None:
        if method != "POST":
            raise answers.not_allowed("POST")
        check_media(headers)
        body = await read_body(receive, self._max_body)
        return None if body is None else await hot(body, request_id)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Let the application answer; return its status."""
        status = 499

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._own_headers(request_id)]
            await send(message)

        scope["request_id"] = request_id
        try:
            async with asyncio.timeout(self._budget_s):
                await self._app(scope, receive, send_on)
        except TimeoutError:
            if status == 499:
                raise
        return status

    async def _send(self, answer: Answer, request_id: str, send: Send) -> None:
        headers = [
            (b"content-type", answer.media),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
            *self._own_headers(request_id),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _own_headers(self, request_id: str) -> tuple[tuple[bytes, bytes], ...]:
        own = (b"x-request-id", request_id.encode())
        return (own, (b"connection", b"close")) if self.is_draining else (own,)

    def _note(self, method: str, path: str, status: int, seconds: float, request_id: str) -> None:
        self._telemetry.answered(path, status, seconds)
        self._telemetry.inflight(self.inflight)
        self.log.request(request_id, method, path, status, seconds)

    def _too_late(self) -> Refusal:
        message = f"The request took longer than {self._budget_s:g} seconds."
        return Refusal(504, "timeout", message, hint="Send fewer rows at a time, or ask again.")


def check_media(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that says that it is no plain JSON.

    Raises
    ------
    Refusal
        415.
    """
    media, _, parameters = headers.get(b"content-type", JSON).partition(b";")
    charset = parameters.strip().lower()
    plain = charset in {b"", b"charset=utf-8", b'charset="utf-8"'} and b"content-encoding" not in headers
    if media.strip().lower() != JSON or not plain:
        hint = "Send Content-Type: application/json, in UTF-8, not compressed."
        raise Refusal(415, "media_type", "The body is no application/json.", hint=hint)


async def read_body(receive: Receive, most: int) -> bytes | None:
    """Return the body of a request, None where the client went away."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    if not message.get("more_body"):
        first: bytes = message["body"]
        return first
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message["body"])
        if sum(map(len, parts)) > most:  # where another server than ours runs the application
            raise Refusal(413, "too_large", f"The body is larger than {most:,} bytes.")
    return b"".join(parts)


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    return given.decode() if given and _SAFE_ID.fullmatch(given) else _new_id()


def _new_id() -> str:
    return f"{_prefix(os.getpid())}{next(_NUMBERS):08x}"


@lru_cache(1)
def _prefix(_process: int) -> str:
    """Return what tells the requests of this process from those of others."""
    return secrets.token_hex(4)


def _bug() -> Refusal:
    message = "The server made a mistake."
    return Refusal(500, "bug", message, hint="The request id names the line in its log; please report it.")


def complain(text: str) -> None:
    """Write a sentence for the human beside the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
