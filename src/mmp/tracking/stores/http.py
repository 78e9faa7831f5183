"""One HTTP connection to a tracking server, bounded in time, through the standard library.

``requests`` costs 0.1 CPU seconds to import and MLflow's client retries a refused server for four
minutes; a training needs a dozen calls. A call that may be repeated is, for as long as the
timeout allows; one that may not (it creates something) is repeated only where the server cannot
have seen it.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

from mmp.errors import TrackingError
from mmp.tracking.stores.base import public_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

# A server closes a connection that idles; one that did so in the middle of a call that creates
# something would leave us not knowing.
_IDLE_S = 1.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_FIRST_CONTACT_S = 3.0
_CHUNK = 1 << 20
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to say who we are; MLflow's environment variables are the second source of each."""

    username: str | None = None
    password: str | None = None
    token: str | None = None

    def header(self) -> dict[str, str]:
        """Return the header to send, or none.

        Examples
        --------
        >>> Credentials(username="anna", password="x").header()
        {'Authorization': 'Basic YW5uYTp4'}
        """
        if self.username is not None:
            pair = f"{self.username}:{self.password or ''}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


class RefusedError(TrackingError):
    """An answer with MLflow's own error code.

    Parameters
    ----------
    message : str
        What the server said.
    error_code : str
        MLflow's name for it, such as ``RESOURCE_ALREADY_EXISTS``.
    """

    def __init__(self, message: str, *, error_code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.error_code = error_code


class Server:
    """A tracking server.

    Parameters
    ----------
    url : str
        ``http(s)://host[:port][/path]``; user and password in it are used and never shown.
    credentials : Credentials
        Basic auth or a bearer token.
    timeout_s : float
        Bound of each connect and read, and of all repetitions of a call together.
    """

    def __init__(self, url: str, credentials: Credentials, *, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        self.url = public_uri(url).rstrip("/")
        self._parts = urlsplit(self.url)
        if parts.username is not None:
            credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
        self._proxy = _proxy(self._parts.scheme, self._parts.netloc)
        # A proxy wants the whole URL, unless the call goes through its tunnel.
        self._prefix = self.url if self._proxy and self._parts.scheme == "http" else self._parts.path
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0
        self._was_reached = False

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Ask for a JSON object."""
        return self._object(self._call("GET", f"{path}?{urlencode(query)}"))

    def post(self, path: str, body: Mapping[str, object], *, creates: bool = False) -> dict[str, Any]:
        """Send a JSON object; ``creates`` says that doing it twice would be wrong."""
        data = json.dumps(body, ensure_ascii=False).encode()
        return self._object(self._call("POST", path, data, repeatable=not creates))

    def put_file(self, path: str, file: BinaryIO) -> None:
        """Upload an open file."""
        self._call("PUT", path, file)

    def get_file(self, path: str, file: BinaryIO) -> None:
        """Download into an open file."""
        self._call("GET", path, into=file)

    # -- one call, repeated within bounds ------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        *,
        repeatable: bool = True,
        into: BinaryIO | None = None,
    ) -> bytes:
        budget = self._timeout_s if self._was_reached else min(self._timeout_s, _FIRST_CONTACT_S)
        deadline, pause = time.monotonic() + budget, _FIRST_PAUSE_S
        while True:
            try:
                self._connect()
                return self._once(method, path, body, into)
            except _Unsure as failed:
                self.close()
                again = repeatable or not failed.may_be_done
                if not again or time.monotonic() + pause > deadline:
                    # Whoever calls next, to write down that this failed, should not wait as long again.
                    self._was_reached = False
                    raise self._unreachable(failed.cause) from failed.cause
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _connect(self) -> None:
        if self._connection is not None and time.monotonic() - self._used_at > _IDLE_S:
            self.close()
        if self._connection is None:
            try:
                connection = _connection(self._parts.scheme, self._parts.netloc, self._proxy, self._timeout_s)
                connection.connect()
            except (OSError, http.client.HTTPException) as error:
                raise _Unsure(error, may_be_done=False) from error
            self._connection = connection
            self._was_reached = True

    def _once(self, method: str, path: str, body: bytes | BinaryIO | None, into: BinaryIO | None) -> bytes:
        connection = self._connection
        assert connection is not None
        headers = {"Content-Type": "application/json", "User-Agent": "mmp", **self._credentials.header()}
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
            headers |= {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(os.fstat(body.fileno()).st_size),
            }
        try:
            connection.request(method, f"{self._prefix}{path}", body, headers)
            answer = connection.getresponse()
            content = b"" if into and answer.status == HTTPStatus.OK else answer.read()
            if into and answer.status == HTTPStatus.OK:
                _copy(answer, into)
        except (OSError, http.client.HTTPException) as error:
            raise _Unsure(error) from error
        self._used_at = time.monotonic()
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _BUSY:
            problem = TrackingError(f"it answers {answer.status}: {_reason(content, answer.reason)}")
            raise _Unsure(problem, may_be_done=answer.status not in _BUSY)
        if answer.status != HTTPStatus.OK:
            raise self._refused(answer.status, content, answer.reason)
        return content

    # -- what went wrong, in words -------------------------------------------------------------

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return answer
        raise self._no_mlflow()

    def _no_mlflow(self) -> TrackingError:
        return TrackingError(
            f"What answers at {self.url} is not an MLflow tracking server.",
            hint="Check mlflow.tracking_uri: host, port and path.",
        )

    def _unreachable(self, cause: Exception) -> TrackingError:
        if isinstance(cause, TrackingError):
            return TrackingError(
                f"The tracking server {self.url} fails: {_cause(cause)}.",
                hint="Its log says why; a full disk is one reason.",
            )
        return TrackingError(
            f"The tracking server {self.url} does not answer: {_cause(cause)}.",
            hint="Start it, or check mlflow.tracking_uri; mlflow.timeout_s bounds the waiting.",
        )

    def _refused(self, status: int, content: bytes, reason: str) -> TrackingError:
        said = _reason(content, reason)
        if status == HTTPStatus.UNAUTHORIZED:
            who = "no credentials were given" if not self._credentials.header() else "they are not accepted"
            return TrackingError(
                f"The tracking server {self.url} asks for credentials, and {who} (401).",
                hint="Set mlflow.tracking_username and .tracking_password, or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
            )
        if status == HTTPStatus.FORBIDDEN:
            return TrackingError(
                f"The tracking server {self.url} does not allow this (403): {said}.",
                hint="Ask for the permission; a server that names the Host header wants --allowed-hosts.",
            )
        if status < HTTPStatus.BAD_REQUEST:
            return TrackingError(f"The tracking server {self.url} redirects.", hint="Name where it is.")
        said = said.rstrip(".")
        if error_code := _field(content, "error_code"):
            return RefusedError(f"The tracking server {self.url} refuses: {said}.", error_code=error_code)
        if status == HTTPStatus.NOT_FOUND:
            return self._no_mlflow()
        return TrackingError(f"The tracking server {self.url} answers {status}: {said}.")


class _Unsure(Exception):  # noqa: N818 - never leaves this module
    """A call that failed on the way; the server may have done it all the same."""

    def __init__(self, cause: Exception, *, may_be_done: bool = True) -> None:
        self.cause = cause
        self.may_be_done = may_be_done


def _connection(scheme: str, netloc: str, proxy: str, timeout_s: float) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(proxy or netloc, timeout=timeout_s)
    connection = http.client.HTTPSConnection(proxy or netloc, timeout=timeout_s, context=_tls())
    if proxy:
        connection.set_tunnel(netloc)
    return connection


def _proxy(scheme: str, netloc: str) -> str:
    if not any(name.lower() in {"http_proxy", "https_proxy", "all_proxy"} for name in os.environ):
        return ""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all", "")
    return "" if proxy_bypass(netloc) else urlsplit(proxy).netloc or proxy


def _tls() -> ssl.SSLContext:
    """Return what MLflow's own variables ask for."""
    authorities = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    own = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    try:
        context = ssl.create_default_context(cafile=authorities)
        if own:
            context.load_cert_chain(own)
    except OSError as error:
        raise TrackingError(
            f"A certificate cannot be read: {error.strerror or error}.",
            hint="See MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_CLIENT_CERT_PATH.",
        ) from error
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _copy(answer: http.client.HTTPResponse, into: BinaryIO) -> None:
    expected = answer.length
    into.seek(0)
    into.truncate()
    while chunk := answer.read(_CHUNK):
        into.write(chunk)
    # Read in pieces, a body that ends too soon is no error of the library's.
    if expected is not None and into.tell() != expected:
        raise http.client.IncompleteRead(b"", expected - into.tell())


def _field(content: bytes, name: str) -> str:
    try:
        return str(json.loads(content)[name])
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(content: bytes, reason: str) -> str:
    return (_field(content, "message") or reason).partition("\n")[0]


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
