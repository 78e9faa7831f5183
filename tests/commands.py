"""The command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one object on stdout."""
        return json.loads(self.out)

    @property
    def error(self):
        """The error object on stdout."""
        return self.json["error"]


def start(*words, cwd=None, env=None, program=("-m", "mmp"), **options):
    """Start a command: `start("runs", "--json", cwd=folder)`."""
    return subprocess.Popen(
        [sys.executable, *map(str, program), *map(str, words)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,
    )


def finish(process, timeout=120):
    """Wait for a command and return how it ended."""
    out, err = process.communicate(timeout=timeout)
    return Outcome(process.returncode, out, err)


def call(*words, **options):
    """Run a command to its end."""
    return finish(start(*words, **options))
