"""A settings file read, filled from the environment, and checked key by key.

`load_recipe` and `load_config` report all that is wrong with a file in one error.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mmp.errors import Finding, SettingsError
from mmp.settings.checks import recipe_problems
from mmp.settings.config import Config
from mmp.settings.document import Document, Leaf, dotted, parse_value, read, scalar
from mmp.settings.environment import (
    BadReferenceError,
    Surroundings,
    env_files,
    interpolate,
    surroundings,
)
from mmp.settings.loaded import NO_DOCUMENT, Loaded, S, place_of
from mmp.settings.partial import is_affected, largest_part
from mmp.settings.problems import Problem, raise_all, translate
from mmp.settings.recipe import Recipe
from mmp.settings.secrets import MASK, is_secret, redacted, without_credentials

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from mmp.settings.document import Path_, Tree

__all__ = ["Loaded", "load_config", "load_recipe"]

# Settings that have an environment variable of their own.
TWINS: dict[tuple[str, ...], str] = {
    ("mlflow", "tracking_uri"): "MLFLOW_TRACKING_URI",
    ("mlflow", "tracking_username"): "MLFLOW_TRACKING_USERNAME",
    ("mlflow", "tracking_password"): "MLFLOW_TRACKING_PASSWORD",
    ("mlflow", "experiment_name"): "MLFLOW_EXPERIMENT_NAME",
    ("mlflow", "s3_endpoint_url"): "MLFLOW_S3_ENDPOINT_URL",
}
_SEGMENT = re.compile(r"\.?([^.\[\]\"]+)|\[(\d+)\]|\.?\"([^\"]+)\"")
_NAMES_SHOWN = 4


def load_recipe(
    path: str | Path, *, overrides: Sequence[str] = (), environment: Surroundings | None = None
) -> Loaded[Recipe]:
    """Load a recipe.

    Parameters
    ----------
    path : str or Path
        The file.
    overrides : sequence of str
        ``key=value``, with dots and indexes: ``preprocessor.steps[1].sigma=0.1``. The value is
        read as YAML. They have the last word.
    environment : Surroundings, optional
        Environment values, as of a loaded config; the process's and `.env` where left out.

    Returns
    -------
    Loaded of Recipe
        The recipe.

    Raises
    ------
    SettingsError
        All that is wrong, one line each.
    """
    given = environment or surroundings([Path(".env")])
    draft = _Draft(read(Path(path), what="recipe"), given)
    for override in overrides:
        draft.override(override)
    return draft.load(Recipe)


def load_config(path: str | Path | None = None) -> Loaded[Config]:
    """Load a config.

    Parameters
    ----------
    path : str or Path, optional
        The file; where left out ``$MMP_CONFIG``, else ``configs/$APP_ENV.yaml``, else
        ``configs/local.yaml``, else the defaults.

    Returns
    -------
    Loaded of Config
        The config.

    Raises
    ------
    SettingsError
        All that is wrong, one line each.
    """
    file = _config_file(path)
    if file is None:
        draft = _Draft(NO_DOCUMENT, _around(None))
        message = (
            "There is no config file: the embedded defaults are used (SQLite tracking in ./mlruns, files)."
        )
        draft.findings.append(Finding("config", "info", message))
    else:
        document = read(file, what="config")
        draft = _Draft(document, _around(document))
        draft.default(("environment", "name"), file.stem)
    draft.take_twins()
    return draft.load(Config)


def _config_file(path: str | Path | None) -> Path | None:
    if path is not None:
        return Path(path)
    if named := os.environ.get("MMP_CONFIG"):
        return Path(named)
    if environment := os.environ.get("APP_ENV"):
        return Path("configs") / f"{environment}.yaml"
    local = Path("configs/local.yaml")
    return local if local.exists() else None


def _around(document: Document | None) -> Surroundings:
    if document is None:
        return surroundings(env_files(None, is_dev=False))
    path = Path(document.path)
    name = document.find(("environment", "name"))
    is_dev = (name.text if isinstance(name, Leaf) else path.stem) == "dev"
    return surroundings(env_files(path, is_dev=is_dev))


class _Draft:
    """A document on its way to settings: its values, and what is wrong so far."""

    def __init__(self, document: Document, around: Surroundings) -> None:
        self.document = document
        self.around = around
        self.problems: list[Problem] = []
        self.findings: list[Finding] = list(around.findings)
        self.outside: set[Path_] = set()
        self.texts: dict[Path_, str] = {}
        self.overrides: dict[Path_, str] = {}
        self.variables: set[str] = set()
        self.data: Any = self._values(document.root, ())

    def _get(self, name: str) -> str | None:
        self.variables.add(name)
        return self.around.get(name)

    def _values(self, tree: Tree, key: Path_) -> Any:
        if isinstance(tree, Leaf):
            return self._value(tree, key)
        values = {part: self._values(child, (*key, part)) for part, (_, child) in tree.children.items()}
        return list(values.values()) if tree.is_sequence else values

    def _value(self, leaf: Leaf, key: Path_) -> Any:
        value, text = leaf.value, leaf.text
        if isinstance(value, str) and "${" in value:
            self.outside.add(key)
            try:
                text, is_whole = interpolate(value, self._get)
            except BadReferenceError as error:
                self.problems.append(Problem(key, str(error)))
                return None
            value = scalar(text) if is_whole else text
        if not isinstance(value, str):
            self.texts[key] = text
        return value

    def default(self, key: Path_, value: str) -> None:
        """Set a value that the file leaves out."""
        if _get_in(self.data, key) is None:
            _set_in(self.data, key, value)

    def override(self, override: str) -> None:
        """Apply one ``key=value``."""
        name, equals, text = override.partition("=")
        key = _split_key(name.strip())
        if not equals or not key:
            message = f"--set {name!r} is not key=value." if not is_secret(key) else "--set is not key=value."
            raise SettingsError(message, hint="Write --set data.split.train=0.8", where="--set")
        self.overrides[key] = f"{name.strip()}={MASK if is_secret(key) else without_credentials(text)}"
        self.texts = {old: kept for old, kept in self.texts.items() if old[: len(key)] != key}
        if not _set_in(self.data, key, self._values(parse_value(text), key)):
            message = f"--set: {name.strip()}: there is no such place in the recipe."
            raise SettingsError(message, hint="An index must be one that is there.", where="--set")
        message = f"{name.strip()} is set on the command line."
        self.findings.append(Finding("override", "info", message, where="--set"))

    def take_twins(self) -> None:
        """Let the process environment win over the config, and `.env` files fill what it leaves out."""
        for key, name in TWINS.items():
            present = _get_in(self.data, key)
            value = self.around.process.get(name)
            if not value:
                value = self.around.files.get(name) if present is None else None
            elif present is not None and str(present) != value:
                message = f"{name} in the environment wins over {dotted(key)} in {self.document.path}."
                self.findings.append(Finding("environment", "info", message, where=self.document.path))
            if value:
                self.variables.add(name)
                self.outside.add(key)
                _set_in(self.data, key, value)

    def load(self, model: type[S]) -> Loaded[S]:
        """Validate the values; raise every problem at once."""
        value = None
        try:
            value = self._validated(model)
        except ValidationError as error:
            unresolved = {problem.key for problem in self.problems}
            found = translate(error, model, self.data, self.outside.__contains__)
            self.problems += [problem for problem in found if problem.key not in unresolved]
        if self.problems and model is Recipe:
            self.problems += self._further()
        self.problems.sort(key=lambda problem: self.document.line(problem.key))
        raise_all(self.problems, lambda key: place_of(self.document, key, self.overrides))
        assert value is not None
        return Loaded(
            value,
            self.document.path,
            redacted(self.document),
            tuple(self.overrides.values()),
            (*self.findings, *self._origins()),
            self.around,
            self.document,
            frozenset(self.overrides),
        )

    def _further(self) -> list[Problem]:
        """Check what is whole of a recipe that is not, so that names are reported with the rest."""
        # no check asks for the name, so that its absence need not hide the rest
        broken = [problem.key for problem in self.problems if problem.key != ("name",)]
        recipe, removed = largest_part(Recipe, {**self.data, "name": "unnamed"}, broken)
        if recipe is None:
            return []
        return [
            problem
            for problem in recipe_problems(recipe)
            if not any(is_affected(self.data, problem.key, key) for key in removed)
        ]

    def _validated(self, model: type[S]) -> S:
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            # A number where text belongs is the text as it was written: a column called 2020, a
            # password of digits.
            if not self._as_written(error):
                raise
        return model.model_validate(self.data)

    def _as_written(self, error: ValidationError) -> bool:
        wanting = [detail for detail in error.errors(include_url=False) if detail["type"] == "string_type"]
        keys = {key for key in self.texts for detail in wanting if _leads_to(detail["loc"], key)}
        for key in keys:
            if _get_in(self.data, key) is not None:
                _set_in(self.data, key, self.texts[key])
        return bool(keys)

    def _origins(self) -> list[Finding]:
        by_file: dict[str, list[str]] = {}
        for name in sorted(self.variables & self.around.files.keys()):
            if name not in self.around.process:
                by_file.setdefault(self.around.origins[name], []).append(name)
        return [
            Finding("environment", "info", f"From {file}: {_some(names)}.") for file, names in by_file.items()
        ]


def _some(names: Sequence[str]) -> str:
    """Return names, the last of many counted only."""
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMES_SHOWN - 1])} and {len(names) - _NAMES_SHOWN + 1} more"


def _leads_to(loc: Sequence[Hashable], key: Path_) -> bool:
    """Tell whether a location of pydantic's, less the names of union branches, is a key."""
    parts = iter(loc)
    return loc[-1] == key[-1] and all(part in parts for part in key) if key else False


def _split_key(name: str) -> Path_:
    key: list[Hashable] = []
    position = 0
    while position < len(name):
        match = _SEGMENT.match(name, position)
        if match is None:
            return ()
        key.append(int(match[2]) if match[2] else match[1] or match[3])
        position = match.end()
    return tuple(key)


def _get_in(data: Any, key: Path_) -> Any:
    for part in key:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _set_in(data: Any, key: Path_, value: object) -> bool:
    """Put a value under a key, making mappings on the way; tell whether there was a place for it."""
    for part in key[:-1]:
        if isinstance(data, dict) and data.get(part) is None:
            data[part] = {}
        data = _get_in(data, (part,))
    last = key[-1]
    if isinstance(data, dict) and isinstance(last, str):
        data[last] = value
        return True
    if isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = value
        return True
    return False
