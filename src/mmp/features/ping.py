"""Whether the Redis of an online store answers, asked once and without patience."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mmp.errors import FeatureStoreError, MissingExtraError
from mmp.lookup import install_line

if TYPE_CHECKING:
    from mmp.settings.stores import RedisStore

_VERSION = re.compile(rb"^redis_version:(\S+)", re.MULTILINE)
_NO_PASSWORD_SET = "without any password configured"  # noqa: S105 - what Redis says, no password
_DENIED = ("NOAUTH", "WRONGPASS", "invalid password", "invalid username-password", "Authentication required")


def ping(store: RedisStore, *, timeout_s: float) -> str:
    """Ask a Redis for its version.

    Parameters
    ----------
    store : RedisStore
        The config's online store; of several nodes the first is asked.
    timeout_s : float
        Bound of the connection and of all answers.

    Returns
    -------
    str
        The version, or nothing where the user may not ask for it.

    Raises
    ------
    FeatureStoreError
        Nothing answers, the password is not the server's, or what answers is no Redis.
    MissingExtraError
        hiredis is not installed.
    """
    try:
        import hiredis

        from mmp.features.online.connection import Connection, command
    except ImportError as error:
        raise MissingExtraError(
            "The online store is Redis, and hiredis is not installed.", hint=install_line("hiredis")
        ) from error
    host, port, options = address(store)
    deadline = time.monotonic() + timeout_s
    try:
        with closing(Connection(host, port, options, deadline)) as connection:
            connection.exchange(command([b"PING"]), 1, deadline)
            try:
                (told,) = connection.exchange(command([b"INFO", b"server"]), 1, deadline)
            except hiredis.ReplyError:  # a user of ours need not be allowed to ask
                return ""
    except (OSError, hiredis.HiredisError) as error:
        raise refusal(error, f"{host}:{port}") from error
    version = _VERSION.search(told)
    return version[1].decode() if version else ""


def address(store: RedisStore) -> tuple[str, int, dict[str, Any]]:
    """Return host, port and the options of the first node in Feast's connection string.

    Examples
    --------
    >>> from mmp.settings.stores import RedisStore
    >>> address(RedisStore(type="redis", connection_string="cache:6380,ssl=true,db=1,retry=null"))
    ('cache', 6380, {'ssl': True, 'db': 1})
    """
    first, *others = store.connection_string.get_secret_value().split(",")
    host, _, port = first.strip().rpartition(":")
    given = dict(part.strip().split("=", 1) for part in others if "=" in part)
    options: dict[str, Any] = {
        name: _unquoted(given[name]) for name in ("username", "password") if given.get(name, '""') != '""'
    }
    if given.get("ssl", "").lower() == "true":
        options["ssl"] = True
    if given.get("db", "").isdecimal():
        options["db"] = int(given["db"])
    if store.password is not None:
        options["password"] = store.password.get_secret_value()
    return (host or first.strip(), int(port) if port.isdecimal() and host else 6379, options)


def _unquoted(value: str) -> str:
    """Return an option's value, which Feast reads as JSON where it is."""
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return read if isinstance(read, str) else value


def refusal(error: Exception, where: str) -> FeatureStoreError:
    """Return what an error means in a sentence, without a password."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    text = text or "the time is over"  # an event loop does not say so
    if _NO_PASSWORD_SET in text:
        return FeatureStoreError(
            f"Redis at {where} has no password, and the config gives one.",
            hint="Leave online_store.password (REDIS_PASSWORD) empty, or give the server one (requirepass).",
        )
    if any(word in text for word in _DENIED):
        return FeatureStoreError(
            f"Redis at {where} does not take the config's password.",
            hint="feature_store.feast_config.online_store.password (REDIS_PASSWORD) must be the server's.",
        )
    cause = text.partition(f"{where}.")[2] or text
    return FeatureStoreError(
        f"Redis at {where} does not answer: {cause.strip().rstrip('.')}.",
        hint="Start it, or mend feature_store.feast_config.online_store.connection_string.",
    )
