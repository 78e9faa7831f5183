"""When to stop asking a store that does not answer, and when to ask again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Breaker:
    """A circuit breaker: after some failures in a row nobody asks for a while, then one tries.

    Parameters
    ----------
    n_failures : int
        Failures in a row that open it.
    pause_s : float
        Seconds that it stays open, doubled by each failed try.
    longest_pause_s : float
        Bound of that.
    clock : callable
        Monotonic seconds.

    Examples
    --------
    >>> now = [0.0]
    >>> breaker = Breaker(n_failures=2, pause_s=1.0, clock=lambda: now[0])
    >>> breaker.failed(), breaker.failed(), breaker.allows()
    (None, None, False)
    >>> now[0] = 1.5
    >>> breaker.allows(), breaker.allows()
    (True, False)
    >>> breaker.succeeded(), breaker.allows()
    (None, True)
    """

    def __init__(
        self,
        *,
        n_failures: int = 5,
        pause_s: float = 0.5,
        longest_pause_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n_failures = n_failures
        self._pause_s, self._longest_pause_s = pause_s, longest_pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_pause_s = pause_s
        self._opens_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody is to ask, but for one in a pause."""
        return self._opens_at is not None

    def allows(self) -> bool:
        """Return whether to ask now; while it is open, one caller in a pause is told so."""
        with self._lock:
            if self._opens_at is None:
                return True
            now = self._clock()
            if now < self._opens_at:
                return False
            self._opens_at = now + self._next_pause_s
            return True

    def succeeded(self) -> None:
        """Take note of an answer."""
        if self._failures:
            with self._lock:
                self._failures, self._opens_at, self._next_pause_s = 0, None, self._pause_s

    def failed(self) -> None:
        """Take note of a failure."""
        with self._lock:
            self._failures += 1
            if self._failures < self._n_failures:
                return
            pause = self._next_pause_s if self._failures > self._n_failures else self._pause_s
            self._opens_at = self._clock() + pause
            self._next_pause_s = min(pause * 2, self._longest_pause_s)
