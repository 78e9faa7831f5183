"""What stands around every request: its id, its credentials, the bounds, the clock, the counters, the log."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mmp.errors import MmpError
from mmp.serving import answers
from mmp.serving.answers import JSON, Answer, Refusal
from mmp.serving.log import Log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from mmp.serving.answers import Headers
    from mmp.serving.auth import Authoriser
    from mmp.serving.protocol import Exchange
    from mmp.serving.telemetry import Telemetry

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Reply = Callable[[Answer | Exception], None]
    Hot = Callable[[bytes, str, Reply], None]

OPEN: Final = frozenset({"/health", "/ready", "/v2/health/live", "/v2/health/ready"})
"""Routes that need no credentials and are never shed: those that say how the server is."""
_SAFE_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_CLOSE: Final = (b"connection", b"close")
_GONE: Final = 499
"""The status that counts a client that went away before it was answered."""


class Gate:
    """The ASGI application that uvicorn runs.

    Requests to hot routes come past ASGI too, whole and from the connection itself: `take` answers them as
    `__call__` does, without a task and the messages of one.

    Parameters
    ----------
    app : ASGI application
        Answers all routes but the hot ones.
    hot : mapping of str to callable
        Path to what answers a POST there: it takes the body, the request id, and whom to tell the answer
        or the error, now or later.
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
        self._prefix, self._numbers = secrets.token_hex(4), itertools.count(secrets.randbits(24))

    @property
    def hot_paths(self) -> frozenset[str]:
        """The hot routes."""
        return frozenset(self._hot)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        request_id = self._begin(headers)
        status = _GONE
        try:
            self._admit(path, scope["server"], headers)
            hot = self._hot.get(path)
            if hot is None:
                status = await self._pass_on(scope, receive, send, request_id)
                return
            answer = await self._answer_hot(hot, method, headers, receive, request_id)
            if answer is not None:
                await self._send(answer, request_id, send)
                status = answer.status
        except Exception as error:  # noqa: BLE001 - all of them become answers
            answer = self._answer_of(error, request_id)
            status = answer.status
            await self._send(answer, request_id, send)
        finally:
            self._end(request_id, method, path, status, started)

    def take(self, exchange: Exchange) -> None:
        """Answer a request to a hot route that came whole; the answer may follow later."""
        headers = exchange.headers
        request_id = self._begin(headers)
        reply = partial(self._reply, exchange, request_id, time.perf_counter())
        try:
            self._admit(exchange.path, exchange.server, headers)
            check_media(headers)
            self._hot[exchange.path](exchange.body, request_id, reply)
        except Exception as error:  # noqa: BLE001 - all of them become answers
            reply(error)

    def _reply(self, exchange: Exchange, request_id: str, started: float, result: Answer | Exception) -> None:
        if exchange.response_complete:
            return
        answer = self._answer_of(result, request_id)
        is_taken = exchange.answer(answer, self._own_headers(request_id))
        self._end(request_id, "POST", exchange.path, answer.status if is_taken else _GONE, started)

    def refused(self, refusal: Refusal) -> Answer:
        """Answer and count what a connection refuses before it comes here."""
        request_id = self._new_id()
        self._note("", "", refusal.status, 0.0, request_id)
        answer = refusal.answer(request_id)
        return answer._replace(headers=(*answer.headers, (b"x-request-id", request_id.encode())))

    def _begin(self, headers: Mapping[bytes, bytes]) -> str:
        """Count a request in, and return its id."""
        self.inflight += 1
        self._telemetry.inflight(self.inflight)
        given = headers.get(b"x-request-id")
        return given.decode() if given and _SAFE_ID.fullmatch(given) else self._new_id()

    def _end(self, request_id: str, method: str, path: str, status: int, started: float) -> None:
        self.inflight -= 1
        self._telemetry.inflight(self.inflight)
        self._note(method, path, status, time.perf_counter() - started, request_id)

    def _new_id(self) -> str:
        return f"{self._prefix}{next(self._numbers):08x}"

    def _answer_of(self, result: Answer | Exception, request_id: str) -> Answer:
        """Return what goes out: an error in its one shape."""
        if isinstance(result, Answer):
            return result
        if isinstance(result, MmpError):
            result = Refusal.of(result)
        elif isinstance(result, TimeoutError):
            result = self._too_late()
        elif not isinstance(result, Refusal):  # a bug of ours: it is told to the log, and not to the client
            self._failed(request_id, result)
            result = _bug()
        return result.answer(request_id)

    def _failed(self, request_id: str, error: BaseException) -> None:
        """Write a bug into the log, with its place and without what the request said."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        self.log.write(level="error", request_id=request_id, bug=type(error).__name__, place=place)

    def _admit(self, path: str, server: tuple[str, int | None], headers: Mapping[bytes, bytes]) -> None:
        if path in OPEN:
            return
        if self._admin_port is not None and (server[1] == self._admin_port) != (path in self._admin):
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
        if body is None:
            return None
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        hot(body, request_id, partial(_settle, answered))
        return await answered

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Let the application answer; return its status."""
        status = _GONE

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
            if status == _GONE:
                raise
        return status

    async def _send(self, answer: Answer, request_id: str, send: Send) -> None:
        headers = (*answer.head, *self._own_headers(request_id))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _own_headers(self, request_id: str) -> Headers:
        own = (b"x-request-id", request_id.encode())
        return (own, _CLOSE) if self.is_draining else (own,)

    def _note(self, method: str, path: str, status: int, seconds: float, request_id: str) -> None:
        self._telemetry.answered(path, status, seconds)
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
    given, plain = headers.get(b"content-type", JSON), b"content-encoding" not in headers
    if given == JSON and plain:
        return
    media, _, parameters = given.partition(b";")
    charset = parameters.strip().lower()
    plain = plain and charset in {b"", b"charset=utf-8", b'charset="utf-8"'}
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


def _settle(answered: asyncio.Future[Answer], result: Answer | Exception) -> None:
    if answered.done():  # nobody waits for it any more
        return
    if isinstance(result, Exception):
        answered.set_exception(result)
    else:
        answered.set_result(result)


def _bug() -> Refusal:
    message = "The server made a mistake."
    return Refusal(500, "bug", message, hint="The request id names the line in its log; please report it.")
