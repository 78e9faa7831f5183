"""A real S3, moto's, in a process of its own for as long as a block lasts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from pyarrow.fs import S3FileSystem
from tests.servers import free_ports

_SECONDS = 60


@contextmanager
def running(folder):
    """Yield the host and port; `folder` gets the log."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = folder / "moto.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | {"PYTHONWARNINGS": ""})
    try:
        _wait_for(port, process, log)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def bucket(host, name):
    """Return the file system of a server, with a bucket of this name."""
    found = S3FileSystem(
        access_key="a", secret_key="b", endpoint_override=host, scheme="http", allow_bucket_creation=True
    )
    found.create_dir(name)
    return found


def _wait_for(port, process, log):
    end = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(log.read_text())
            time.sleep(0.1)
        else:
            return
