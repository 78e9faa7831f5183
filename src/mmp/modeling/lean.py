"""Boosters imported without scikit-learn and pandas, which they only wrap.

Two thirds of what importing XGBoost or LightGBM costs is scikit-learn, imported for wrapper classes that
mmp does not use. Both libraries work without it. Keeping it out changes what those classes are in this
process, though, so it is for processes of mmp's own: the command line enables it, a library user's
process imports as usual. CatBoost needs what it imports.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

from mmp.errors import MissingExtraError
from mmp.lookup import install_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_SWITCH = "MMP_LEAN_IMPORTS"
_WRAPPED = {"xgboost": {"sklearn", "pandas"}, "lightgbm": {"sklearn", "pandas"}}


def enable() -> None:
    """Say that this process, and those it starts, is mmp's own."""
    os.environ[_SWITCH] = "1"


def is_enabled() -> bool:
    """Tell whether this process is mmp's own."""
    return os.environ.get(_SWITCH) == "1"


@contextmanager
def without(names: Collection[str]) -> Iterator[None]:
    """Keep packages out of the imports inside; other threads import as usual meanwhile."""
    finder = _Absent(names, threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def library(name: str) -> Any:
    """Import a booster's package, lean where `enable` was called.

    Raises
    ------
    MissingExtraError
        Where it, or what it needs, is not installed.
    """
    kept_out = _WRAPPED.get(name, set()) if is_enabled() else set()
    try:
        with without(kept_out):
            return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The package '{error.name}' is needed and not installed.", hint=install_line(name)
        ) from error


class _Absent(MetaPathFinder):
    def __init__(self, names: Collection[str], thread: int) -> None:
        self._names = names
        self._thread = thread

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is kept out of this import", name=fullname)
        return None
