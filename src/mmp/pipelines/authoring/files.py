"""Settings files on the disk: whole or not at all, and with the schema that an editor checks them by."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmp.errors import SettingsError
from mmp.settings.emit import Notes, render
from mmp.settings.schema import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["recipe", "config"]

SCHEMAS = Path(".mmp", "schema")
_HEADS = {
    "recipe": "# What to do. `mmp schema recipe` prints every key there is.",
    "config": "# Where things are. `mmp schema config` prints every key there is.",
}


def schema_texts() -> dict[str, str]:
    """Return the schemas of both kinds of files by their paths in a project."""
    kinds: tuple[Kind, ...] = ("recipe", "config")
    return {
        (SCHEMAS / f"{kind}.json").as_posix(): json.dumps(schema(kind), indent=1, ensure_ascii=False) + "\n"
        for kind in kinds
    }


def text(kind: Kind, settings: Mapping[str, Any], notes: Notes, *, schema_at: str | None = None) -> str:
    """Write a settings file with its head; editors find its schema by `schema_at`."""
    editor = f"# yaml-language-server: $schema={schema_at}\n" if schema_at else ""
    return f"{_HEADS[kind]}\n{editor}{render(settings, notes)}"


def is_taken(path: Path) -> bool:
    """Tell whether something stands at a path."""
    return path.exists() or path.is_symlink()


def write(path: Path, kind: Kind, settings: Mapping[str, Any], notes: Notes, *, replace: bool) -> list[Path]:
    """Write a settings file, and beside it, below ``.mmp``, the schemas for editors.

    Parameters
    ----------
    path : Path
        The file.
    kind : {"recipe", "config"}
        What it is.
    settings, notes : mapping
        As for `mmp.settings.emit.render`.
    replace : bool
        Whether a file that is there may be written over.

    Returns
    -------
    list of Path
        What was written, the file itself first.

    Raises
    ------
    SettingsError
        The file is there already, or cannot be written.
    """
    if is_taken(path) and not replace:
        raise SettingsError(f"{path} is there already.", hint="Name another file with -o, or pass --force.")
    root = _root(path)
    schemas = {root / name: content for name, content in schema_texts().items()}
    at = os.path.relpath(root / SCHEMAS / f"{kind}.json", path.parent)
    try:
        for file, content in schemas.items():
            _put(file, content)
        _put(path, text(kind, settings, notes, schema_at=Path(at).as_posix()))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.", hint="Name a file that you may write."
        ) from error
    return [path, *schemas]


def _root(path: Path) -> Path:
    """Return the project of a file: where the user stands, or the file's folder where that is elsewhere."""
    return Path() if path.resolve().is_relative_to(Path.cwd()) else path.parent


def _put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(content, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
