"""MLflow's own pages: a server's address, or a process of ours over the local store."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from mmp.errors import MissingExtraError, SettingsError, TrackingError
from mmp.lookup import install_line, is_installed
from mmp.tracking.run import interruptible
from mmp.tracking.stores import connect

if TYPE_CHECKING:
    from mmp.tracking.stores.base import StoreSettings

_START_S = 60.0


@dataclass
class Pages:
    """Pages that answer.

    Parameters
    ----------
    url : str
        Where.
    process : subprocess.Popen or None
        What serves them, where that is ours.
    """

    url: str
    process: subprocess.Popen[bytes] | None = None

    def wait(self) -> None:
        """Wait until Ctrl-C or SIGTERM ends the process of ours; return at once where there is none."""
        if self.process is None:
            return
        try:
            with interruptible():
                self.process.wait()
        finally:
            self.close()

    def close(self) -> None:
        """End the process of ours, if there is one."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=10)


def open_pages(settings: StoreSettings, *, port: int = 5000) -> Pages:
    """Return the tracking server's pages, or start MLflow's own over a local store.

    Parameters
    ----------
    settings : StoreSettings
        The config's ``mlflow`` section.
    port : int
        Where a process of ours answers; on this machine only.

    Raises
    ------
    SettingsError
        The port is taken.
    MissingExtraError
        MLflow's server is not installed.
    TrackingError
        It did not start.
    """
    with connect(settings) as store:
        uri = store.uri
    if uri.startswith(("http://", "https://")):
        return Pages(uri)
    if not (is_installed("mlflow") and is_installed("flask") and importlib.util.find_spec("mlflow.server")):
        raise MissingExtraError("MLflow's pages need its server.", hint=install_line("mlflow"))
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SettingsError(f"Port {port} is taken.", hint=f"Choose another: mmp ui --port {port + 1}.")
    return _started(uri, port)


def _started(uri: str, port: int) -> Pages:
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(  # noqa: S603 - our own words and a checked URI
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pages = Pages(f"http://127.0.0.1:{port}", process)
    try:
        with interruptible():
            if _came_up(pages):
                return pages
    except KeyboardInterrupt:
        pages.close()
        raise
    pages.close()
    raise TrackingError(
        f"MLflow's server over {uri} did not start.", hint=f"Its own words: {' '.join(command)} --port {port}"
    )


def _came_up(pages: Pages) -> bool:
    end = time.monotonic() + _START_S
    while pages.process is not None and pages.process.poll() is None and time.monotonic() < end:
        if _answers(f"{pages.url}/health"):
            return True
        time.sleep(0.2)
    return False


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - our own http address
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
