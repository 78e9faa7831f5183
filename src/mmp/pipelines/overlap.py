"""One function over many items in several threads, the answers in the order of the items."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
_TICK_S = 0.1


def in_order(
    function: Callable[[_Item], _Answer], items: Iterable[_Item], *, n_threads: int, ahead: int
) -> Generator[_Answer]:
    """Yield what a function makes of each item.

    Items are taken in one thread of their own, and answered in others, while whoever iterates works
    on the answers before. Closing the iterator ends all threads.

    Parameters
    ----------
    function : callable
        Called in several threads at once.
    items : iterable
        Taken only as fast as the answers are.
    n_threads : int
        Threads that call it.
    ahead : int
        Items that may be taken before their turn.

    Yields
    ------
    object
        The answer to each item, in order; an error of the items or of the function is raised in its place.

    Examples
    --------
    >>> list(in_order(abs, [-1, 2, -3], n_threads=2, ahead=2))
    [1, 2, 3]
    """
    answers: _Answers[_Answer] = _Answers(ahead)
    with ThreadPoolExecutor(n_threads, "mmp-batch") as pool:
        submitted = (pool.submit(function, item) for item in items)
        taking = threading.Thread(target=answers.fill, args=(submitted,), name="mmp-read", daemon=True)
        taking.start()
        try:
            while (answer := answers.next()) is not None:
                yield answer.result()
        finally:
            answers.unwanted.set()
            taking.join()
            pool.shutdown(cancel_futures=True)


class _Answers(Generic[_Answer]):
    """Answers that are asked for and not there yet, in order and not too many."""

    def __init__(self, ahead: int) -> None:
        self.unwanted = threading.Event()
        self._waiting: queue.Queue[Future[_Answer] | None] = queue.Queue(ahead)

    def fill(self, answers: Iterable[Future[_Answer]]) -> None:
        """Put one after the other, then that there are no more; or what went wrong instead."""
        try:
            for answer in answers:
                if not self._put(answer):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever iterates
            failed: Future[_Answer] = Future()
            failed.set_exception(error)
            self._put(failed)

    def next(self) -> Future[_Answer] | None:
        """Wait for the next one, None at the end."""
        return self._waiting.get()

    def _put(self, answer: Future[_Answer] | None) -> bool:
        while not self.unwanted.is_set():
            try:
                self._waiting.put(answer, timeout=_TICK_S)
            except queue.Full:
                continue
            return True
        return False
