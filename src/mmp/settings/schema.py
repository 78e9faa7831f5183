"""The JSON Schema of recipes and configs, for editors, and the descriptions it is made from."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from mmp.settings.base import Section
from mmp.settings.config import Config
from mmp.settings.recipe import Recipe

if TYPE_CHECKING:
    from types import ModuleType

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REFERENCE = {"type": "string", "pattern": r"^\$\{[^{}]+\}$"}
_NULL = {"type": "null"}


def schema(kind: Literal["recipe", "config"]) -> dict[str, Any]:
    """Return the JSON Schema of a kind of settings file.

    Numbers and truths may stand as references, ``${PORT:8000}``; a key that has a default may be
    null; task and level may be written in any case.

    Examples
    --------
    >>> schema("recipe")["required"]
    ['name', 'task_choice', 'model', 'data']
    """
    model: type[Section] = Recipe if kind == "recipe" else Config
    made = model.model_json_schema()
    sections = _sections()
    for name, definition in made.get("$defs", {}).items():
        _complete(definition, sections.get(name))
    _complete(made, model)
    return {"$schema": DIALECT, "title": f"mmp {kind}", **{key: made[key] for key in made if key != "title"}}


def _sections() -> dict[str, type[Section]]:
    found: dict[str, type[Section]] = {}
    pending: list[type[Section]] = [Section]
    while pending:
        below = pending.pop().__subclasses__()
        found |= {section.__name__: section for section in below}
        pending += below
    return found


def _complete(definition: dict[str, Any], section: type[Section] | None) -> None:
    """Describe each property, and let it be what the loader lets it be."""
    if section is None:
        return
    required = definition.get("required", [])
    descriptions = describe(section)
    definition["properties"] = {
        name: _property(prop, descriptions.get(name, ""), is_required=name in required)
        for name, prop in definition.get("properties", {}).items()
    }


def _property(prop: dict[str, Any], description: str, *, is_required: bool) -> dict[str, Any]:
    about = {"description": prop.get("description", description)}
    if prop.get("default") not in ({}, None):
        about["default"] = prop["default"]
    shape = {key: value for key, value in prop.items() if key not in {"title", "description", "default"}}
    branches = _branches(shape)
    if not is_required and _NULL not in branches:
        branches.append(_NULL)
    return (branches[0] if len(branches) == 1 else {"anyOf": branches}) | about


def _branches(prop: dict[str, Any]) -> list[dict[str, Any]]:
    branches: list[dict[str, Any]] = list(prop["anyOf"]) if "anyOf" in prop else [dict(prop)]
    if any(branch.get("type") in {"integer", "number", "boolean"} for branch in branches):
        branches.append(_REFERENCE)
    return branches


def describe(section: type[Section]) -> dict[str, str]:
    """Return what the source says under each field of a section.

    Examples
    --------
    >>> describe(Recipe)["name"]
    'Name of the recipe; runs are called after it.'
    """
    descriptions = {name: field.description or "" for name, field in section.model_fields.items()}
    for base in reversed(section.__mro__):
        if issubclass(base, Section):
            texts = _texts(sys.modules[base.__module__]).get(base.__name__, {})
            descriptions |= {name: text for name, text in texts.items() if not descriptions.get(name)}
    return descriptions


@cache
def _texts(module: ModuleType) -> dict[str, dict[str, str]]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: _field_texts(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _field_texts(node: ast.ClassDef) -> dict[str, str]:
    texts: dict[str, str] = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(value=ast.Constant(value=str(words))):
                    texts[field.target.id] = inspect.cleandoc(words)
    return texts
