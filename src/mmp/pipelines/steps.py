"""The steps of a run: each is timed, logged, and shown to whoever watches."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Note = Callable[[str], None]

log = logging.getLogger("mmp")


class Watcher(Protocol):
    """Somebody who is told about steps as they happen."""

    def begin(self, step: str) -> None:
        """Learn that a step begins."""

    def progress(self, step: str, detail: str) -> None:
        """Learn how far it is."""

    def end(self, step: str, detail: str, seconds: float) -> None:
        """Learn what came out of it, and how long it took."""

    def fail(self, step: str) -> None:
        """Learn that it did not end."""


class Nobody:
    """A watcher that looks away."""

    def begin(self, step: str) -> None:
        """Ignore the beginning."""

    def progress(self, step: str, detail: str) -> None:
        """Ignore how far it is."""

    def end(self, step: str, detail: str, seconds: float) -> None:
        """Ignore the end."""

    def fail(self, step: str) -> None:
        """Ignore the failure."""


class Steps:
    """The steps of one run.

    Parameters
    ----------
    watcher : Watcher
        Who is told.

    Attributes
    ----------
    timings_s : dict of str to float
        Wall seconds by step, in order.

    Examples
    --------
    >>> steps = Steps()
    >>> with steps("read") as note:
    ...     note("3 rows")
    >>> list(steps.timings_s)
    ['read']
    """

    def __init__(self, watcher: Watcher | None = None) -> None:
        self.watcher = watcher or Nobody()
        self.timings_s: dict[str, float] = {}
        self._step = ""

    def progress(self, detail: str) -> None:
        """Say how far the step is that is going on."""
        self.watcher.progress(self._step, detail)

    @contextmanager
    def __call__(self, step: str) -> Iterator[Note]:
        """Run one step; the body may note what came out of it."""
        details: list[str] = []
        self._step = step
        self.watcher.begin(step)
        start = time.perf_counter()
        try:
            yield details.append
        except BaseException:
            log.info("%s: did not end (%.3f s)", step, time.perf_counter() - start)
            self.watcher.fail(step)
            raise
        seconds = time.perf_counter() - start
        self.timings_s[step] = round(seconds, 4)
        detail = ", ".join(details)
        log.info("%s: %s (%.3f s)", step, detail, seconds)
        self.watcher.end(step, detail, seconds)
