"""What a run needs of this machine: an interpreter, packages, room, places to write, a port."""

from __future__ import annotations

import errno
import platform
import re
import shutil
import socket
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mmp.catalog.models import row_for
from mmp.errors import SettingsError
from mmp.pipelines.system.base import Found, System, version
from mmp.settings.members import member_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmp.settings.config import Config
    from mmp.settings.recipe import Recipe

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?(?P<bounds>[^;]*)(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_PLATFORM = re.compile(r"sys_platform == ['\"](\w+)['\"]")
_LOWER = re.compile(r">=\s*([\w.]+)")
_UPPER = re.compile(r"<\s*([\w.]+)")
_SQLITE = "sqlite:///"
_LITTLE_ROOM = 1 << 30
_NO_ROOM = 100 << 20


def python(system: System) -> Found:
    """Check the interpreter against what mmp was made for."""
    here, bounds = platform.python_version(), metadata.metadata("mmp")["Requires-Python"]
    if _within(here, bounds):
        return Found(f"Python {here}")
    return Found(
        f"Python {here}; mmp is for {bounds}", "fail", f"Use Python {bounds}.", SettingsError.exit_code
    )


def packages(system: System) -> Found:
    """Check that the libraries of the extras in use are installed, in versions that mmp was made for."""
    extras = sorted(set(needed_extras(system.config, system.recipe)))
    wanted = {extra: dict(_requirements(extra)) for extra in ("", *extras)}
    unknown = [extra for extra in extras if not wanted[extra]]
    found = {name: _installed(name) for bounds in wanted.values() for name in bounds}
    missing = sorted(name for name, there in found.items() if there is None)
    unfit = [
        f"{name} {there} (needs {bounds[name]})"
        for bounds in wanted.values()
        for name in bounds
        if (there := found[name]) is not None and not _within(there, bounds[name])
    ]
    if missing or unfit:
        wrong = [*(f"{name} is not installed" for name in missing), *unfit]
        return Found(
            "; ".join(wrong),
            "fail",
            f"From mmp's checkout: pip install '.[{','.join(extras)}]'",
            SettingsError.exit_code,
        )
    if unknown:
        return Found(
            f"the installed mmp does not know its extra {', '.join(unknown)}",
            "warn",
            "Install mmp anew from its checkout: pip install -e .",
        )
    return Found(f"{len(found)} as mmp needs them" + (f" (extras {', '.join(extras)})" if extras else ""))


def needed_extras(config: Config, recipe: Recipe | None) -> Iterator[str]:
    """Yield the extras of mmp that a config and a recipe use."""
    if config.data_source.adapter_type in {"sql", "postgresql"}:
        yield "sql"
    if config.feature_store.provider == "feast":
        yield from ("feast", "redis")
    if recipe is None:
        return
    if recipe.evaluation.plots:
        yield "plots"
    if recipe.task_choice in {"classification", "regression"}:
        models = [one.model for one in (recipe, *member_recipes(recipe)) if one.model.class_path]
        for model in models:
            row = row_for(str(model.class_path), recipe.task_choice, model.hyperparameters.values)
            yield from filter(None, [row.extra])


def _requirements(extra: str) -> Iterator[tuple[str, str]]:
    for line in metadata.requires("mmp") or ():
        match = _REQUIREMENT.match(line)
        assert match is not None
        marker = match["marker"] or ""
        extras, platforms = _EXTRA.findall(marker), _PLATFORM.findall(marker)
        if (extra in extras if extra else not extras) and (not platforms or sys.platform in platforms):
            yield match["name"], match["bounds"].strip()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _within(there: str, bounds: str) -> bool:
    """Tell whether a version lies within ``>=`` and ``<`` bounds, by their numbers."""
    number = version(there)
    return all(number >= version(low) for low in _LOWER.findall(bounds)) and all(
        number < version(high) for high in _UPPER.findall(bounds)
    )


def disk(system: System) -> Found:
    """Check that there is room where a run writes."""
    rooms = {str(place): shutil.disk_usage(_existing(place)).free for place in _written(system.config)}
    place = min(rooms, key=rooms.__getitem__)
    text = f"{rooms[place] / 1e9:,.1f} GB free for {place}"
    action = "Make room, or name another place in the config."
    if rooms[place] < _NO_ROOM:
        return Found(text, "fail", action, SettingsError.exit_code)
    return Found(text, "warn", action) if rooms[place] < _LITTLE_ROOM else Found(text)


def output(system: System) -> Found:
    """Check that the places which a run writes to can be written to."""
    refused = []
    for place in _written(system.config):
        try:
            with tempfile.TemporaryFile(dir=_existing(place)):
                pass
        except OSError as error:
            refused.append(f"{place} cannot be written to: {error.strerror or error}")
    if refused:
        return Found(
            "; ".join(refused),
            "fail",
            "Make it writable for you, or name another place in the config.",
            SettingsError.exit_code,
        )
    return Found(f"{', '.join(map(str, _written(system.config)))} can be written to")


def _written(config: Config) -> list[Path]:
    """Return the local places that runs with a config write to."""
    target = config.output.inference
    places = [config.logging.base_path]
    if target.adapter_type == "storage" and target.enabled:
        places.append(target.config.base_path)
    tracking = config.mlflow.tracking_uri
    if tracking.startswith(_SQLITE):
        places.append(str(Path(tracking.removeprefix(_SQLITE)).parent))
    elif "://" not in tracking:
        places.append(tracking)
    return [Path(place) for place in places if "://" not in place]


def _existing(place: Path) -> Path:
    """Return the nearest folder above a place that is there."""
    return next(folder for folder in (place, *place.absolute().parents) if folder.is_dir())


def serving(system: System) -> Found:
    """Check that the port of `mmp serve-api` is free."""
    where = system.config.serving
    if "enabled" in where.model_fields_set and not where.enabled:
        return Found("serving.enabled is false", "skipped")
    try:
        with socket.create_server((where.host, where.port)):
            return Found(f"port {where.port} is free")
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        text = (
            f"port {where.port} is taken"
            if taken
            else f"{where.host}:{where.port} cannot be bound: {error.strerror or error}"
        )
        return Found(text, "warn", "Stop what listens there, or name another serving.port.")
