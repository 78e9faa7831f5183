"""One line of JSON for each request and each event, without the payload."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from functools import lru_cache
from queue import SimpleQueue
from typing import Final

from mmp.serving.answers import encode

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9/._~-]")
_LONGEST_PATH: Final = 200
_MOST_BLOCKS: Final = 256
_LAST_WORDS_S: Final = 1.0
_FLUSH_S: Final = 0.05


class Log:
    """What happened, written a few lines at a time.

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
        self._lines: list[str] = []
        self._blocks: SimpleQueue[bytes | None] = SimpleQueue()
        self._lost = 0
        self._writer = threading.Thread(target=self._write_blocks, name="log", daemon=True)

    def write(self, **fields: object) -> None:
        """Write a line now, from any thread."""
        self._put([encode({"time": _stamp(time.time()), **fields}).decode()])

    def request(self, request_id: str, method: str, path: str, status: int, seconds: float) -> None:
        """Take note of a request that was answered."""
        shown = path if path in self._plain else _UNSAFE.sub("?", path[:_LONGEST_PATH])
        lines = self._lines
        if not lines:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        lines.append(
            f'{{"time":"{_stamp(time.time())}","request_id":"{request_id}","method":"{method}",'
            f'"path":"{shown}","status":{status},"ms":{seconds * 1000:.3f}}}'
        )

    def flush(self) -> None:
        """Write the requests so far."""
        lines, self._lines = self._lines, []
        self._put(lines)

    def _put(self, lines: list[str]) -> None:
        if not lines:
            return
        if self._blocks.qsize() >= _MOST_BLOCKS:
            self._lost += len(lines)
            return
        if self._lost:
            told = {"time": _stamp(time.time()), "level": "warning", "lost_lines": self._lost}
            lines.append(encode(told).decode())
            self._lost = 0
        self._blocks.put("\n".join((*lines, "")).encode())

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


def complain(text: str) -> None:
    """Write a sentence for the human beside the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
