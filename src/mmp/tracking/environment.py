"""What is installed here, and on what machine: read from metadata, without importing any of it."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

# One library may come from one of several distributions; the first that is installed is it.
KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "catboost": ("catboost",),
    "lightgbm": ("lightgbm",),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "scikit-learn": ("scikit-learn",),
    "scipy": ("scipy",),
    "skops": ("skops",),
    "xgboost": ("xgboost-cpu", "xgboost"),
}


def installed(library: str) -> tuple[str, str] | None:
    """Return distribution and version of a library, None where it is not installed.

    Examples
    --------
    >>> installed("numpy")[0]
    'numpy'
    """
    for distribution in KNOWN[library]:
        try:
            return distribution, metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the version of each of these libraries that is installed."""
    found = {library: installed(library) for library in libraries}
    return {library: pin[1] for library, pin in found.items() if pin}


def lock() -> str:
    """Return all that is installed as sorted ``name==version`` lines.

    Read from the names of the metadata directories: reading what is in them costs fifty times as much.
    """
    pins: dict[str, str] = {}
    for folder in filter(None, sys.path):
        for found in sorted(Path(folder).glob("*.dist-info")):
            name, _, version = found.name.removesuffix(".dist-info").partition("-")
            pins.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()))


def python_version() -> str:
    """Return the interpreter's version, such as ``3.11.9``."""
    return platform.python_version()


def machine() -> dict[str, object]:
    """Return what decides, besides library versions, the last bit of a floating-point result.

    NumPy and the C library pick their code by the processor's vector extensions.
    """
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "simd": sorted(simd.get("found", ())),
        "byteorder": sys.byteorder,
    }
