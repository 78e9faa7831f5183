"""From a name or a dotted path to the object it stands for, and from a wrong name to the right one."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.errors import MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec

# The libraries themselves, not an extra of ours: a registry may know another project by our name.
DISTRIBUTIONS: dict[str, str] = {
    "xgboost": "xgboost" if sys.platform == "darwin" else "xgboost-cpu",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "sklearn": "scikit-learn skops",
    "skops": "scikit-learn skops",
    "mlflow": "mlflow",
    "pandas": "pandas",
    "adbc_driver_postgresql": "adbc-driver-postgresql",
}
"""Top package to what installs it, where that has another name or comes with something."""

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that somebody who wrote `name` may have meant.

    Examples
    --------
    >>> nearest("learning_rat", ["learning_rate", "max_depth"])
    'learning_rate'
    >>> nearest("zzz", ["learning_rate", "max_depth"]) is None
    True
    """
    by_fold = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(str(name).casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question that ends an error message, or nothing where no known name is near.

    Examples
    --------
    >>> did_you_mean("acuracy", ["accuracy", "f1"])
    "did you mean 'accuracy'?"
    >>> did_you_mean("zzz", ["accuracy", "f1"])
    ''
    """
    meant = nearest(name, known)
    return f"did you mean {meant!r}?" if meant else ""


def capitalized(sentence: str) -> str:
    """Begin a sentence with a capital, and leave the names in it as they are.

    Examples
    --------
    >>> capitalized(did_you_mean("LogisticRegresion", ["LogisticRegression"]))
    "Did you mean 'LogisticRegression'?"
    """
    return sentence[:1].upper() + sentence[1:]


def is_dotted(path: str) -> bool:
    """Tell whether a text has the form of a dotted path, ``package.module.Name``."""
    return _DOTTED.fullmatch(path) is not None


def install_line(package: str) -> str:
    """Return the sentence that says how to get a missing top package.

    Examples
    --------
    >>> install_line("sklearn")
    'Install it with: pip install scikit-learn skops'
    """
    return f"Install it with: pip install {DISTRIBUTIONS.get(package, package)}"


def is_installed(package: str) -> bool:
    """Tell whether a top package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def resolve(path: str) -> object:
    """Import what a dotted path names.

    Parameters
    ----------
    path : str
        ``package.module.Name``; the module part is imported.

    Returns
    -------
    object
        The class, function or module.

    Raises
    ------
    MissingExtraError
        The package, or one that it needs, is not installed.
    UnknownNameError
        The path has no such form, or nothing stands there.

    Examples
    --------
    >>> resolve("collections.OrderedDict")
    <class 'collections.OrderedDict'>
    """
    if not is_dotted(path):
        raise UnknownNameError(f"{path!r} is not a dotted path.", hint="Write it as package.module.Name.")
    parts = path.split(".")
    found: object = _imported(parts[0], path)
    for depth, part in enumerate(parts[1:], start=1):
        if not hasattr(found, part):
            module = ".".join(parts[:depth])
            if find_module(f"{module}.{part}") is None:
                question = did_you_mean(part, dir(found))
                raise UnknownNameError(f"{module} has no {part!r} ({path}).", hint=question)
            found = _imported(f"{module}.{part}", path)
        else:
            found = getattr(found, part)
    return found


def _imported(module: str, path: str) -> object:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        message = f"{path} needs the package {package!r}, which is not installed."
        raise MissingExtraError(message, hint=install_line(package)) from error
    except ImportError as error:
        message = f"{path} cannot be imported: {error}."
        raise MissingExtraError(message, hint="Check the installation of the package.") from error


def find_module(name: str) -> ModuleSpec | None:
    """Find a module by its dotted name without running a line of its packages."""
    head, *rest = name.split(".")
    spec = importlib.util.find_spec(head)
    for depth, _ in enumerate(rest, start=2):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join(name.split(".")[:depth]), list(spec.submodule_search_locations))
    return spec


def absent(path: str) -> str:
    """Tell what is wrong with a dotted path, as far as files tell, importing nothing.

    A module's text is searched for the name; a compiled module, and one that makes its names as
    it runs, is believed.

    Returns
    -------
    str
        Nothing where the path may be right; else one clause that says what is missing.

    Examples
    --------
    >>> absent("json.JSONDecoder"), absent("json.decoder.JSONDecoder")
    ('', '')
    >>> absent("json.JSONDecodr")
    "'json' has no 'JSONDecodr' (did you mean 'JSONDecoder'?)"
    >>> absent("nowhere.Thing")
    "the package 'nowhere' is not installed"
    """
    head, *rest = path.split(".")
    if not is_installed(head):
        return f"the package {head!r} is not installed"
    module, name = head, ""
    for part in rest:
        if find_module(f"{module}.{part}") is None:
            name = part
            break
        module = f"{module}.{part}"
    names = _names_in(find_module(module))
    if not name or names is None or name in names:
        return ""
    question = did_you_mean(name, names)
    return f"{module!r} has no {name!r}" + (f" ({question})" if question else "")


def _names_in(spec: ModuleSpec | None) -> set[str] | None:
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    text = Path(spec.origin).read_text(encoding="utf-8", errors="replace")
    if "import *" in text or "__getattr__" in text:
        return None
    return set(_IDENTIFIER.findall(text))
