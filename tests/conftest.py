"""What every test may rely on: a clean environment, and the command line in this process."""

from __future__ import annotations

import logging
import os
import signal

import pytest
from tests.commands import Outcome

pytest_plugins = ["tests.servers"]

SETTINGS = {"MMP_CONFIG", "APP_ENV", "MMP_TRUST", "NO_COLOR"}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}


# A shell without job control starts background jobs with Ctrl-C ignored, and processes inherit that:
# tests that interrupt one would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Take away what the developer's shell says, and close the log of a command run in this process."""
    for name in list(os.environ):
        if name in SETTINGS or (name.startswith("MLFLOW_") and name not in QUIET):
            monkeypatch.delenv(name)
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    # a command says that its process is mmp's own; this one is not, and says so again afterwards
    monkeypatch.setenv("MMP_LEAN_IMPORTS", "")
    yield
    logger = logging.getLogger("mmp")
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True


@pytest.fixture
def mmp(capsys):
    """Run a command in this process: `mmp("runs", "--json").json`."""
    # as other tests want them: a command by itself would import them without scikit-learn
    import lightgbm  # noqa: F401
    import xgboost  # noqa: F401

    from mmp.cli.main import main

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        written = capsys.readouterr()
        return Outcome(ended.value.code or 0, written.out, written.err)

    return run
