"""The servers of a test session end with it, however it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.servers import LOCAL_DEV

SESSION = """
import os, signal, sys
from tests.servers import new_home
home = new_home()
home.up("redis")
print(home.folder, home.redis.port, flush=True)
if sys.argv[1] != "close":
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
home.close()
"""


@pytest.mark.infra
@pytest.mark.parametrize("end", ["close", "SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_is_left(end):
    # whoever is left holds stderr open: the end of it is the end of everybody
    ended = subprocess.run(
        [sys.executable, "-c", SESSION, end],
        cwd=LOCAL_DEV.parent,
        env={"PYTHONPATH": str(LOCAL_DEV.parent), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    folder, port = ended.stdout.split()
    assert (ended.returncode == 0) == (end == "close")
    assert not Path(folder).exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0
