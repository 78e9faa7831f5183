"""The C library's mathematics, which boosters call too: so their bits can be had without them."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any


@cache
def libm() -> Any:
    """Return the library with ``expf`` and ``logf`` declared."""
    library = ctypes.CDLL(ctypes.util.find_library("m") or None)
    for name in ("expf", "logf"):
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    return library


def address(name: str) -> int:
    """Return where a function is."""
    place = ctypes.cast(getattr(libm(), name), ctypes.c_void_p).value
    assert place is not None, "a function that was found is somewhere"
    return place
