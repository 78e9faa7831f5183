"""Several processes that serve from one socket: forked, replaced when they die, ended together."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mmp.errors import EXIT_BUG, EXIT_DONE, MmpError

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE_S: Final = 0.5  # before a worker that crashed is replaced, or a crash at start would spin
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def keep(number: int, work: Callable[[int], int]) -> int:
    """Keep workers until a signal comes, and then wait for them.

    Parameters
    ----------
    number : int
        How many.
    work : callable
        What each does, from its place to its exit code; it ends on SIGTERM.

    Returns
    -------
    int
        The exit code: 0, or that of workers that could not start or end.
    """
    return _Crew(number, work).run()


class _Crew:
    def __init__(self, number: int, work: Callable[[int], int]) -> None:
        self._number, self._work = number, work
        self._children: dict[int, int] = {}
        self._is_ending = False
        self._code = EXIT_DONE

    def run(self) -> int:
        for number in _SIGNALS:
            signal.signal(number, self._end)
        gc.freeze()  # the children share these pages for as long as nobody writes to them
        for place in range(self._number):
            self._start(place)
        while self._children:
            child, status = os.wait()
            self._ended(child, self._children.pop(child), os.waitstatus_to_exitcode(status))
        return self._code

    def _ended(self, child: int, place: int, code: int) -> None:
        if self._is_ending:
            self._code = self._code or max(code, EXIT_DONE)
        elif EXIT_DONE < code < EXIT_BUG:  # a reason that another would have too
            self._code = code
            self._end()
        else:
            sys.stderr.write(f"worker {child} ended with {code}; another takes its place\n")
            time.sleep(_PAUSE_S if code > EXIT_DONE else 0)
            self._start(place)

    def _start(self, place: int) -> None:
        # a signal between the fork and the note of it would miss the child
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        child = 0 if self._is_ending else os.fork()
        if child:
            self._children[child] = place
        elif not self._is_ending:
            _be_child(self._work, place)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _end(self, *_signal: object) -> None:
        self._is_ending = True
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


def _be_child(work: Callable[[int], int], place: int) -> None:
    code = EXIT_BUG
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = work(place)
    except MmpError as error:
        sys.stderr.write(f"error: {error.message} {error.hint}".rstrip() + "\n")
        code = error.exit_code
    except Exception:  # noqa: BLE001 - what escapes is a bug, and told before the process is gone
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # what the parent set up is not this process's to tear down
