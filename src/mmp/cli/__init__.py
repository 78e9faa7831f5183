"""The command line.

Its processes live for a second, and the interpreter's care for long-lived ones is a good part of
what the short commands cost: looking for garbage while modules load and once more at the end, and
asking every installed package for Pydantic plugins.
"""

import atexit
import gc
import os
import sys

_COMPLAIN = "duckdb"
"""The module whose bindings list on stderr whatever is left at the end."""


def _freeze() -> None:
    if _COMPLAIN not in sys.modules:
        gc.freeze()


gc.set_threshold(100_000)
atexit.register(_freeze)
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
