"""Batches from a thread of their own: read ahead, watched, and cancelled where nobody wants them."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from mmp.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from mmp.data.sql.session import Session

_AHEAD = 2
_TICK_S = 0.2
_PATIENCE_S = 5.0


class Pump:
    """A session read by a thread, so that a signal and a deadline reach whoever waits for rows.

    Parameters
    ----------
    connect : callable
        Gives the session, in the thread that will read it.
    source : str
        For messages.
    limit_s : float
        Seconds that may be spent waiting for the database before the query is cancelled.
    """

    def __init__(self, connect: Callable[[], Session], source: str, limit_s: float) -> None:
        self._connect = connect
        self._source = source
        self._limit_s = limit_s
        self._waited_s = 0.0
        self._session: Session | None = None
        self._unwanted = threading.Event()
        self._items: queue.Queue[pa.Schema | pa.RecordBatch | BaseException | None] = queue.Queue(_AHEAD)
        self._thread = threading.Thread(target=self._read, name="mmp-sql", daemon=True)
        self._thread.start()

    def take(self) -> pa.Schema | pa.RecordBatch | None:
        """Return the schema first, then batch after batch, then None.

        Raises
        ------
        SourceError
            The database failed, or did not answer in time.
        """
        start = time.monotonic()
        while True:
            try:
                item = self._items.get(timeout=_TICK_S)
                break
            except queue.Empty:
                if self._waited_s + time.monotonic() - start > self._limit_s:
                    self.close()
                    raise SourceError(
                        f"{self._source}: no answer within {self._limit_s:g} s; the query was cancelled.",
                        hint="Raise data_source.config.query_timeout, or ask for less.",
                    ) from None
        self._waited_s += time.monotonic() - start
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Cancel what still runs, and wait a little for the thread to end."""
        self._unwanted.set()
        deadline = time.monotonic() + _PATIENCE_S
        canceller: threading.Thread | None = None
        while self._thread.is_alive() and time.monotonic() < deadline:
            session = self._session
            # in a thread, because a server that hangs lets its cancelling hang too
            if session is not None and not (canceller and canceller.is_alive()):
                canceller = threading.Thread(target=session.cancel, name="mmp-sql-cancel", daemon=True)
                canceller.start()
            self._thread.join(_TICK_S)

    def _read(self) -> None:
        try:
            session = self._connect()
            self._session = session
            with closing(session):
                self._put(session.open())
                for batch in session.batches():
                    if not self._put(batch):
                        return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes
            self._put(error)
        finally:
            self._session = None

    def _put(self, item: pa.Schema | pa.RecordBatch | BaseException | None) -> bool:
        """Hand over one item; tell whether anybody still wants more."""
        while not self._unwanted.is_set():
            try:
                self._items.put(item, timeout=_TICK_S)
            except queue.Full:
                continue
            return True
        return False
