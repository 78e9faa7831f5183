"""One connection to a Redis, on which nothing takes longer than its deadline."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import hiredis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK_BYTES = 65536


class Connection:
    """A socket and the parser of what comes down it.

    redis-py bounds each read of the socket; a server that sends a byte now and then keeps it for ever.
    Here the deadline of the whole exchange counts.

    Parameters
    ----------
    host, port : str, int
        Where the server is.
    options : mapping
        ``username``, ``password``, ``db`` and ``ssl``, as far as there are any.
    deadline : float
        On the monotonic clock, for connecting and introducing oneself.

    Raises
    ------
    OSError
        Nothing answers in time; `TimeoutError` where the time is over.
    hiredis.HiredisError
        The server refuses, or is no Redis.
    """

    def __init__(self, host: str, port: int, options: Mapping[str, Any], deadline: float) -> None:
        self._parser = hiredis.Reader()
        self._socket = socket.create_connection((host, port), _left(deadline))
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if options.get("ssl"):
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
            words = list(_introduction(options))
            if words:
                self.exchange(b"".join(map(command, words)), len(words), deadline)
        except BaseException:
            self._socket.close()
            raise

    def exchange(self, written: bytes, n_replies: int, deadline: float) -> list[Any]:
        """Send commands and return their replies.

        Parameters
        ----------
        written : bytes
            The commands, see `command`.
        n_replies : int
            How many there are.
        deadline : float
            On the monotonic clock.

        Raises
        ------
        OSError, hiredis.HiredisError
            As above. An answer may then be under way: close the connection.
        """
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(written)
        replies: list[Any] = []
        while len(replies) < n_replies:
            reply = self._parser.gets()
            if reply is False:
                self._socket.settimeout(_left(deadline))
                content = self._socket.recv(_CHUNK_BYTES)
                if not content:
                    raise ConnectionResetError("the server closed the connection")
                self._parser.feed(content)
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                replies.append(reply)
        return replies

    def detach(self) -> socket.socket:
        """Hand the socket over to whoever goes on with it."""
        self._socket.setblocking(False)  # noqa: FBT003
        return self._socket

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def command(words: Sequence[bytes]) -> bytes:
    r"""Return a command in Redis' protocol.

    Examples
    --------
    >>> command([b"PING"])
    b'*1\r\n$4\r\nPING\r\n'
    """
    parts = (b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n" % len(words) + b"".join(parts)


def _introduction(options: Mapping[str, Any]) -> list[list[bytes]]:
    words = []
    if (password := options.get("password")) is not None:
        user = [options["username"]] if options.get("username") else []
        words.append([b"AUTH", *(word.encode() for word in (*user, password))])
    if options.get("db"):
        words.append([b"SELECT", str(options["db"]).encode()])
    return words


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left
