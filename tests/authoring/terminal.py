"""A command on a terminal of its own: a pty, answered line by line."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time


class Terminal:
    """Run `python -m mmp …` as somebody at a terminal would."""

    def __init__(self, *words, cwd, out=None):
        self.ours, theirs = pty.openpty()
        stdout = theirs if out is None else out.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mmp", *words],
            cwd=cwd,
            stdin=theirs,
            stdout=stdout,
            stderr=theirs,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - no threads here
        )
        os.close(theirs)
        if out is not None:
            stdout.close()
        self.seen = ""

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)

    def expect(self, text, seconds=30):
        """Read until a text was written since the last answer."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in: {self.seen}"
            if not self._read(0.2) and self.process.poll() is not None:
                raise AssertionError(f"ended without {text!r}: {self.seen}")
        return self.seen

    def answer(self, line=""):
        """Type a line."""
        self.seen = ""
        os.write(self.ours, f"{line}\n".encode())

    def press(self, key):
        """Type a key: b'\\x03' is Ctrl-C, b'\\x04' is Ctrl-D."""
        os.write(self.ours, key)

    def end(self, seconds=30):
        """Wait for the end and return the exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.2)
        while self._read(0.05):
            pass
        return self.process.wait(timeout=5)

    def _read(self, seconds):
        ready, _, _ = select.select([self.ours], [], [], seconds)
        if not ready:
            return False
        try:
            new = os.read(self.ours, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            return False
        self.seen += re.sub(r"\r", "", new)
        return bool(new)


def _own_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
