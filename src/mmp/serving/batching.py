"""Requests that arrive together are predicted together, on few threads.

A thread that is free takes what waits, up to a number of rows; what comes meanwhile waits for the next. So
nobody waits for company when it is quiet, and batches grow by themselves under load. A thread gives its place
back itself, when it is through: a request that gave up does not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(NamedTuple):
    item: object
    size: int
    done: asyncio.Future[object]


class Batcher(Generic[Item, Result]):
    """Collects items and works on them in batches.

    Parameters
    ----------
    work : callable
        From items to as many results or exceptions; runs on a thread.
    n_threads : int
        Batches at a time.
    max_size : int
        Of a batch, as the sizes of its items add up; a larger item is a batch of its own.
    max_wait_s : float
        How long an item waits for others while a thread is free.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        n_threads: int,
        max_size: int,
        max_wait_s: float = 0.0,
    ) -> None:
        self._work = work
        self._executor = ThreadPoolExecutor(n_threads, thread_name_prefix="predict")
        self._free, self._max_size, self._max_wait_s = n_threads, max_size, max_wait_s
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, item: Item, size: int = 1) -> Result:
        """Wait for the result of one item; what `work` gives as an exception is raised."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Waiting(item, size, done))  # type: ignore[arg-type]  # of this item's result
        if self._max_wait_s and self._rows() < self._max_size:
            self._timer = self._timer or loop.call_later(self._max_wait_s, self._start, loop)
        else:
            self._start(loop)
        return await done

    def close(self) -> None:
        """Let the threads end with what they have in hand."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _rows(self) -> int:
        return sum(waiting.size for waiting in self._waiting)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._free and (batch := self._next()):
            self._free -= 1
            self._executor.submit(self._run, loop, batch)

    def _next(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and (not batch or size + self._waiting[0].size <= self._max_size):
            waiting = self._waiting.popleft()
            if not waiting.done.done():  # nobody waits for it any more
                batch.append(waiting)
                size += waiting.size
        return batch

    def _run(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting]) -> None:
        try:
            results: Sequence[object] = self._work([waiting.item for waiting in batch])  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - it goes to those who wait, who know what to make of it
            results = [error] * len(batch)
        loop.call_soon_threadsafe(self._finish, loop, batch, results)

    def _finish(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting], results: Sequence[object]
    ) -> None:
        self._free += 1
        for waiting, result in zip(batch, results, strict=True):
            if waiting.done.done():
                continue
            if isinstance(result, Exception):
                waiting.done.set_exception(result)
            else:
                waiting.done.set_result(result)
        self._start(loop)
