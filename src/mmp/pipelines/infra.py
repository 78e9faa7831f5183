"""The local infrastructure: where its folder is, and its own program run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmp.errors import SettingsError
from mmp.settings.environment import local_dev_places

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "bootstrap.py"
CHECKOUT = Path(__file__).resolve().parents[3]
"""Where mmp's own checkout is, if it runs from one."""

# variables that tell our own processes how to import; the infrastructure's are not ours
_OURS = {"MMP_LEAN_IMPORTS"}
_SIGNALLED = 128
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Ended:
    """How the infrastructure's program ended.

    Parameters
    ----------
    code : int
        Its exit code; 128 and the signal's number where a signal ended it.
    out : str
        What it wrote to stdout, where that was kept.
    last : str
        The last line it wrote to stderr, where that was kept.
    """

    code: int
    out: str = ""
    last: str = ""


def find(folder: Path | None = None) -> Path:
    """Return the folder of the local infrastructure.

    Parameters
    ----------
    folder : Path, optional
        The project; the working directory, then the checkout that mmp runs from, by default.

    Raises
    ------
    SettingsError
        It is nowhere, or not where ``$MMP_LOCAL_DEV`` says.
    """
    named = os.environ.get("MMP_LOCAL_DEV")
    if named and not Path(named, PROGRAM).is_file():
        raise SettingsError(
            f"MMP_LOCAL_DEV names {named}, which holds no {PROGRAM}.",
            hint="Name the folder mmp-local-dev, or unset it to use the one beside or in the project.",
        )
    projects = [folder] if folder else [Path.cwd(), CHECKOUT]
    places = [place for project in projects for place in local_dev_places(project)]
    for place in places:
        if (place / PROGRAM).is_file():
            return place.resolve()
    raise SettingsError(
        "The local infrastructure is neither in ../mmp-local-dev nor in ./mmp-local-dev.",
        hint="Run this in a checkout of mmp, or let MMP_LOCAL_DEV name a copy of its folder mmp-local-dev.",
    )


def run(folder: Path, words: Sequence[str]) -> int:
    """Run the infrastructure's program in this interpreter, and return how it ended.

    Parameters
    ----------
    folder : Path
        The folder, as `find` returns it.
    words : sequence of str
        What it is to do.

    Returns
    -------
    int
        Its exit code; 128 and the signal's number where a signal ended it.
    """
    return _waited(_started(folder, words))


def run_aside(folder: Path, words: Sequence[str], *, keep: bool = False) -> Ended:
    """Run it with all that it says on stderr, live.

    Parameters
    ----------
    folder, words
        As in `run`.
    keep : bool
        Whether its stdout is kept instead.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        piped, joined = subprocess.PIPE, subprocess.STDOUT
        process = (
            _started(folder, words, stdout=out, stderr=piped)
            if keep
            else _started(folder, words, stdout=piped, stderr=joined)
        )
        last = ""
        try:
            for line in process.stderr or process.stdout or ():
                sys.stderr.write(line)
                last = line.strip() or last
        finally:
            code = _waited(process)
        out.seek(0)
        return Ended(code, out.read(), last)


def _started(folder: Path, words: Sequence[str], **streams: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and a program of this project
        [sys.executable, str(folder / PROGRAM), *words],
        env={name: value for name, value in os.environ.items() if name not in _OURS},
        text=True,
        encoding="utf-8",
        errors="replace",
        **streams,
    )


def _waited(process: subprocess.Popen[str]) -> int:
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # a terminal has told it too, another sender has not; it puts away what it holds before it ends
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
        raise
    return code if code >= 0 else _SIGNALLED - code
